/**
 * The CPU loop: what a piscina worker runs from boot to shutdown, synchronously.
 *
 * Pick a task; run the call again that it was blocked in; deliver its signals; let user mode run until the kernel is
 * needed; do what is needed; pass a safe point. A task leaves the CPU in one place each for blocking, preemption,
 * stop and exit, and the CPU does not touch it afterwards: another one may run it already.
 */

import type { Ref } from "../../rcu/index.ts";
import { locksHeld, rcuHurry, unwind } from "../../rcu/kernel.ts";
import { klog } from "../klog.ts";
import { spawnLost, startSpawned } from "../machine/spawn.ts";
import { machineStopping, notifyHost } from "../machine/state.ts";
import { activateMm, tlbLazyEnd } from "../mm/tlb.ts";
import { reportOops } from "../oops.ts";
import { DELIVER_DONE, DELIVER_EXIT, deliverSignals } from "../signal/deliver.ts";
import { restoreMask } from "../signal/mask.ts";
import { forceFault, killGroup } from "../signal/send.ts";
import { hooks } from "../subsystem/hooks.ts";
import type { SyscallEntry } from "../syscall-entry.ts";
import { commText } from "../task/exec.ts";
import { doExit } from "../task/exit.ts";
import { storeTid } from "../task/fork.ts";
import { seeToHeap } from "../task/memory.ts";
import { ECALL_BYTES, getPc, setPc } from "../task/registers.ts";
import { refillReserve, waitForMemory } from "../task/shortage.ts";
import {
  TASK_EXITING,
  TASK_SLEEPING,
  TASK_WAITING,
  Task,
  WORK_CHILD_TID,
  WORK_EXIT,
  WORK_MEMORY,
  WORK_RESTORE_MASK,
  WORK_SIGNAL,
  WORK_SPAWN,
  WORK_TIDY,
} from "../task/task.ts";
import { shed, tidy } from "../task/tidy.ts";
import { nowNs } from "../time/clock.ts";
import { checkCpuTimers } from "../time/itimer.ts";
import { nextTimer, runTimers } from "../time/timer.ts";
import { ENOMEM } from "../uapi/errno.ts";
import { ILL_ILLOPC, SIGILL, SIGKILL, SIGSEGV, SIGTRAP, TRAP_BRKPT } from "../uapi/signal.ts";
import { EXIT, type UserMode } from "../usermode.ts";
import { accountStart, accountSwitch } from "./account.ts";
import { BLOCK, BLOCK_KILLABLE, EXIT_TASK, isBlock, NO_RETURN, YIELD } from "./block.ts";
import { Cpu, clearNeedResched, cpuOf, needResched } from "./cpus.ts";
import { setCurrent } from "./current.ts";
import { unpark, waitForMm } from "./hold.ts";
import { doChores, idle } from "./idle.ts";
import { clearRestart } from "./restart.ts";
import { cpuAllowed, pickTask, requeueTask, shareQueue } from "./runqueue.ts";
import { safePoint } from "./safe-point.ts";
import { leftResult, storeResult } from "./usermode-host.ts";
import { finishWait, leaveToSleep, waitPrepared } from "./waitqueue.ts";
import { fatalPending } from "./yield.ts";

/** A task that others wait behind may run this long. */
const SLICE_NS = 3_000_000;

/** What the loop does after a step: go on with the task, or pick another one. */
const GO_ON = true;
const GONE = false;

/** Runs tasks until the machine stops. */
export function cpuLoop(number: number, modes: readonly UserMode[], syscalls: SyscallEntry): void {
  const cpu = cpuOf(number);
  while (!machineStopping()) {
    clearNeedResched(number);
    if (nextTimer() !== Number.POSITIVE_INFINITY) runTimers(nowNs());
    const task = pickTask(number);
    if (task === 0) {
      idle(cpu, number);
      continue;
    }
    Cpu.curr.store(cpu, task);
    setCurrent(task);
    accountStart(cpu);
    hooks.contextSwitch?.(task);
    activateMm(Task.mm.access(task));
    try {
      runTask(task, cpu, number, modes, syscalls);
    } catch (error) {
      oops(task, error);
    }
    setCurrent(0);
    Cpu.curr.store(cpu, 0);
    unpark(cpu);
    // Before the next quiescent state: the task may run and exit elsewhere by now, and its address space go with it.
    activateMm(0);
    safePoint(0);
  }
}

function runTask(
  task: Ref<"task">,
  cpu: Ref<"cpu">,
  number: number,
  modes: readonly UserMode[],
  syscalls: SyscallEntry,
): void {
  const regs = Task.regs.get(task);
  const sliceEnd = Cpu.runStart.get(cpu) + SLICE_NS;
  for (;;) {
    if (needResched(number)) {
      clearNeedResched(number);
      const now = nowNs();
      if (nextTimer() <= now) runTimers(now);
      checkCpuTimers(Task.group.get(task));
      rcuHurry();
      doChores();
      safePoint(task);
      if (Cpu.queued.load(cpu) !== 0) shareQueue(number);
      const waiting = Cpu.queued.load(cpu) !== 0 && (now >= sliceEnd || Task.yielding.get(task) !== 0);
      // sched_setaffinity(2): a task that may no longer run here moves before it runs on.
      if (waiting || !cpuAllowed(task, number)) {
        Task.yielding.set(task, 0);
        preempt(task, cpu);
        return;
      }
      Task.yielding.set(task, 0);
    } else safePoint(task);

    if (waitForMm(task, cpu)) continue;
    if (Task.restarting.get(task) !== 0) {
      finishWait(task);
      if (finishCall(task, regs, syscalls.call(task, regs)) === GONE) return;
      continue;
    }
    const work = Task.work.load(task);
    if (work !== 0) {
      if (doWork(task, work) === GONE) return;
      if (needResched(number) || Task.restarting.get(task) !== 0) continue;
      if ((Task.work.load(task) & (WORK_EXIT | WORK_TIDY)) !== 0) continue;
    }
    const mode = modes[Task.kind.get(task)]!;
    switch (mode.enter(regs)) {
      case EXIT.LEAVE:
        if (finishCall(task, regs, leftResult) === GONE) return;
        break;
      case EXIT.SYSCALL:
        if (finishCall(task, regs, syscalls.call(task, regs)) === GONE) return;
        break;
      case EXIT.FAULT:
        fault(task);
        break;
      case EXIT.ILLEGAL:
        forceFault(task, SIGILL, ILL_ILLOPC, getPc(regs) | 0);
        break;
      case EXIT.LOST:
        lost(task, number);
        break;
      case EXIT.BREAKPOINT:
        forceFault(task, SIGTRAP, TRAP_BRKPT, getPc(regs) | 0);
        break;
      default:
        break;
    }
  }
}

/** Back to the queue: somebody else's turn. The task must not be touched once it is queued. */
function preempt(task: Ref<"task">, cpu: Ref<"cpu">): void {
  Cpu.preemptions.set(cpu, Cpu.preemptions.get(cpu) + 1);
  accountSwitch(task, false);
  requeueTask(task);
}

/** Does what a call's result asks for. GONE when the task blocked, stopped or exited. */
function finishCall(task: Ref<"task">, regs: number, result: number): boolean {
  if (result > BLOCK) {
    if (result === -ENOMEM && waitForMemory(task) !== 0) return block(task, BLOCK_KILLABLE);
    if (waitPrepared || Task.restarting.get(task) !== 0) {
      finishWait(task);
      clearRestart(task);
    }
    storeResult(regs, result);
    setPc(regs, getPc(regs) + ECALL_BYTES);
    restoreMask(task);
    return GO_ON;
  }
  if (result === YIELD) {
    // Signals are the handler's business, since only it can say what was done.
    finishWait(task);
    Task.restarting.set(task, 1);
    return GO_ON;
  }
  if (isBlock(result)) return block(task, result);
  finishWait(task);
  clearRestart(task);
  if (result === NO_RETURN) return GO_ON;
  if (result !== EXIT_TASK) throw new Error(`system call returned ${result}`);
  return exitTask(task);
}

/** The call waits: the task sleeps unless it was woken already, or a signal ends the wait. */
function block(task: Ref<"task">, kind: number): boolean {
  Task.restarting.set(task, 1);
  Task.blockKind.set(task, kind);
  if ((Task.work.load(task) & WORK_SIGNAL) !== 0 && (kind !== BLOCK_KILLABLE || fatalPending(task))) {
    const outcome = deliverSignals(task);
    if (outcome === DELIVER_DONE) return GO_ON;
    return outcome === DELIVER_EXIT ? exitTask(task) : GONE;
  }
  safePoint(task);
  leaveToSleep();
  accountSwitch(task, true);
  // Fails when a waker came first: then the call runs again at once. Afterwards the task is another CPU's.
  return Task.state.cas(task, TASK_WAITING, TASK_SLEEPING) ? GONE : GO_ON;
}

/** What must happen before user mode goes on. */
function doWork(task: Ref<"task">, work: number): boolean {
  if ((work & WORK_EXIT) !== 0) return exitTask(task);
  if ((work & WORK_TIDY) !== 0) {
    Task.work.and(task, ~WORK_TIDY);
    if (!tidy(task)) {
      Task.work.or(task, WORK_TIDY);
      return GO_ON;
    }
  }
  if ((work & WORK_SPAWN) !== 0) {
    Task.work.and(task, ~WORK_SPAWN);
    const error = startSpawned(task);
    if (error > 0) {
      // Memory is on its way: again after others have run.
      Task.work.or(task, WORK_SPAWN);
      return GO_ON;
    }
    if (error < 0) return exitTask(task);
    activateMm(Task.mm.access(task));
  }
  if ((work & WORK_MEMORY) !== 0) {
    Task.work.and(task, ~WORK_MEMORY);
    seeToHeap(task);
    refillReserve(task);
  }
  if ((work & WORK_CHILD_TID) !== 0) {
    Task.work.and(task, ~WORK_CHILD_TID);
    storeTid(Task.setChildTid.get(task), Task.pid.get(task));
  }
  if ((work & WORK_SIGNAL) !== 0) {
    const outcome = deliverSignals(task);
    if (outcome === DELIVER_EXIT) return exitTask(task);
    if (outcome !== DELIVER_DONE) return GONE;
  }
  if ((Task.work.load(task) & WORK_RESTORE_MASK) !== 0 && Task.restarting.get(task) === 0) restoreMask(task);
  return GO_ON;
}

/** User mode was refused an access. Signal 0: memory is being reclaimed, the instruction runs again. */
function fault(task: Ref<"task">): void {
  const signo = Task.faultSignal.get(task);
  if (signo === 0) return;
  if (signo === SIGKILL) {
    killGroup(task, SIGKILL);
    Task.work.or(task, WORK_SIGNAL);
    return;
  }
  const code = Task.faultCode.get(task);
  forceFault(task, signo, code, Task.faultAddress.get(task, 0), Task.faultAddress.get(task, 1));
}

/** A TypeScript program's steps went with the thread that was CPU `number` before. */
function lost(task: Ref<"task">, number: number): void {
  klog(
    `pid ${Task.pid.get(task)} (${commText(task)}) is killed: its steps were lost when CPU ${number} restarted`,
  );
  notifyHost();
  spawnLost(task, number);
  killGroup(task, SIGKILL);
  Task.work.or(task, WORK_SIGNAL);
}

/** GO_ON: it has not exited yet, since others may have the CPU first, and does nothing else any more (WORK_EXIT). */
function exitTask(task: Ref<"task">): boolean {
  if ((Task.work.load(task) & WORK_EXIT) === 0) {
    finishWait(task);
    clearRestart(task);
  }
  if (!shed(task)) {
    Task.work.or(task, WORK_EXIT);
    return GO_ON;
  }
  doExit(task, safePoint);
  return GONE;
}

/** An exception in the kernel: reported with its backtrace, the process dies, the machine goes on. */
function oops(task: Ref<"task">, error: unknown): void {
  const held = locksHeld;
  // Out of scopes, mutexes and a host call that it was in; locks are another matter.
  unwind(0, held, 0);
  tlbLazyEnd();
  reportOops(error, "a kernel path");
  // What a lock protects may be half-changed and nobody would unlock it: the CPU dies, its locks are broken, and it
  // is booted again (machine/crash.ts).
  if (held !== 0 || (Task.flags.get(task) & TASK_EXITING) !== 0) throw error;
  Task.exitCode.set(task, SIGSEGV);
  killGroup(task, SIGSEGV);
  doExit(task, safePoint);
}
