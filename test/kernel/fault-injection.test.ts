/**
 * Every allocation of a call fails once: the call then says so, or does without. It throws nothing, holds no lock or read scope, and
 * leaves nothing behind.
 */
import test from "ava";
import { isBlock } from "../../kernel/sched/block.ts";
import { clearRestart } from "../../kernel/sched/restart.ts";
import { finishWait } from "../../kernel/sched/waitqueue.ts";
import { userOfTask } from "../../kernel/task/cred.ts";
import { Task } from "../../kernel/task/task.ts";
import { EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOLCK, ENOMEM, ENOSPC } from "../../kernel/uapi/errno.ts";
import { assertNoLocksHeld } from "../../rcu/index.ts";
import { failAllocation } from "../../rcu/inject.ts";
import { ownedCells, setAllocOwner } from "../../rcu/kernel.ts";
import { boot, call, getWords, putBytes, putWords, settle } from "./ipc/machine.ts";

const { task, memory } = boot();
const AT_FDCWD = -100;
/** What each try allocates is its own. */
let owner = 1;
putBytes(memory, new Uint8Array(1 << 20));
/** How a call says that there was no memory. */
const SHORT = new Set([-ENOMEM, -EAGAIN, -ENFILE, -ENOSPC, -ENOBUFS, -EMFILE, -ENOLCK]);

const sys = (name: string, ...args: number[]): number => call(task, name, ...args);
const path = (text: string, at = memory): number => {
  putBytes(at, new TextEncoder().encode(`${text}\0`));
  return at;
};
const good = (result: number): number => {
  if (result < 0) throw new Error(`preparing: ${result}`);
  return result;
};
const close = (fd: number): void => void good(sys("close", fd));
const pair = (): [number, number] => getWords(memory, 2) as [number, number];
const closePair = (): void => pair().forEach(close);
const file = (): number => good(sys("openat", AT_FDCWD, path("/tmp/file"), 0o102, 0o600));

/** The call that waits is interrupted. */
function stopWaiting(): void {
  finishWait(task);
  clearRestart(task);
}

interface Case {
  /** What the call needs, before allocations fail; its result goes to `run` and `after`. */
  readonly before?: () => number;
  readonly run: (fd: number) => number;
  /** Takes back what the call did when it succeeded. */
  readonly undo?: (result: number, fd: number) => void;
  /** Takes back what `before` did. */
  readonly after?: (fd: number) => void;
}

const CASES: Readonly<Record<string, Case>> = {
  openat: { run: () => sys("openat", AT_FDCWD, path("/dev/null"), 0, 0), undo: close },
  "openat O_CREAT": {
    run: () => sys("openat", AT_FDCWD, path("/tmp/new"), 0o102, 0o600),
    undo: (fd) => {
      close(fd);
      good(sys("unlinkat", AT_FDCWD, path("/tmp/new"), 0));
    },
  },
  "openat of /proc": { run: () => sys("openat", AT_FDCWD, path("/proc/self/maps"), 0, 0), undo: close },
  mkdirat: {
    run: () => sys("mkdirat", AT_FDCWD, path("/tmp/dir"), 0o700),
    undo: () => void good(sys("unlinkat", AT_FDCWD, path("/tmp/dir"), 0x200)),
  },
  symlinkat: {
    run: () => sys("symlinkat", path("/a/b/c"), AT_FDCWD, path("/tmp/link", memory + 4096)),
    undo: () => void good(sys("unlinkat", AT_FDCWD, path("/tmp/link"), 0)),
  },
  linkat: {
    before: file,
    run: () => sys("linkat", AT_FDCWD, path("/tmp/file"), AT_FDCWD, path("/tmp/other", memory + 4096), 0),
    undo: () => void good(sys("unlinkat", AT_FDCWD, path("/tmp/other"), 0)),
    after: close,
  },
  renameat2: {
    before: file,
    run: () => sys("renameat2", AT_FDCWD, path("/tmp/file"), AT_FDCWD, path("/tmp/moved", memory + 4096), 0),
    undo: () => void good(sys("unlinkat", AT_FDCWD, path("/tmp/moved"), 0)),
    after: close,
  },
  "write to a file": {
    before: file,
    run: (fd) => sys("pwrite64", fd, memory, 20_000, 0),
    undo: (_result, fd) => void good(sys("ftruncate", fd, 0)),
    after: (fd) => {
      good(sys("ftruncate", fd, 0));
      close(fd);
    },
  },
  pipe2: { run: () => sys("pipe2", memory, 0), undo: closePair },
  socketpair: { run: () => sys("socketpair", 1, 1, 0, memory), undo: closePair },
  "socketpair of datagrams": { run: () => sys("socketpair", 1, 2, 0, memory), undo: closePair },
  socket: { run: () => sys("socket", 1, 1, 0), undo: close },
  "socket inet": { run: () => sys("socket", 2, 1, 0), undo: close },
  "socket netlink": { run: () => sys("socket", 16, 3, 0), undo: close },
  bind: {
    before: () => good(sys("socket", 2, 1, 0)),
    run: (fd) => {
      putWords(memory, 2, 0x0100007f, 0, 0);
      return sys("bind", fd, memory, 16);
    },
    after: close,
  },
  eventfd2: { run: () => sys("eventfd2", 0, 0), undo: close },
  epoll_create1: { run: () => sys("epoll_create1", 0), undo: close },
  epoll_ctl: {
    before: () => good(sys("epoll_create1", 0)),
    run: (fd) => {
      putWords(memory, 1, 0, 0, 0);
      const event = sys("eventfd2", 0, 0);
      if (event < 0) return event;
      const result = sys("epoll_ctl", fd, 1, event, memory);
      close(event);
      return result;
    },
    after: close,
  },
  timerfd_create: { run: () => sys("timerfd_create", 1, 0), undo: close },
  timer_create: {
    run: () => sys("timer_create", 1, 0, memory),
    undo: () => void good(sys("timer_delete", getWords(memory, 1)[0]!)),
  },
  signalfd4: {
    run: () => {
      putWords(memory, 1 << 9, 0);
      return sys("signalfd4", -1, memory, 8, 0);
    },
    undo: close,
  },
  inotify_init1: { run: () => sys("inotify_init1", 0), undo: close },
  inotify_add_watch: {
    before: () => good(sys("inotify_init1", 0)),
    run: (fd) => sys("inotify_add_watch", fd, path("/tmp"), 0x100),
    undo: (wd, fd) => void good(sys("inotify_rm_watch", fd, wd)),
    after: close,
  },
  memfd_create: { run: () => sys("memfd_create", path("memory"), 0), undo: close },
  dup3: { before: file, run: (fd) => sys("dup3", fd, 500, 0), undo: () => close(500), after: close },
  fcntl_setlk: {
    before: file,
    run: (fd) => {
      putWords(memory, 1, 0, 0, 0, 100, 0, 0, 0);
      return sys("fcntl", fd, 6, memory);
    },
    undo: (_result, fd) => {
      putWords(memory, 2, 0, 0, 0, 0, 0, 0, 0);
      good(sys("fcntl", fd, 6, memory));
    },
    after: close,
  },
  flock: {
    before: file,
    run: (fd) => sys("flock", fd, 2),
    undo: (_result, fd) => void good(sys("flock", fd, 8)),
    after: close,
  },
  mmap: {
    run: () => sys("mmap", 0x2000_0000, 40_960, 3, 0x32, -1, 0),
    undo: (at) => void good(sys("munmap", at, 40_960)),
  },
  "mmap MAP_POPULATE": {
    run: () => sys("mmap", 0x4000_0000, 40_960, 3, 0x8032, -1, 0),
    undo: (at) => void good(sys("munmap", at, 40_960)),
  },
  "mmap shared": {
    run: () => sys("mmap", 0, 40_960, 3, 0x21, -1, 0),
    undo: (at) => void good(sys("munmap", at, 40_960)),
  },
  "mprotect of a part": {
    before: () => good(sys("mmap", 0x3000_0000, 40_960, 3, 0x32, -1, 0)),
    run: (at) => sys("mprotect", at + 8192, 8192, 1),
    after: (at) => void good(sys("munmap", at, 40_960)),
  },
  "munmap of a part": {
    before: () => good(sys("mmap", 0x3000_0000, 40_960, 3, 0x32, -1, 0)),
    run: (at) => sys("munmap", at + 8192, 8192),
    after: (at) => void good(sys("munmap", at, 40_960)),
  },
  mremap: {
    before: () => good(sys("mmap", 0x3000_0000, 40_960, 3, 0x32, -1, 0)),
    run: (at) => sys("mremap", at, 40_960, 81_920, 1, 0),
    undo: (at) => void good(sys("munmap", at, 81_920)),
    after: (at) => void sys("munmap", at, 40_960),
  },
  clone: {
    run: () => sys("clone", 17, 0, 0, 0, 0),
  },
  mount: {
    run: () => sys("mount", path("none"), path("/mnt", memory + 4096), path("tmpfs", memory + 8192), 0, 0),
    undo: () => void good(sys("umount2", path("/mnt"), 0)),
  },
  setresuid: {
    run: () => {
      const result = sys("setresuid", 4242, 0, 0);
      if (result === 0 && userOfTask(task) === 0) throw new Error("a task for which no user's limits count");
      return result;
    },
    undo: () => void good(sys("setresuid", 0, 0, 0)),
  },
  setgroups: {
    run: () => {
      putWords(memory, 1, 2, 3);
      return sys("setgroups", 3, memory);
    },
  },
  chdir: { run: () => sys("chdir", path("/tmp")), undo: () => void good(sys("chdir", path("/"))) },
  getdents64: {
    before: () => good(sys("openat", AT_FDCWD, path("/proc/self"), 0o200000, 0)),
    run: (fd) => sys("getdents64", fd, memory, 65536),
    after: close,
  },
  "execve of what is no program": {
    before: file,
    run: () => {
      const result = sys("execve", path("/tmp/file"), 0, 0);
      return result === -13 || result === -8 ? 0 : result;
    },
    after: close,
  },
  "connect and accept4": {
    before: () => {
      const fd = good(sys("socket", 1, 1, 0));
      putWords(memory, 0x61_0000_01 & 0xffff, 0);
      putBytes(memory, Uint8Array.of(1, 0, 0, 97, 98));
      good(sys("bind", fd, memory, 5));
      good(sys("listen", fd, 5));
      return fd;
    },
    run: (fd) => {
      const client = sys("socket", 1, 1, 0);
      if (client < 0) return client;
      putBytes(memory, Uint8Array.of(1, 0, 0, 97, 98));
      const connected = sys("connect", client, memory, 5);
      const accepted = connected < 0 ? connected : sys("accept4", fd, 0, 0, 0);
      if (accepted >= 0) close(accepted);
      close(client);
      return accepted;
    },
    after: close,
  },
  "sendmsg of a descriptor": {
    before: () => {
      good(sys("socketpair", 1, 1, 0, memory));
      const [a, b] = pair();
      good(sys("dup3", b, 700, 0));
      close(b);
      return a;
    },
    run: (fd) => {
      const [iov, control, message] = [memory + 64, memory + 128, memory + 256];
      putWords(iov, memory, 0, 1, 0);
      putWords(control, 20, 0, 1, 1, fd);
      putWords(message, 0, 0, 0, 0, iov, 0, 1, 0, control, 0, 20, 0, 0, 0);
      return sys("sendmsg", fd, message, 0);
    },
    after: (fd) => {
      close(fd);
      close(700);
    },
  },
  "sendto a datagram": {
    before: () => {
      good(sys("socketpair", 1, 2, 0, memory));
      const [a, b] = pair();
      good(sys("dup3", b, 700, 0));
      close(b);
      return a;
    },
    run: (fd) => sys("sendto", fd, memory, 100, 0, 0, 0),
    after: (fd) => {
      close(fd);
      close(700);
    },
  },
  "opening a terminal": { run: () => sys("openat", AT_FDCWD, path("/dev/ptmx"), 0x102, 0), undo: close },
  "a poll that waits": {
    before: () => good(sys("eventfd2", 0, 0)),
    run: (fd) => {
      putWords(memory, fd, 1);
      putWords(memory + 64, 100, 0, 0, 0);
      const result = sys("ppoll", memory, 1, memory + 64, 0, 8);
      stopWaiting();
      return result;
    },
    after: close,
  },
  "a read that waits": {
    before: () => good(sys("eventfd2", 0, 0)),
    run: (fd) => {
      const result = sys("read", fd, memory, 8);
      stopWaiting();
      return result;
    },
    after: close,
  },
  "a futex that is waited for": {
    run: () => {
      putWords(memory, 0);
      const result = sys("futex", memory, 0, 0, 0, 0, 0);
      stopWaiting();
      return result;
    },
  },
  rt_sigqueueinfo: {
    before: () => {
      putWords(memory, -1, -1);
      return good(sys("rt_sigprocmask", 0, memory, 0, 8));
    },
    run: () => {
      putWords(memory, 34, 0, -1, 0, 0, 0, 0, 0);
      return sys("rt_sigqueueinfo", Task.tgid.get(task), 34, memory);
    },
    undo: () => {
      putWords(memory, -1, -1);
      good(sys("rt_sigtimedwait", memory, 0, memory + 64, 8));
    },
  },
};

/** Most allocations that one call may make. */
const MOST = 200;

/** One try without allocation `n`: whether the call got so far, and what it left behind. */
function attempt(
  { before, run, undo, after }: Case,
  n: number,
): { reached: boolean; result: number; left: string[] } {
  const fd = before?.() ?? 0;
  settle(task);
  setAllocOwner(++owner);
  failAllocation(n);
  let result: number;
  try {
    result = run(fd);
  } finally {
    setAllocOwner(0);
  }
  const reached = failAllocation(0) === 0;
  assertNoLocksHeld(`a call without its allocation ${n}`);
  settle(task);
  // What a call that has failed made and kept; one that could do without the allocation has its objects until `undo`.
  const left = result >= 0 ? [] : ownedCells().filter((cells) => cells.owner === owner);
  if (result >= 0) undo?.(result, fd);
  after?.(fd);
  settle(task);
  return {
    reached,
    result,
    left: left.map(({ struct, count }) => `${count} ${struct === "" ? "array" : struct}`),
  };
}

/** Tries until caches are full that keep what a failed call has found out, such as the parts of a path. */
const WARM = 4;

for (const [name, each] of Object.entries(CASES))
  test.serial(`${name}: no allocation has to succeed`, (t) => {
    for (let n = 1; ; n++) {
      if (n === MOST) return t.fail(`${MOST} allocations`);
      const { reached, result, left: first } = attempt(each, n);
      t.true(isBlock(result) || result >= 0 || SHORT.has(result), `without allocation ${n}: ${result}`);
      // A leak happens each time.
      let left = first;
      for (let again = 0; left.length !== 0 && again < WARM; again++) left = attempt(each, n).left;
      t.deepEqual(left, [], `without allocation ${n}: ${result}, left ${first}`);
      if (!reached) break;
    }
  });
