#include "guest.h"
/* Pipes: order, end of file, EPIPE, blocking both ways, O_NONBLOCK, a pipeline of three processes. */
static char block[8192];
int main(int argc, char **argv, char **envp) {
  int p[2], q[2], status;
  print("pipe2 %d\n", sys(SYS_pipe2, p, 0));
  print("write %d\n", sys(SYS_write, p[1], "abc", 3));
  char buf[16] = {0};
  print("read %d %s\n", sys(SYS_read, p[0], buf, 16), buf);
  sys(SYS_close, p[1]);
  print("eof %d\n", sys(SYS_read, p[0], buf, 16));
  sys(SYS_close, p[0]);
  print("closed %d\n", sys(SYS_read, p[0], buf, 1));

  sys(SYS_pipe2, p, O_NONBLOCK);
  print("empty %d\n", sys(SYS_read, p[0], buf, 1));
  i64 total = 0, n;
  while ((n = sys(SYS_write, p[1], block, 4096)) > 0) total += n;
  print("full after %d: %d\n", total, n);
  sys(SYS_close, p[0]);
  on_signal(SIGPIPE, (void *)1, 0);
  print("broken %d\n", sys(SYS_write, p[1], "x", 1));
  sys(SYS_close, p[1]);

  /* source -> filter -> us, 1 MiB through 64 KiB pipes */
  sys(SYS_pipe2, p, 0);
  sys(SYS_pipe2, q, 0);
  if (fork() == 0) {
    sys(SYS_close, p[0]), sys(SYS_close, q[0]), sys(SYS_close, q[1]);
    for (int i = 0; i < 128; i++) {
      memset(block, i, sizeof block);
      for (u64 off = 0; off < sizeof block;) off += sys(SYS_write, p[1], block + off, sizeof block - off);
    }
    exit(0);
  }
  if (fork() == 0) {
    sys(SYS_close, p[1]), sys(SYS_close, q[0]);
    while ((n = sys(SYS_read, p[0], block, 5000)) > 0) {
      for (i64 i = 0; i < n; i++) block[i] ^= 0x55;
      for (i64 off = 0; off < n;) off += sys(SYS_write, q[1], block + off, n - off);
    }
    exit(n < 0);
  }
  sys(SYS_close, p[0]), sys(SYS_close, p[1]), sys(SYS_close, q[1]);
  u64 hash = 5381, bytes = 0;
  while ((n = sys(SYS_read, q[0], block, sizeof block)) > 0)
    for (i64 i = 0; i < n; i++) hash = hash * 33 + (u8)block[i], bytes++;
  waitpid(-1, &status, 0);
  print("first exit %d\n", (i64)(status >> 8));
  waitpid(-1, &status, 0);
  print("second exit %d\n", (i64)(status >> 8));
  print("piped %d hash %x\n", bytes, hash);
  return 0;
}
