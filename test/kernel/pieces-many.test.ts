/** As pieces.test.ts: messages, events, signals, tasks, descriptors. */
import test from "ava";
import { File } from "../../kernel/fs/file.ts";
import { YIELD } from "../../kernel/sched/block.ts";
import { doChores } from "../../kernel/sched/idle.ts";
import { safePoint } from "../../kernel/sched/safe-point.ts";
import { dropQueued } from "../../kernel/signal/pending.ts";
import { Task } from "../../kernel/task/task.ts";
import { liveObjects } from "../../rcu/index.ts";
import { boot, getWords, newTask, putBytes, putWords, settle } from "./ipc/machine.ts";
import { pieceTests } from "./pieces.ts";

const { task, memory } = boot();
const { sys, flat } = pieceTests(task);
const AT_FDCWD = -100;
const putPath = (path: string): void => putBytes(memory, new TextEncoder().encode(`${path}\0`));
const RLIMIT = { NOFILE: 7, SIGPENDING: 11 };
function raise(limit: number): void {
  putWords(memory, 1_000_000, 0, 1_000_000, 0);
  sys("prlimit64", 0, limit, memory, 0);
}
const closeAll = (): void => void sys("close_range", 0, 0xffff_ffff, 0);

/** `count` struct mmsghdr, each with as many pieces as may be, all of them empty. */
function messages(count: number): number {
  const vector = memory + 65536;
  const at = memory + 4096;
  for (let n = 0; n < 1024; n++) putWords(vector + 16 * n, memory, 0, 0, 0);
  for (let n = 0; n < count; n++) {
    putWords(at + 64 * n, 0, 0, 0, 0, vector, 0, 1024, 0);
    putWords(at + 64 * n + 32, 0, 0, 0, 0, 0, 0, 0, 0);
  }
  return at;
}
flat(
  "sendmmsg",
  6,
  (size) => {
    sys("socketpair", 1, 2, 0, memory);
    return ["sendmmsg", getWords(memory, 1)[0]!, messages(size), size, 0];
  },
  closeAll,
);
flat(
  "recvmmsg",
  6,
  (size) => {
    sys("socketpair", 1, 2, 0, memory);
    const [from, to] = getWords(memory, 2) as [number, number];
    const at = messages(size);
    for (let n = 0; n < size; n++) if (sys("sendmsg", from, at, 0) < 0) throw new Error("full");
    return ["recvmmsg", to, at, size, 0, 0];
  },
  closeAll,
);

flat(
  "read of inotify events",
  1500,
  (size) => {
    const fd = sys("inotify_init1", 0);
    putPath("/tmp");
    sys("inotify_add_watch", fd, memory, 0xfff);
    for (let n = 0; n < size; n++) {
      putPath(`/tmp/${n & 1}`);
      sys("mknodat", AT_FDCWD, memory, 0o100644, 0);
      sys("unlinkat", AT_FDCWD, memory, 0);
    }
    return ["read", fd, memory, 1 << 20];
  },
  closeAll,
);

flat("the end of a task with queued signals", 2100, (size) => {
  raise(RLIMIT.SIGPENDING);
  putWords(memory, -1, -1);
  sys("rt_sigprocmask", 2, memory, 0, 8);
  putWords(memory, 0, 0, -1, 0, 0, 0, 0, 0);
  for (let n = 0; n < size; n++)
    if (sys("rt_sigqueueinfo", Task.tgid.get(task), 34 + (n % 30), memory) < 0) throw new Error("signal");
  return () => (dropQueued(task) ? 0 : YIELD);
});

function descriptors(count: number): void {
  raise(RLIMIT.NOFILE);
  const event = sys("eventfd2", 1, 0);
  for (let n = 0; n < count; n++) sys("dup", event);
}
flat(
  "dup to a number",
  65_000,
  (size) => {
    descriptors(0);
    return ["dup3", 0, size, 0];
  },
  closeAll,
);
flat(
  "fork of descriptors",
  5000,
  (size) => {
    descriptors(size);
    return ["clone", 0, 0, 0, 0, 0];
  },
  closeAll,
);

/** Descriptors that are not ready, and a struct pollfd for each. */
function polled(count: number, pipes: boolean): number {
  raise(RLIMIT.NOFILE);
  const event = sys("eventfd2", 0, 0);
  for (let n = 1; n < count; n++) sys("dup", event);
  const at = sys("mmap", 0, 8 * count, 3, 0x22, -1, 0);
  if (pipes) for (let n = 0; n < count; n++) putWords(at + 8 * n, event + n, 1);
  else for (let n = 0; n < count; n += 32) putWords(at + n / 8, -1);
  return at;
}
flat(
  "poll",
  5000,
  (size) => {
    const at = polled(size, true);
    putWords(memory, 0, 0, 0, 0);
    return ["ppoll", at, size, memory, 0, 0];
  },
  closeAll,
);
flat(
  "select",
  5120,
  (size) => {
    const at = polled(size, false);
    putWords(memory, 0, 0, 0, 0);
    return ["pselect6", size, at, 0, 0, memory, 0];
  },
  closeAll,
);

flat(
  "the close of a file that many epoll items watch",
  1500,
  (size) => {
    const epoll = sys("epoll_create1", 0);
    descriptors(size);
    putWords(memory, 1, 0, 0, 0);
    for (let n = 0; n < size; n++) sys("epoll_ctl", epoll, 1, epoll + 1 + n, memory);
    for (let n = 0; n < size; n++) sys("close", epoll + 1 + n);
    return ["close", epoll + 1 + size];
  },
  closeAll,
);

/** Pairs of sockets, each in flight in the queue of the next: garbage. */
function cycle(count: number): void {
  raise(RLIMIT.NOFILE);
  const pairs: [number, number][] = [];
  for (let n = 0; n < count; n++) {
    sys("socketpair", 1, 2, 0, memory);
    pairs.push(getWords(memory, 2) as [number, number]);
  }
  const control = memory + 256;
  putWords(memory, 0, 0, 0, 0, memory, 0, 0, 0, control, 0, 20, 0, 0, 0);
  for (let n = 0; n < count; n++) {
    putWords(control, 20, 0, 1, 1, pairs[(n + 1) % count]![1]);
    if (sys("sendmsg", pairs[n]![0], memory, 0) < 0) throw new Error("sendmsg");
  }
}
flat("sockets that only hold each other", 300, (size) => {
  closeAll();
  settle(task);
  const before = liveObjects(File);
  cycle(size);
  closeAll();
  settle(task);
  return () => {
    doChores();
    safePoint(task);
    return liveObjects(File) > before ? YIELD : 0;
  };
});

// Last, since they stay.
const made = { tasks: 0 };
function tasks(count: number): void {
  for (; made.tasks < count; made.tasks++) newTask("one of many");
}
flat("setpriority of a user's tasks", 2100, (size) => {
  tasks(size);
  return ["setpriority", 2, 0, 5];
});
flat("getpriority of a user's tasks", 2100, (size) => {
  tasks(size);
  return ["getpriority", 2, 0];
});

test.after((t) => {
  t.is(Task.later.get(task), 0);
});
