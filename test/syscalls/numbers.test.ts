/** Numbers from user space: what a call takes for an index, a count or a code of its own is bounded where it is decoded. */
import test from "ava";
import { File } from "../../kernel/fs/file.ts";
import { ram } from "../../kernel/mm/ram.ts";
import { isControl } from "../../kernel/sched/block.ts";
import { setMask } from "../../kernel/signal/mask.ts";
import { newSyscallCounts } from "../../kernel/syscall-entry.ts";
import { findTask } from "../../kernel/task/pid.ts";
import { Group, Task } from "../../kernel/task/task.ts";
import { nowNs } from "../../kernel/time/clock.ts";
import { runTimers } from "../../kernel/time/timer.ts";
import { EINVAL, ENOSYS, ESRCH } from "../../kernel/uapi/errno.ts";
import { type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { hexArg, int, NO_SIGNAL, only, orElse, signal, within } from "../../syscalls/args.ts";
import { createSyscallEntry } from "../../syscalls/entry.ts";
import { syscall } from "../../syscalls/syscall.ts";
import { syscalls } from "../../syscalls/table.ts";
import { around, boot, call, getBytes, getWords, putWords } from "../kernel/ipc/machine.ts";

const { task, memory } = boot();
const counts = newSyscallCounts() as Ref<"syscall_counts">;
const seen: number[] = [];
const entry = createSyscallEntry({
  calls: [
    ...syscalls,
    syscall({
      nr: 500,
      name: "ranges",
      args: [signal, within(int, 0, 3), only(hexArg, 0x80000001), orElse(int, -1, 5, 9)],
      handler: (_task, ...args) => seen.push(...args),
    }),
  ],
  counts,
});

/** Makes the call as user mode does: by registers, of which every bit counts. */
function ecall(nr: bigint, ...args: bigint[]): number {
  const regs = Task.regs.get(task);
  const put = (x: number, value: bigint): void => {
    ram.i32[regs / 4 + 2 * x] = Number(BigInt.asIntN(32, value));
    ram.i32[regs / 4 + 2 * x + 1] = Number(BigInt.asIntN(32, value >> 32n));
  };
  put(17, nr);
  for (let n = 0; n < 6; n++) put(10 + n, args[n] ?? 0n);
  return around(task, () => entry.call(task, regs));
}

test.serial("all 64 bits of a7 are the number of the call", (t) => {
  t.is(ecall(172n), Task.tgid.get(task));
  for (const nr of [2n ** 32n + 172n, 2n ** 63n + 172n, -1n, 2n ** 31n, 511n, 512n, 2n ** 53n])
    t.is(ecall(nr), -ENOSYS, String(nr));
});

test.serial(
  "a handler sees the numbers of its arguments' ranges only; others fail the call, or come as the one stated",
  (t) => {
    const ranges = (...args: bigint[]): number | number[] => {
      seen.length = 0;
      const result = ecall(500n, ...args);
      return result < 0 ? result : [...seen];
    };
    t.deepEqual(ranges(64n, 3n, 0x80000001n, 5n), [64, 3, 0x80000001, 5]);
    t.deepEqual(ranges(65n, 0n, 0n, 6n), [NO_SIGNAL, 0, 0, 9]);
    t.deepEqual(ranges(-1n, 0n, 1n, -1n), [NO_SIGNAL, 0, 1, -1]);
    t.deepEqual(ranges(2n ** 32n + 9n, 2n ** 32n, 0n, 0n), [9, 0, 0, 0]); // int: the upper half is not part of it.
    for (const bad of [-1n, 4n, 2n ** 31n]) t.is(ranges(0n, bad), -EINVAL);
    for (const bad of [2n, 2n ** 32n, 2n ** 63n, -1n, 2n ** 53n + 1n]) t.is(ranges(0n, 0n, bad), -EINVAL);
  },
);

test.serial(
  "no result of a call, whatever a program chose it to be, is taken for one of the kernel's codes",
  (t) => {
    for (const result of [-5001, -5005, -(2 ** 31), -(2 ** 53), -(2 ** 63), 2 ** 64])
      t.false(isControl(result));
    const fd = call(task, "memfd_create", memory, 0);
    const file = call(task, "fcntl", fd, 1, 0) >= 0 ? fd : -1;
    t.is(call(task, "fcntl", file, 8, 2 ** 64 - 5001), -ESRCH); // F_SETOWN: no such process group.
    Group.pgrp.store(Task.group.get(task), 5001);
    t.is(call(task, "fcntl", file, 8, 2 ** 32 - 5001), 0);
    t.is(call(task, "fcntl", file, 9, 0), -5001);
    // As a C library passes the int: with its sign in the upper half.
    t.is(ecall(25n, BigInt(file), 8n, -5002n), -ESRCH);
    Group.pgrp.store(Task.group.get(task), 5002);
    t.is(ecall(25n, BigInt(file), 8n, -5002n), 0);
    t.is(call(task, "fcntl", file, 9, 0), -5002);
    t.truthy(File);
  },
);

test.serial("clone: an exit signal that is none is sent to nobody", (t) => {
  for (const signo of [1, 64, 65, 66, 128, 255]) {
    const child = ecall(220n, BigInt(signo));
    t.true(child > 0);
    const scope = rcuReadLock();
    const group = Task.group.get(findTask(scope, child) as Ref<"task">);
    rcuReadUnlock();
    t.is(Group.exitSignal.load(group), signo <= 64 ? signo : 0);
  }
});

test.serial("clone3 takes every size from 64 on; what is beyond the struct must be zero", (t) => {
  putWords(memory, ...new Array<number>(32).fill(0));
  for (let size = 64; size <= 120; size++) t.true(ecall(435n, BigInt(memory), BigInt(size)) > 0, `${size}`);
  t.is(ecall(435n, BigInt(memory), 63n), -EINVAL);
});

test.serial("a timer of 1 ns that began 4 s ago: its overruns end at the largest int", (t) => {
  setMask(task, -1, -1);
  putWords(memory, 5, 0, 40, 0, 0);
  t.is(call(task, "timer_create", 1, memory, memory + 64), 0);
  const id = getWords(memory + 64, 1)[0]!;
  const start = nowNs() - 4e9;
  putWords(memory, 0, 0, 1, 0, Math.floor(start / 1e9), 0, Math.floor(start % 1e9), 0);
  t.is(call(task, "timer_settime", id, 1, memory, 0), 0);
  for (let n = 0; n < 3; n++) runTimers(nowNs());
  putWords(memory, 0, -1);
  putWords(memory + 16, 0, 0, 0, 0);
  t.is(call(task, "rt_sigtimedwait", memory, memory + 128, memory + 16, 8), 40);
  t.is(call(task, "timer_getoverrun", id), 0x7fffffff);
  call(task, "timer_delete", id);
});

test.serial("resource limits keep all of their 64 bits", (t) => {
  const RLIMIT_FSIZE = 1;
  const none = 2n ** 64n - 1n;
  const old = memory + 64;
  const numbers = (address: number): bigint[] => [
    ...new BigUint64Array(Uint8Array.from(getBytes(address, 16)).buffer),
  ];
  const limit = (soft: bigint, hard: bigint): number => {
    putWords(
      memory,
      ...[soft, hard].flatMap((value) =>
        [value, value >> 32n].map((word) => Number(BigInt.asIntN(32, word))),
      ),
    );
    return call(task, "prlimit64", 0, RLIMIT_FSIZE, memory, 0);
  };
  for (const hard of [none, none - 1n, 2n ** 63n + 1n, 2n ** 63n, 2n ** 53n + 1n, 2n ** 32n, 0n])
    for (const soft of [hard, hard - 1n, 0n]) {
      if (soft < 0n) continue;
      t.is(limit(soft, hard), 0);
      t.is(call(task, "prlimit64", 0, RLIMIT_FSIZE, 0, old), 0);
      t.deepEqual(numbers(old), [soft, hard]);
      t.is(limit(hard, soft), hard === soft ? 0 : -EINVAL, "a soft limit above the hard one, by 1");
      t.is(limit(soft, hard), 0);
    }
  t.is(limit(none, none), 0);
});

test.serial(
  "numbers of fcntl commands have 32 bits: what a register holds above them reaches no field",
  (t) => {
    putWords(memory, 0);
    const file = BigInt(call(task, "memfd_create", memory, MFD_ALLOW_SEALING));
    t.is(ecall(FCNTL, file, ADD_SEALS, 2n ** 47n), 0);
    t.is(ecall(FCNTL, file, ADD_SEALS, 2n ** 47n + 2n), 0);
    t.is(ecall(FCNTL, file, GET_SEALS), 2);
    t.is(ecall(FCNTL, file, ADD_SEALS, 2n ** 47n + 2n ** 31n), -EINVAL);
    t.is(call(task, "pipe2", memory, 0), 0);
    const pipe = BigInt(getWords(memory, 1)[0]!);
    t.is(ecall(FCNTL, pipe, SETPIPE_SZ, 2n ** 47n + 8192n), 8192);
  },
);
const [FCNTL, ADD_SEALS, GET_SEALS, SETPIPE_SZ, MFD_ALLOW_SEALING] = [25n, 1033n, 1034n, 1031n, 2] as const;
