#include "guest.h"
/* fault KIND: dies of, or handles, a fault. */
static u64 pc_at_fault, addr_at_fault;
static void *next;
static void handler(int sig, i64 *info, i64 *uc) {
  print("signal %d code %d addr %x\n", (i64)sig, (i64)((int *)info)[2], info[2] < 4096 ? info[2] : -1);
  /* ucontext: flags, link, stack (3 words), sigmask padded to 128 bytes, then the registers, pc first */
  uc[5 + 16 + 1 - 0] = (i64)next;
}
int main(int argc, char **argv, char **envp) {
  const char *kind = argc > 1 ? argv[1] : "read";
  if (!strcmp(kind, "read")) return *(volatile int *)0;
  if (!strcmp(kind, "write")) *(volatile int *)16 = 1;
  if (!strcmp(kind, "jump")) ((void (*)(void))8)();
  if (!strcmp(kind, "text")) *(volatile u8 *)main = 1;
  if (!strcmp(kind, "illegal")) __asm__ volatile(".word 0");
  if (!strcmp(kind, "break")) __asm__ volatile("ebreak");
  if (!strcmp(kind, "high")) return *(volatile int *)0x7f1234567890;
  if (!strcmp(kind, "exec")) {
    u32 *page = (u32 *)sys(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[0] = 0x8067;
    ((void (*)(void))page)();
  }
  if (!strcmp(kind, "stack")) {
    i64 depth = 0;
    for (volatile u8 *sp = __builtin_frame_address(0);; sp -= 4096) *sp = (u8)depth++;
  }
  if (!strcmp(kind, "handled")) {
    on_signal(SIGSEGV, handler, SA_SIGINFO);
    __asm__ volatile("la t0, 1f\n sd t0, %0\n li t1, 24\n lw t2, 0(t1)\n1:" : "=m"(next) : : "t0", "t1", "t2", "memory");
    print("resumed\n");
    return 3;
  }
  if (!strcmp(kind, "unaligned")) {
    static u64 words[2];
    on_signal(SIGBUS, handler, SA_SIGINFO);
    __asm__ volatile("la t0, 1f\n sd t0, %0\n mv t1, %1\n amoadd.w t2, t2, (t1)\n1:"
                     : "=m"(next) : "r"((u8 *)words + 2) : "t0", "t1", "t2", "memory");
    print("resumed\n");
    return 3;
  }
  return 0;
}
