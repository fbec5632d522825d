#include "guest.h"
/*
 * spin                   never ends by itself
 * spin fork              a spinning child does not keep the parent from running, or from killing it
 * spin thread            a spinning thread does not keep exit_group from ending the process
 * spin alarm             a timer signal reaches a loop without system calls
 */
static volatile int stop;
static u8 stack[16384] __attribute__((aligned(16)));
static int tid;
static void forever(void *arg) { for (;;) __asm__ volatile(""); }
static void on_alarm(int sig) { stop = 1; }
int main(int argc, char **argv, char **envp) {
  int status;
  if (argc < 2) {
    print("spinning\n");
    forever(0);
  }
  if (!strcmp(argv[1], "fork")) {
    i64 pid = fork();
    if (pid == 0) forever(0);
    nap(30);
    for (int i = 0; i < 3; i++) sys(SYS_sched_yield);
    print("parent runs\n");
    sys(SYS_kill, pid, SIGTERM);
    waitpid(pid, &status, 0);
    print("child status %x\n", (i64)status);
  }
  if (!strcmp(argv[1], "thread")) {
    start_thread(PTHREAD_FLAGS, stack + sizeof stack, &tid, 0, &tid, forever, 0);
    nap(30);
    print("main leaves\n");
    return 9;
  }
  if (!strcmp(argv[1], "alarm")) {
    on_signal(SIGALRM, on_alarm, 0);
    i64 it[4] = {0, 0, 0, 30000};
    sys(SYS_setitimer, 0, it, 0);
    while (!stop) ;
    print("alarm\n");
  }
  return 0;
}
