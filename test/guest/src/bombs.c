#include "guest.h"
/* bombs KIND UID: takes as much of one kind as it gets, says what stopped it, and keeps it until it is killed. */
enum { SYS_inotify_init1 = 26, SYS_inotify_add_watch = 27, SYS_mount = 40, SYS_socketpair = 199, SYS_timer_create = 107,
  SYS_timer_settime = 110, SYS_rt_sigqueueinfo = 138, SYS_setuid = 146, SYS_setgroups = 159, SYS_memfd_create = 279, SYS_prlimit64 = 261 };
static char block[1 << 20];
static char name[32];

static void stop(i64 count, i64 error) {
  print("%d %d\n", error, count);
  for (;;) nap(1000000);
}
static char *file(i64 n) {
  char *at = name + 31;
  do *--at = '0' + n % 10; while (n /= 10);
  memcpy(at -= 5, "/tmp/", 5);
  return at;
}
static void sleeper(void *arg) { for (;;) nap(1000000); }

int main(int argc, char **argv, char **envp) {
  const char *kind = argv[1];
  u64 files[2] = {1 << 20, 1 << 20};
  i64 n = 0, got = 0;
  int p[2], tid;
  sys(SYS_prlimit64, 0, 7, files, 0);
  if (atoi(argv[2])) sys(SYS_setuid, atoi(argv[2]));
#define UNTIL_REFUSED(call) for (; (got = (call)) >= 0; n++)
#define KIND(k) else if (!strcmp(kind, k))
  if (0) ;
  KIND("fork") { UNTIL_REFUSED(fork()) if (got == 0) sleeper(0); }
  KIND("thread") { UNTIL_REFUSED(start_thread(PTHREAD_FLAGS, block + 4096 + n % 1000 * 512, &tid, 0, &tid, sleeper, 0)) ; }
  KIND("fd") { UNTIL_REFUSED(sys(SYS_openat, AT_FDCWD, "/dev/null", 0, 0)) ; }
  KIND("pipe") { UNTIL_REFUSED(sys(SYS_pipe2, p, O_NONBLOCK)) sys(SYS_write, p[1], block, 65536); }
  KIND("socket") { UNTIL_REFUSED(sys(SYS_socketpair, 1, 1 | O_NONBLOCK, 0, p)) sys(SYS_write, p[1], block, 4096); }
  KIND("dgram") { UNTIL_REFUSED(sys(SYS_socketpair, 1, 2 | O_NONBLOCK, 0, p)) while (sys(SYS_write, p[1], block, 1) > 0) ; }
  KIND("epoll") {
    i64 ep = 0;
    struct { u32 events; u32 data[3]; } event = {1};
    sys(SYS_pipe2, p, 0);
    UNTIL_REFUSED(n % 512 == 0 ? (ep = sys(SYS_epoll_create1, 0)) : sys(SYS_epoll_ctl, ep, 1, sys(SYS_dup, p[0]), &event)) ;
  }
  KIND("inotify") { UNTIL_REFUSED(sys(SYS_inotify_init1, 0)) ; }
  KIND("events") { /* names of files that come and go, in the queues of many instances */
    i64 queues = 0;
    while (queues < 200 && (got = sys(SYS_inotify_init1, O_NONBLOCK)) >= 0) sys(SYS_inotify_add_watch, got, "/tmp", 0xfff), queues++;
    for (; n < 1000; n++) {
      if ((got = sys(SYS_openat, AT_FDCWD, file(n), O_CREAT | O_WRONLY, 0600)) < 0) break;
      sys(SYS_close, got);
      if ((got = sys(SYS_unlinkat, AT_FDCWD, file(n), 0)) < 0) break;
    }
  }
  KIND("slots") { /* descriptor tables with a million places */
    for (; n < 40 && (got = fork()) >= 0; n++) {
      if (got == 0) { sys(SYS_dup3, 2, (1 << 20) - 1, 0); sleeper(0); }
      nap(1);
    }
    if (got > 0) got = 0;
  }
  KIND("groups") { /* the most supplementary groups, in many processes */
    static int all[65536];
    for (; n < 60 && (got = fork()) >= 0; n++) {
      if (got == 0) { sys(SYS_setgroups, 65536, all); sleeper(0); }
      nap(1);
    }
    if (got > 0) got = 0;
  }
  KIND("touch") { UNTIL_REFUSED(sys(SYS_mmap, 0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) memset((void *)got, 1, 1 << 20); }
  KIND("shared") { UNTIL_REFUSED(sys(SYS_mmap, 0, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) memset((void *)got, 1, 1 << 20); }
  KIND("memfd") { UNTIL_REFUSED(sys(SYS_memfd_create, "m", 0)) if ((got = sys(SYS_write, got, block, 1 << 20)) < 0) break; }
  KIND("tmpfs") {
    i64 fd = sys(SYS_openat, AT_FDCWD, "/tmp/big", O_CREAT | O_WRONLY, 0600);
    sys(SYS_unlinkat, AT_FDCWD, "/tmp/big", 0);
    UNTIL_REFUSED(sys(SYS_write, fd, block, 1 << 20)) ;
  }
  KIND("names") {
    UNTIL_REFUSED(sys(SYS_openat, AT_FDCWD, file(n), O_CREAT | O_WRONLY, 0600)) sys(SYS_close, got);
    i64 error = got;
    for (i64 i = 0; i < n; i++) sys(SYS_unlinkat, AT_FDCWD, file(i), 0);
    got = error;
  }
  KIND("mount") { UNTIL_REFUSED(sys(SYS_mount, "x", "/mnt", "tmpfs", 0, "")) ; }
  KIND("timer") {
    i64 spec[4] = {0, 1, 0, 1};
    u64 event[8] = {0, SIGUSR1};
    on_signal(SIGUSR1, (void *)1, 0);
    UNTIL_REFUSED(sys(SYS_timer_create, 1, event, &tid)) sys(SYS_timer_settime, tid, 0, spec, 0);
  }
  KIND("sigqueue") {
    u64 all = ~0ull;
    int info[32] = {34, 0, -1};
    sys(SYS_rt_sigprocmask, SIG_BLOCK, &all, 0, 8);
    UNTIL_REFUSED(sys(SYS_rt_sigqueueinfo, sys(SYS_getpid), 34, info)) ;
  }
  KIND("tables") { /* a page table for every 4 MiB, again and again */
    i64 fd = sys(SYS_openat, AT_FDCWD, "/proc/self/exe", 0, 0);
    /* sixteen would take more than all of the kernel's heap */
    for (; n < 16 && (got = fork()) >= 0; n++) {
      if (got > 0) { nap(1); continue; }
      for (u64 a = 0x10000000; a < 0xf0000000; a += 0x400000)
        if (sys(SYS_mmap, a, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) > 0) sys(SYS_write, 2, (void *)a, 1);
      sleeper(0);
    }
    if (got > 0) got = 0;
  }
  KIND("later") { /* not a bomb: runs itself, with other arguments, when it gets SIGUSR1 */
    u64 all = ~0ull;
    sys(SYS_rt_sigprocmask, SIG_BLOCK, &all, 0, 8);
    i64 fd = sys(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY, 0);
    sys(SYS_write, fd, "-1000", 5);
    print("ready\n");
    sys(SYS_rt_sigtimedwait, &all, 0, 0, 8);
    char *args[] = {"bombs", "done", "0", 0};
    got = sys(SYS_execve, "/proc/self/exe", args, args + 3);
  }
  KIND("done") return 0;
  KIND("exec") {
    static char *args[20001];
    memset(block, 'a', 131071), block[131071] = 0;
    for (int i = 0; i < 20000; i++) args[i] = block;
    got = sys(SYS_execve, "/proc/self/exe", args, args + 20000);
  }
  stop(n, got);
}
