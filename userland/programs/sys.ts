/**
 * System calls for TypeScript programs. Names and arguments are those of the man pages (section 2); a result is a
 * value >= 0 or -errno. Calls that fill a structure return it as an object, or -errno.
 *
 * One Sys belongs to one task. `fork`, `thread` and `spawn` give the child its own.
 */
import { syscalls } from "../../syscalls/table.ts";
import type { TaskMemory } from "./memory.ts";
import type { Call, Steps } from "./program.ts";
import { SCRATCH_BYTES, Scratch, TRANSFER_MAX } from "./scratch.ts";

const numbers = new Map(syscalls.map((call) => [call.name, call.nr]));

/** Number of a system call by its name. */
export function syscallNumber(name: string): number {
  const nr = numbers.get(name);
  if (nr === undefined) throw new Error(`there is no system call named ${name}`);
  return nr;
}

export const AT_FDCWD = -100;
const AT_REMOVEDIR = 0x200;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const SIGCHLD = 17;
/** VM, FS, FILES, SIGHAND, THREAD, SYSVSEM: a thread of this process. */
const CLONE_THREAD_FLAGS = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000;
const CLONE_CHILD_CLEARTID = 0x200000;
const CLONE_PARENT_SETTID = 0x100000;
const THREAD_STACK_BYTES = 64 * 1024;
const FUTEX_WAIT = 0;
const FUTEX_WAKE = 1;

export type Body = (sys: Sys) => Steps<number | undefined> | Steps<void>;
/** Runs when the signal is delivered; may itself make system calls. */
export type SignalHandler = (signo: number) => Steps<void>;

/** What the engine keeps for a Sys: the ways a program reaches beyond its own generator. */
export interface TaskHooks {
  /** Registers what a child task that is about to be cloned runs; the kernel copies the number along in a register. */
  announceChild(body: Body, sharesMemory: boolean): void;
  /** Makes a function callable by the kernel as a signal handler; returns the address that stands for it. */
  handlerAddress(signo: number, handler: SignalHandler): number;
}

export interface Stat {
  readonly dev: number;
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly size: number;
  readonly blocks: number;
  /** Seconds. */
  readonly mtime: number;
}
export interface DirEntry {
  readonly ino: number;
  readonly type: number;
  readonly name: string;
}
export interface Waited {
  readonly pid: number;
  /** As wait4(2) stores it. */
  readonly status: number;
}
export interface EpollEvent {
  readonly events: number;
  readonly data: number;
}
export interface PollFd {
  readonly fd: number;
  readonly events: number;
}

export class Sys {
  /** This task's memory: what mmap returns is an address in here. */
  readonly memory: TaskMemory;
  readonly #scratch: Scratch;
  readonly #hooks: TaskHooks;
  readonly #call: Call = { nr: 0, args: [0, 0, 0, 0, 0, 0] };

  constructor(memory: TaskMemory, hooks: TaskHooks) {
    this.memory = memory;
    this.#hooks = hooks;
    this.#scratch = new Scratch(memory);
  }

  /** Any system call, by name, with arguments as the kernel takes them. */
  *call(name: string, ...args: readonly number[]): Steps<number> {
    return yield* this.#raw(syscallNumber(name), args);
  }

  *#raw(nr: number, args: readonly number[]): Steps<number> {
    const call = this.#call;
    call.nr = nr;
    for (let i = 0; i < 6; i++) call.args[i] = args[i] ?? 0;
    return yield call;
  }

  /** Runs `work` with scratch memory that is given back afterwards, whatever happens. */
  *#with<T>(work: (scratch: Scratch) => Steps<T>): Steps<T> {
    const scratch = this.#scratch;
    if (scratch.base === 0) {
      const base = yield* this.mmap(0, SCRATCH_BYTES, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
      if (base < 0) throw new Error(`no memory for the program's buffers (mmap: ${base})`);
      scratch.base = base;
    }
    const mark = scratch.mark();
    try {
      return yield* work(scratch);
    } finally {
      scratch.release(mark);
    }
  }

  #path(name: string, dirfd: number, path: string, ...rest: readonly number[]): Steps<number> {
    const self = this;
    return this.#with(function* (scratch) {
      return yield* self.call(name, dirfd, scratch.putString(path), ...rest);
    });
  }

  // Files.

  open(path: string, flags = 0, mode = 0): Steps<number> {
    return this.#path("openat", AT_FDCWD, path, flags, mode);
  }
  close(fd: number): Steps<number> {
    return this.call("close", fd);
  }

  /** Reads into `into`, at most 64 KiB at a time; returns the number of bytes. */
  read(fd: number, into: Uint8Array): Steps<number> {
    return this.#readWith("read", fd, into);
  }
  pread(fd: number, into: Uint8Array, offset: number): Steps<number> {
    return this.#readWith("pread64", fd, into, offset);
  }
  #readWith(name: string, fd: number, into: Uint8Array, ...rest: readonly number[]): Steps<number> {
    const self = this;
    return this.#with(function* (scratch) {
      const length = Math.min(into.length, TRANSFER_MAX);
      const buffer = scratch.reserve(length);
      const n = yield* self.call(name, fd, buffer, length, ...rest);
      if (n > 0) into.set(self.memory.read(buffer, n));
      return n;
    });
  }

  /** Writes the bytes (text: UTF-8), at most 64 KiB at a time; returns how many were written. */
  write(fd: number, data: Uint8Array | string): Steps<number> {
    return this.#writeWith("write", fd, data);
  }
  pwrite(fd: number, data: Uint8Array | string, offset: number): Steps<number> {
    return this.#writeWith("pwrite64", fd, data, offset);
  }
  #writeWith(name: string, fd: number, data: Uint8Array | string, ...rest: readonly number[]): Steps<number> {
    const self = this;
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    return this.#with(function* (scratch) {
      const part = bytes.subarray(0, TRANSFER_MAX);
      return yield* self.call(name, fd, scratch.put(part), part.length, ...rest);
    });
  }

  /** Writes all of it, however many calls that takes. */
  *writeAll(fd: number, data: Uint8Array | string): Steps<number> {
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    for (let done = 0; done < bytes.length; ) {
      const n = yield* this.write(fd, bytes.subarray(done));
      if (n < 0) return n;
      done += n;
    }
    return bytes.length;
  }
  /** Text to standard output. */
  print(text: string): Steps<number> {
    return this.writeAll(1, text);
  }
  /** Everything up to end of file. */
  *readAll(fd: number): Steps<Uint8Array | number> {
    const parts: Uint8Array[] = [];
    for (;;) {
      const part = new Uint8Array(TRANSFER_MAX);
      const n = yield* this.read(fd, part);
      if (n < 0) return n;
      if (n === 0) return Buffer.concat(parts);
      parts.push(part.subarray(0, n));
    }
  }

  lseek(fd: number, offset: number, whence: number): Steps<number> {
    return this.call("lseek", fd, offset, whence);
  }
  dup(fd: number): Steps<number> {
    return this.call("dup", fd);
  }
  *dup2(oldfd: number, newfd: number): Steps<number> {
    if (oldfd === newfd) {
      const flags = yield* this.fcntl(oldfd, 1, 0);
      return flags < 0 ? flags : newfd;
    }
    return yield* this.call("dup3", oldfd, newfd, 0);
  }
  fcntl(fd: number, command: number, argument = 0): Steps<number> {
    return this.call("fcntl", fd, command, argument);
  }
  ftruncate(fd: number, length: number): Steps<number> {
    return this.call("ftruncate", fd, length);
  }
  mkdir(path: string, mode = 0o777): Steps<number> {
    return this.#path("mkdirat", AT_FDCWD, path, mode);
  }
  unlink(path: string): Steps<number> {
    return this.#path("unlinkat", AT_FDCWD, path, 0);
  }
  rmdir(path: string): Steps<number> {
    return this.#path("unlinkat", AT_FDCWD, path, AT_REMOVEDIR);
  }
  chdir(path: string): Steps<number> {
    const self = this;
    return this.#with(function* (scratch) {
      return yield* self.call("chdir", scratch.putString(path));
    });
  }
  rename(from: string, to: string): Steps<number> {
    const self = this;
    return this.#with(function* (scratch) {
      return yield* self.call(
        "renameat2",
        AT_FDCWD,
        scratch.putString(from),
        AT_FDCWD,
        scratch.putString(to),
        0,
      );
    });
  }
  symlink(target: string, path: string): Steps<number> {
    const self = this;
    return this.#with(function* (scratch) {
      return yield* self.call("symlinkat", scratch.putString(target), AT_FDCWD, scratch.putString(path));
    });
  }
  readlink(path: string): Steps<string | number> {
    const self = this;
    return this.#with(function* (scratch): Steps<string | number> {
      const buffer = scratch.reserve(4096);
      const n = yield* self.call("readlinkat", AT_FDCWD, scratch.putString(path), buffer, 4096);
      return n < 0 ? n : Buffer.from(self.memory.read(buffer, n)).toString("utf8");
    });
  }
  getcwd(): Steps<string | number> {
    const self = this;
    return this.#with(function* (scratch): Steps<string | number> {
      const buffer = scratch.reserve(4096);
      const n = yield* self.call("getcwd", buffer, 4096);
      return n < 0 ? n : self.memory.string(buffer);
    });
  }
  stat(path: string): Steps<Stat | number> {
    const self = this;
    return this.#with(function* (scratch): Steps<Stat | number> {
      const buffer = scratch.reserve(128);
      const n = yield* self.call("newfstatat", AT_FDCWD, scratch.putString(path), buffer, 0);
      return n < 0 ? n : statAt(scratch.view(buffer, 128));
    });
  }
  fstat(fd: number): Steps<Stat | number> {
    const self = this;
    return this.#with(function* (scratch): Steps<Stat | number> {
      const buffer = scratch.reserve(128);
      const n = yield* self.call("fstat", fd, buffer);
      return n < 0 ? n : statAt(scratch.view(buffer, 128));
    });
  }
  /** The next entries of an open directory; none at its end. */
  getdents(fd: number): Steps<DirEntry[] | number> {
    const self = this;
    return this.#with(function* (scratch): Steps<DirEntry[] | number> {
      const buffer = scratch.reserve(16384);
      const n = yield* self.call("getdents64", fd, buffer, 16384);
      if (n < 0) return n;
      const bytes = Buffer.from(self.memory.read(buffer, n));
      const entries: DirEntry[] = [];
      for (let at = 0; at < n; at += bytes.readUInt16LE(at + 16)) {
        const end = bytes.indexOf(0, at + 19);
        entries.push({
          ino: Number(bytes.readBigUInt64LE(at)),
          type: bytes[at + 18]!,
          name: bytes.toString("utf8", at + 19, end),
        });
      }
      return entries;
    });
  }

  /** [read end, write end]. Throws when there is no room for one: programs hardly ever handle that. */
  pipe(flags = 0): Steps<readonly [number, number]> {
    const self = this;
    return this.#with(function* (scratch): Steps<readonly [number, number]> {
      const pair = scratch.reserve(8);
      const n = yield* self.call("pipe2", pair, flags);
      if (n < 0) throw new Error(`pipe2 failed: ${n}`);
      const view = scratch.view(pair, 8);
      return [view.getInt32(0, true), view.getInt32(4, true)];
    });
  }

  // Waiting for files.

  eventfd(initial = 0, flags = 0): Steps<number> {
    return this.call("eventfd2", initial, flags);
  }
  epollCreate(flags = 0): Steps<number> {
    return this.call("epoll_create1", flags);
  }
  epollCtl(epfd: number, operation: number, fd: number, events = 0, data = fd): Steps<number> {
    const self = this;
    return this.#with(function* (scratch) {
      return yield* self.call("epoll_ctl", epfd, operation, fd, scratch.putWords([events >>> 0, data]));
    });
  }
  /** Milliseconds; -1 waits without end. */
  epollWait(epfd: number, max: number, timeout: number): Steps<EpollEvent[] | number> {
    const self = this;
    return this.#with(function* (scratch): Steps<EpollEvent[] | number> {
      const buffer = scratch.reserve(16 * max);
      const n = yield* self.call("epoll_pwait", epfd, buffer, max, timeout, 0, 8);
      if (n <= 0) return n < 0 ? n : [];
      const view = scratch.view(buffer, 16 * n);
      return Array.from({ length: n }, (_, i) => ({
        events: view.getUint32(16 * i, true),
        data: Number(view.getBigInt64(16 * i + 8, true)),
      }));
    });
  }
  /** The returned events of each descriptor, or -errno. */
  poll(fds: readonly PollFd[], timeout: number): Steps<number[] | number> {
    const self = this;
    return this.#with(function* (scratch): Steps<number[] | number> {
      const bytes = new DataView(new ArrayBuffer(fds.length * 8));
      fds.forEach(({ fd, events }, i) => {
        bytes.setInt32(8 * i, fd, true);
        bytes.setInt16(8 * i + 4, events, true);
      });
      const buffer = scratch.put(new Uint8Array(bytes.buffer));
      const limit = timeout < 0 ? 0 : scratch.putWords(timespecWords(timeout));
      const n = yield* self.call("ppoll", buffer, fds.length, limit, 0, 8);
      if (n < 0) return n;
      const view = scratch.view(buffer, fds.length * 8);
      return fds.map((_, i) => view.getUint16(8 * i + 6, true));
    });
  }

  // Processes and threads.

  getpid(): Steps<number> {
    return this.call("getpid");
  }
  getppid(): Steps<number> {
    return this.call("getppid");
  }
  gettid(): Steps<number> {
    return this.call("gettid");
  }
  schedYield(): Steps<number> {
    return this.call("sched_yield");
  }
  exit(status: number): Steps<number> {
    return this.call("exit_group", status);
  }

  /** A child process that runs `body` in a copy of this one's memory, on this CPU. Returns its pid. */
  *fork(body: Body): Steps<number> {
    this.#hooks.announceChild(body, false);
    return yield* this.call("clone", SIGCHLD, 0, 0, 0, 0);
  }

  /**
   * A thread of this process that runs `body`, on this CPU. `tidAddress`, when given, is a word that holds its tid
   * while it lives; at its end the word is cleared and one waiter is woken there (join with futexWait).
   */
  *thread(body: Body, tidAddress = 0): Steps<number> {
    const stack = yield* this.mmap(0, THREAD_STACK_BYTES, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
    if (stack < 0) return stack;
    this.#hooks.announceChild(body, true);
    const flags = CLONE_THREAD_FLAGS | (tidAddress === 0 ? 0 : CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID);
    return yield* this.call("clone", flags, stack + THREAD_STACK_BYTES, tidAddress, 0, tidAddress);
  }

  /**
   * A child process that runs another program (any executable of the guest). `prepare` runs in the child first and
   * sets up its descriptors. Returns the pid, or -errno of the fork; a child that cannot run the program exits 127.
   */
  *spawn(path: string, argv: readonly string[], env: readonly string[], prepare?: Body): Steps<number> {
    const body = function* (child: Sys): Steps<number> {
      if (prepare !== undefined) yield* prepare(child);
      yield* child.execve(path, argv, env);
      return 127;
    };
    this.#hooks.announceChild(body, false);
    return yield* this.call("clone", SIGCHLD, 0, 0, 0, 0);
  }

  /** Replaces this program; returns only when that fails. */
  execve(path: string, argv: readonly string[], env: readonly string[]): Steps<number> {
    const self = this;
    return this.#with(function* (scratch) {
      const file = scratch.putString(path);
      return yield* self.call("execve", file, scratch.putStrings(argv), scratch.putStrings(env));
    });
  }

  waitpid(pid = -1, options = 0): Steps<Waited | number> {
    const self = this;
    return this.#with(function* (scratch): Steps<Waited | number> {
      const status = scratch.putWords([0]);
      const got = yield* self.call("wait4", pid, status, options, 0);
      return got < 0 ? got : { pid: got, status: scratch.view(status, 4).getInt32(0, true) };
    });
  }

  // Signals and time.

  kill(pid: number, signo: number): Steps<number> {
    return this.call("kill", pid, signo);
  }
  tgkill(tgid: number, tid: number, signo: number): Steps<number> {
    return this.call("tgkill", tgid, tid, signo);
  }
  /** Installs a handler, or "default" or "ignore". Flags: SA_*. */
  sigaction(signo: number, handler: SignalHandler | "default" | "ignore", flags = 0): Steps<number> {
    const self = this;
    const address =
      typeof handler === "function"
        ? this.#hooks.handlerAddress(signo, handler)
        : handler === "ignore"
          ? 1
          : 0;
    return this.#with(function* (scratch) {
      return yield* self.call("rt_sigaction", signo, scratch.putWords([address, flags, 0]), 0, 8);
    });
  }
  /** `how`: 0 block, 1 unblock, 2 set; `mask`: bit n-1 for signal n. */
  sigprocmask(how: number, mask: number): Steps<number> {
    const self = this;
    return this.#with(function* (scratch) {
      return yield* self.call("rt_sigprocmask", how, scratch.putWords([mask]), 0, 8);
    });
  }
  /** Waits for a signal with this mask: -EINTR after its handler ran. */
  sigsuspend(mask = 0): Steps<number> {
    const self = this;
    return this.#with(function* (scratch) {
      return yield* self.call("rt_sigsuspend", scratch.putWords([mask]), 8);
    });
  }
  /** SIGALRM after so many milliseconds, then every `interval`. */
  setitimer(milliseconds: number, interval = 0): Steps<number> {
    const self = this;
    const parts = (ms: number) => [Math.floor(ms / 1000), Math.round((ms % 1000) * 1000)];
    return this.#with(function* (scratch) {
      const value = scratch.putWords([...parts(interval), ...parts(milliseconds)]);
      return yield* self.call("setitimer", 0, value, 0);
    });
  }
  /** Milliseconds; fractions count. */
  sleep(milliseconds: number): Steps<number> {
    const self = this;
    return this.#with(function* (scratch) {
      return yield* self.call("nanosleep", scratch.putWords(timespecWords(milliseconds)), 0);
    });
  }
  /** Nanoseconds of a clock: 0 real time, 1 monotonic. */
  clockGettime(clock: number): Steps<number> {
    const self = this;
    return this.#with(function* (scratch) {
      const buffer = scratch.reserve(16);
      const n = yield* self.call("clock_gettime", clock, buffer);
      if (n < 0) return n;
      return self.memory.word(buffer) * 1e9 + self.memory.word(buffer + 8);
    });
  }

  // Memory.

  mmap(
    address: number,
    length: number,
    prot: number,
    flags: number,
    fd: number,
    offset: number,
  ): Steps<number> {
    return this.call("mmap", address, length, prot, flags, fd, offset);
  }
  munmap(address: number, length: number): Steps<number> {
    return this.call("munmap", address, length);
  }
  mprotect(address: number, length: number, prot: number): Steps<number> {
    return this.call("mprotect", address, length, prot);
  }

  /** Sleeps while the word at `address` holds `value`. Milliseconds; -1 waits without end. */
  futexWait(address: number, value: number, timeout = -1): Steps<number> {
    const self = this;
    return this.#with(function* (scratch) {
      const limit = timeout < 0 ? 0 : scratch.putWords(timespecWords(timeout));
      return yield* self.call("futex", address, FUTEX_WAIT, value, limit, 0, 0);
    });
  }
  futexWake(address: number, count = 1): Steps<number> {
    return this.call("futex", address, FUTEX_WAKE, count, 0, 0, 0);
  }
}

const timespecWords = (ms: number): number[] => [Math.floor(ms / 1000), Math.round((ms % 1000) * 1e6)];

/** struct stat of asm-generic. */
function statAt(view: DataView): Stat {
  const long = (offset: number) => Number(view.getBigInt64(offset, true));
  return {
    dev: long(0),
    ino: long(8),
    mode: view.getUint32(16, true),
    nlink: view.getUint32(20, true),
    uid: view.getUint32(24, true),
    gid: view.getUint32(28, true),
    rdev: long(32),
    size: long(48),
    blocks: long(64),
    mtime: long(88),
  };
}
