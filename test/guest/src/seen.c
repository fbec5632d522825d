#include "guest.h"
/* Calls whose paths a subsystem (test/subsystems/fixtures/swap.ts) changes in memory behind its look. Prints what each call reached. */
#define SYS_socket 198
#define SYS_bind 200
#define SYS_listen 201
#define SYS_accept 202
#define SYS_connect 203
#define SYS_getpeername 205
#define SYS_sendmsg 211
#define SYS_umask 166
#define SYS_setuid 146
#define NAME 16
struct address { unsigned short family; char path[NAME]; };
static void set(struct address *to, const char *path) {
  to->family = 1;
  for (int n = 0; n < NAME; n++) to->path[n] = path[n];
}
static int bound(int type, const char *path) {
  struct address at;
  set(&at, path);
  int fd = sys(SYS_socket, 1, type, 0);
  return sys(SYS_bind, fd, &at, sizeof at) < 0 ? -1 : fd;
}
static void file(const char *path, const char *text) {
  int fd = sys(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY, 0666);
  sys(SYS_write, fd, text, 1);
  sys(SYS_close, fd);
}
static void say(const char *what, const char *got) {
  print(what);
  print(" ");
  print(got);
  print("\n");
}
static char name[NAME] = "/tmp/allowed-f";
static struct address at, peer;
static struct { void *base; u64 length; } iov = {"m", 1};
static struct { void *name; u64 namelen; void *iov; u64 iovlen; void *control; u64 controllen; u64 flags; } message = {&at, sizeof at, &iov, 1};
int main(int argc, char **argv, char **envp) {
  char got[2] = "-";
  int size = sizeof peer;
  /* As root, whose calls the subsystem leaves alone. */
  sys(SYS_umask, 0);
  file("/tmp/allowed-f", "a");
  file("/tmp/secrets-f", "s");
  int mailbox = bound(2 | O_NONBLOCK, "/tmp/allowed-d");
  bound(2, "/tmp/secrets-d");
  int listener = bound(1, "/tmp/allowed-s"), other = bound(1, "/tmp/secrets-s");
  sys(SYS_listen, listener, 0);
  sys(SYS_listen, other, 0);
  set(&at, "/tmp/allowed-s");
  while (sys(SYS_connect, sys(SYS_socket, 1, 1 | O_NONBLOCK, 0), &at, sizeof at) == 0);
  sys(SYS_setuid, 1000);

  sys(SYS_read, sys(SYS_openat, AT_FDCWD, name, 0), got, 1);
  say("open", got);
  say("memory", name);

  set(&at, "/tmp/allowed-d");
  say("sendmsg", sys(SYS_sendmsg, sys(SYS_socket, 1, 2, 0), &message, 0) == 1 ? "sent" : "failed");
  got[0] = '-';
  sys(SYS_read, mailbox, got, 1);
  say("received", got);

  /* It blocks between the look and the end, until the child makes room. */
  set(&at, "/tmp/allowed-s");
  if (sys(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0) {
    struct timespec while_ = {0, 50000000};
    sys(SYS_nanosleep, &while_, 0);
    sys(SYS_accept, listener, 0, 0);
    return 0;
  }
  int fd = sys(SYS_socket, 1, 1, 0);
  say("connect", sys(SYS_connect, fd, &at, sizeof at) == 0 ? "connected" : "failed");
  sys(SYS_getpeername, fd, &peer, &size);
  say("peer", peer.path);
  say("memory", at.path);
  return 0;
}
