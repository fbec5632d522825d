/**
 * A CPU's worker with system calls that fail in the ways a kernel can: 500 throws, 501 throws with a lock held, 502 works
 * for long, 503 too but asks who wants the CPU, 504 to 506 leave, take a second lock out of order, or block with one. It counts how often it does
 * its chores.
 */
import { type CpuBoot, type CpuReport, runCpu } from "../../../kernel/machine/cpu-main.ts";
import { ram } from "../../../kernel/mm/ram.ts";
import { BLOCK } from "../../../kernel/sched/block.ts";
import { onIdleAndTick } from "../../../kernel/sched/idle.ts";
import { prepareToWait } from "../../../kernel/sched/waitqueue.ts";
import { mustYield } from "../../../kernel/sched/yield.ts";
import { Sighand } from "../../../kernel/signal/sighand.ts";
import { Group, Task } from "../../../kernel/task/task.ts";
import { atomicAdd, type Ref, rcuReadLock } from "../../../rcu/index.ts";
import { createSyscallEntry } from "../../../syscalls/entry.ts";
import { syscall } from "../../../syscalls/syscall.ts";
import { syscalls } from "../../../syscalls/table.ts";
import { createRiscvEngine } from "../../../userland/riscv64/engine.ts";

/** A word of RAM that the machine does not use. */
const CHORES = 40;

const faulty = [
  syscall({
    nr: 500,
    name: "oops",
    args: [],
    handler() {
      rcuReadLock();
      throw new Error("oops in a handler");
    },
  }),
  syscall({
    nr: 501,
    name: "crash",
    args: [],
    handler(task) {
      Group.lock.lock(Task.group.get(task));
      throw new Error("crash in a handler");
    },
  }),
  syscall({ nr: 502, name: "drudge", args: [], handler: () => drudge(() => false) }),
  syscall({ nr: 503, name: "mindful", args: [], handler: () => drudge(mustYield) }),
  syscall({
    nr: 504,
    name: "keep",
    args: [],
    handler(task) {
      keepLock(task);
      return 0;
    },
  }),
  syscall({
    nr: 505,
    name: "disorder",
    args: [],
    handler(task) {
      holdSighand(task);
      Group.lock.lock(Task.group.get(task));
      return 0;
    },
  }),
  syscall({
    nr: 506,
    name: "block",
    args: [],
    handler(task) {
      keepLock(task);
      prepareToWait();
      return BLOCK;
    },
  }),
];

/** Works for 180 ms of CPU time, whatever the host does meanwhile, and asks often. */
function drudge(ask: () => boolean): number {
  const start = process.threadCpuUsage().user;
  while (process.threadCpuUsage().user - start < 180_000) ask();
  return 0;
}

function keepLock(task: Ref<"task">): void {
  Group.lock.lock(Task.group.get(task));
}
function holdSighand(task: Ref<"task">): void {
  Sighand.lock.lock(Group.sighand.load(Task.group.get(task)));
}

export default function cpuWorker(boot: CpuBoot): CpuReport {
  onIdleAndTick(() => void atomicAdd(ram.i32, CHORES, 1));
  return runCpu(boot, {
    createUserModes: (host) => [createRiscvEngine(host)],
    createSyscalls: (counts) =>
      createSyscallEntry({ calls: [...syscalls, ...faulty], counts, tracer: undefined }),
  });
}
