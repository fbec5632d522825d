#include "guest.h"
/* Interprets a script of system calls: test/fuzz/script.ts writes it, and says what it means. `fuzz run` reads it from standard
   input, makes a root of its own at /fuzz and runs it there as the user it names; `fuzz clean` takes that root away again. */
#define SCRIPT 0x20000000L
#define DATA 0x21000000L
#define SHARED 0x22000000L
#define RESULTS 0x23000000L
#define STACKS 0x24000000L
#define SCRIPT_BYTES 0x200000
#define DATA_BYTES 0x80000
#define SHARED_BYTES 0x10000
#define RESULTS_BYTES 0x10000
#define STACKS_BYTES 0x100000
/* In the results' last page: how many stacks were given out. */
#define COUNTER (RESULTS + 0xf000)
enum { SYS_umount2 = 39, SYS_mount = 40, SYS_mknodat = 33, SYS_chroot = 51, SYS_timer_create = 107, SYS_timer_settime = 110,
  SYS_setgid = 144, SYS_setuid = 146, SYS_setgroups = 159, SYS_setrlimit = 164, SYS_clone3 = 435, MS_BIND = 4096,
  MNT_DETACH = 2, RLIMIT_FSIZE = 1, RLIMIT_NPROC = 6, SIGXFSZ = 25 };
enum { CONST, RESULT, LOAD, TID, PID, PPID };
enum { END, CALL, STORE, FLIP, REPEAT };
struct value { u64 kind, value; };
struct op { u32 kind, nr, count, slot; struct value a[6]; };
struct header { u32 uid, programs, start[16], data_bytes, ops_at; };
#define HEADER ((struct header *)SCRIPT)
#define OPS ((struct op *)(SCRIPT + HEADER->ops_at))

/* Makes a call; a child goes on in child_main, on a stack of its own, whatever stack it was given. */
i64 make_call(struct op *op, i64 *args, i64 nr);
__asm__(
  ".text\n.globl make_call\nmake_call:\n"
  "  addi sp, sp, -32\n  sd s0, 0(sp)\n  sd s1, 8(sp)\n  sd ra, 16(sp)\n"
  "  mv s0, a0\n  mv s1, a2\n  mv a7, a2\n  mv t0, a1\n"
  "  ld a0, 0(t0)\n  ld a1, 8(t0)\n  ld a2, 16(t0)\n  ld a3, 24(t0)\n  ld a4, 32(t0)\n  ld a5, 40(t0)\n"
  "  ecall\n"
  "  bnez a0, 1f\n"
  "  li t0, 220\n  beq s1, t0, 2f\n  li t0, 435\n  beq s1, t0, 2f\n"
  "1: ld s0, 0(sp)\n  ld s1, 8(sp)\n  ld ra, 16(sp)\n  addi sp, sp, 32\n  ret\n"
  "2: li t0, 0x2300f000\n  li t1, 1\n  amoadd.w t0, t1, (t0)\n  andi t0, t0, 63\n  addi t0, t0, 1\n"
  "  slli t0, t0, 14\n  li t1, 0x24000000\n  add sp, t0, t1\n  mv a0, s0\n  call child_main\n");

static void note(int sig) {}
static void end_thread(int sig) { sys(SYS_exit, 0); }

/* A call that would block for ever is interrupted. */
static void start_timer(void) {
  struct { u64 value; int signo, notify, tid, pad[11]; } event = {0, SIGALRM, 4, 0};
  struct { struct timespec interval, value; } spec = {{0, 15000000}, {0, 15000000}};
  int id = 0;
  event.tid = sys(SYS_gettid);
  if (sys(SYS_timer_create, 1, &event, &id) == 0) sys(SYS_timer_settime, id, 0, &spec, 0);
}

static i64 value_of(struct value *v) {
  switch (v->kind) {
    case RESULT: return ((volatile i64 *)RESULTS)[v->value & 4095];
    case LOAD: return *(volatile int *)v->value;
    case TID: return sys(SYS_gettid);
    case PID: return sys(SYS_getpid);
    case PPID: return sys(SYS_getppid);
  }
  return v->value;
}

static void store(u64 at, u64 value, u32 size) {
  if (size == 1) *(volatile u8 *)at = value;
  else if (size == 4) *(volatile u32 *)at = value;
  else *(volatile u64 *)at = value;
}

static void run(struct op *op, struct op *end) {
  for (; op < end && op->kind != END; op++) {
    i64 args[6];
    if (op->kind == REPEAT) {
      struct op *body = op + 1, *rest = body + op->nr;
      if (rest > end) rest = end;
      for (u32 n = 0; n < op->count; n++) run(body, rest);
      op = rest - 1;
      continue;
    }
    for (int n = 0; n < 6; n++) args[n] = value_of(&op->a[n]);
    if (op->kind == CALL) {
      i64 result = make_call(op, args, op->nr);
      ((volatile i64 *)RESULTS)[op->slot & 4095] = result;
    } else if (op->kind == STORE) {
      store(args[0], args[1], op->nr);
    } else if (op->kind == FLIP) {
      for (u32 n = 0; n < op->count; n++) store(args[0], args[1 + (n & 1)], op->nr);
    }
  }
}

__attribute__((used)) void child_main(struct op *op) {
  start_timer();
  u32 program = op->count & 15;
  run(OPS + HEADER->start[program], (struct op *)(SCRIPT + SCRIPT_BYTES));
  for (;;) sys(SYS_exit, 0);
}

static void map(i64 at, i64 bytes, int flags) {
  if (sys(SYS_mmap, at, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED | MAP_ANONYMOUS, -1, 0) != at) {
    P("fuzz: cannot map %x\n", at);
    exit(3);
  }
}

static void need(const char *what, i64 result) {
  if (result >= 0) return;
  P("fuzz: %s: error %d\n", what, -result);
  exit(3);
}

static void node(const char *path, int minor, int major) {
  need(path, sys(SYS_mknodat, AT_FDCWD, path, 0020666, major << 8 | minor));
}

static void make_root(void) {
  sys(34, AT_FDCWD, "/fuzz", 0755);
  need("mount /fuzz", sys(SYS_mount, "fuzz", "/fuzz", "tmpfs", 0, "size=16m,mode=777"));
  need("chdir", sys(SYS_chdir, "/fuzz"));
  static const char *folders[] = {"bin", "host", "dev", "dev/pts", "proc", "tmp", "d0", "d0/d1"};
  for (int n = 0; n < 8; n++) need(folders[n], sys(SYS_mkdirat, AT_FDCWD, folders[n], 0777));
  node("dev/null", 3, 1), node("dev/zero", 5, 1), node("dev/full", 7, 1), node("dev/random", 8, 1);
  node("dev/urandom", 9, 1), node("dev/tty", 0, 5), node("dev/ptmx", 2, 5);
  need("mount devpts", sys(SYS_mount, "devpts", "dev/pts", "devpts", 0, 0));
  need("mount proc", sys(SYS_mount, "proc", "proc", "proc", 0, 0));
  need("bind bin", sys(SYS_mount, "/guest", "bin", 0, MS_BIND, 0));
  need("bind host", sys(SYS_mount, "/host", "host", 0, MS_BIND, 0));
  need("chroot", sys(SYS_chroot, "/fuzz"));
  need("symlink", sys(SYS_symlinkat, "d0", AT_FDCWD, "l0"));
}

static void limit(int what, u64 value) {
  u64 both[2] = {value, value};
  need("setrlimit", sys(SYS_setrlimit, what, both));
}

int main(int argc, char **argv, char **envp) {
  if (argc > 1 && strcmp(argv[1], "clean") == 0) {
    for (int n = 0; n < 1000 && sys(SYS_umount2, "/fuzz", MNT_DETACH) == 0; n++);
    P("clean\n");
    return 0;
  }
  map(SCRIPT, SCRIPT_BYTES, MAP_SHARED);
  map(DATA, DATA_BYTES, MAP_PRIVATE);
  map(SHARED, SHARED_BYTES, MAP_SHARED);
  map(RESULTS, RESULTS_BYTES, MAP_SHARED);
  map(STACKS, STACKS_BYTES, MAP_PRIVATE);
  for (i64 at = 0, got; (got = sys(SYS_read, 0, SCRIPT + at, SCRIPT_BYTES - at)) > 0; at += got);
  memcpy((void *)DATA, (void *)(HEADER + 1), HEADER->data_bytes);
  make_root();
  limit(RLIMIT_FSIZE, 16 << 20);
  limit(RLIMIT_NPROC, 64);
  static const int quiet[] = {SIGALRM, SIGPIPE, SIGUSR1, SIGUSR2, SIGINT, SIGTERM, SIGXFSZ, SIGCHLD, 1, 3, 23, 29};
  for (int n = 0; n < 12; n++) on_signal(quiet[n], note, 0);
  static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, 8};
  for (int n = 0; n < 5; n++) on_signal(faults[n], end_thread, SA_NODEFER);
  if (HEADER->uid) {
    need("setgroups", sys(SYS_setgroups, 0, 0));
    need("setgid", sys(SYS_setgid, HEADER->uid));
    need("setuid", sys(SYS_setuid, HEADER->uid));
  }
  /* What is said behind this is the script's doing: a wild jump may come by here again. */
  P("start\n");
  start_timer();
  run(OPS + HEADER->start[0], (struct op *)(SCRIPT + SCRIPT_BYTES));
  /* Children may finish what they do; whoever is late is killed from outside. */
  for (i64 end = now() + 300000000; now() < end && sys(SYS_wait4, -1, 0, WNOHANG, 0) != -ECHILD;) nap(2);
  return 0;
}
