#ifdef NATIVE
#include "native.h" /* made by test/syscalls/record.ts: x86-64 numbers and _start, to ask the host's Linux */
#endif
#include "guest.h"
/* Makes system calls, each in a process of its own, and says how each ended.
 *
 * Standard input has a line per call: flag nr a0 a1 a2 a3 a4 a5, in hexadecimal; flag 1: the call may wait, do not wait for it long.
 * Behind them may stand what the buffer holds: offset, number of bytes, value, as often as there are words.
 * Output has a line per call: "=" a result that is no error, "eN" an error number, "sN" killed by a signal, "xN" exited, "b" still waiting.
 *
 * What arguments can name: zeroed memory at BUFFER, the name "file" at NAME, descriptors as in setup(). */
#define BUFFER 0x30000000L
#define BYTES 0x10000
#define NAME (BUFFER + 0x8000)
#define SHARED (BUFFER + BYTES)

#define WORDS 128

struct result { i64 value; int state; };
static struct result *const result = (void *)SHARED;
static char input[1 << 16];

/* A datagram of 8 bytes with descriptor 3 from 17 to 18. */
static void send_file(void) {
  u64 control[3] = {20, 1L << 32 | 1, 3};
  u64 vector[2] = {NAME, 8};
  u64 message[7] = {0, 0, (u64)vector, 1, (u64)control, 24, 0};
  sys(211, 17, message, 0);
}

static void setup(void) {
  int fds[2];
  sys(157); /* setsid: signals to the own process group reach nobody else */
  memset((void *)BUFFER, 0, BYTES);
  memcpy((void *)NAME, "file", 5);
  sys(SYS_unlinkat, AT_FDCWD, NAME, 0); /* as an earlier call may have left it */
  int file = sys(SYS_openat, AT_FDCWD, NAME, O_RDWR | O_CREAT, 0644);
  if (file < 0) exit(99);
  for (int fd = 0; fd < 4; fd++)
    if (fd != file) sys(SYS_dup3, file, fd, 0);
  for (int fd = 4; fd < 32; fd++) sys(SYS_close, fd);
  sys(199, 1, 1, 0, fds);                            /* 4, 5: socketpair(AF_UNIX, SOCK_STREAM) */
  sys(198, 2, 2, 0);                                 /* 6: socket(AF_INET, SOCK_DGRAM) */
  sys(SYS_epoll_create1, 0);                         /* 7 */
  sys(85, 1, 0);                                     /* 8: timerfd_create(CLOCK_MONOTONIC) */
  sys(26, 0);                                        /* 9: inotify_init1 */
  sys(SYS_pipe2, fds, O_NONBLOCK);                   /* 10, 11 */
  sys(SYS_openat, AT_FDCWD, ".", O_DIRECTORY, 0);    /* 12 */
  sys(SYS_eventfd2, 0, O_NONBLOCK);                  /* 13 */
  sys(107, 1, 0, NAME + 64);                         /* timer_create(CLOCK_MONOTONIC): timer 0 */
  sys(198, 16, 3 | O_NONBLOCK, 0);                   /* 14: socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) */
  sys(SYS_openat, AT_FDCWD, "/dev/ptmx", O_RDWR | 0400 | O_NONBLOCK); /* 15 */
  *(int *)(NAME + 64) = 0;
  sys(SYS_ioctl, 15, 0x40045431, NAME + 64);         /* TIOCSPTLCK */
  sys(SYS_ioctl, 15, 0x5441, O_RDWR | 0400 | O_NONBLOCK); /* 16: TIOCGPTPEER */
  sys(199, 1, 2, 0, fds);                            /* 17, 18: socketpair(AF_UNIX, SOCK_DGRAM) */
  send_file();
  sys(198, 2, 1 | O_NONBLOCK, 0);                    /* 19: socket(AF_INET, SOCK_STREAM) */
  sys(198, 10, 2, 0);                                /* 20: socket(AF_INET6, SOCK_DGRAM) */
  sys(198, 1, 2, 0);                                 /* 21: socket(AF_UNIX, SOCK_DGRAM) */
  sys(SYS_pipe2, fds, O_NONBLOCK);                   /* 22, 23 */
  sys(SYS_write, 23, NAME, 8);
  sys(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_RDWR); /* 24 */
  sys(SYS_openat, AT_FDCWD, "/proc/self/comm", O_RDWR);          /* 25 */
}

/* The buffer's content, behind the eight words of a call. */
static void poke(u64 *w, int words) {
  for (; words >= 3; w += 3, words -= 3)
    for (u64 n = 0; n < w[1]; n++) ((u8 *)BUFFER)[w[0] + n] = w[2] >> 8 * n;
}

static int expired;
static void on_alarm(int sig) { expired = 1; }

static void set_timer(i64 ms) {
  i64 times[4] = {0, 0, ms / 1000, ms % 1000 * 1000};
  sys(SYS_setitimer, 0, times, 0);
}

static void call(u64 *w, int words) {
  int status = 0;
  result->state = 0;
  i64 pid = fork();
  if (pid == 0) {
    on_signal(SIGALRM, 0, 0);
    setup();
    poke(w + 8, words - 8);
    i64 value = sys6(w[1], w[2], w[3], w[4], w[5], w[6], w[7]);
    if ((w[1] == 435 || w[1] == SYS_clone) && value == 0) exit(0);
    result->value = value;
    result->state = 1;
    exit(0);
  }
  expired = 0;
  set_timer(w[0] ? 100 : 30000);
  while (waitpid(pid, &status, 0x40000000) != pid)
    if (expired) sys(SYS_kill, pid, SIGKILL);
  set_timer(0);
  i64 value = result->value;
  if (result->state == 1) {
    if (value < 0 && value > -4096) P("e%d\n", -value);
    else P("=\n");
  } else if (expired) P("b\n");
  else if (status & 0x7f) P("s%d\n", (i64)(status & 0x7f));
  else P("x%d\n", (i64)(status >> 8));
}

int main(int argc, char **argv, char **envp) {
  u64 word[WORDS];
  int n = 0, digits = 0;
  if (sys(SYS_mmap, BUFFER, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0) != BUFFER) return 1;
  if (sys(SYS_mmap, SHARED, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_ANONYMOUS, -1, 0) != SHARED) return 1;
  if (argc > 1) { /* a folder of its own */
    sys(SYS_mkdirat, AT_FDCWD, argv[1], 0777);
    sys(SYS_chdir, argv[1]);
  }
  on_signal(SIGALRM, on_alarm, 0);
  memset(word, 0, sizeof word);
  for (;;) {
    i64 got = sys(SYS_read, 0, input, sizeof input);
    if (got <= 0) return got != 0;
    for (i64 i = 0; i < got; i++) {
      char c = input[i];
      if (c == ' ' || c == '\n') {
        n++;
        if (c == ' ') continue;
        call(word, n);
        memset(word, 0, sizeof word);
        n = 0;
      } else if (n < WORDS) word[n] = word[n] * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
    }
  }
}
