#include "guest.h"
/* fork, copy-on-write, wait statuses, and what the child inherits. */
static int shared_before = 7;
int main(int argc, char **argv, char **envp) {
  int status = 0;
  i64 pid = fork();
  if (pid == 0) {
    shared_before = 99;
    print("child sees %d, parent is %s\n", (i64)shared_before, sys(SYS_getppid) > 0 ? "alive" : "gone");
    exit(42);
  }
  i64 got = waitpid(pid, &status, 0);
  print("wait %d status %x, parent still sees %d\n", (i64)(got == pid), (i64)status, (i64)shared_before);
  pid = fork();
  if (pid == 0) {
    sys(SYS_kill, sys(SYS_getpid), SIGKILL);
    exit(1);
  }
  waitpid(pid, &status, 0);
  print("killed status %x\n", (i64)status);
  print("no more children %d\n", waitpid(-1, &status, 0));
  pid = fork();
  if (pid == 0) for (;;) nap(1000);
  print("nohang %d\n", waitpid(pid, &status, WNOHANG));
  sys(SYS_kill, pid, SIGKILL);
  print("any %d\n", (i64)(waitpid(-1, &status, 0) == pid));
  int n = 0;
  for (int i = 0; i < 20; i++)
    if (fork() == 0) exit(i);
  for (int sum = 0;;) {
    if (waitpid(-1, &status, 0) < 0) { print("reaped %d sum %d\n", (i64)n, (i64)sum); break; }
    n++, sum += status >> 8;
  }
  return 0;
}
