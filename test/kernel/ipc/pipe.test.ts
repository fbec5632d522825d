import test from "ava";
import fc from "fast-check";
import { makeNode } from "../../../kernel/fs/dir.ts";
import { allocFd, closeFd, fget } from "../../../kernel/fs/fdtable.ts";
import { File } from "../../../kernel/fs/file.ts";
import { vfsOpen } from "../../../kernel/fs/open.ts";
import { renamePath } from "../../../kernel/fs/rename.ts";
import { pipeOf, pipeSize, setPipeSize } from "../../../kernel/ipc/pipe.ts";
import { PIPE_BUF, Pipe } from "../../../kernel/ipc/pipe-ends.ts";
import { Ring } from "../../../kernel/ipc/ring.ts";
import { freeFrames } from "../../../kernel/mm/frame.ts";
import { BLOCK } from "../../../kernel/sched/block.ts";
import { clearRestart } from "../../../kernel/sched/restart.ts";
import { finishWait } from "../../../kernel/sched/waitqueue.ts";
import { Task } from "../../../kernel/task/task.ts";
import { EAGAIN, EFAULT, EINVAL, ENXIO, EPIPE } from "../../../kernel/uapi/errno.ts";
import { AT_FDCWD, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_WRONLY } from "../../../kernel/uapi/fcntl.ts";
import { SIGPIPE } from "../../../kernel/uapi/signal.ts";
import { liveObjects, type Ref } from "../../../rcu/index.ts";
import { declaredStructs } from "../../../rcu/kernel.ts";
import {
  around,
  boot,
  call,
  getWords,
  newTask,
  putBytes,
  read,
  readBytes,
  settle,
  woken,
  write,
} from "./machine.ts";

const { task, files, memory } = boot();
const other = newTask("other");
Task.files.init(other, files);

function pipe(flags = 0): [number, number] {
  const result = call(task, "pipe2", memory, flags);
  if (result < 0) throw new Error(`pipe2: ${result}`);
  return getWords(memory, 2) as [number, number];
}
const close = (...fds: number[]): void => {
  for (const fd of fds) around(task, () => closeFd(files, fd));
};
const sigpipePending = (): boolean => (Task.pending.get(task, 0) & (1 << (SIGPIPE - 1))) !== 0;

test.serial("a pipe is a bounded queue of bytes, whatever is read, written and resized", (t) => {
  const size = fc.oneof(fc.nat(40), fc.nat(9000), fc.nat(80000));
  const step = fc.oneof(
    fc.record({ op: fc.constant("write" as const), size }),
    fc.record({ op: fc.constant("read" as const), size }),
    fc.record({ op: fc.constant("resize" as const), size: fc.integer({ min: 1, max: 200000 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), fc.nat(255), (steps, seed) => {
      const [r, w] = pipe(O_NONBLOCK);
      const ref = pipeOf(fget(files, w) as Ref<"file">);
      let queue = new Uint8Array(0);
      let next = seed;
      for (const { op, size: n } of steps) {
        const capacity = pipeSize(ref);
        if (op === "write") {
          const data = new Uint8Array(n);
          for (let i = 0; i < n; i++) data[i] = next = (next * 5 + 1) & 255;
          const room = capacity - queue.length;
          const fits = n <= PIPE_BUF ? room >= n : room > 0;
          const expected = n === 0 ? 0 : fits ? Math.min(n, room) : -EAGAIN;
          t.is(write(task, w, data), expected);
          if (expected > 0) queue = Uint8Array.from([...queue, ...data.subarray(0, expected)]);
        } else if (op === "read") {
          const got = readBytes(task, r, n);
          if (n === 0) t.deepEqual(got, new Uint8Array(0));
          else if (queue.length === 0) t.is(got, -EAGAIN);
          else {
            t.deepEqual(Buffer.from(got as Uint8Array), Buffer.from(queue.subarray(0, n)));
            queue = queue.slice(n);
          }
        } else {
          const result = setPipeSize(ref, n, false);
          t.true(
            result > 0 ? pipeSize(ref) === result && result >= queue.length : pipeSize(ref) === capacity,
          );
        }
      }
      close(r, w);
    }),
    { numRuns: 40 },
  );
});

test.serial("a read of an empty pipe waits until a write wakes it", (t) => {
  const [r, w] = pipe();
  t.is(read(task, r), BLOCK);
  t.false(woken(task));
  t.is(write(other, w, "x"), 1);
  t.true(woken(task));
  t.is(read(task, r), "x");
  close(r, w);
});

test.serial("a read sees the end when the last writer is gone, and what was written before", (t) => {
  const [r, w] = pipe();
  write(task, w, "rest");
  close(w);
  t.is(read(task, r, 2), "re");
  t.is(read(task, r), "st");
  t.is(read(task, r), "");
  close(r);
});

test.serial("closing the last writer wakes a reader that waits", (t) => {
  const [r, w] = pipe();
  t.is(read(task, r), BLOCK);
  around(other, () => closeFd(files, w));
  t.true(woken(task));
  t.is(read(task, r), "");
  close(r);
});

test.serial("a write without readers fails with EPIPE and raises SIGPIPE", (t) => {
  const [r, w] = pipe();
  close(r);
  t.false(sigpipePending());
  t.is(write(task, w, "x"), -EPIPE);
  t.true(sigpipePending());
  Task.pending.set(task, 0, 0);
  close(w);
});

test.serial("a write of more than fits waits, and goes on where it stopped", (t) => {
  const [r, w] = pipe();
  const data = new Uint8Array(100_000).map((_, i) => i % 251);
  t.is(write(task, w, data), BLOCK);
  const first = readBytes(other, r, 65536) as Uint8Array;
  t.is(first.length, 65536);
  t.true(woken(task));
  t.is(write(task, w, data), 100_000);
  const second = readBytes(task, r, 65536) as Uint8Array;
  t.deepEqual(Buffer.concat([first, second]), Buffer.from(data));
  close(r, w);
});

test.serial("a pipe gives its frames and objects back", (t) => {
  settle(task);
  const before = [liveObjects(Pipe), liveObjects(Ring), freeFrames()];
  const pairs = Array.from({ length: 20 }, () => pipe(O_NONBLOCK));
  for (const [, w] of pairs) write(task, w, new Uint8Array(30000));
  t.true(freeFrames() < before[2]!);
  for (const pair of pairs) close(...pair);
  settle(task);
  t.deepEqual([liveObjects(Pipe), liveObjects(Ring), freeFrames()], before);
});

test.serial("pipe2 refuses flags that it does not know and addresses that are not there", (t) => {
  t.is(call(task, "pipe2", memory, 1), -EINVAL);
  t.is(call(task, "pipe2", 16, 0), -EFAULT);
});

function openFifo(as: Ref<"task">, path: string, flags: number): number {
  return around(as, () => {
    const file = vfsOpen(AT_FDCWD, path, flags);
    return file < 0 ? file : allocFd(files, file as Ref<"file">, 0);
  });
}

test.serial("opening a FIFO waits for the other end", (t) => {
  t.is(
    around(task, () => makeNode(AT_FDCWD, "/tmp/fifo", 0o010644, 0)),
    0,
  );
  t.is(openFifo(task, "/tmp/fifo", O_WRONLY | O_NONBLOCK), -ENXIO);
  t.is(openFifo(task, "/tmp/fifo", O_RDONLY), BLOCK);
  const w = openFifo(other, "/tmp/fifo", O_WRONLY);
  t.true(w >= 0);
  t.true(woken(task));
  // The writer is gone again before the reader runs: its open succeeds all the same, and its bytes are there.
  t.is(write(other, w, "gone"), 4);
  around(other, () => closeFd(files, w));
  const r = openFifo(task, "/tmp/fifo", O_RDONLY);
  t.true(r >= 0);
  t.is(read(task, r), "gone");
  t.is(read(task, r), "");
  close(r);
  const both = openFifo(task, "/tmp/fifo", O_RDWR);
  t.is(write(task, both, "self"), 4);
  t.is(read(task, both), "self");
  close(both);
});

test.serial(
  "opening a pipe's end again through /proc/self/fd does not wait, though no writer is left",
  (t) => {
    const [r, w] = pipe();
    write(task, w, "left");
    close(w);
    const again = openFifo(task, `/proc/self/fd/${r}`, O_RDONLY);
    t.true(again >= 0);
    t.is(read(task, again), "left");
    t.is(read(task, again), "");
    close(r, again);
  },
);

test.serial("an interrupted open of a FIFO leaves no reader behind", (t) => {
  t.is(openFifo(task, "/tmp/fifo", O_RDONLY), BLOCK);
  // A signal handler runs: the call is over.
  around(task, () => -EINVAL);
  t.is(openFifo(other, "/tmp/fifo", O_WRONLY | O_NONBLOCK), -ENXIO);
});

test.serial("an open of a FIFO that waits goes on with its file, whatever the path leads to by then", (t) => {
  const make = (path: string) => around(task, () => makeNode(AT_FDCWD, path, 0o010644, 0));
  t.is(make("/tmp/first"), 0);
  t.is(make("/tmp/second"), 0);
  const first = openFifo(other, "/tmp/first", O_PATH);
  const second = openFifo(other, "/tmp/second", O_RDWR);
  t.is(openFifo(task, "/tmp/first", O_RDONLY), BLOCK);
  t.is(
    around(other, () => renamePath(AT_FDCWD, "/tmp/second", AT_FDCWD, "/tmp/first", 0)),
    0,
  );
  const w = openFifo(other, `/proc/self/fd/${first}`, O_WRONLY | O_NONBLOCK);
  t.true(w >= 0);
  const r = openFifo(task, "/tmp/first", O_RDONLY);
  write(other, w, "of the first");
  write(other, second, "of the second");
  t.is(read(task, r), "of the first");
  close(first, second, w, r);
});

test.serial("opens of FIFOs that are given up leave no objects", (t) => {
  settle(task);
  const counted = ["file", "pipe", "wait_entry"].map((name) => declaredStructs.get(name)!);
  const before = counted.map((type) => liveObjects(type));
  for (let n = 0; n < 3; n++) {
    t.is(openFifo(task, "/tmp/fifo", O_RDONLY), BLOCK);
    t.is(openFifo(task, "/tmp/fifo", O_RDONLY), BLOCK);
    finishWait(task);
    clearRestart(task);
  }
  settle(task);
  t.deepEqual(
    counted.map((type) => liveObjects(type)),
    before,
  );
});

test.serial("tee copies and leaves the bytes, splice moves them", (t) => {
  const [r1, w1] = pipe();
  const [r2, w2] = pipe();
  write(task, w1, "abcdef");
  t.is(call(task, "tee", r1, w2, 4, 0), 4);
  t.is(read(task, r2), "abcd");
  t.is(call(task, "splice", r1, 0, w2, 0, 100, 0), 6);
  t.is(read(task, r2), "abcdef");
  t.is(call(task, "splice", r1, 0, w2, 0, 100, 2), -EAGAIN);
  // Packets of 300 bytes do not fit into the 100 that are left: nothing is lost.
  write(task, w2, new Uint8Array(65536 - 100));
  write(task, w1, "n".repeat(300));
  t.is(call(task, "splice", r1, 0, w2, 0, 300, 0), 100);
  t.is(read(task, r1), "n".repeat(200));
  t.is((readBytes(task, r2, 70000) as Uint8Array).length, 65536);
  t.is(call(task, "splice", r1, 0, w1, 0, 100, 0), -EINVAL);
  putBytes(memory + 100, new TextEncoder().encode("vm"));
  putBytes(memory, new Uint8Array(new BigUint64Array([BigInt(memory + 100), 2n]).buffer));
  t.is(call(task, "vmsplice", w1, memory, 1, 0), 2);
  t.is(read(task, r1), "vm");
  close(r1, w1, r2, w2);
});

test.serial("splice puts back what the target did not take", (t) => {
  const [r1, w1] = pipe();
  const result = call(task, "socketpair", 1, 1, 0, memory);
  t.is(result, 0);
  const [a, b] = getWords(memory, 2) as [number, number];
  File.flags.or(fget(files, a) as Ref<"file">, O_NONBLOCK);
  while (write(task, a, new Uint8Array(10_000)) > 0);
  readBytes(task, b, 50);
  write(task, w1, "0123456789".repeat(10));
  t.is(call(task, "splice", r1, 0, a, 0, 100, 0), 50);
  t.is(call(task, "splice", r1, 0, a, 0, 100, 0), -EAGAIN);
  t.is(read(task, r1), "0123456789".repeat(5));
  close(r1, w1, a, b);
});
