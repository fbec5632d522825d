import test from "ava";
import { closeFd, fget } from "../../../kernel/fs/fdtable.ts";
import { filePoll } from "../../../kernel/ipc/poll.ts";
import { BLOCK, BLOCK_EINTR } from "../../../kernel/sched/block.ts";
import { nowNs } from "../../../kernel/sched/current.ts";
import { sendSignal } from "../../../kernel/signal/send.ts";
import { Group, Task } from "../../../kernel/task/task.ts";
import { runTimers } from "../../../kernel/time/timer.ts";
import { EAGAIN, EBADF, EINVAL } from "../../../kernel/uapi/errno.ts";
import { O_NONBLOCK } from "../../../kernel/uapi/fcntl.ts";
import { POLLHUP, POLLIN, POLLNVAL, POLLOUT } from "../../../kernel/uapi/poll.ts";
import { SIGUSR1, SIGUSR2 } from "../../../kernel/uapi/signal.ts";
import type { Ref } from "../../../rcu/index.ts";
import { around, boot, call, getWords, newTask, putWords, readBytes, woken, write } from "./machine.ts";

const { task, files, memory } = boot();
const other = newTask("other");
Task.files.init(other, files);
const close = (...fds: number[]): void => {
  for (const fd of fds) around(task, () => closeFd(files, fd));
};
const poll = (fd: number): number => filePoll(fget(files, fd) as Ref<"file">) & 0xff & ~0xc0;
const u64 = (value: bigint): Uint8Array => new Uint8Array(new BigUint64Array([value]).buffer);
function count(fd: number, as = task): bigint | number {
  const bytes = readBytes(as, fd, 8);
  return typeof bytes === "number" ? bytes : new DataView(bytes.buffer).getBigUint64(0, true);
}

test.serial("an eventfd adds up what is written, and gives it all to one read", (t) => {
  const fd = call(task, "eventfd2", 3, 0);
  t.is(poll(fd), POLLIN | POLLOUT);
  t.is(write(task, fd, u64(1n << 33n)), 8);
  t.is(count(fd), (1n << 33n) + 3n);
  t.is(poll(fd), POLLOUT);
  t.is(count(fd), BLOCK);
  t.is(write(other, fd, u64(1n)), 8);
  t.true(woken(task));
  t.is(count(fd), 1n);
  t.is(write(task, fd, "short"), -EINVAL);
  close(fd);
});

test.serial("an eventfd that is full makes writers wait", (t) => {
  const fd = call(task, "eventfd2", 0, O_NONBLOCK);
  t.is(write(task, fd, u64(0xffff_ffff_ffff_fffen)), 8);
  t.is(poll(fd), POLLIN);
  t.is(write(task, fd, u64(1n)), -EAGAIN);
  t.is(write(task, fd, u64(0xffff_ffff_ffff_ffffn)), -EINVAL);
  t.is(count(fd), 0xffff_ffff_ffff_fffen);
  t.is(count(fd), -EAGAIN);
  close(fd);
});

test.serial("EFD_SEMAPHORE: every read takes one", (t) => {
  const fd = call(task, "eventfd2", 2, 1 | O_NONBLOCK);
  t.deepEqual([count(fd), count(fd), count(fd)], [1n, 1n, -EAGAIN]);
  close(fd);
});

test.serial("poll reports readiness, closed descriptors and its time-out", (t) => {
  call(task, "pipe2", memory, 0);
  const [r, w] = getWords(memory, 2) as [number, number];
  const at = memory + 256;
  const ask = (timeout: number): number => {
    putWords(at, r, POLLIN, w, POLLOUT, 77, POLLIN, -1, POLLIN);
    putWords(memory, 0, 0, timeout, 0);
    return call(task, "ppoll", at, 4, timeout < 0 ? 0 : memory, 0, 0);
  };
  const revents = (): number[] => [1, 3, 5, 7].map((word) => getWords(at, 8)[word]! >>> 16);
  t.is(ask(0), 2);
  t.deepEqual(revents(), [0, POLLOUT, POLLNVAL, 0]);
  write(task, w, new Uint8Array(65536));
  t.is(ask(0), 2);
  t.deepEqual(revents(), [POLLIN, 0, POLLNVAL, 0]);
  readBytes(task, r, 65536);

  putWords(at, r, POLLIN);
  t.is(call(task, "ppoll", at, 1, 0, 0, 0), BLOCK_EINTR);
  t.false(woken(task));
  write(other, w, "x");
  t.true(woken(task));
  t.is(call(task, "ppoll", at, 1, 0, 0, 0), 1);
  readBytes(task, r, 9);

  putWords(memory, 0, 0, 1_000_000, 0);
  t.is(call(task, "ppoll", at, 1, memory, 0, 0), BLOCK_EINTR);
  runTimers(nowNs() + 2_000_000);
  t.true(woken(task));
  while (nowNs() < Task.restartDeadline.get(task));
  t.is(call(task, "ppoll", at, 1, memory, 0, 0), 0);

  close(w);
  t.is(call(task, "ppoll", at, 1, 0, 0, 0), 1);
  t.is(getWords(at, 2)[1]! >>> 16, POLLHUP);
  close(r);
});

test.serial("select replaces the sets by what is ready", (t) => {
  call(task, "pipe2", memory, 0);
  const [r, w] = getWords(memory, 2) as [number, number];
  const [reads, writes, timeout] = [memory + 256, memory + 512, memory + 768];
  const sets = (): void => {
    putWords(reads, 1 << r, 0);
    putWords(writes, 1 << w, 0);
    putWords(timeout, 0, 0, 0, 0);
  };
  sets();
  t.is(call(task, "pselect6", w + 1, reads, writes, 0, timeout, 0), 1);
  t.deepEqual([getWords(reads, 1), getWords(writes, 1)], [[0], [1 << w]]);
  write(task, w, "x");
  sets();
  t.is(call(task, "pselect6", w + 1, reads, writes, 0, timeout, 0), 2);
  t.deepEqual([getWords(reads, 1), getWords(writes, 1)], [[1 << r], [1 << w]]);
  putWords(reads, 1 << 20, 0);
  t.is(call(task, "pselect6", 21, reads, 0, 0, timeout, 0), -EBADF);
  close(r, w);
});

test.serial("select of many descriptors waits for the first of them, and looks at the others again", (t) => {
  putWords(memory, 10_000, 0, 10_000, 0);
  call(task, "prlimit64", 0, 7, memory, 0);
  const event = call(task, "eventfd2", 0, 0);
  const COUNT = 9000;
  call(task, "pipe2", memory, 0);
  const [r, w] = getWords(memory, 2) as [number, number];
  for (let fd = w + 1; fd < COUNT; fd++) call(task, "dup", event);
  const reads = memory + 4096;
  const words = Math.ceil(COUNT / 64) * 2;
  const all = (): void => {
    for (let n = 0; n < words; n++) putWords(reads + 4 * n, 0);
    for (let fd = r; fd < COUNT; fd++) {
      const [word] = getWords(reads + 4 * (fd >> 5), 1) as [number];
      if (fd !== w) putWords(reads + 4 * (fd >> 5), word | (1 << (fd & 31)));
    }
  };
  all();
  const select = (): number => call(task, "pselect6", COUNT, reads, 0, 0, 0, 0);
  t.is(select(), BLOCK_EINTR);
  t.false(woken(task));
  write(other, w, "x");
  t.true(woken(task));
  t.is(select(), 1);
  const ready = getWords(reads, words).flatMap((word, n) => (word === 0 ? [] : [[n, word]]));
  t.deepEqual(ready, [[r >> 5, 1 << (r & 31)]]);
  // One that is far behind, and whose queue is not joined: a timer wakes the call.
  call(task, "dup3", r, COUNT - 1, 0);
  call(task, "dup3", event, r, 0);
  readBytes(task, COUNT - 1, 1);
  all();
  t.is(select(), BLOCK_EINTR);
  write(other, w, "x");
  t.false(woken(task));
  while (!woken(task)) runTimers(nowNs());
  t.is(select(), 1);
  t.is(getWords(reads + 4 * ((COUNT - 1) >> 5), 1)[0], 1 << ((COUNT - 1) & 31));
  call(task, "close_range", event, 0xffff_ffff, 0);
});

test.serial("a timerfd counts its expirations", (t) => {
  const fd = call(task, "timerfd_create", 1, 0);
  const spec = memory + 256;
  // Every 2 ms, first in 1 ms.
  putWords(spec, 0, 0, 2_000_000, 0, 0, 0, 1_000_000, 0);
  t.is(call(task, "timerfd_settime", fd, 0, spec, 0), 0);
  t.is(count(fd), BLOCK);
  const due = nowNs() + 8_000_000;
  while (nowNs() < due);
  runTimers(nowNs());
  t.true(woken(task));
  t.is(poll(fd), POLLIN);
  const expirations = count(fd) as bigint;
  t.true(expirations >= 4n);
  t.is(call(task, "timerfd_gettime", fd, spec), 0);
  const [, , interval, , , , left] = getWords(spec, 8);
  t.is(interval, 2_000_000);
  t.true(left! > 0 && left! <= 2_000_000);
  putWords(spec, 0, 0, 0, 0, 0, 0, 0, 0);
  t.is(call(task, "timerfd_settime", fd, 0, spec, 0), 0);
  runTimers(nowNs() + 1e9);
  t.is(poll(fd), 0);
  putWords(spec, 0, 0, 0, 0, 0, 0, 1_000_000_000, 0);
  t.is(call(task, "timerfd_settime", fd, 0, spec, 0), -EINVAL);
  close(fd);
});

test.serial("a signalfd reads the blocked signals of its set", (t) => {
  const bit = (signo: number): number => 1 << (signo - 1);
  Task.blocked.set(task, 0, bit(SIGUSR1) | bit(SIGUSR2));
  putWords(memory, bit(SIGUSR1), 0);
  const fd = call(task, "signalfd4", -1, memory, 8, 0);
  t.is(poll(fd), 0);
  t.is(typeof readBytes(task, fd, 128) === "number" ? BLOCK : 0, BLOCK);
  sendSignal(task, SIGUSR2);
  sendSignal(task, SIGUSR1);
  t.true(woken(task));
  t.is(poll(fd), POLLIN);
  const info = readBytes(task, fd, 128) as Uint8Array;
  t.is(new DataView(info.buffer).getUint32(0, true), SIGUSR1);
  t.is(poll(fd), 0);
  putWords(memory, bit(SIGUSR2), 0);
  t.is(call(task, "signalfd4", fd, memory, 8, 0), fd);
  t.is(poll(fd), POLLIN);
  t.is((readBytes(task, fd, 300) as Uint8Array).length, 128);
  t.is(Group.pending.get(Task.group.get(task), 0), 0);
  close(fd);
});

test.serial(
  "a pidfd names a process: signals reach it, and it is not readable while the process lives",
  (t) => {
    const pid = Task.pid.get(other);
    const fd = call(task, "pidfd_open", pid, 0);
    t.true(fd >= 0);
    t.is(poll(fd), 0);
    Task.blocked.set(other, 0, 1 << (SIGUSR1 - 1));
    t.is(call(task, "pidfd_send_signal", fd, SIGUSR1, 0, 0), 0);
    t.is(Group.pending.get(Task.group.get(other), 0), 1 << (SIGUSR1 - 1));
    t.is(call(task, "pidfd_send_signal", fd, 99, 0, 0), -EINVAL);
    t.is(call(task, "pidfd_send_signal", memory, SIGUSR1, 0, 0), -EBADF);
    t.is(call(task, "pidfd_open", 0, 0), -EINVAL);
    close(fd);
  },
);

test.serial("getrandom fills all it is asked for", (t) => {
  const bytes = 70_000;
  t.is(call(task, "getrandom", memory, bytes, 0), bytes);
  const words = getWords(memory, bytes / 4);
  t.true(new Set(words).size > 17_000);
  t.is(call(task, "getrandom", memory, 8, 64), -EINVAL);
});
