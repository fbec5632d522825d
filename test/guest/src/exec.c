#include "guest.h"
/*
 * exec: runs itself again through execve, through a #! line, from a vfork child, and looks at what survives.
 * The first form needs /proc/self/exe.
 */
static char *const no_env[] = {"GUEST=exec", NULL};
static void run(const char *path, char *const argv[]) {
  i64 r = sys(SYS_execve, path, argv, no_env);
  print("execve %s: %d\n", path, r);
  exit(127);
}
static void handler(int sig) {}
int main(int argc, char **argv, char **envp) {
  int status;
  if (argc > 1 && !strcmp(argv[1], "--inner")) {
    struct sigaction sa = {0};
    sys(SYS_rt_sigaction, SIGUSR1, 0, &sa, 8);
    i64 usr1 = (i64)sa.handler;
    sys(SYS_rt_sigaction, SIGUSR2, 0, &sa, 8);
    print("inner argc %d argv[2] %s env %s\n", (i64)argc, argc > 2 ? argv[2] : "-", envp[0] ? envp[0] : "-");
    print("handler reset %d ignore kept %d\n", (i64)(usr1 == 0), (i64)((i64)sa.handler == 1));
    print("fd 30 %d fd 31 %d\n", (i64)(sys(SYS_fcntl, 30, 1) >= 0), (i64)(sys(SYS_fcntl, 31, 1) >= 0));
    return 6;
  }
  if (argc > 1) { /* through #!: argv is interpreter, optional argument, script, arguments */
    for (int i = 1; i < argc; i++) print("script argv[%d] %s\n", (i64)i, argv[i]);
    return 7;
  }
  char self[256] = {0};
  sys(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", self, sizeof self - 1);
  print("self is absolute %d\n", (i64)(self[0] == '/'));
  on_signal(SIGUSR1, handler, 0);
  on_signal(SIGUSR2, (void *)1, 0);
  sys(SYS_dup3, 1, 30, 0);
  sys(SYS_dup3, 1, 31, O_CLOEXEC);
  char *const inner[] = {"inner", "--inner", "two words", NULL};
  i64 pid = fork();
  if (pid == 0) run("/proc/self/exe", inner);
  waitpid(pid, &status, 0);
  print("status %x\n", (i64)status);

  i64 fd = sys(SYS_openat, AT_FDCWD, "/tmp/sternix-script", O_WRONLY | O_CREAT | O_TRUNC, 0755);
  sys(SYS_write, fd, "#! ", 3), sys(SYS_write, fd, self, strlen(self)), sys(SYS_write, fd, " an argument \n", 14);
  sys(SYS_close, fd);
  char *const script[] = {"ignored", "last", NULL};
  pid = sys(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) run("/tmp/sternix-script", script);
  waitpid(pid, &status, 0);
  print("status %x\n", (i64)status);
  sys(SYS_unlinkat, AT_FDCWD, "/tmp/sternix-script", 0);

  print("missing %d\n", sys(SYS_execve, "/tmp/sternix-none", inner, no_env));
  print("directory %d\n", sys(SYS_execve, "/tmp", inner, no_env));
  fd = sys(SYS_openat, AT_FDCWD, "/tmp/sternix-text", O_WRONLY | O_CREAT | O_TRUNC, 0755);
  sys(SYS_write, fd, "not a program", 13);
  sys(SYS_close, fd);
  print("not a program %d\n", sys(SYS_execve, "/tmp/sternix-text", inner, no_env));
  sys(SYS_unlinkat, AT_FDCWD, "/tmp/sternix-text", 0);
  print("bad argv %d\n", sys(SYS_execve, "/proc/self/exe", (void *)8, no_env));
  return 0;
}
