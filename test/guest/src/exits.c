#include "guest.h"
/* Two threads exit one by one, not the process at once; it has timers of every kind. */
static u8 stack[8192] __attribute__((aligned(16)));
static void body(void *arg) {}
int main(int argc, char **argv, char **envp) {
  struct { struct timespec interval, value; } hour = {{0, 0}, {3600, 0}};
  int id = -1;
  P("timers %d %d\n", sys(107, 1, 0, &id), sys(110, id, 0, &hour, 0));
  for (int which = 0; which < 3; which++) sys(SYS_setitimer, which, &hour, 0);
  start_thread(PTHREAD_FLAGS & ~(CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID), stack + sizeof stack, 0, 0, 0, body, 0);
  sys(SYS_exit, 0);
  return 1;
}
