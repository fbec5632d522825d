#include "guest.h"
/* file VERB PATH [TEXT]: read, write, mkdir, unlink, list, cwd. Prints what it got, or the error as a negative number. */
static char buf[4096];
int main(int argc, char **argv, char **envp) {
  const char *verb = argc > 1 ? argv[1] : "", *path = argc > 2 ? argv[2] : "";
  i64 n, fd;
  if (!strcmp(verb, "cwd")) {
    n = sys(SYS_getcwd, buf, sizeof buf);
    print("%s\n", n > 0 ? buf : "error");
    return 0;
  }
  if (!strcmp(verb, "mkdir")) return print("%d\n", sys(SYS_mkdirat, AT_FDCWD, path, 0755)), 0;
  if (!strcmp(verb, "unlink")) return print("%d\n", sys(SYS_unlinkat, AT_FDCWD, path, 0)), 0;
  int write = !strcmp(verb, "write"), list = !strcmp(verb, "list");
  fd = sys(SYS_openat, AT_FDCWD, path, write ? O_WRONLY | O_CREAT | O_TRUNC : list ? O_RDONLY | O_DIRECTORY : O_RDONLY, 0644);
  if (fd < 0) return print("%d\n", fd), 1;
  if (write) return print("%d\n", sys(SYS_write, fd, argv[3], strlen(argv[3]))), 0;
  if (!list) {
    while ((n = sys(SYS_read, fd, buf, sizeof buf)) > 0) sys(SYS_write, 1, buf, n);
    if (n < 0) print("%d\n", n);
    return n < 0;
  }
  while ((n = sys(SYS_getdents64, fd, buf, sizeof buf)) > 0)
    for (i64 off = 0; off < n; off += *(unsigned short *)(buf + off + 16)) print("%s\n", buf + off + 19);
  return 0;
}
