/**
 * One safe form of each system call that the mix can make: it returns at once, touches only what the worker made for it, and
 * leaves things as they were. What it takes beside the call (closing what was opened, say) counts as support.
 */
import {
  EAGAIN,
  EBADF,
  ECHILD,
  EEXIST,
  EINVAL,
  ENOENT,
  ENOTTY,
  EPERM,
  ESRCH,
} from "../../../kernel/uapi/errno.ts";
import { AT_FDCWD, F_GETFL, O_CREAT, O_DIRECTORY, O_NONBLOCK, O_RDWR } from "../../../kernel/uapi/fcntl.ts";
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../../../kernel/uapi/mman.ts";
import { SIGUSR1 } from "../../../kernel/uapi/signal.ts";
import { WNOHANG } from "../../../kernel/uapi/wait.ts";
import type { Steps } from "../program.ts";
import type { Sys } from "../sys.ts";

const AT_REMOVEDIR = 0x200;
const FIONREAD = 0x541b;
const TCGETS = 0x5401;
const MADV_DONTNEED = 4;
const EPOLL_ADD = 1;
const EPOLL_MOD = 3;
const FUTEX_WAKE = 1;
const NR_OPEN_POOL = 64;
const NR_MAP_POOL = 64;
const MAP_BYTES = 16 * 1024;
/** Of the data file; reads go round in it. */
const DATA_BYTES = 64 * 1024;
const CHUNK = 512;

/** What a worker prepares: its folder, files, pipes, and the structures that calls point to. */
export class MixWorld {
  readonly sys: Sys;
  /** Calls that were needed beside the ones of the mix. */
  support = 0;
  readonly open: number[] = [];
  readonly maps: number[] = [];
  flip = 0;
  pid = 0;
  data = 0;
  folder = 0;
  sink = 0;
  event = 0;
  ep = 0;
  pipe: readonly [number, number] = [0, 0];
  sockets: readonly [number, number] = [0, 0];
  /** Addresses: a buffer of 16 KiB, a page for mprotect and madvise, strings and structures. */
  buffer = 0;
  page = 0;
  readonly at: Record<
    | "file"
    | "none"
    | "link"
    | "fresh"
    | "here"
    | "a"
    | "b"
    | "iov"
    | "soon"
    | "now"
    | "wrong"
    | "polls"
    | "word"
    | "event"
    | "msg",
    number
  > = {
    file: 0,
    none: 0,
    link: 0,
    fresh: 0,
    here: 0,
    a: 0,
    b: 0,
    iov: 0,
    soon: 0,
    now: 0,
    wrong: 0,
    polls: 0,
    word: 0,
    event: 0,
    msg: 0,
  };
  #next = 0;

  private constructor(sys: Sys) {
    this.sys = sys;
  }

  /** In a new folder `here`, which `remove` takes away again. */
  static *make(sys: Sys, here: string): Steps<MixWorld> {
    const world = new MixWorld(sys);
    yield* sys.ok(sys.mkdir(here));
    yield* sys.ok(sys.chdir(here));
    world.pid = yield* sys.getpid();
    world.data = yield* sys.ok(sys.open("file", O_RDWR | O_CREAT, 0o644));
    yield* sys.ok(sys.writeAll(world.data, new Uint8Array(DATA_BYTES)));
    yield* sys.ok(sys.lseek(world.data, 0, 0));
    yield* sys.ok(sys.symlink("file", "link"));
    yield* sys.ok(sys.close(yield* sys.ok(sys.open("a", O_RDWR | O_CREAT, 0o644))));
    world.sink = yield* sys.ok(sys.open("/dev/null", O_RDWR));
    world.folder = yield* sys.ok(sys.open(here, O_DIRECTORY));
    world.event = yield* sys.ok(sys.eventfd(0, O_NONBLOCK));
    world.ep = yield* sys.ok(sys.epollCreate());
    yield* sys.ok(sys.epollCtl(world.ep, EPOLL_ADD, world.event, 1));
    world.pipe = yield* sys.pipe();
    world.sockets = yield* sys.socketpair();
    yield* sys.ok(sys.sigaction(SIGUSR1, () => {}));
    yield* world.#layOut(here);
    return world;
  }

  *#layOut(here: string): Steps<void> {
    const { sys, at } = this;
    const memory = (bytes: number) =>
      sys.ok(sys.mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    this.buffer = yield* memory(MAP_BYTES);
    this.page = yield* memory(4096);
    this.#next = yield* memory(8192);
    for (const name of ["file", "none", "link", "fresh", "a", "b"] as const) at[name] = this.#string(name);
    at.here = this.#string(here);
    at.iov = this.#words(this.buffer, CHUNK / 2, this.buffer + CHUNK, CHUNK / 2);
    at.soon = this.#words(0, 1000);
    at.now = this.#words(0, 0);
    at.wrong = this.#words(0, 2e9);
    at.polls = this.#words(this.pipe[0] + 1 * 2 ** 32, 0);
    at.word = this.#words(0);
    at.event = this.#words(1, this.event);
    at.msg = this.#words(0, 0, this.#words(this.buffer, CHUNK), 1, 0, 0, 0);
  }

  #put(bytes: Uint8Array): number {
    const address = this.#next;
    this.sys.memory.write(address, bytes);
    this.#next = Math.ceil((address + bytes.length) / 16) * 16;
    return address;
  }
  #string(text: string): number {
    return this.#put(Buffer.from(`${text}\0`));
  }
  #words(...words: readonly number[]): number {
    return this.#put(new Uint8Array(BigUint64Array.from(words, BigInt).buffer));
  }

  /** A call that the mix did not ask for. */
  *also(name: string, ...args: readonly number[]): Steps<number> {
    this.support++;
    return yield* this.sys.ok(this.sys.call(name, ...args));
  }

  /** Leaves its folder and removes it. */
  *remove(here: string): Steps<void> {
    const { sys } = this;
    yield* sys.ok(sys.chdir("/"));
    for (const name of ["file", "link", this.flip === 0 ? "a" : "b"])
      yield* sys.ok(sys.unlink(`${here}/${name}`));
    yield* sys.ok(sys.rmdir(here));
  }
}

export interface MixCall {
  run(world: MixWorld): Steps<number>;
  /** What it always fails with in this form; absent: it succeeds. */
  readonly ends?: number;
  /** A form that fails with `errno`, for the share of calls that failed in the summary. */
  readonly failing?: { readonly errno: number; run(world: MixWorld): Steps<number> };
}

type Args = (world: MixWorld) => readonly number[];
type Failing = readonly [errno: number, args: Args];

const direct = (name: string, args: Args) => (world: MixWorld) => world.sys.call(name, ...args(world));
const failing = (name: string, [errno, args]: Failing) => ({ errno, run: direct(name, args) });

/** The call alone. */
const plain = (name: string, args: Args = () => [], fails?: Failing): [string, MixCall] => [
  name,
  { run: direct(name, args), ...(fails === undefined ? {} : { failing: failing(name, fails) }) },
];

/** The call, then others that undo it; `undo` gets its result. */
const undone = (
  name: string,
  args: Args,
  undo: (world: MixWorld, result: number) => Steps<unknown>,
  fails?: Failing,
): [string, MixCall] => {
  const call = direct(name, args);
  return [
    name,
    {
      *run(world) {
        const result = yield* call(world);
        if (result >= 0) yield* undo(world, result);
        return result;
      },
      ...(fails === undefined ? {} : { failing: failing(name, fails) }),
    },
  ];
};

const closed = (world: MixWorld, fd: number) => world.also("close", fd);
const opens = (name: string, args: Args): [string, MixCall] => undone(name, args, closed);
const removed = (world: MixWorld) => world.also("unlinkat", AT_FDCWD, world.at.fresh, 0);
/** Descriptors that a call stored in the buffer: closed. */
const pairClosed = function* (world: MixWorld): Steps<void> {
  const bytes = new DataView(world.sys.memory.read(world.buffer, 8).buffer);
  yield* world.also("close", bytes.getInt32(0, true));
  yield* world.also("close", bytes.getInt32(4, true));
};
const rewound = function* (world: MixWorld, n: number): Steps<void> {
  if (n < CHUNK) yield* world.also("lseek", world.data, 0, 0);
};
const onPath =
  (...rest: readonly number[]): Args =>
  (w) => [AT_FDCWD, w.at.file, ...rest];
const onNone = (...rest: readonly number[]): Failing => [ENOENT, (w) => [AT_FDCWD, w.at.none, ...rest]];
const intoBuffer: Args = (w) => [w.buffer];

/** By the kernel's names. */
export const MIX_CALLS: ReadonlyMap<string, MixCall> = new Map<string, MixCall>([
  // Paths.
  [
    "openat",
    {
      *run(world) {
        if (world.open.length === NR_OPEN_POOL) yield* world.also("close", world.open.shift()!);
        const fd = yield* world.sys.call("openat", AT_FDCWD, world.at.file, O_RDWR, 0);
        if (fd >= 0) world.open.push(fd);
        return fd;
      },
      failing: failing("openat", onNone(O_RDWR, 0)),
    },
  ],
  [
    "close",
    {
      *run(world) {
        const fd = world.open.pop() ?? (yield* world.also("openat", AT_FDCWD, world.at.file, O_RDWR, 0));
        return yield* world.sys.call("close", fd);
      },
      failing: failing("close", [EBADF, () => [-1]]),
    },
  ],
  plain("newfstatat", (w) => [AT_FDCWD, w.at.file, w.buffer, 0], [
    ENOENT,
    (w) => [AT_FDCWD, w.at.none, w.buffer, 0],
  ]),
  plain("statx", (w) => [AT_FDCWD, w.at.file, 0, 0x7ff, w.buffer], [
    ENOENT,
    (w) => [AT_FDCWD, w.at.none, 0, 0x7ff, w.buffer],
  ]),
  plain("faccessat", onPath(4), onNone(4)),
  plain("faccessat2", onPath(4, 0), onNone(4, 0)),
  plain("readlinkat", (w) => [AT_FDCWD, w.at.link, w.buffer, 256], [
    EINVAL,
    (w) => [AT_FDCWD, w.at.file, w.buffer, 256],
  ]),
  plain("statfs", (w) => [w.at.here, w.buffer], [ENOENT, (w) => [w.at.none, w.buffer]]),
  plain("getcwd", (w) => [w.buffer, 4096]),
  plain("chdir", (w) => [w.at.here], [ENOENT, (w) => [w.at.none]]),
  plain("fchdir", (w) => [w.folder]),
  plain("fchmodat", onPath(0o644), onNone(0o644)),
  plain("utimensat", onPath(0, 0), onNone(0, 0)),
  plain("truncate", (w) => [w.at.file, DATA_BYTES], [ENOENT, (w) => [w.at.none, 0]]),
  undone(
    "mkdirat",
    (w) => [AT_FDCWD, w.at.fresh, 0o755],
    (w) => w.also("unlinkat", AT_FDCWD, w.at.fresh, AT_REMOVEDIR),
    [EEXIST, (w) => [AT_FDCWD, w.at.here, 0o755]],
  ),
  undone("linkat", (w) => [AT_FDCWD, w.at.file, AT_FDCWD, w.at.fresh, 0], removed, [
    EEXIST,
    (w) => [AT_FDCWD, w.at.file, AT_FDCWD, w.at.link, 0],
  ]),
  undone("symlinkat", (w) => [w.at.file, AT_FDCWD, w.at.fresh], removed, [
    EEXIST,
    (w) => [w.at.file, AT_FDCWD, w.at.link],
  ]),
  [
    "unlinkat",
    {
      *run(world) {
        yield* world.also(
          "close",
          yield* world.also("openat", AT_FDCWD, world.at.fresh, O_RDWR | O_CREAT, 0o600),
        );
        return yield* world.sys.call("unlinkat", AT_FDCWD, world.at.fresh, 0);
      },
      failing: failing("unlinkat", onNone(0)),
    },
  ],
  [
    "renameat2",
    {
      *run(world) {
        const names = [world.at.a, world.at.b] as const;
        const from = names[world.flip]!;
        world.flip = 1 - world.flip;
        return yield* world.sys.call("renameat2", AT_FDCWD, from, AT_FDCWD, names[world.flip]!, 0);
      },
      failing: failing("renameat2", [ENOENT, (w) => [AT_FDCWD, w.at.none, AT_FDCWD, w.at.fresh, 0]]),
    },
  ],

  // Descriptors.
  undone("read", (w) => [w.data, w.buffer, CHUNK], rewound, [EAGAIN, (w) => [w.event, w.buffer, 8]]),
  undone("readv", (w) => [w.data, w.at.iov, 2], rewound, [EAGAIN, (w) => [w.event, w.at.iov, 2]]),
  plain("pread64", (w) => [w.data, w.buffer, CHUNK, 4096], [EBADF, (w) => [-1, w.buffer, CHUNK, 0]]),
  plain("preadv", (w) => [w.data, w.at.iov, 2, 4096, 0]),
  plain("write", (w) => [w.sink, w.buffer, CHUNK], [EBADF, (w) => [-1, w.buffer, CHUNK]]),
  plain("writev", (w) => [w.sink, w.at.iov, 2], [EBADF, (w) => [-1, w.at.iov, 2]]),
  plain("pwrite64", (w) => [w.data, w.buffer, CHUNK, 4096], [EBADF, (w) => [-1, w.buffer, CHUNK, 0]]),
  plain("pwritev", (w) => [w.data, w.at.iov, 2, 4096, 0]),
  plain("lseek", (w) => [w.data, 0, 0], [EBADF, () => [-1, 0, 0]]),
  plain("fstat", (w) => [w.data, w.buffer], [EBADF, (w) => [-1, w.buffer]]),
  plain("fstatfs", (w) => [w.data, w.buffer]),
  plain("fchmod", (w) => [w.data, 0o644]),
  plain("ftruncate", (w) => [w.data, DATA_BYTES], [EBADF, () => [-1, 0]]),
  plain("fallocate", (w) => [w.data, 0, 0, DATA_BYTES]),
  plain("fsync", (w) => [w.data]),
  plain("fdatasync", (w) => [w.data]),
  plain("fadvise64", (w) => [w.data, 0, 0, 0]),
  plain("flock", (w) => [w.data, 8]),
  plain("fcntl", (w) => [w.data, F_GETFL, 0], [EBADF, () => [-1, F_GETFL, 0]]),
  plain("ioctl", (w) => [w.pipe[0], FIONREAD, w.buffer], [ENOTTY, (w) => [w.data, TCGETS, w.buffer]]),
  undone(
    "getdents64",
    (w) => [w.folder, w.buffer, 4096],
    (w) => w.also("lseek", w.folder, 0, 0),
  ),
  opens("dup", (w) => [w.data]),
  opens("dup3", (w) => [w.data, 1000, 0]),
  opens("eventfd2", () => [0, 0]),
  opens("epoll_create1", () => [0]),
  opens("timerfd_create", () => [1, 0]),
  opens("memfd_create", (w) => [w.at.file, 0]),
  opens("pidfd_open", (w) => [w.pid, 0]),
  opens("socket", () => [1, 1, 0]),
  undone("pipe2", (w) => [w.buffer, 0], pairClosed),
  undone("socketpair", (w) => [1, 1, 0, w.buffer], pairClosed),

  // Sockets, and waiting for files without waiting.
  undone(
    "sendto",
    (w) => [w.sockets[0], w.buffer, 64, 0, 0, 0],
    (w) => w.also("recvfrom", w.sockets[1], w.buffer, 64, 0, 0, 0),
  ),
  undone(
    "sendmsg",
    (w) => [w.sockets[0], w.at.msg, 0],
    (w) => w.also("recvfrom", w.sockets[1], w.buffer, CHUNK, 0, 0, 0),
  ),
  ...(["recvfrom", "recvmsg"] as const).map((name): [string, MixCall] => [
    name,
    {
      *run(world) {
        yield* world.also("sendto", world.sockets[0], world.buffer, 64, 0, 0, 0);
        const rest = name === "recvmsg" ? [world.at.msg, 0] : [world.buffer, 64, 0, 0, 0];
        return yield* world.sys.call(name, world.sockets[1], ...rest);
      },
    },
  ]),
  plain("epoll_ctl", (w) => [w.ep, EPOLL_MOD, w.event, w.at.event], [
    EPERM,
    (w) => [w.ep, EPOLL_ADD, w.data, w.at.event],
  ]),
  plain("epoll_pwait", (w) => [w.ep, w.buffer, 8, 0, 0, 8]),
  plain("ppoll", (w) => [w.at.polls, 1, w.at.now, 0, 8]),
  plain("pselect6", (w) => [0, 0, 0, 0, w.at.now, 0]),

  // Memory.
  [
    "mmap",
    {
      *run(world) {
        if (world.maps.length === NR_MAP_POOL) yield* world.also("munmap", world.maps.shift()!, MAP_BYTES);
        const address = yield* world.sys.mmap(
          0,
          MAP_BYTES,
          PROT_READ | PROT_WRITE,
          MAP_PRIVATE | MAP_ANONYMOUS,
          -1,
          0,
        );
        if (address > 0) world.maps.push(address);
        return address;
      },
      failing: failing("mmap", [EINVAL, () => [0, 0, 3, 0x22, -1, 0]]),
    },
  ],
  [
    "munmap",
    {
      *run(world) {
        const flags = MAP_PRIVATE | MAP_ANONYMOUS;
        const address =
          world.maps.pop() ?? (yield* world.also("mmap", 0, MAP_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0));
        return yield* world.sys.munmap(address, MAP_BYTES);
      },
    },
  ],
  [
    "mprotect",
    {
      *run(world) {
        const prot = (world.sys.memory.load(world.at.word) & 1) === 0 ? PROT_READ : PROT_READ | PROT_WRITE;
        world.sys.memory.add(world.at.word, 1);
        return yield* world.sys.mprotect(world.page, 4096, prot);
      },
    },
  ],
  plain("madvise", (w) => [w.page, 4096, MADV_DONTNEED]),
  plain("mincore", (w) => [w.page, 4096, w.buffer]),
  plain("msync", (w) => [w.page, 4096, 4]),
  plain("membarrier", () => [0, 0, 0]),
  plain("brk", () => [0]),
  plain(
    "futex",
    (w) => [w.at.soon, FUTEX_WAKE, 1, 0, 0, 0],
    // Waits while the word holds what it does not hold.
    [EAGAIN, (w) => [w.at.soon, 0, 0x7fffffff, 0, 0, 0]],
  ),

  // Processes, signals, time.
  ...["getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "sched_yield"].map((name) =>
    plain(name),
  ),
  [
    "clone",
    {
      *run(world) {
        const pid = yield* world.sys.fork(() => nothing());
        if (pid > 0) yield* world.also("wait4", pid, 0, 0, 0);
        return pid;
      },
    },
  ],
  ["wait4", { run: direct("wait4", () => [-1, 0, WNOHANG, 0]), ends: ECHILD }],
  ["waitid", { run: direct("waitid", () => [0, 0, 0, 4 | WNOHANG, 0]), ends: ECHILD }],
  plain("getpgid", () => [0], [ESRCH, () => [0x3fffffff]]),
  plain("getsid", () => [0]),
  plain("getpriority", () => [0, 0]),
  plain("getgroups", (w) => [32, w.buffer]),
  plain("getresuid", (w) => [w.buffer, w.buffer + 8, w.buffer + 16]),
  plain("getresgid", (w) => [w.buffer, w.buffer + 8, w.buffer + 16]),
  plain("prctl", (w) => [16, w.buffer, 0, 0, 0], [EINVAL, () => [0x7fff, 0, 0, 0, 0]]),
  plain("umask", () => [0o22]),
  plain("set_tid_address", (w) => [w.at.event + 64]),
  plain("sched_getaffinity", (w) => [0, 8, w.buffer]),
  plain("getcpu", (w) => [w.buffer, 0, 0]),
  plain("kill", (w) => [w.pid, 0], [ESRCH, () => [0x3fffffff, 0]]),
  plain("tkill", (w) => [w.pid, 0]),
  plain("tgkill", (w) => [w.pid, w.pid, 0], [ESRCH, (w) => [w.pid, 0x3fffffff, 0]]),
  // A handler returns: for that a signal has to be sent.
  [
    "rt_sigreturn",
    {
      *run(world) {
        return yield* world.also("tgkill", world.pid, world.pid, SIGUSR1);
      },
    },
  ],
  plain("rt_sigaction", (w) => [SIGUSR1, 0, w.buffer, 8], [EINVAL, (w) => [65, 0, w.buffer, 8]]),
  plain("rt_sigprocmask", (w) => [0, 0, w.buffer, 8]),
  plain("rt_sigpending", (w) => [w.buffer, 8]),
  plain("sigaltstack", (w) => [0, w.buffer]),
  plain("nanosleep", (w) => [w.at.soon, 0], [EINVAL, (w) => [w.at.wrong, 0]]),
  plain("clock_nanosleep", (w) => [1, 0, w.at.soon, 0]),
  plain("clock_gettime", (w) => [1, w.buffer], [EINVAL, (w) => [99, w.buffer]]),
  plain("clock_getres", (w) => [1, w.buffer]),
  plain("gettimeofday", (w) => [w.buffer, 0]),
  ...["times", "uname", "sysinfo"].map((name) => plain(name, intoBuffer)),
  plain("getrusage", (w) => [0, w.buffer]),
  plain("prlimit64", (w) => [0, 7, 0, w.buffer]),
  plain("getrlimit", (w) => [7, w.buffer]),
  plain("getrandom", (w) => [w.buffer, 16, 0]),
]);

/** A child that ends at once. */
function* nothing(): Steps<void> {}

/** Names of other architectures and older times, and what stands for them here. */
export const ALIASES: Readonly<Record<string, string>> = {
  open: "openat",
  creat: "openat",
  openat2: "openat",
  stat: "newfstatat",
  lstat: "newfstatat",
  fstatat64: "newfstatat",
  access: "faccessat",
  readlink: "readlinkat",
  mkdir: "mkdirat",
  rmdir: "unlinkat",
  link: "linkat",
  symlink: "symlinkat",
  unlink: "unlinkat",
  rename: "renameat2",
  renameat: "renameat2",
  chmod: "fchmodat",
  utime: "utimensat",
  utimes: "utimensat",
  getdents: "getdents64",
  dup2: "dup3",
  pipe: "pipe2",
  eventfd: "eventfd2",
  epoll_create: "epoll_create1",
  epoll_wait: "epoll_pwait",
  epoll_pwait2: "epoll_pwait",
  poll: "ppoll",
  select: "pselect6",
  fork: "clone",
  vfork: "clone",
  clone3: "clone",
  getpgrp: "getpgid",
  time: "clock_gettime",
};

/** Why a call is left out, for those that people wonder about. */
export const LEFT_OUT: Readonly<Record<string, string>> = {
  execve: "replaces the program",
  exit: "comes with every clone",
  exit_group: "comes with every clone",
  set_robust_list: "would name memory that the kernel walks at exit",
  shutdown: "would end the socket",
};
