/*
 * Computes F and D operations on riscv64 itself: records {u32 op, u32 rm, u64 a, b, c} from stdin, {u64 result, u64 fflags} to stdout.
 * The numbers of the operations are those of userland/riscv64/fpu/ops.ts. No libc:
 *   riscv64-linux-gnu-gcc -O2 -static -nostdlib -ffreestanding -o fpu-oracle fpu-oracle.c
 */
typedef unsigned long u64;
typedef unsigned int u32;

struct in { u32 op, rm; u64 a, b, c; };
struct out { u64 result, flags; };

static long sys3(long nr, long a, long b, long c) {
  register long a0 asm("a0") = a, a1 asm("a1") = b, a2 asm("a2") = c, a7 asm("a7") = nr;
  asm volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
  return a0;
}

#define FF(n, insn) case n: asm volatile("fmv.d.x ft0, %1\nfmv.d.x ft1, %2\nfmv.d.x ft2, %3\n" insn "\nfmv.x.d %0, ft3" \
  : "=r"(r) : "r"(i->a), "r"(i->b), "r"(i->c) : "ft0", "ft1", "ft2", "ft3"); break
#define FX(n, insn) case n: asm volatile("fmv.d.x ft0, %1\nfmv.d.x ft1, %2\n" insn \
  : "=r"(r) : "r"(i->a), "r"(i->b) : "ft0", "ft1"); break
#define XF(n, insn) case n: asm volatile(insn "\nfmv.x.d %0, ft3" : "=r"(r) : "r"(i->a) : "ft3"); break
#define BOTH(M, n, head, tail) M(n, head ".s" tail); M(n + 1, head ".d" tail)

static u64 run(const struct in *i) {
  u64 r = 0;
  switch (i->op) {
    BOTH(FF, 0, "fadd", " ft3, ft0, ft1");
    BOTH(FF, 2, "fsub", " ft3, ft0, ft1");
    BOTH(FF, 4, "fmul", " ft3, ft0, ft1");
    BOTH(FF, 6, "fdiv", " ft3, ft0, ft1");
    BOTH(FF, 8, "fsqrt", " ft3, ft0");
    BOTH(FF, 10, "fmadd", " ft3, ft0, ft1, ft2");
    BOTH(FF, 12, "fmsub", " ft3, ft0, ft1, ft2");
    BOTH(FF, 14, "fnmsub", " ft3, ft0, ft1, ft2");
    BOTH(FF, 16, "fnmadd", " ft3, ft0, ft1, ft2");
    BOTH(FF, 18, "fmin", " ft3, ft0, ft1");
    BOTH(FF, 20, "fmax", " ft3, ft0, ft1");
    BOTH(FF, 22, "fsgnj", " ft3, ft0, ft1");
    BOTH(FF, 24, "fsgnjn", " ft3, ft0, ft1");
    BOTH(FF, 26, "fsgnjx", " ft3, ft0, ft1");
    BOTH(FX, 28, "feq", " %0, ft0, ft1");
    BOTH(FX, 30, "flt", " %0, ft0, ft1");
    BOTH(FX, 32, "fle", " %0, ft0, ft1");
    BOTH(FX, 34, "fclass", " %0, ft0");
    BOTH(FX, 36, "fcvt.w", " %0, ft0, dyn");
    BOTH(FX, 38, "fcvt.wu", " %0, ft0, dyn");
    BOTH(FX, 40, "fcvt.l", " %0, ft0, dyn");
    BOTH(FX, 42, "fcvt.lu", " %0, ft0, dyn");
    XF(44, "fcvt.s.w ft3, %1");
    XF(45, "fcvt.d.w ft3, %1");
    XF(46, "fcvt.s.wu ft3, %1");
    XF(47, "fcvt.d.wu ft3, %1");
    XF(48, "fcvt.s.l ft3, %1");
    XF(49, "fcvt.d.l ft3, %1");
    XF(50, "fcvt.s.lu ft3, %1");
    XF(51, "fcvt.d.lu ft3, %1");
    FF(52, "fcvt.s.d ft3, ft0");
    FF(53, "fcvt.d.s ft3, ft0");
  }
  return r;
}

static struct in in[1024];
static struct out out[1024];

void _start(void) {
  for (;;) {
    u64 have = 0;
    while (have < sizeof in) {
      long n = sys3(63, 0, (long)((char *)in + have), sizeof in - have);
      if (n <= 0) break;
      have += n;
    }
    if (have == 0) sys3(93, 0, 0, 0);
    u64 count = have / sizeof in[0];
    for (u64 k = 0; k < count; k++) {
      asm volatile("fscsr %0" ::"r"((u64)in[k].rm << 5));
      out[k].result = run(&in[k]);
      u64 flags;
      asm volatile("frflags %0" : "=r"(flags));
      out[k].flags = flags;
    }
    u64 done = 0;
    while (done < count * sizeof out[0]) {
      long n = sys3(64, 1, (long)((char *)out + done), count * sizeof out[0] - done);
      if (n <= 0) sys3(93, 1, 0, 0);
      done += n;
    }
  }
}
