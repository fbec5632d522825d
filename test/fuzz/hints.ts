/**
 * What the pointers of a call lead to, where its decoding types do not tell. A call that is not here is passed any structure.
 * `-` is an argument that its type tells enough of.
 */
import type { ShapeName } from "./shapes.ts";

export type Hint = ShapeName | "-" | "count";

const hints = (text: string): Readonly<Record<string, readonly Hint[]>> =>
  Object.fromEntries(
    text
      .trim()
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .map(([name, ...list]) => [name!, list as Hint[]]),
  );

export const HINTS = hints(`
  setxattr - string buffer
  lsetxattr - string buffer
  fsetxattr - string buffer
  getxattr - string buffer
  lgetxattr - string buffer
  fgetxattr - string buffer
  listxattr - buffer
  llistxattr - buffer
  flistxattr - buffer
  epoll_ctl - - - epollEvent
  epoll_pwait - buffer count count sigset
  epoll_pwait2 - buffer count timespec sigset
  readv - iovec count
  writev - iovec count
  preadv - iovec count
  pwritev - iovec count
  preadv2 - iovec count
  pwritev2 - iovec count
  vmsplice - iovec count
  sendfile - - offset
  splice - offset - offset
  copy_file_range - offset - offset
  pselect6 count fdset fdset fdset timespec maskPair
  ppoll pollfds count timespec sigset
  signalfd4 - sigset
  rt_sigsuspend sigset
  rt_sigaction - sigaction buffer
  rt_sigprocmask - sigset buffer
  rt_sigpending buffer
  rt_sigtimedwait sigset buffer timespec
  rt_sigqueueinfo - - siginfo
  rt_tgsigqueueinfo - - - siginfo
  pidfd_send_signal - - siginfo
  sigaltstack stack stack
  timerfd_settime - - times buffer
  timerfd_gettime - buffer
  timer_create - sigevent int
  timer_settime count - times buffer
  timer_gettime count buffer
  timer_getoverrun count
  timer_delete count
  getitimer - buffer
  setitimer - itimerval buffer
  settimeofday timeval buffer
  gettimeofday buffer buffer
  utimensat - - times
  nanosleep timespec buffer
  clock_nanosleep - - timespec buffer
  capget capabilityHeader buffer
  capset capabilityHeader capabilities
  futex futexWord - count timespec futexWord count
  set_robust_list robustList
  get_robust_list - buffer buffer
  set_tid_address futexWord
  sched_setparam - int
  sched_setscheduler - - int
  sched_getparam - buffer
  sched_setaffinity - count sigset
  sched_getaffinity - count buffer
  setgroups count groups
  getgroups count buffer
  getresuid int int int
  getresgid int int int
  times buffer
  uname buffer
  sethostname string count
  setdomainname string count
  getrlimit - buffer
  setrlimit - rlimit
  prlimit64 - - rlimit buffer
  getrusage - buffer
  getcpu int int int
  sysinfo buffer
  bind - sockaddr length
  connect - sockaddr length
  accept - buffer length
  accept4 - buffer length
  getsockname - buffer length
  getpeername - buffer length
  sendto - - - - sockaddr length
  recvfrom - - - - buffer length
  setsockopt - - count int length
  getsockopt - - count buffer length
  sendmsg - message
  recvmsg - message
  sendmmsg - messages count
  recvmmsg - messages count - timespec
  clone3 clone
  openat2 - - openHow
  mincore - - buffer
  riscv_hwprobe probes count
  waitid - - siginfo
  fcntl - - flock
  ioctl - - termios
`);
