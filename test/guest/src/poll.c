#include "guest.h"
/* epoll (level, edge, one-shot, time-out), eventfd, ppoll. */
struct epoll_event { u32 events; u32 pad; u64 data; };
struct pollfd { int fd; short events, revents; };
int main(int argc, char **argv, char **envp) {
  int p[2], status;
  struct epoll_event ev = {1, 0, 11}, out[4];
  sys(SYS_pipe2, p, 0);
  i64 ep = sys(SYS_epoll_create1, O_CLOEXEC), efd = sys(SYS_eventfd2, 0, O_NONBLOCK);
  print("add %d again %d\n", sys(SYS_epoll_ctl, ep, 1, p[0], &ev), sys(SYS_epoll_ctl, ep, 1, p[0], &ev));
  ev.data = 22;
  print("add eventfd %d\n", sys(SYS_epoll_ctl, ep, 1, efd, &ev));
  print("nothing %d\n", sys(SYS_epoll_pwait, ep, out, 4, 0, 0, 8));
  i64 t0 = now();
  print("timeout %d", sys(SYS_epoll_pwait, ep, out, 4, 20, 0, 8));
  print(" waited %d\n", (i64)(now() - t0 >= 20000000));
  if (fork() == 0) {
    nap(20);
    sys(SYS_write, p[1], "x", 1);
    exit(0);
  }
  i64 n = sys(SYS_epoll_pwait, ep, out, 4, -1, 0, 8);
  print("woken %d data %d events %x\n", n, out[0].data, (i64)out[0].events);
  waitpid(-1, &status, 0);
  print("level %d\n", sys(SYS_epoll_pwait, ep, out, 4, 0, 0, 8));
  u64 v = 5;
  sys(SYS_write, efd, &v, 8);
  sys(SYS_write, efd, &v, 8);
  print("both %d\n", sys(SYS_epoll_pwait, ep, out, 4, 0, 0, 8));
  n = sys(SYS_read, efd, &v, 8);
  print("eventfd read %d = %d, then %d\n", n, v, sys(SYS_read, efd, &v, 8));
  ev.events = 1u | 1u << 31, ev.data = 33;
  print("edge mod %d\n", sys(SYS_epoll_ctl, ep, 3, p[0], &ev));
  n = sys(SYS_epoll_pwait, ep, out, 4, 0, 0, 8);
  print("edge %d then %d\n", n, sys(SYS_epoll_pwait, ep, out, 4, 0, 0, 8));
  sys(SYS_write, p[1], "y", 1);
  print("edge again %d\n", sys(SYS_epoll_pwait, ep, out, 4, 0, 0, 8));
  ev.events = 1u | 1u << 30;
  sys(SYS_epoll_ctl, ep, 3, p[0], &ev);
  n = sys(SYS_epoll_pwait, ep, out, 4, 0, 0, 8);
  print("oneshot %d then %d\n", n, sys(SYS_epoll_pwait, ep, out, 4, 0, 0, 8));
  print("del %d again %d\n", sys(SYS_epoll_ctl, ep, 2, p[0], 0), sys(SYS_epoll_ctl, ep, 2, p[0], 0));
  struct pollfd fds[3] = {{p[0], 1, 0}, {p[1], 4, 0}, {77, 1, 0}};
  struct timespec t = {1, 0};
  n = sys(SYS_ppoll, fds, 3, &t, 0, 8);
  print("ppoll %d: %x %x %x\n", n, (i64)fds[0].revents, (i64)fds[1].revents, (i64)fds[2].revents);
  sys(SYS_close, p[1]);
  char drain[8];
  sys(SYS_read, p[0], drain, 8);
  sys(SYS_ppoll, fds, 1, &t, 0, 8);
  print("hangup %x\n", (i64)fds[0].revents);
  return 0;
}
