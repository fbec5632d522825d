/** Calls whose length user space chooses make room for others: in parts, resumed where they were, ended by signals. */
import test from "ava";
import { YIELD } from "../../../kernel/sched/block.ts";
import { clearNeedResched, setNeedResched } from "../../../kernel/sched/cpus.ts";
import { dequeueSignal, recalcPending } from "../../../kernel/signal/pending.ts";
import { sendSignal } from "../../../kernel/signal/send.ts";
import { Group, Task } from "../../../kernel/task/task.ts";
import { O_CREAT, O_RDONLY, O_RDWR, O_TRUNC } from "../../../kernel/uapi/fcntl.ts";
import { SIGKILL, SIGUSR1 } from "../../../kernel/uapi/signal.ts";
import type { Held } from "../../../rcu/index.ts";
import { boot, call, getBytes, putBytes, putWords } from "../ipc/machine.ts";

const { task, memory } = boot();
const MB = 1 << 20;
const PATH = memory;
const VECTOR = memory + 4096;
const OFFSET = memory + 65536;
const DATA = memory + 65536 + 4096;
const PIECE = MB / 2;
const AT_FDCWD = -100;
const sys = (name: string, ...args: number[]): number => call(task, name, ...args);

function open(path: string, flags: number): number {
  putBytes(PATH, new TextEncoder().encode(`${path}\0`));
  const fd = sys("openat", AT_FDCWD, PATH, flags, 0o600);
  if (fd < 0) throw new Error(`${path}: ${fd}`);
  return fd;
}
/** A vector of `pieces` times the same half megabyte. */
function vector(pieces: number): void {
  for (let n = 0; n < pieces; n++) putWords(VECTOR + 16 * n, DATA, 0, PIECE, 0);
}

/** Makes the call while somebody wants the CPU all the time: its result, and how often it made room. */
function wanted(name: string, ...args: number[]): { result: number; yields: number } {
  let yields = 0;
  for (;;) {
    setNeedResched(0);
    const result = sys(name, ...args);
    clearNeedResched(0);
    if (result !== YIELD) return { result, yields };
    if (++yields > 10_000) throw new Error(`${name} makes no progress`);
  }
}

const devices = ["/dev/zero", "/dev/full", "/dev/urandom"];
for (const path of devices)
  test.serial(`readv of ${path} makes room, and goes on where it was`, (t) => {
    const fd = open(path, O_RDONLY);
    vector(20);
    const { result, yields } = wanted("readv", fd, VECTOR, 20);
    t.is(result, 20 * PIECE);
    t.true(yields >= 2, `${yields} yields`);
    sys("close", fd);
  });

test.serial("without anybody who wants the CPU, a call is made in one run", (t) => {
  const fd = open("/dev/zero", O_RDONLY);
  vector(20);
  t.is(sys("readv", fd, VECTOR, 20), 20 * PIECE);
  sys("close", fd);
});

/** The files of the next test fit into the half of memory that tmpfs may have. */
const PIECES = 9;
test.serial("a write that made room has written every byte once, at its place", (t) => {
  const fd = open("/tmp-file", O_RDWR | O_CREAT | O_TRUNC);
  const pattern = Uint8Array.from({ length: PIECE }, (_, n) => (n * 7 + (n >> 8)) & 0xff);
  putBytes(DATA, pattern);
  vector(PIECES);
  const { result, yields } = wanted("writev", fd, VECTOR, PIECES);
  t.is(result, PIECES * PIECE);
  t.true(yields >= 2, `${yields} yields`);
  t.is(sys("lseek", fd, 0, 1), PIECES * PIECE);
  for (const piece of [0, 5, PIECES - 1]) {
    putBytes(DATA, new Uint8Array(PIECE));
    t.is(sys("pread64", fd, DATA, PIECE, piece * PIECE), PIECE);
    t.true(Buffer.compare(getBytes(DATA, PIECE), pattern) === 0);
  }
  t.is(sys("pread64", fd, DATA, PIECE, PIECES * PIECE), 0);
  const copy = open("/tmp-copy", O_RDWR | O_CREAT | O_TRUNC);
  sys("lseek", fd, 0, 0);
  const copied = wanted("sendfile", copy, fd, 0, 100 * MB);
  t.is(copied.result, PIECES * PIECE);
  t.true(copied.yields > 4);
  t.is(sys("lseek", fd, 0, 1), PIECES * PIECE);
  t.is(sys("lseek", copy, 0, 1), PIECES * PIECE);
  t.is(sys("pread64", copy, DATA, PIECE, 6 * PIECE), PIECE);
  t.true(Buffer.compare(getBytes(DATA, PIECE), pattern) === 0);
  putWords(OFFSET, PIECE, 0);
  const ranged = wanted("copy_file_range", fd, OFFSET, copy, 0, 100 * MB, 0);
  t.is(ranged.result, (PIECES - 1) * PIECE);
  t.is(sys("lseek", copy, 0, 1), (2 * PIECES - 1) * PIECE);
  for (const file of [fd, copy]) {
    sys("ftruncate", file, 0);
    sys("close", file);
  }
});

test.serial("a line without an end into a pseudo-terminal makes room", (t) => {
  putBytes(DATA, new Uint8Array(PIECE));
  const master = open("/dev/ptmx", O_RDWR);
  vector(4);
  const { result, yields } = wanted("writev", master, VECTOR, 4);
  t.is(result, 4 * PIECE);
  t.true(yields > 4, `${yields} yields`);
  const zero = open("/dev/zero", O_RDONLY);
  const sent = wanted("sendfile", master, zero, 0, 2 * MB);
  t.is(sent.result, 2 * MB);
  t.true(sent.yields > 4);
  sys("close", zero);
  sys("close", master);
});

test.serial("getrandom makes room", (t) => {
  const { result, yields } = wanted("getrandom", DATA, PIECE, 0);
  t.is(result, PIECE);
  t.true(yields >= 1);
});

/** Takes the task's signals back. */
function calm(): void {
  const group = Task.group.get(task);
  const held = Group.lock.lock(group);
  while (dequeueSignal(held as unknown as Held, task, 0, 0) !== null);
  Group.flags.store(group, 0);
  recalcPending(task);
  Group.lock.unlock(group);
}

test.serial(
  "a signal ends a long call with what it did; a file is written whole, unless the process dies",
  (t) => {
    const zero = open("/dev/zero", O_RDONLY);
    const file = open("/tmp-file", O_RDWR | O_CREAT | O_TRUNC);
    vector(20);
    // The handler is caught, so that the signal is no end of the process.
    putWords(OFFSET, 4096, 0, 0, 0, 0, 0);
    t.is(sys("rt_sigaction", SIGUSR1, OFFSET, 0, 8), 0);
    setNeedResched(0);
    t.is(sys("readv", zero, VECTOR, 20), YIELD);
    sendSignal(task, SIGUSR1);
    const result = sys("readv", zero, VECTOR, 20);
    t.true(result > 0 && result < 20 * PIECE, `${result}`);
    t.is(Task.partial.get(task), 0);
    t.is(wanted("writev", file, VECTOR, 20).result, 20 * PIECE);
    calm();
    sys("lseek", file, 0, 0);
    setNeedResched(0);
    t.is(sys("writev", file, VECTOR, 20), YIELD);
    sendSignal(task, SIGKILL);
    const killed = sys("writev", file, VECTOR, 20);
    t.true(killed > 0 && killed < 20 * PIECE, `${killed}`);
    calm();
    clearNeedResched(0);
    sys("ftruncate", file, 0);
    for (const fd of [zero, file]) sys("close", fd);
  },
);
