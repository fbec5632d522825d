/**
 * A CPU's worker with system calls that fail in the ways a kernel can: 500 throws, 501 throws with a lock held, 502 works
 * for long, 503 too but asks who wants the CPU. It counts how often it does
 * its chores.
 */
import { type CpuBoot, type CpuReport, runCpu } from "../../../kernel/machine/cpu-main.ts";
import { ram } from "../../../kernel/mm/ram.ts";
import { onIdleAndTick } from "../../../kernel/sched/idle.ts";
import { mustYield } from "../../../kernel/sched/yield.ts";
import { Group, Task } from "../../../kernel/task/task.ts";
import { atomicAdd, rcuReadLock } from "../../../rcu/index.ts";
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
];

/** Works for 180 ms of CPU time, whatever the host does meanwhile, and asks often. */
function drudge(ask: () => boolean): number {
  const start = process.threadCpuUsage().user;
  while (process.threadCpuUsage().user - start < 180_000) ask();
  return 0;
}

export default function cpuWorker(boot: CpuBoot): CpuReport {
  onIdleAndTick(() => void atomicAdd(ram.i32, CHORES, 1));
  return runCpu(boot, {
    createUserModes: (host) => [createRiscvEngine(host)],
    createSyscalls: (counts) =>
      createSyscallEntry({ calls: [...syscalls, ...faulty], counts, tracer: undefined }),
  });
}
