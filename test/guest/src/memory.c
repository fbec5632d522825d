#include "guest.h"
/* mmap, munmap, mprotect, brk, mremap, copy-on-write, MAP_SHARED, demand zero, page-precise faults. */
static volatile int faults;
static volatile u64 fault_addr;
static u8 *fix;
static void handler(int sig, i64 *info, void *uc) {
  faults++;
  fault_addr = info[2];
  sys(SYS_mprotect, info[2] & ~4095ul, 4096, PROT_READ | PROT_WRITE);
}
int main(int argc, char **argv, char **envp) {
  int status;
  volatile u8 *a = (u8 *)sys(SYS_mmap, 0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  u64 sum = 0;
  for (int i = 0; i < 1 << 20; i += 4096) sum += a[i], a[i] = i >> 12;
  print("zero filled %d\n", (i64)(sum == 0));
  volatile u8 *s = (u8 *)sys(SYS_mmap, 0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  i64 pid = fork();
  if (pid == 0) {
    u64 same = 0;
    for (int i = 0; i < 256; i++) same += a[i << 12] == (u8)i, a[i << 12] = 0xee;
    s[0] = 1, s[4096] = (u8)(same == 256);
    exit(0);
  }
  waitpid(pid, &status, 0);
  u64 kept = 0;
  for (int i = 0; i < 256; i++) kept += a[i << 12] == (u8)i;
  print("private kept %d, shared %d %d\n", kept, (i64)s[0], (i64)s[4096]);

  on_signal(SIGSEGV, handler, SA_SIGINFO);
  print("mprotect %d\n", sys(SYS_mprotect, a + 4096, 8192, PROT_READ));
  a[4096 * 2 + 5] = 77;
  print("faults %d at page %d offset %d, value %d\n", (i64)faults, (i64)((fault_addr - (u64)a) >> 12),
        (i64)((fault_addr - (u64)a) & 4095), (i64)a[4096 * 2 + 5]);
  a[4096 * 2 + 6] = 78;
  print("then %d\n", (i64)faults);
  print("munmap %d\n", sys(SYS_munmap, a + 65536, 4096));
  print("efault %d\n", sys(SYS_write, 1, a + 65536, 1));
  print("partly %d\n", sys(SYS_read, 0, a + 65536, 0));

  u64 brk = sys(SYS_brk, 0);
  print("brk grows %d\n", (i64)(sys(SYS_brk, brk + 100000) == (i64)(brk + 100000)));
  ((u8 *)brk)[99999] = 1;
  print("brk shrinks %d\n", (i64)(sys(SYS_brk, brk) == (i64)brk));

  volatile u8 *m = (u8 *)sys(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  m[7] = 9;
  volatile u8 *big = (u8 *)sys(SYS_mremap, m, 4096, 65536, 1);
  print("mremap keeps %d, zero %d\n", (i64)big[7], (i64)big[60000]);
  print("fixed %d\n", (i64)(sys(SYS_mmap, big + 8192, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
                            (i64)(big + 8192)));
  print("bad length %d, bad fd %d\n", sys(SYS_mmap, 0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
        sys(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE, 99, 0));

  /* a file mapped privately and shared */
  i64 fd = sys(SYS_openat, AT_FDCWD, "/tmp/sternix-memory", O_RDWR | O_CREAT | O_TRUNC, 0600);
  sys(SYS_write, fd, "file contents", 13);
  volatile u8 *f = (u8 *)sys(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  volatile u8 *g = (u8 *)sys(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  g[0] = 'P';
  f[0] = 'F';
  char buf[16] = {0};
  sys(SYS_pread64, fd, buf, 13, 0);
  print("file %s, private %c, beyond %d\n", buf, g[0], (i64)f[100]);
  sys(SYS_unlinkat, AT_FDCWD, "/tmp/sternix-memory", 0);

  /* code written at run time */
  u32 *code = (u32 *)sys(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 1; i < 4; i++) {
    code[0] = 0x00000513 | i * 11 << 20; /* li a0, i*11 */
    code[1] = 0x00008067;                /* ret */
    __asm__ volatile("fence.i" ::: "memory");
    print("made code %d\n", ((i64(*)(void))code)());
  }
  return 0;
}
