/** What the machine and a user may have of each kind, and who is killed when memory runs out. */
import test from "ava";
import { mmCreate, mmGet, mmPut } from "../../kernel/mm/mm.ts";
import { mmap } from "../../kernel/mm/mmap.ts";
import { mmWrite } from "../../kernel/mm/remote.ts";
import { activateMm } from "../../kernel/mm/tlb.ts";
import { fatalPending } from "../../kernel/sched/yield.ts";
import { limit, setLimitValue } from "../../kernel/task/limits.ts";
import { OOM_WAIT, outOfMemory } from "../../kernel/task/oom.ts";
import { findTask, nrTasks } from "../../kernel/task/pid.ts";
import { Group, Task } from "../../kernel/task/task.ts";
import {
  E2BIG,
  EACCES,
  EAGAIN,
  EINVAL,
  EMFILE,
  ENFILE,
  ENOENT,
  ENOLCK,
  ENOSPC,
  ERANGE,
} from "../../kernel/uapi/errno.ts";
import {
  freeArray,
  type Held,
  heapPages,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  tryAllocArray,
} from "../../rcu/index.ts";
import { boot, call, getWords, newTask, putBytes, putWords, read, settle, write } from "./ipc/machine.ts";

const { task: root, memory } = boot();
const AT_FDCWD = -100;
const SIGUSR1 = 10;
const RLIMIT = { STACK: 3, NPROC: 6, SIGPENDING: 11 };
const CLONE_SIGCHLD = 17;
const HELD = 1 as Held;

const sys = (task: Ref<"task">, name: string, ...args: number[]): number => call(task, name, ...args);
function putPath(at: number, path: string): number {
  putBytes(at, new TextEncoder().encode(`${path}\0`));
  return at;
}
const open = (task: Ref<"task">, path: string, flags = 0): number =>
  sys(task, "openat", AT_FDCWD, putPath(memory, path), flags, 0o600);

/** A process of that user that shares the test's memory. */
function processOf(uid: number, name: string): Ref<"task"> {
  const task = newTask(name);
  Task.mm.assign(HELD, task, mmGet(Task.mm.access(root) as Ref<"mm">));
  if (uid !== 0 && sys(task, "setuid", uid) !== 0) throw new Error("setuid");
  return task;
}
function setLimit(task: Ref<"task">, resource: number, value: number): void {
  putWords(memory, value, 0, value, 0);
  if (sys(task, "prlimit64", 0, resource, memory, 0) !== 0) throw new Error("prlimit64");
}
/** Makes calls until one fails: how many did not, and the error. */
function untilRefused(call: () => number): [number, number] {
  for (let n = 0; ; n++) {
    const result = call();
    if (result < 0 || n > 100_000) return [n, result];
  }
}
function adjust(task: Ref<"task">, of: Ref<"task">, text: string): number {
  const fd = open(task, `/proc/${Task.pid.get(of)}/oom_score_adj`, 1);
  const result = fd < 0 ? fd : write(task, fd, text);
  if (fd >= 0) sys(task, "close", fd);
  return result;
}
function cat(task: Ref<"task">, path: string): string {
  const fd = open(task, path);
  const text = String(read(task, fd));
  sys(task, "close", fd);
  return text;
}
const adjustment = (task: Ref<"task">): string => cat(root, `/proc/${Task.pid.get(task)}/oom_score_adj`);

test.serial("oom_score_adj reads back what was written, from -1000 to 1000", (t) => {
  const task = processOf(0, "adjusted");
  for (const value of ["-1000", "1000", "17\n", "+5", " 0 "]) {
    t.is(adjust(root, task, value), value.length);
    t.is(adjustment(task), `${Number(value)}\n`);
  }
  // As strtol(3) reads numbers; what is longer than 12 bytes is cut.
  for (const [text, value] of [
    ["0x10", 16],
    ["010", 8],
    ["-0x10", -16],
    ["000000000000999", 0],
    ["0", 0],
  ] as const) {
    t.is(adjust(root, task, text), Math.min(12, text.length));
    t.is(adjustment(task), `${value}\n`);
  }
  for (const value of ["1001", "-1001", "", "x", "1x", "0x", "08", "1 2"])
    t.is(adjust(root, task, value), -EINVAL, value);
  for (const value of ["2147483648", "-99999999999"]) t.is(adjust(root, task, value), -ERANGE, value);
  t.is(adjustment(task), "0\n");
});

test.serial(
  "a user raises oom_score_adj, and lowers it no further than it was when root set it last",
  (t) => {
    const task = processOf(1000, "user");
    t.is(adjust(task, task, "300"), 3);
    t.is(adjust(task, task, "0"), 1, "back to where it began");
    t.is(adjust(task, task, "-1"), -EACCES);
    t.is(adjust(root, task, "-500"), 4);
    t.is(adjust(task, task, "10"), 2);
    t.is(adjust(task, task, "-500"), 4, "root gave this");
    t.is(adjust(task, task, "-501"), -EACCES);
  },
);

test.serial("fork passes oom_score_adj on", (t) => {
  const task = processOf(0, "parent");
  adjust(root, task, "-123");
  const child = sys(task, "clone", CLONE_SIGCHLD, 0, 0, 0, 0);
  t.true(child > 0);
  t.is(cat(root, `/proc/${child}/oom_score_adj`), "-123\n");
});

test.serial("the killer takes who has most, spares -1000, and then waits for the victim's end", (t) => {
  /** A process with so many resident pages of its own. */
  const holder = (name: string, pages: number, adjustBy: string): Ref<"task"> => {
    const task = newTask(name);
    const mm = mmCreate() as Ref<"mm">;
    Task.mm.assign(HELD, task, mm);
    const at = mmap(mm, 0x100000, pages * 4096, 3, 0x32, 0, 0);
    for (let page = 0; page < pages; page++) mmWrite(mm, at + page * 4096, Uint8Array.of(1));
    adjust(root, task, adjustBy);
    return task;
  };
  adjust(root, root, "-1000");
  const innocent = holder("innocent", 10, "0");
  const spared = holder("spared", 900, "-1000");
  const culprit = holder("culprit", 600, "0");
  const score = (task: Ref<"task">): number => Number(cat(root, `/proc/${Task.pid.get(task)}/oom_score`));
  t.is(score(spared), 0);
  t.true(score(culprit) > score(innocent));
  t.is(outOfMemory(), OOM_WAIT);
  t.deepEqual([innocent, spared, culprit].map(fatalPending), [false, false, true]);
  t.is(outOfMemory(), OOM_WAIT, "its memory is on its way");
  t.deepEqual([innocent, spared].map(fatalPending), [false, false]);
  for (const task of [culprit, innocent, spared]) {
    const mm = Task.mm.access(task) as Ref<"mm">;
    Task.mm.assign(HELD, task, 0);
    mmPut(mm);
  }
  settle(root);
  activateMm(Task.mm.access(root));
});

test.serial("RLIMIT_NPROC counts the processes of a user: EAGAIN, but not for root", (t) => {
  const task = processOf(1001, "forks");
  setLimit(task, RLIMIT.NPROC, 4);
  t.deepEqual(
    untilRefused(() => sys(task, "clone", CLONE_SIGCHLD, 0, 0, 0, 0)),
    [3, -EAGAIN],
    "itself is the fourth",
  );
  setLimit(root, RLIMIT.NPROC, 1);
  t.true(sys(root, "clone", CLONE_SIGCHLD, 0, 0, 0, 0) > 0);
});

test.serial("RLIMIT_SIGPENDING counts queued signals and timers of all processes of a user", (t) => {
  const [one, other] = [processOf(1002, "one"), processOf(1002, "other")];
  for (const task of [one, other]) setLimit(task, RLIMIT.SIGPENDING, 5);
  putWords(memory, -1, -1);
  for (const task of [one, other]) sys(task, "rt_sigprocmask", 0, memory, 0, 8);
  const timer = (): number => sys(one, "timer_create", 1, 0, memory);
  t.is(timer(), 0);
  t.is(timer(), 0);
  const id = getWords(memory, 1)[0]!;
  const queue = (): number => {
    putWords(memory, 34, 0, -1, 0, 0, 0, 0, 0);
    return sys(other, "rt_sigqueueinfo", Task.tgid.get(other), 34, memory);
  };
  t.deepEqual(untilRefused(queue), [3, -EAGAIN]);
  t.is(timer(), -EAGAIN);
  t.is(sys(one, "timer_delete", id), 0);
  t.deepEqual(untilRefused(queue), [1, -EAGAIN], "a timer's place is free again");
  t.is(sys(other, "kill", Task.tgid.get(other), SIGUSR1), 0, "kill(2) needs no place in the queue");
});

test.serial("inotify instances are counted by user: EMFILE", (t) => {
  const [one, other] = [processOf(1003, "one"), processOf(1003, "other")];
  const before = limit("inotifyInstances");
  setLimitValue("inotifyInstances", 3);
  t.true(sys(one, "inotify_init1", 0) >= 0);
  t.deepEqual(
    untilRefused(() => sys(other, "inotify_init1", 0)),
    [2, -EMFILE],
  );
  t.is(sys(one, "close", 0), 0);
  settle(root);
  t.true(sys(other, "inotify_init1", 0) >= 0);
  setLimitValue("inotifyInstances", before);
});

test.serial("epoll watches are counted by user: ENOSPC, and a closed file gives its own back", (t) => {
  const task = processOf(1004, "epoll");
  const before = limit("epollWatches");
  setLimitValue("epollWatches", 2);
  const ep = sys(task, "epoll_create1", 0);
  sys(task, "pipe2", memory, 0);
  const [reader, writer] = getWords(memory, 2) as [number, number];
  putWords(memory, 1, 0, 0, 0);
  const watch = (fd: number): number => sys(task, "epoll_ctl", ep, 1, fd, memory);
  t.deepEqual([watch(reader), watch(writer), watch(sys(task, "dup", reader))], [0, 0, -ENOSPC]);
  t.is(sys(task, "close", writer), 0);
  settle(root);
  t.is(watch(sys(task, "dup", reader)), 0);
  setLimitValue("epollWatches", before);
});

test.serial("a user with many pages in pipes gets small ones, and root does not", (t) => {
  const before = limit("pipePages");
  setLimitValue("pipePages", 32);
  const sizes = (task: Ref<"task">): number[] =>
    [0, 0, 0].map(() => {
      t.is(sys(task, "pipe2", memory, 0), 0);
      return sys(task, "fcntl", getWords(memory, 1)[0]!, 1032, 0);
    });
  t.deepEqual(sizes(processOf(1005, "pipes")), [65536, 65536, 8192]);
  t.deepEqual(sizes(processOf(0, "pipes")), [65536, 65536, 65536]);
  setLimitValue("pipePages", before);
});

test.serial("file-max: ENFILE for who has many descriptors, also from socketpair and pipe", (t) => {
  const task = processOf(1006, "files");
  const before = limit("fileMax");
  putPath(memory, "/dev/null");
  for (let n = 0; n < 300; n++) if (sys(task, "openat", AT_FDCWD, memory, 0, 0) < 0) t.fail("open");
  setLimitValue("fileMax", 1);
  t.is(untilRefused(() => sys(task, "openat", AT_FDCWD, memory, 0, 0))[1], -ENFILE);
  t.is(sys(task, "socketpair", 1, 1, 0, memory), -ENFILE);
  t.is(sys(task, "pipe2", memory, 0), -ENFILE);
  t.is(sys(task, "eventfd2", 0, 0), -ENFILE);
  t.is(sys(task, "epoll_create1", 0), -ENFILE);
  t.is(sys(task, "socket", 1, 1, 0), -ENFILE);
  setLimitValue("fileMax", before);
  t.true(sys(task, "eventfd2", 0, 0) >= 0);
});

test.serial(
  "execve takes strings of 131 071 bytes and a quarter of the stack limit, and nothing more: E2BIG",
  (t) => {
    const task = processOf(0, "exec");
    const [path, string, argv] = [memory, memory + 4096, memory + 300_000];
    putPath(path, "/no/such/program");
    const exec = (length: number, count: number): number => {
      const text = new Uint8Array(length + 1).fill(97);
      text[length] = 0;
      putBytes(string, text);
      const pointers: number[] = [];
      for (let n = 0; n < count; n++) pointers.push(string, 0);
      putWords(argv, ...pointers, 0, 0);
      return sys(task, "execve", path, argv, 0);
    };
    t.is(exec(131_071, 1), -ENOENT, "strings are taken before the path is looked up");
    t.is(exec(131_072, 1), -E2BIG);
    setLimit(task, RLIMIT.STACK, 1 << 20);
    // 262 144 bytes for strings, their NULs and pointers.
    const least = Math.floor(262_144 / (1000 + 1 + 8));
    t.is(exec(1000, least), -ENOENT);
    t.is(exec(1000, least + 1), -E2BIG);
    setLimit(task, RLIMIT.STACK, 4096);
    t.is(exec(1000, Math.floor(131_072 / 1009)), -ENOENT, "ARG_MAX whatever the stack limit is");
    t.is(exec(1000, Math.floor(131_072 / 1009) + 1), -E2BIG);
  },
);

test.serial(
  "what an execve with 80 000 pointers to one long string copies is bounded before it is refused",
  (t) => {
    const [path, string, argv] = [memory, memory + 4096, memory + 200_000];
    putPath(path, "/no/such/program");
    const text = new Uint8Array(131_072).fill(97);
    text[131_071] = 0;
    putBytes(string, text);
    const pointers = new Int32Array(2 * 80_001);
    for (let n = 0; n < 80_000; n++) pointers[2 * n] = string;
    putBytes(argv, new Uint8Array(pointers.buffer));
    const before = process.memoryUsage().arrayBuffers;
    t.is(sys(root, "execve", path, argv, 0), -E2BIG);
    const grown = process.memoryUsage().arrayBuffers - before;
    t.true(grown < 64 << 20, `${grown} bytes`);
  },
);

test.serial("record locks in all files of a user are limited, and given back", (t) => {
  const user = processOf(1234, "locks");
  const before = limit("recordLocks");
  setLimitValue("recordLocks", 50);
  const lock = (fd: number, type: number, n: number): number => {
    putWords(memory, type, 0, 2 * n, 0, 1, 0, 0, 0);
    return sys(user, "fcntl", fd, 6, memory);
  };
  const files = [0, 1].map((n) => open(user, `/tmp/locked${n}`, 0o102));
  const taken = files.map((fd) => untilRefused(() => lock(fd, 1, next++)));
  t.deepEqual(taken, [
    [50, -ENOLCK],
    [0, -ENOLCK],
  ]);
  t.is(sys(user, "close", files[0]!), 0);
  t.deepEqual(
    untilRefused(() => lock(files[1]!, 1, next++)),
    [50, -ENOLCK],
  );
  t.is(lock(files[1]!, 2, next - 2), 0);
  t.is(lock(files[1]!, 1, next - 2), 0, "one was given back");
  setLimitValue("recordLocks", before);
  sys(user, "close", files[1]!);
});
let next = 0;

test.serial("pid_max is where pids begin anew", (t) => {
  const set = (text: string): number => write(root, open(root, "/proc/sys/kernel/pid_max", 1), text);
  t.is(set("300"), -EINVAL);
  t.is(set("40000"), -EINVAL);
  t.is(set("400\n"), 4);
  t.is(cat(root, "/proc/sys/kernel/pid_max"), "400\n");
  const pids = Array.from({ length: 150 }, () => Task.pid.get(newTask("pids")));
  t.true(
    pids.every((pid) => pid < 400),
    String(Math.max(...pids)),
  );
  t.is(new Set(pids).size, pids.length);
  t.is(set("32768"), 5);
});

test.serial("sessions of its own do not get a bomb all that is kept for others", (t) => {
  const before = limit("threadsMax");
  const origin = (name: string): Ref<"task"> => {
    const task = processOf(0, name);
    Group.origin.store(Task.group.get(task), Task.pid.get(task));
    return task;
  };
  const [bomb, other] = [origin("bomb"), origin("other")];
  const most = nrTasks() + 40;
  setLimitValue("threadsMax", most);
  let last = bomb;
  let refused = 0;
  while (refused === 0) {
    const pid = sys(last, "clone", CLONE_SIGCHLD, 0, 0, 0, 0);
    if (pid < 0) refused = pid;
    else {
      last = findTask(rcuReadLock(), pid) as Ref<"task">;
      rcuReadUnlock();
      t.is(sys(last, "setsid"), pid);
    }
  }
  t.deepEqual([refused, nrTasks()], [-EAGAIN, most + (most >> 4)]);
  t.true(sys(other, "clone", CLONE_SIGCHLD, 0, 0, 0, 0) > 0);
  setLimitValue("threadsMax", before);
});

test.serial("a mount is ENOSPC, and waits for nobody's memory, when little of the heap is left", (t) => {
  const mount = (): number => {
    putPath(memory, "none");
    putPath(memory + 64, "/tmp");
    putPath(memory + 128, "tmpfs");
    return sys(root, "mount", memory, memory + 64, memory + 128, 0, 0);
  };
  t.is(mount(), 0);
  const taken: Ref<"array">[] = [];
  // What programs take, none of them much: no process is killed for it.
  const { total } = heapPages();
  while (heapPages().free * 16 >= total * 3) taken.push(tryAllocArray(250_000) as Ref<"array">);
  t.is(mount(), -ENOSPC);
  for (const array of taken) freeArray(array);
  t.is(mount(), 0);
});
