/* The few lines of C library that the guest fixtures share: no headers, no relocations, raw Linux system calls. */
#ifndef GUEST_H
#define GUEST_H

typedef long i64;
typedef unsigned long u64;
typedef int i32;
typedef unsigned int u32;
typedef unsigned char u8;
#define NULL ((void *)0)

enum {
  SYS_getcwd = 17, SYS_eventfd2 = 19, SYS_epoll_create1 = 20, SYS_epoll_ctl = 21, SYS_epoll_pwait = 22,
  SYS_dup = 23, SYS_dup3 = 24, SYS_fcntl = 25, SYS_ioctl = 29, SYS_mkdirat = 34, SYS_unlinkat = 35,
  SYS_symlinkat = 36, SYS_linkat = 37, SYS_renameat2 = 276, SYS_ftruncate = 46, SYS_chdir = 49, SYS_openat = 56,
  SYS_close = 57, SYS_pipe2 = 59, SYS_getdents64 = 61, SYS_lseek = 62, SYS_read = 63, SYS_write = 64,
  SYS_readv = 65, SYS_writev = 66, SYS_pread64 = 67, SYS_pwrite64 = 68, SYS_ppoll = 73, SYS_readlinkat = 78,
  SYS_newfstatat = 79, SYS_fstat = 80, SYS_exit = 93, SYS_exit_group = 94, SYS_waitid = 95,
  SYS_set_tid_address = 96, SYS_futex = 98, SYS_nanosleep = 101, SYS_setitimer = 103, SYS_clock_gettime = 113,
  SYS_sched_yield = 124, SYS_kill = 129, SYS_tgkill = 131, SYS_sigaltstack = 132, SYS_rt_sigsuspend = 133,
  SYS_rt_sigaction = 134, SYS_rt_sigprocmask = 135, SYS_rt_sigpending = 136, SYS_rt_sigtimedwait = 137,
  SYS_rt_sigreturn = 139, SYS_setpgid = 154, SYS_getpgid = 155, SYS_setsid = 157, SYS_uname = 160,
  SYS_getpid = 172, SYS_getppid = 173, SYS_gettid = 178, SYS_brk = 214, SYS_munmap = 215, SYS_mremap = 216,
  SYS_clone = 220, SYS_execve = 221, SYS_mmap = 222, SYS_mprotect = 226, SYS_madvise = 233, SYS_wait4 = 260,
};

enum {
  ENOENT = 2, EINTR = 4, EBADF = 9, ECHILD = 10, EAGAIN = 11, EFAULT = 14, EEXIST = 17, EINVAL = 22, EPIPE = 32,
  ETIMEDOUT = 110,
  SIGINT = 2, SIGILL = 4, SIGTRAP = 5, SIGABRT = 6, SIGBUS = 7, SIGKILL = 9, SIGUSR1 = 10, SIGSEGV = 11,
  SIGUSR2 = 12, SIGPIPE = 13, SIGALRM = 14, SIGTERM = 15, SIGCHLD = 17, SIGCONT = 18, SIGSTOP = 19,
  O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0100, O_EXCL = 0200, O_TRUNC = 01000, O_APPEND = 02000,
  O_NONBLOCK = 04000, O_DIRECTORY = 0200000, O_CLOEXEC = 02000000, AT_FDCWD = -100, AT_REMOVEDIR = 0x200,
  PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_FIXED = 16, MAP_ANONYMOUS = 32,
  CLONE_VM = 0x100, CLONE_FS = 0x200, CLONE_FILES = 0x400, CLONE_SIGHAND = 0x800, CLONE_VFORK = 0x4000,
  CLONE_THREAD = 0x10000, CLONE_SYSVSEM = 0x40000, CLONE_SETTLS = 0x80000, CLONE_PARENT_SETTID = 0x100000,
  CLONE_CHILD_CLEARTID = 0x200000, CLONE_CHILD_SETTID = 0x1000000,
  FUTEX_WAIT = 0, FUTEX_WAKE = 1, FUTEX_PRIVATE = 128,
  SA_SIGINFO = 4, SA_ONSTACK = 0x08000000, SA_RESTART = 0x10000000, SA_NODEFER = 0x40000000,
  SA_RESETHAND = (int)0x80000000, SIG_BLOCK = 0, SIG_UNBLOCK = 1, SIG_SETMASK = 2,
  WNOHANG = 1, WUNTRACED = 2,
};

struct timespec { i64 sec, nsec; };

#ifdef __riscv
static inline i64 sys6(i64 n, i64 a, i64 b, i64 c, i64 d, i64 e, i64 f) {
  register i64 a7 __asm__("a7") = n, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
  register i64 a3 __asm__("a3") = d, a4 __asm__("a4") = e, a5 __asm__("a5") = f;
  __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
  return a0;
}
#endif
#define S1(n) sys6(n, 0, 0, 0, 0, 0, 0)
#define S2(n, a) sys6(n, (i64)(a), 0, 0, 0, 0, 0)
#define S3(n, a, b) sys6(n, (i64)(a), (i64)(b), 0, 0, 0, 0)
#define S4(n, a, b, c) sys6(n, (i64)(a), (i64)(b), (i64)(c), 0, 0, 0)
#define S5(n, a, b, c, d) sys6(n, (i64)(a), (i64)(b), (i64)(c), (i64)(d), 0, 0)
#define S6(n, a, b, c, d, e) sys6(n, (i64)(a), (i64)(b), (i64)(c), (i64)(d), (i64)(e), 0)
#define S7(n, a, b, c, d, e, f) sys6(n, (i64)(a), (i64)(b), (i64)(c), (i64)(d), (i64)(e), (i64)(f))
#define GET_MACRO(_1, _2, _3, _4, _5, _6, _7, NAME, ...) NAME
/* sys(number, arguments...) */
#define sys(...) GET_MACRO(__VA_ARGS__, S7, S6, S5, S4, S3, S2, S1)(__VA_ARGS__)

void *memset(void *p, int c, u64 n) { u8 *b = p; while (n--) *b++ = c; return p; }
void *memcpy(void *d, const void *s, u64 n) { u8 *a = d; const u8 *b = s; while (n--) *a++ = *b++; return d; }
static inline u64 strlen(const char *s) { u64 n = 0; while (s[n]) n++; return n; }
static inline int strcmp(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return (u8)*a - (u8)*b;
}
static inline i64 atoi(const char *s) {
  i64 n = 0;
  int neg = *s == '-';
  if (neg) s++;
  while (*s >= '0' && *s <= '9') n = n * 10 + *s++ - '0';
  return neg ? -n : n;
}

/* print(format, ...): %s %d (64 bits) %x %c, one write(2) per call. */
static void vprint(int fd, const char *f, __builtin_va_list ap) {
  char out[1024];
  u64 n = 0;
  for (; *f && n < sizeof out - 32; f++) {
    if (*f != '%') { out[n++] = *f; continue; }
    f++;
    if (*f == 's') {
      const char *s = __builtin_va_arg(ap, const char *);
      while (*s && n < sizeof out - 32) out[n++] = *s++;
    } else if (*f == 'c') {
      out[n++] = (char)__builtin_va_arg(ap, int);
    } else if (*f == 'd' || *f == 'x') {
      i64 v = __builtin_va_arg(ap, i64);
      u64 u = v, base = *f == 'x' ? 16 : 10;
      char digits[24];
      int d = 0;
      if (*f == 'd' && v < 0) { out[n++] = '-'; u = -u; }
      do digits[d++] = "0123456789abcdef"[u % base]; while (u /= base);
      while (d) out[n++] = digits[--d];
    } else {
      out[n++] = *f;
    }
  }
  sys(SYS_write, fd, out, n);
}
static void print(const char *f, ...) {
  __builtin_va_list ap;
  __builtin_va_start(ap, f);
  vprint(1, f, ap);
  __builtin_va_end(ap);
}
#define P(...) print(__VA_ARGS__)

static inline void exit(int code) { for (;;) sys(SYS_exit_group, code); }
static inline i64 fork(void) { return sys(SYS_clone, SIGCHLD, 0, 0, 0, 0); }
static inline i64 waitpid(i64 pid, int *status, int options) { return sys(SYS_wait4, pid, status, options, 0); }
static inline i64 now(void) {
  struct timespec t;
  sys(SYS_clock_gettime, 1, &t);
  return t.sec * 1000000000 + t.nsec;
}
static inline void nap(i64 ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  sys(SYS_nanosleep, &t, &t);
}

#ifndef NATIVE
struct sigaction { void *handler; u64 flags; u64 mask; };
static inline i64 on_signal(int sig, void *handler, u64 flags) {
  struct sigaction sa = {handler, flags, 0};
  return sys(SYS_rt_sigaction, sig, &sa, 0, 8);
}
#endif

#ifdef __riscv
/* start_thread: clone(2) with pthread's flags; fn(arg) runs on `stack_top`; *tid is cleared and woken at its end. */
__attribute__((used)) i64 start_thread(u64 flags, void *stack_top, int *ptid, void *tls, int *ctid, void (*fn)(void *), void *arg);
__asm__(
  ".text\n.globl start_thread\nstart_thread:\n"
  "  addi a1, a1, -16\n  sd a5, 0(a1)\n  sd a6, 8(a1)\n"
  "  li a7, 220\n  ecall\n  bnez a0, 1f\n"
  "  ld t0, 0(sp)\n  ld a0, 8(sp)\n  jalr t0\n"
  "  li a0, 0\n  li a7, 93\n  ecall\n"
  "1: ret\n");
#endif
#define PTHREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | \
  CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

int main(int argc, char **argv, char **envp);
__attribute__((used, noreturn)) void start_c(i64 *sp) {
  int argc = (int)sp[0];
  char **argv = (char **)(sp + 1);
  exit(main(argc, argv, argv + argc + 1));
  __builtin_unreachable();
}
#ifdef __riscv
__asm__(
  ".text\n.globl _start\n_start:\n"
  ".option push\n.option norelax\n  la gp, __global_pointer$\n.option pop\n"
  "  mv a0, sp\n  andi sp, sp, -16\n  call start_c\n");
#endif

#endif
