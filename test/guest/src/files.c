#include "guest.h"
/* Files on a tmpfs: create, append, seek, dup, links, rename, directories, readdir, errors. */
static char buf[4096];
static i64 open(const char *path, int flags) { return sys(SYS_openat, AT_FDCWD, path, flags, 0644); }
static void put(const char *path, const char *text, int flags) {
  i64 fd = open(path, O_WRONLY | O_CREAT | flags);
  sys(SYS_write, fd, text, strlen(text));
  sys(SYS_close, fd);
}
static void show(const char *path) {
  i64 fd = open(path, O_RDONLY);
  if (fd < 0) { print("%s: %d\n", path, fd); return; }
  i64 n = sys(SYS_read, fd, buf, sizeof buf - 1);
  buf[n > 0 ? n : 0] = 0;
  print("%s: %s\n", path, buf);
  sys(SYS_close, fd);
}
int main(int argc, char **argv, char **envp) {
  print("mkdir %d\n", sys(SYS_mkdirat, AT_FDCWD, "/tmp/sternix-files", 0755));
  print("mkdir again %d\n", sys(SYS_mkdirat, AT_FDCWD, "/tmp/sternix-files", 0755));
  print("chdir %d\n", sys(SYS_chdir, AT_FDCWD * 0 + (i64) "/tmp/sternix-files"));
  put("one", "first", O_TRUNC);
  put("one", "+more", O_APPEND);
  show("one");
  print("excl %d\n", open("one", O_CREAT | O_EXCL | O_WRONLY));
  print("symlink %d link %d\n", sys(SYS_symlinkat, "one", AT_FDCWD, "sym"),
        sys(SYS_linkat, AT_FDCWD, "one", AT_FDCWD, "hard", 0));
  show("sym");
  i64 n = sys(SYS_readlinkat, AT_FDCWD, "sym", buf, sizeof buf);
  buf[n] = 0;
  print("readlink %s\n", buf);
  print("rename %d\n", sys(SYS_renameat2, AT_FDCWD, "one", AT_FDCWD, "two", 0));
  show("sym");
  show("hard");
  print("loop %d\n", (sys(SYS_symlinkat, "loop", AT_FDCWD, "loop"), open("loop", O_RDONLY)));
  print("not a directory %d\n", open("two/x", O_RDONLY));
  print("is a directory %d\n", open("/tmp/sternix-files", O_WRONLY));
  print("long name %d\n", (memset(buf, 'n', 300), buf[300] = 0, open(buf, O_CREAT | O_WRONLY)));

  i64 fd = open("two", O_RDWR);
  i64 dup = sys(SYS_dup, fd);
  sys(SYS_lseek, fd, 6, 0);
  n = sys(SYS_read, dup, buf, 3);
  buf[n] = 0;
  print("dup shares offset: %s\n", buf);
  sys(SYS_pwrite64, fd, "Z", 1, 20);
  print("size %d hole %d\n", sys(SYS_lseek, fd, 0, 2), (sys(SYS_pread64, fd, buf, 1, 15), (i64)buf[0]));
  sys(SYS_ftruncate, fd, 4);
  print("truncated %d\n", sys(SYS_lseek, fd, 0, 2));
  print("bad seek %d bad whence %d\n", sys(SYS_lseek, fd, -1, 0), sys(SYS_lseek, fd, 0, 9));
  sys(SYS_fcntl, fd, 2, 1);
  print("cloexec %d dup %d\n", sys(SYS_fcntl, fd, 1), sys(SYS_fcntl, dup, 1));
  print("dup3 self %d\n", sys(SYS_dup3, fd, fd, 0));
  sys(SYS_close, fd), sys(SYS_close, dup);

  for (char c = 'a'; c < 'a' + 20; c++) {
    char name[] = {'e', '-', c, 0};
    put(name, "x", 0);
  }
  i64 entries = 0, bytes = 0, dots = 0;
  fd = open(".", O_RDONLY | O_DIRECTORY);
  for (;;) {
    n = sys(SYS_getdents64, fd, buf, 256);
    if (n <= 0) break;
    bytes += n;
    for (i64 off = 0; off < n; off += *(unsigned short *)(buf + off + 16)) {
      const char *name = buf + off + 19;
      entries++;
      dots += name[0] == '.';
    }
  }
  print("entries %d dots %d last %d\n", entries, dots, n);
  sys(SYS_close, fd);
  for (char c = 'a'; c < 'a' + 20; c++) {
    char name[] = {'e', '-', c, 0};
    sys(SYS_unlinkat, AT_FDCWD, name, 0);
  }
  print("rmdir busy %d\n", sys(SYS_unlinkat, AT_FDCWD, "/tmp/sternix-files", AT_REMOVEDIR));
  fd = open("two", O_RDONLY);
  sys(SYS_unlinkat, AT_FDCWD, "two", 0), sys(SYS_unlinkat, AT_FDCWD, "hard", 0);
  sys(SYS_unlinkat, AT_FDCWD, "sym", 0), sys(SYS_unlinkat, AT_FDCWD, "loop", 0);
  n = sys(SYS_read, fd, buf, 16);
  buf[n] = 0;
  print("unlinked but open: %s\n", buf);
  sys(SYS_chdir, "/");
  print("rmdir %d\n", sys(SYS_unlinkat, AT_FDCWD, "/tmp/sternix-files", AT_REMOVEDIR));
  print("gone %d\n", open("/tmp/sternix-files", O_RDONLY));
  return 0;
}
