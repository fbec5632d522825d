/** What summaries call the calls that the mix knows, and why it leaves others out. */

/** Names of other architectures and older times, and what stands for them here. */
export const ALIASES: Readonly<Record<string, string>> = {
  open: "openat",
  creat: "openat",
  openat2: "openat",
  stat: "newfstatat",
  lstat: "newfstatat",
  fstatat64: "newfstatat",
  access: "faccessat",
  readlink: "readlinkat",
  mkdir: "mkdirat",
  rmdir: "unlinkat",
  link: "linkat",
  symlink: "symlinkat",
  unlink: "unlinkat",
  rename: "renameat2",
  renameat: "renameat2",
  chmod: "fchmodat",
  utime: "utimensat",
  utimes: "utimensat",
  getdents: "getdents64",
  dup2: "dup3",
  pipe: "pipe2",
  eventfd: "eventfd2",
  epoll_create: "epoll_create1",
  epoll_wait: "epoll_pwait",
  epoll_pwait2: "epoll_pwait",
  poll: "ppoll",
  select: "pselect6",
  fork: "clone",
  vfork: "clone",
  clone3: "clone",
  getpgrp: "getpgid",
  time: "clock_gettime",
};

/** Why a call is left out, for those that people wonder about. */
export const LEFT_OUT: Readonly<Record<string, string>> = {
  execve: "replaces the program",
  exit: "comes with every clone",
  exit_group: "comes with every clone",
  set_robust_list: "would name memory that the kernel walks at exit",
  shutdown: "would end the socket",
};
