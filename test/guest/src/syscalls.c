/*
 * syscalls NAME N WARMUP DIR [CHILDREN [INTERPRETER PROGRAM]]: makes a system call, or a small round of them, WARMUP times and then N times in
 * each of CHILDREN processes at once (default, and 0: in this one), and prints the nanoseconds that the N took, and for how many of them
 * a process waited for a CPU (the sum over all; 0 where the system does not tell).
 * What exec runs is this program again, or, for hosts that cannot know it as one of theirs, INTERPRETER with PROGRAM. Files are made in DIR. One source for three: a guest of Sternix, of qemu, and (with -DHOST) a program of the host.
 */
#ifdef HOST
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
typedef long i64;
typedef unsigned long u64;
typedef unsigned char u8;
#define sys(...) syscall(__VA_ARGS__)
#define print printf
enum { FUTEX_WAKE = 1, FUTEX_PRIVATE = 128 };
static i64 now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000 + t.tv_nsec;
}
static void on_signal(int sig, void *handler, u64 flags) { signal(sig, (void (*)(int))handler); }
static void leave(int code) { _exit(code); }
#else
#include "guest.h"
static void leave(int code) { exit(code); }
#endif

static u8 block[65536];
static char path[512];
static const char *dir, *self, *interpreted;
static char **environment;

static char *in_dir(const char *name) {
  char *p = path;
  for (const char *s = dir; *s;) *p++ = *s++;
  *p++ = '/';
  for (const char *s = name; *s;) *p++ = *s++;
  *p = 0;
  return path;
}
/* Which child this is: each has files of its own, as independent programs do. */
static char child = '0';
static int open_file(const char *name) { return sys(SYS_openat, AT_FDCWD, in_dir(name), O_RDWR | O_CREAT, 0644); }

static void null_call(i64 n) { while (n--) sys(SYS_getppid); }
static void pipe_io(i64 n, i64 size) {
  int p[2];
  sys(SYS_pipe2, p, 0);
  while (n--) {
    i64 left = size;
    sys(SYS_write, p[1], block, size);
    while (left > 0) left -= sys(SYS_read, p[0], block, left);
  }
  sys(SYS_close, p[0]), sys(SYS_close, p[1]);
}
static void pipe_1(i64 n) { pipe_io(n, 1); }
static void pipe_64k(i64 n) { pipe_io(n, 65536); }
static void file_io(i64 n, i64 size) {
  int fd = open_file("bench-io");
  while (n--) {
    sys(SYS_pwrite64, fd, block, size, 0);
    sys(SYS_pread64, fd, block, size, 0);
  }
  sys(SYS_close, fd);
}
static void file_1(i64 n) { file_io(n, 1); }
static void file_64k(i64 n) { file_io(n, 65536); }
static void open_close(i64 n) {
  char name[] = "bench-open?";
  name[sizeof name - 2] = child;
  sys(SYS_close, open_file(name));
  while (n--) sys(SYS_close, sys(SYS_openat, AT_FDCWD, path, O_RDONLY, 0));
}
static void stat_path(i64 n) {
  static u64 buffer[32];
  while (n--) sys(SYS_newfstatat, AT_FDCWD, path, buffer, 0);
}
static void stat_1(i64 n) { /* a name in the root directory */
  path[0] = '/', path[1] = 't', path[2] = 'm', path[3] = 'p', path[4] = 0;
  stat_path(n);
}
static void stat_8(i64 n) {
  static const char deep[] = "d/d/d/d/d/d";
  for (u64 i = 1; i < sizeof deep; i += 2) {
    char part[16];
    for (u64 j = 0; j < i; j++) part[j] = deep[j];
    part[i] = 0;
    sys(SYS_mkdirat, AT_FDCWD, in_dir(part), 0755);
  }
  in_dir("d/d/d/d/d/d/f");
  sys(SYS_close, sys(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT, 0644));
  stat_path(n);
}
static void dup_close(i64 n) { while (n--) sys(SYS_close, sys(SYS_dup, 1)); }
static void epoll_round(i64 n) { /* an event is made, waited for, and taken */
  struct { unsigned events; u64 data; } __attribute__((packed)) packed = {1, 7};
  struct { unsigned events, pad; u64 data; } plain = {1, 0, 7};
#if defined(HOST) && defined(__x86_64__)
  void *event = &packed;
#else
  void *event = &plain;
#endif
  u64 one = 1, out[4];
  int ep = sys(SYS_epoll_create1, 0), fd = sys(SYS_eventfd2, 0, 0);
  sys(SYS_epoll_ctl, ep, 1, fd, event);
  while (n--) {
    sys(SYS_write, fd, &one, 8);
    sys(SYS_epoll_pwait, ep, out, 1, -1, 0, 8);
    sys(SYS_read, fd, &one, 8);
  }
  sys(SYS_close, ep), sys(SYS_close, fd);
}
static int word;
static void futex_wake(i64 n) { while (n--) sys(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE, 1, 0, 0, 0); }
static i64 start_child(void) {
#ifdef HOST
  return fork();
#else
  return sys(SYS_clone, SIGCHLD, 0, 0, 0, 0);
#endif
}
static int wait_child(i64 pid) { int status = -1; sys(SYS_wait4, pid, &status, 0, 0); return status; }
/* Linux: the second number of schedstat. */
static i64 waited(void) {
  char text[64];
  int fd = sys(SYS_openat, AT_FDCWD, "/proc/self/schedstat", O_RDONLY, 0);
  if (fd < 0) return 0;
  i64 n = sys(SYS_read, fd, text, sizeof text - 1), delay = 0;
  sys(SYS_close, fd);
  for (i64 i = 0, number = 0; i < n; i++) {
    if (text[i] == ' ') number++;
    else if (number == 1) delay = delay * 10 + (text[i] - '0');
  }
  return delay;
}
static void ping_pong(i64 n) { /* a byte goes to another process and comes back: two context switches */
  int to[2], from[2];
  sys(SYS_pipe2, to, 0), sys(SYS_pipe2, from, 0);
  i64 pid = start_child();
  if (pid == 0) {
    for (i64 i = 0; i < n; i++) sys(SYS_read, to[0], block, 1), sys(SYS_write, from[1], block, 1);
    leave(0);
  }
  for (i64 i = 0; i < n; i++) sys(SYS_write, to[1], block, 1), sys(SYS_read, from[0], block, 1);
  wait_child(pid);
  for (int i = 0; i < 2; i++) sys(SYS_close, to[i]), sys(SYS_close, from[i]);
}
static void fork_exit(i64 n) {
  while (n--) {
    i64 pid = start_child();
    if (pid == 0) leave(0);
    wait_child(pid);
  }
}
static void exec_exit(i64 n) {
  while (n--) {
    i64 pid = start_child();
    if (pid == 0) {
      const char *argv[] = {self, "exit", 0}, *under[] = {self, interpreted, "exit", 0};
      sys(SYS_execve, self, interpreted ? under : argv, environment);
      leave(1);
    }
    if (wait_child(pid) != 0) {
      print("exec failed\n");
      leave(3);
    }
  }
}
enum { PAGES = 64 };
static void page_fault(i64 n) { /* first touch of anonymous memory; n counts pages */
  for (; n > 0; n -= PAGES) {
    u8 *p = (u8 *)sys(SYS_mmap, 0, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < PAGES; i++) ((volatile u8 *)p)[i * 4096] = 1;
    sys(SYS_munmap, p, PAGES * 4096);
  }
}
static void map_unmap(i64 n) {
  while (n--) {
    i64 p = sys(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sys(SYS_munmap, p, 4096);
  }
}
static volatile i64 caught;
static void handler(int sig) { caught++; }
static void signal_round(i64 n) { /* kill(2) of oneself, handler, sigreturn */
  i64 pid = sys(SYS_getpid);
  on_signal(SIGUSR1, handler, 0);
  while (n--) sys(SYS_kill, pid, SIGUSR1);
}

static const struct { const char *name; void (*loop)(i64); } loops[] = {
  {"null", null_call}, {"pipe1", pipe_1}, {"pipe64k", pipe_64k}, {"file1", file_1}, {"file64k", file_64k},
  {"open", open_close}, {"stat1", stat_1}, {"stat8", stat_8}, {"dup", dup_close}, {"epoll", epoll_round},
  {"futex", futex_wake}, {"switch", ping_pong}, {"fork", fork_exit}, {"exec", exec_exit}, {"fault", page_fault},
  {"mmap", map_unmap}, {"signal", signal_round},
};

/* Children warm up, say so, and start together; the time is from the start signal to the end of the last. */
static i64 together(void (*loop)(i64), i64 n, i64 warmup, int children, i64 *delay) {
  int ready[2], go[2];
  sys(SYS_pipe2, ready, 0), sys(SYS_pipe2, go, 0);
  for (int i = 0; i < children; i++) {
    if (start_child() != 0) continue;
    child += i;
    loop(warmup);
    sys(SYS_write, ready[1], block, 1);
    sys(SYS_read, go[0], block, 1);
    i64 before = waited();
    loop(n);
    before = waited() - before;
    sys(SYS_write, ready[1], &before, sizeof before);
    leave(0);
  }
  for (int i = 0; i < children; i++) sys(SYS_read, ready[0], block, 1);
  i64 start = now();
  sys(SYS_write, go[1], block, children);
  for (int i = 0; i < children; i++) wait_child(-1);
  i64 ns = now() - start, one = 0;
  for (int i = 0; i < children; i++) sys(SYS_read, ready[0], &one, sizeof one), *delay += one;
  return ns;
}

int main(int argc, char **argv, char **envp) {
  if (argc == 2) return 0; /* what exec_exit runs */
  self = argv[0], environment = envp;
#ifndef HOST
  self = "/proc/self/exe";
#endif
  for (u64 i = 0; argc > 4 && i < sizeof loops / sizeof loops[0]; i++) {
    if (strcmp(argv[1], loops[i].name)) continue;
    i64 n = atoi(argv[2]), warmup = atoi(argv[3]), ns, delay = 0;
    dir = argv[4];
    if (argc > 7) self = argv[6], interpreted = argv[7];
    if (argc > 5 && atoi(argv[5]) > 0) ns = together(loops[i].loop, n, warmup, atoi(argv[5]), &delay);
    else {
      loops[i].loop(warmup);
      i64 before = waited(), start = now();
      loops[i].loop(n);
      ns = now() - start;
      delay = waited() - before;
    }
#ifdef HOST
    print("%ld %ld\n", ns, delay);
#else
    print("%d %d\n", ns, delay);
#endif
    return 0;
  }
  print("usage: syscalls NAME N WARMUP DIR [CHILDREN [INTERPRETER PROGRAM]]\n");
  return 2;
}
