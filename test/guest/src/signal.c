#include "guest.h"
/* Handlers, masks, pending sets, siginfo, sigaltstack, SA_RESTART, EINTR, default actions. */
static volatile int count, last, on_alt;
static u8 alt[16384];
static int p[2];
static void handler(int sig) { count++, last = sig; }
static void info_handler(int sig, int *info, void *uc) {
  u8 here;
  count++, last = info[0];
  on_alt = &here >= alt && &here < alt + sizeof alt;
}
static void feed(int sig) { sys(SYS_write, p[1], "!", 1); }
int main(int argc, char **argv, char **envp) {
  i64 me = sys(SYS_getpid), tid = sys(SYS_gettid);
  int status;
  on_signal(SIGUSR1, handler, 0);
  sys(SYS_kill, me, SIGUSR1);
  print("handled %d last %d\n", (i64)count, (i64)last);

  u64 mask = 1ul << (SIGUSR1 - 1), pending = 0, old = 0;
  sys(SYS_rt_sigprocmask, SIG_BLOCK, &mask, &old, 8);
  sys(SYS_tgkill, me, tid, SIGUSR1);
  sys(SYS_kill, me, SIGUSR1);
  sys(SYS_rt_sigpending, &pending, 8);
  print("blocked: count %d pending %x\n", (i64)count, pending);
  sys(SYS_rt_sigprocmask, SIG_UNBLOCK, &mask, 0, 8);
  print("unblocked: %s\n", count > 1 ? "delivered" : "lost");

  struct { void *sp; int flags; u64 size; } ss = {alt, 0, sizeof alt};
  print("sigaltstack %d\n", sys(SYS_sigaltstack, &ss, 0));
  on_signal(SIGUSR2, info_handler, SA_SIGINFO | SA_ONSTACK);
  sys(SYS_tgkill, me, tid, SIGUSR2);
  print("siginfo %d on altstack %d\n", (i64)last, (i64)on_alt);

  print("kill KILL handler %d\n", on_signal(SIGKILL, handler, 0));
  print("kill 0 %d, kill nobody %d\n", sys(SYS_kill, me, 0), sys(SYS_kill, 999999, 0));

  /* a read interrupted with and without SA_RESTART */
  char c = 0;
  sys(SYS_pipe2, p, 0);
  for (int restart = 0; restart < 2; restart++) {
    on_signal(SIGUSR1, restart ? (void *)feed : (void *)handler, restart ? SA_RESTART : 0);
    i64 child = fork();
    if (child == 0) {
      /* Again and again: the first may come before the parent waits. */
      for (;;) {
        nap(20);
        sys(SYS_kill, me, SIGUSR1);
      }
    }
    i64 n = sys(SYS_read, p[0], &c, 1);
    print("restart %d: read %d\n", (i64)restart, n);
    sys(SYS_kill, child, SIGKILL);
    waitpid(child, &status, 0);
  }

  /* interval timer, sigsuspend, and a sleep that a signal ends */
  on_signal(SIGALRM, handler, 0);
  i64 it[4] = {0, 20000, 0, 20000}, off[4] = {0, 0, 0, 0};
  last = 0;
  mask = 0;
  print("setitimer %d\n", sys(SYS_setitimer, 0, it, 0));
  i64 r = sys(SYS_rt_sigsuspend, &mask, 8);
  print("sigsuspend %d last %d\n", r, (i64)last);
  struct timespec t = {1000, 0}, left = {0, 0};
  r = sys(SYS_nanosleep, &t, &left);
  print("nanosleep %d left %d\n", r, (i64)(left.sec > 0));
  sys(SYS_setitimer, 0, off, 0);

  /* default actions as the parent sees them */
  int fatal[] = {SIGTERM, SIGINT, SIGKILL, SIGPIPE, SIGUSR2, SIGABRT};
  on_signal(SIGUSR2, NULL, 0);
  for (int i = 0; i < 6; i++) {
    i64 child = fork();
    if (child == 0) {
      sys(SYS_kill, sys(SYS_getpid), fatal[i]);
      exit(0);
    }
    waitpid(child, &status, 0);
    print("default %d: %d\n", (i64)fatal[i], (i64)(status & 0x7f));
  }
  i64 child = fork();
  if (child == 0) {
    sys(SYS_kill, sys(SYS_getpid), SIGCHLD);
    sys(SYS_kill, sys(SYS_getpid), SIGSTOP);
    exit(5);
  }
  waitpid(child, &status, WUNTRACED);
  print("stopped %x\n", (i64)status);
  sys(SYS_kill, child, SIGCONT);
  waitpid(child, &status, 0);
  print("continued %x\n", (i64)status);
  return 0;
}
