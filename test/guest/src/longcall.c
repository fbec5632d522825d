#include "guest.h"
/*
 * Calls that user space makes long: a signal ends them with what they did, and another task gets the only CPU meanwhile.
 */
static u64 vector[1024 * 2];
static u8 piece[1 << 18];
static volatile int alarms;
static void on_alarm(int sig) { alarms++; }
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
  return 0;
}
