#include "guest.h"
/*
 * Calls that user space makes long: a signal ends them with what they did, and another task gets the only CPU meanwhile.
 */
static u64 vector[1024 * 2];
static u8 piece[1 << 18];
static volatile int alarms;
static void on_alarm(int sig) { alarms++; }
/* Maps the same 8 MB until its page tables have 80 000 entries: what exit and execve give back in parts. */
static void fill(void) {
  i64 first = sys(SYS_mmap, 0, 8 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | 0x8000, -1, 0);
  for (int i = 0; i < 40; i++) {
    i64 at = sys(SYS_mremap, first, 0, 8 << 20, 1, 0);
    sys(SYS_madvise, at, 8 << 20, 22);
  }
}
int main(int argc, char **argv, char **envp) {
  i64 total = 1024l * sizeof piece, got = total;
  i64 every[4] = {0, 2000, 0, 2000}, never[4] = {0, 0, 0, 0};
  int status;
  for (int i = 0; i < 1024; i++) {
    vector[2 * i] = (u64)piece;
    vector[2 * i + 1] = sizeof piece;
  }
  i64 zero = sys(SYS_openat, AT_FDCWD, "/dev/zero", O_RDWR, 0);
  on_signal(SIGALRM, on_alarm, SA_RESTART);
  sys(SYS_setitimer, 0, every, 0);
  /* A signal may come between two calls: then the next one is tried. */
  for (int i = 0; i < 1000 && got == total; i++) got = sys(SYS_readv, zero, vector, 1024);
  sys(SYS_setitimer, 0, never, 0);
  print("partial %d, alarms %d\n", (i64)(got > 0 && got < total), (i64)(alarms > 0));
  /* What ends the process ends the call, from a task that has to get the CPU first. */
  i64 pid = fork();
  if (pid == 0)
    for (;;) sys(SYS_readv, zero, vector, 1024);
  nap(20);
  sys(SYS_kill, pid, SIGKILL);
  waitpid(pid, &status, 0);
  print("status %x\n", (i64)status);
  /* Two that exit at once with much memory, one by itself and one killed: both leave their status, and somebody else works meanwhile. */
  i64 busy = fork();
  if (busy == 0)
    for (;;) sys(SYS_getpid);
  i64 leaves = fork();
  if (leaves == 0) {
    fill();
    exit(7);
  }
  i64 killed = fork();
  if (killed == 0) {
    fill();
    sys(SYS_kill, sys(SYS_getpid), SIGKILL);
  }
  waitpid(leaves, &status, 0);
  print("left %x\n", (i64)status);
  waitpid(killed, &status, 0);
  print("killed %x\n", (i64)status);
  sys(SYS_kill, busy, SIGKILL);
  waitpid(busy, &status, 0);
  return 0;
}
