import test from "ava";
import { allocFd, closeFd } from "../../../kernel/fs/fdtable.ts";
import { vfsOpen } from "../../../kernel/fs/open.ts";
import { Epitem, Eventpoll } from "../../../kernel/ipc/eventpoll.ts";
import { BLOCK_EINTR } from "../../../kernel/sched/block.ts";
import { Task } from "../../../kernel/task/task.ts";
import {
  EPOLL_CTL_ADD as ADD,
  EPOLL_CTL_DEL as DEL,
  EPOLLERR,
  EPOLLET,
  EPOLLEXCLUSIVE,
  EPOLLHUP,
  EPOLLIN,
  EPOLLONESHOT,
  EPOLLOUT,
  EPOLL_CTL_MOD as MOD,
} from "../../../kernel/uapi/epoll.ts";
import { EBADF, EEXIST, EFAULT, EINVAL, ELOOP, ENOENT, EPERM } from "../../../kernel/uapi/errno.ts";
import { AT_FDCWD, O_CREAT, O_NONBLOCK, O_RDWR } from "../../../kernel/uapi/fcntl.ts";
import { liveObjects, type Ref } from "../../../rcu/index.ts";
import { around, boot, call, getWords, newTask, putWords, read, settle, woken, write } from "./machine.ts";

const { task, files, memory } = boot();
const other = newTask("other");
Task.files.init(other, files);
const EVENTS = memory + 4096;

function pipe(): [number, number] {
  call(task, "pipe2", memory, O_NONBLOCK);
  return getWords(memory, 2) as [number, number];
}
const close = (...fds: number[]): void => {
  for (const fd of fds) around(task, () => closeFd(files, fd));
};
const create = (): number => call(task, "epoll_create1", 0);
function ctl(ep: number, op: number, fd: number, events = 0, data = fd): number {
  putWords(memory, events, 0, data, ~data);
  return call(task, "epoll_ctl", ep, op, fd, memory);
}
/** epoll_wait without or with a time-out: [events, data] of each event, or the error. */
function wait(ep: number, timeout = 0, max = 16, as = task): [number, number][] | number {
  const count = call(as, "epoll_pwait", ep, EVENTS, max, timeout, 0, 0);
  if (count < 0) return count;
  return Array.from({ length: count }, (_, i) => {
    const [events, , low, high] = getWords(EVENTS + i * 16, 4);
    if (high !== ~low!) throw new Error("epoll_data lost its upper half");
    return [events!, low!];
  });
}

test.serial("level triggered: reported as long as it holds", (t) => {
  const [r, w] = pipe();
  const ep = create();
  t.is(ctl(ep, ADD, r, EPOLLIN), 0);
  t.deepEqual(wait(ep), []);
  write(task, w, "ab");
  t.deepEqual(wait(ep), [[EPOLLIN, r]]);
  read(task, r, 1);
  t.deepEqual(wait(ep), [[EPOLLIN, r]]);
  read(task, r, 1);
  t.deepEqual(wait(ep), []);
  close(r, w, ep);
});

test.serial("edge triggered: reported once for each new event", (t) => {
  const [r, w] = pipe();
  const ep = create();
  ctl(ep, ADD, r, EPOLLIN | EPOLLET);
  write(task, w, "a");
  t.deepEqual(wait(ep), [[EPOLLIN, r]]);
  t.deepEqual(wait(ep), []);
  write(task, w, "b");
  t.deepEqual(wait(ep), [[EPOLLIN, r]]);
  t.deepEqual(wait(ep), []);
  close(r, w, ep);
});

test.serial(
  "one shot: disarmed after an event, armed again by EPOLL_CTL_MOD, which sees what is there",
  (t) => {
    const [r, w] = pipe();
    const ep = create();
    ctl(ep, ADD, r, EPOLLIN | EPOLLONESHOT);
    write(task, w, "a");
    t.deepEqual(wait(ep), [[EPOLLIN, r]]);
    write(task, w, "b");
    t.deepEqual(wait(ep), []);
    t.is(ctl(ep, MOD, r, EPOLLIN | EPOLLONESHOT, 77), 0);
    t.deepEqual(wait(ep), [[EPOLLIN, 77]]);
    close(r, w, ep);
  },
);

test.serial("what is ready already when it is added is reported", (t) => {
  const [r, w] = pipe();
  const ep = create();
  write(task, w, "a");
  ctl(ep, ADD, r, EPOLLIN | EPOLLET);
  ctl(ep, ADD, w, EPOLLOUT);
  t.deepEqual(wait(ep), [
    [EPOLLIN, r],
    [EPOLLOUT, w],
  ]);
  close(r, w, ep);
});

test.serial("EPOLLHUP and EPOLLERR are reported without being asked for", (t) => {
  const [r, w] = pipe();
  const [r2, w2] = pipe();
  const ep = create();
  ctl(ep, ADD, r, 0);
  ctl(ep, ADD, w2, 0);
  t.deepEqual(wait(ep), []);
  close(w, r2);
  t.deepEqual(wait(ep), [
    [EPOLLHUP, r],
    [EPOLLERR, w2],
  ]);
  close(r, w2, ep);
});

test.serial("a sleeper is woken by an event that was asked for, and by no other", (t) => {
  const [r, w] = pipe();
  const ep = create();
  write(task, w, new Uint8Array(65536));
  ctl(ep, ADD, w, EPOLLOUT);
  ctl(ep, ADD, r, 0);
  t.is(wait(ep, -1), BLOCK_EINTR);
  t.false(woken(task));
  read(other, r, 65536);
  t.true(woken(task));
  t.deepEqual(wait(ep, -1), [[EPOLLOUT, w]]);
  close(r, w, ep);
});

test.serial("a closed file leaves the instance; a duplicate keeps it in", (t) => {
  const [r, w] = pipe();
  const ep = create();
  ctl(ep, ADD, r, EPOLLIN);
  write(task, w, "a");
  close(r);
  t.deepEqual(wait(ep), []);
  t.is(liveObjects(Epitem), 0);
  close(w, ep);
});

test.serial("maxevents shares the events out: those left come first next time", (t) => {
  const pipes = [pipe(), pipe(), pipe()];
  const ep = create();
  for (const [r, w] of pipes) {
    ctl(ep, ADD, r, EPOLLIN);
    write(task, w, "x");
  }
  const seen = [wait(ep, 0, 2), wait(ep, 0, 2)].flatMap((events) =>
    (events as [number, number][]).map(([, fd]) => fd),
  );
  t.deepEqual(
    seen,
    [0, 1, 2, 0].map((i) => pipes[i]![0]),
  );
  close(ep, ...pipes.flat());
});

test.serial("an instance can be watched by another, edges included; loops are refused", (t) => {
  const [r, w] = pipe();
  const inner = create();
  const outer = create();
  ctl(inner, ADD, r, EPOLLIN);
  t.is(ctl(outer, ADD, inner, EPOLLIN | EPOLLET), 0);
  t.deepEqual(wait(outer), []);
  t.is(wait(outer, -1), BLOCK_EINTR);
  write(other, w, "x");
  t.true(woken(task));
  t.deepEqual(wait(outer, -1), [[EPOLLIN, inner]]);
  t.deepEqual(wait(outer), []);
  t.deepEqual(wait(inner), [[EPOLLIN, r]]);
  t.is(ctl(inner, ADD, outer, EPOLLIN), -ELOOP);
  t.is(ctl(inner, ADD, inner, EPOLLIN), -EINVAL);
  close(r, w, inner, outer);
});

test.serial("no chain of instances is longer than five, whichever end it grows at", (t) => {
  const grow = (add: (next: number, last: number) => number): number => {
    const all = [create()];
    for (;;) {
      const next = create();
      const result = add(next, all.at(-1)!);
      all.push(next);
      if (result === 0) continue;
      t.is(result, -ELOOP);
      close(...all);
      return all.length - 1;
    }
  };
  t.is(
    grow((next, last) => ctl(last, ADD, next, EPOLLIN)),
    5,
    "at its leaf",
  );
  t.is(
    grow((next, last) => ctl(next, ADD, last, EPOLLIN)),
    5,
    "at its top",
  );
  // Two chains of three do not become one of six.
  const [a, b, c, d, e, f] = Array.from({ length: 6 }, create) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  for (const [above, below] of [
    [a, b],
    [b, c],
    [d, e],
    [e, f],
  ] as const)
    t.is(ctl(above, ADD, below, EPOLLIN), 0);
  t.is(ctl(c, ADD, d, EPOLLIN), -ELOOP);
  t.is(ctl(b, ADD, d, EPOLLIN), 0);
  close(a, b, c, d, e, f);
});

test.serial("epoll_ctl names its errors", (t) => {
  const [r, w] = pipe();
  const ep = create();
  const file = around(task, () => vfsOpen(AT_FDCWD, "/tmp/regular", O_CREAT | O_RDWR, 0o600));
  const regular = allocFd(files, file as Ref<"file">, 0);
  t.is(ctl(ep, MOD, r, EPOLLIN), -ENOENT);
  t.is(ctl(ep, DEL, r), -ENOENT);
  t.is(ctl(ep, ADD, r, EPOLLIN), 0);
  t.is(ctl(ep, ADD, r, EPOLLIN), -EEXIST);
  t.is(ctl(ep, DEL, r), 0);
  t.is(ctl(ep, ADD, 999, EPOLLIN), -EBADF);
  t.is(ctl(ep, ADD, regular, EPOLLIN), -EPERM);
  t.is(ctl(r, ADD, w, EPOLLOUT), -EINVAL);
  t.is(ctl(ep, ADD, r, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT), -EINVAL);
  t.is(call(task, "epoll_ctl", ep, ADD, r, 8), -EFAULT);
  t.is(wait(ep, 0, 0), -EINVAL);
  close(r, w, ep, regular);
});

test.serial("thousands of idle descriptors: found again after the hash grew, all given back", (t) => {
  const ep = create();
  const pipes = Array.from({ length: 200 }, pipe);
  for (const [r] of pipes) t.is(ctl(ep, ADD, r, EPOLLIN), 0);
  t.is(liveObjects(Epitem), 200);
  for (const [r, w] of pipes.slice(0, 100)) {
    t.is(ctl(ep, MOD, r, EPOLLIN, r + 1000), 0);
    write(task, w, "x");
  }
  const events = wait(ep, 0, 1000) as [number, number][];
  t.deepEqual(
    events.map(([, data]) => data),
    pipes.slice(0, 100).map(([r]) => r + 1000),
  );
  close(ep);
  settle(task);
  t.is(liveObjects(Epitem), 0);
  t.is(liveObjects(Eventpoll), 0);
  for (const [r, w] of pipes) close(r, w);
});
