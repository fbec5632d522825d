#include "guest.h"
/* Sockets in flight: live ones go round between processes while others leave cycles behind that only a collector can free. */
#define SYS_socketpair 199
#define SYS_sendmsg 211
#define SYS_recvmsg 212
#define ROUNDS 300
#define CYCLES 150
struct iovec64 { void *base; u64 length; };
struct msghdr64 { void *name; u64 namelen; struct iovec64 *iov; u64 iovlen; void *control; u64 controllen; u64 flags; };
static int pass(int by, int fd) {
  char byte = 'x';
  struct iovec64 iov = {&byte, 1};
  struct { u64 length; int level, type, fd, pad; } control = {20, 1, 1, fd, 0};
  struct msghdr64 message = {0, 0, &iov, 1, &control, 20, 0};
  return sys(SYS_sendmsg, by, &message, 0);
}
static int take(int by) {
  char byte;
  struct iovec64 iov = {&byte, 1};
  struct { u64 length; int level, type, fd, pad; } control = {0};
  struct msghdr64 message = {0, 0, &iov, 1, &control, 24, 0};
  if (sys(SYS_recvmsg, by, &message, 0) != 1 || message.controllen == 0) return -1;
  return control.fd;
}
/* A socket with bytes in its queue flies to oneself, several deep, closed everywhere else: it must come back with them. */
static int live(void) {
  int good = 0;
  for (int round = 0; round < ROUNDS; round++) {
    int a[2], b[2], c[2];
    char text[8] = "";
    sys(SYS_socketpair, 1, 1, 0, a);
    sys(SYS_socketpair, 1, 1, 0, b);
    sys(SYS_socketpair, 1, 1, 0, c);
    sys(SYS_write, a[0], "alive", 5);
    pass(b[0], a[1]); /* a[1] flies in b[1], which flies in c[1] */
    sys(SYS_close, a[1]);
    pass(c[0], b[1]);
    sys(SYS_close, b[1]);
    if ((round & 15) == 0) sys(SYS_sched_yield);
    int inner = take(c[1]);
    int back = take(inner);
    if (back >= 0 && sys(SYS_read, back, text, 5) == 5 && text[0] == 'a' && text[4] == 'e') good++;
    int all[] = {a[0], b[0], c[0], c[1], inner, back};
    for (int i = 0; i < 6; i++) sys(SYS_close, all[i]);
  }
  return good == ROUNDS;
}
static int garbage(void) {
  static char bulk[4096];
  for (int cycle = 0; cycle < CYCLES; cycle++) {
    int a[2], b[2];
    sys(SYS_socketpair, 1, 1, 0, a);
    sys(SYS_socketpair, 1, 1, 0, b);
    if (pass(a[0], b[1]) != 1 || pass(b[0], a[1]) != 1) return 0;
    sys(SYS_write, a[0], bulk, sizeof bulk);
    for (int i = 0; i < 2; i++) sys(SYS_close, a[i]), sys(SYS_close, b[i]);
  }
  return 1;
}
int main(int argc, char **argv, char **envp) {
  for (int n = 0; n < 4; n++) {
    i64 pid = sys(SYS_clone, 17, 0, 0, 0, 0);
    if (pid == 0) sys(SYS_exit_group, n % 2 ? !garbage() : !live());
  }
  int failed = 0;
  for (int n = 0; n < 4; n++) {
    int status = 0;
    sys(SYS_wait4, -1, &status, 0, 0);
    failed |= status;
  }
  print(failed ? "failed %d\n" : "live sockets came back, all of them\n", (i64)failed);
  return failed != 0;
}
