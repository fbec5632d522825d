#include "guest.h"
/* One thread sends itself signals, another sets and unsets the handler: each delivery takes the whole of one action. */
#define ROUNDS 100000
static u8 stack[16384] __attribute__((aligned(16)));
static int tid;
static volatile int handled, done;
static void count(int sig) { handled++; }
static void body(void *arg) {
  i64 pid = sys(SYS_getpid), self = sys(SYS_gettid);
  for (int i = 0; i < ROUNDS; i++) sys(SYS_tgkill, pid, self, SIGUSR1);
  done = 1;
}
int main(int argc, char **argv, char **envp) {
  on_signal(SIGUSR1, count, 0);
  if (start_thread(PTHREAD_FLAGS, stack + sizeof stack, &tid, 0, &tid, body, 0) < 0) return 1;
  while (!done) {
    on_signal(SIGUSR1, (void *)1, 0);
    on_signal(SIGUSR1, count, 0);
  }
  for (int t; (t = __atomic_load_n(&tid, __ATOMIC_ACQUIRE));) sys(SYS_futex, &tid, FUTEX_WAIT, t, 0);
  print("handled some %d at most all %d\n", (i64)(handled > 0), (i64)(handled <= ROUNDS));
  return 0;
}
