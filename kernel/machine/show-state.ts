/**
 * What every CPU and every task does now, as Linux's show_state (SysRq t) has it: for a machine that seems to hang. It takes no lock,
 * since who holds one may be what hangs, so the lines need not fit together.
 */
import {
  atomicLoad,
  type Ref,
  rcuLaggards,
  rcuReadLock,
  rcuReadUnlock,
  rcuStats,
  takenLocks,
} from "../../rcu/index.ts";
import { ram } from "../mm/ram.ts";
import { CPU_IDLE, CPU_ONLINE, Cpu, cpuOf, needResched, nrCpus } from "../sched/cpus.ts";
import { waitChannel } from "../sched/wchan.ts";
import { commText } from "../task/exec.ts";
import { findTask, nextPid } from "../task/pid.ts";
import { A7_WORD, X_A0 } from "../task/registers.ts";
import { TASK_STOPPED, TASK_ZOMBIE, Task, WORK_SIGNAL } from "../task/task.ts";
import { nowNs } from "../time/clock.ts";
import { nextTimer } from "../time/timer.ts";
import { xAt } from "../usermode.ts";
import { HOST_TICK_STOPPED, machineStopping } from "./state.ts";

/** Whether a signal that the process can take has not reached it yet: its CPU does not come back to the kernel. A racy look. */
export function signalWaits(pid: number): boolean {
  const scope = rcuReadLock();
  const task = findTask(scope, pid);
  const waits =
    task !== 0 && Task.state.load(task) !== TASK_STOPPED && (Task.work.load(task) & WORK_SIGNAL) !== 0;
  rcuReadUnlock();
  return waits;
}

/** By Task.state. */
const STATES = ["?", "running", "waiting", "sleeping", "runnable", "stopped", "new", "zombie", "dead"];

/** The name of a system call, by its number. */
export type CallName = (nr: number) => string;

/** A line for the machine, one for each CPU, one for each task. To be called as part of the machine. */
export function showState(nameOf: CallName): string {
  const due = (nextTimer() - nowNs()) / 1e6;
  const words = [
    atomicLoad(ram.i32, HOST_TICK_STOPPED) === 0 ? "the host ticks" : "the host's tick stands still",
    Number.isFinite(due) ? `the next timer is due in ${due.toFixed(1)} ms` : "no timer is armed",
    ...(machineStopping() ? ["the machine is stopping"] : []),
  ];
  const lines = [words.join(", ")];
  for (let number = 0; number < nrCpus(); number++) lines.push(cpuLine(number));
  for (const { name, ref, slot } of takenLocks())
    lines.push(`  ${name} of ${ref} is held by ${slotText(slot)}`);
  const late = rcuLaggards().map(slotText);
  const pending = `${rcuStats().callbacksPending} callbacks wait`;
  lines.push(
    `  RCU: ${late.length === 0 ? "no CPU is waited for" : `a grace period waits for ${late.join(", ")}`}, ${pending}`,
  );
  const scope = rcuReadLock();
  for (let pid = nextPid(scope, 1); pid !== 0; pid = nextPid(scope, pid + 1)) {
    const task = findTask(scope, pid);
    if (task !== 0) lines.push(taskLine(pid, task, nameOf));
  }
  rcuReadUnlock();
  return lines.join("\n");
}

function slotText(slot: number): string {
  for (let number = 0; number < nrCpus(); number++)
    if (Cpu.slot.load(cpuOf(number)) === slot + 1) return `CPU ${number}`;
  return slot === 0 ? "the host" : `slot ${slot}`;
}

function cpuLine(number: number): string {
  const cpu = cpuOf(number);
  const task = Cpu.curr.load(cpu);
  const words = [
    Cpu.state.load(cpu) === CPU_ONLINE ? "" : "offline",
    Cpu.idle.load(cpu) === CPU_IDLE ? "idle" : "busy",
    task === 0 ? "no task" : `task ${Task.pid.get(task)}`,
    `${Cpu.queued.load(cpu)} queued`,
    needResched(number) ? "asked to reschedule" : "",
    `${Cpu.switches.get(cpu)} switches`,
  ];
  return `  CPU ${number}: ${words.filter((word) => word !== "").join(", ")}`;
}

function taskLine(pid: number, task: Ref<"task">, nameOf: CallName): string {
  const state = Task.state.load(task);
  const words = [STATES[state] ?? String(state), `CPU ${Task.cpu.load(task)}`];
  const work = Task.work.load(task);
  if (work !== 0) words.push(`work 0x${work.toString(16)}`);
  // Zombies have no registers any more.
  if (state < TASK_ZOMBIE && Task.restarting.get(task) !== 0) words.push(callText(task, nameOf));
  const channel = state < TASK_ZOMBIE ? waitChannel(task) : "";
  if (channel !== "") words.push(`waits on ${channel}`);
  return `  task ${pid} (${commText(task)}) of process ${Task.tgid.get(task)}: ${words.join(", ")}`;
}

/** The call that it is blocked in, with its first three arguments. */
function callText(task: Ref<"task">, nameOf: CallName): string {
  const regs = Task.regs.get(task);
  const args = [0, 1, 2].map((n) => registerText(regs, X_A0 + n));
  return `in ${nameOf(ram.i32[regs / 4 + A7_WORD]!)}(${args.join(", ")}, ...)`;
}

function registerText(regs: number, x: number): string {
  const word = (regs + xAt(x)) / 4;
  const [low, high] = [ram.i32[word]!, ram.i32[word + 1]!];
  // Descriptors, pids and sizes; the rest are addresses and masks.
  if (high === low >> 31) return String(low);
  return `0x${high === 0 ? "" : (high >>> 0).toString(16)}${(low >>> 0).toString(16).padStart(8, "0")}`;
}
