#include "guest.h"
/* bench NAME N: runs one loop N times and prints the nanoseconds it took, and a checksum. */
static u8 a[1 << 20], b[1 << 20];
static i64 getppid_loop(i64 n) { i64 s = 0; while (n--) s += sys(SYS_getppid) != -1; return s; }
static i64 pipe_loop(i64 n) {
  int p[2];
  char c = 'x';
  i64 s = 0;
  sys(SYS_pipe2, p, 0);
  while (n--) s += sys(SYS_write, p[1], &c, 1) + sys(SYS_read, p[0], &c, 1);
  return s;
}
static i64 open_loop(i64 n) {
  i64 s = 0;
  while (n--) {
    i64 fd = sys(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0);
    s += sys(SYS_close, fd) == 0;
  }
  return s;
}
static i64 fork_loop(i64 n) {
  i64 s = 0;
  int status;
  while (n--) {
    i64 pid = fork();
    if (pid == 0) exit(1);
    waitpid(pid, &status, 0);
    s += status >> 8;
  }
  return s;
}
static i64 integer_loop(i64 n) {
  u64 x = 88172645463325252ul, s = 0;
  while (n--) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    s += x % 1000 + (x >> 60) * 3;
  }
  return s;
}
static i64 float_loop(i64 n) {
  double x = 0.5, s = 0;
  while (n--) {
    x = 3.7 * x * (1.0 - x);
    s += x / (1.0 + s * 1e-9);
  }
  return (i64)(s * 1000);
}
static i64 memory_loop(i64 n) {
  u64 s = 0;
  for (u64 i = 0; i < sizeof a; i++) a[i] = (u8)(i * 7);
  while (n--) {
    u64 *from = (u64 *)a, *to = (u64 *)b;
    for (u64 i = 0; i < sizeof a / 8; i += 4) to[i] = from[i], to[i + 1] = from[i + 1], to[i + 2] = from[i + 2], to[i + 3] = from[i + 3];
    s += b[n & 0xfffff], a[n & 0xfffff]++;
    __asm__ volatile("" ::: "memory");
  }
  return s;
}
static i64 call_depth(i64 n) { return n < 2 ? n : call_depth(n - 1) + call_depth(n - 2); }
static i64 call_loop(i64 n) { return call_depth(n); }
int main(int argc, char **argv, char **envp) {
  static const struct { const char *name; i64 (*loop)(i64); } loops[] = {
    {"getppid", getppid_loop}, {"pipe", pipe_loop}, {"open", open_loop}, {"fork", fork_loop},
    {"integer", integer_loop}, {"float", float_loop}, {"memory", memory_loop}, {"call", call_loop}};
  for (u64 i = 0; argc > 2 && i < sizeof loops / sizeof loops[0]; i++) {
    if (strcmp(argv[1], loops[i].name)) continue;
    i64 n = atoi(argv[2]);
    if (argc > 3) loops[i].loop(atoi(argv[3])); /* warm-up */
    i64 start = now(), sum = loops[i].loop(n);
    print("%d %d\n", now() - start, sum);
    return 0;
  }
  print("usage: bench NAME N [WARMUP]\n");
  return 2;
}
