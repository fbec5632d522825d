#include "guest.h"
/* echo: copies standard input to standard output; says on standard error how much. `echo -s` sleeps first. */
static char buf[65536];
int main(int argc, char **argv, char **envp) {
  i64 n, total = 0;
  while ((n = sys(SYS_read, 0, buf, sizeof buf)) > 0) {
    total += n;
    for (i64 off = 0; off < n;) {
      i64 w = sys(SYS_write, 1, buf + off, n - off);
      if (w < 0) return 1;
      off += w;
    }
  }
  __builtin_va_list none;
  vprint(2, "copied\n", none);
  return n < 0 ? (int)-n : 0;
}
