/**
 * Delivery: what a task does about its pending signals before user mode goes on. The CPU loop calls it, with the
 * register file complete.
 */
import type { Held, Ref } from "../../rcu/index.ts";
import { faultIn, putUser64 } from "../mm/uaccess.ts";
import { accountSwitch } from "../sched/account.ts";
import { BLOCK } from "../sched/block.ts";
import { clearRestart } from "../sched/restart.ts";
import { finishWait } from "../sched/waitqueue.ts";
import { notifyTask } from "../sched/wake.ts";
import { hooks } from "../subsystem/hooks.ts";
import { tracer } from "../syscall-entry.ts";
import { isOrphaned } from "../task/jobs.ts";
import { ECALL_BYTES, getPc, setPc, setReg, X_A0 } from "../task/registers.ts";
import {
  GROUP_EXEC,
  GROUP_EXITING,
  GROUP_STOP_REPORT,
  GROUP_STOPPED,
  Group,
  TASK_STOPPED,
  Task,
  WORK_RESTORE_MASK,
  WORK_SIGNAL,
} from "../task/task.ts";
import { NSEC_PER_SEC, nowNs } from "../time/clock.ts";
import { EFAULT, EINTR } from "../uapi/errno.ts";
import { SA_NODEFER, SA_RESTART, SIG_DFL, SIG_IGN, SIGKILL, SIGSEGV, SIGSTOP } from "../uapi/signal.ts";
import { ACCESS } from "../usermode.ts";
import { notifyStopOrContinue } from "./child.ts";
import { setupFrame } from "./frame.ts";
import { setMask } from "./mask.ts";
import { dequeueSignal, recalcPending, type SigInfo } from "./pending.ts";
import { forceFault, forEachThread, killGroup } from "./send.ts";
import { type Action, setAction, sighandOf, takeAction } from "./sighand.ts";
import { DEFAULT_IGNORED, STOPPING, sigBit } from "./sigset.ts";

/** Nothing (more) to do: user mode may go on, or the interrupted call may run again. */
export const DELIVER_DONE = 0;
/** The task must exit: Task.exitCode is set. */
export const DELIVER_EXIT = 1;
/** The task stopped, and is no longer this CPU's. */
export const DELIVER_STOPPED = 2;

export function deliverSignals(task: Ref<"task">): number {
  const group = Task.group.get(task);
  for (;;) {
    const held = Group.lock.lock(group);
    const flags = Group.flags.load(group);
    if ((flags & GROUP_EXITING) !== 0) {
      Group.lock.unlock(group);
      Task.exitCode.set(task, Group.exitCode.load(group));
      return DELIVER_EXIT;
    }
    if ((flags & GROUP_STOPPED) !== 0) {
      joinStop(held, group, task);
      return DELIVER_STOPPED;
    }
    const info = dequeueSignal(held, task, Task.blocked.get(task, 0), Task.blocked.get(task, 1));
    recalcPending(task);
    Group.lock.unlock(group);
    if (info === null) return DELIVER_DONE;
    const outcome = act(task, group, info);
    if (outcome !== DELIVER_DONE) return outcome;
  }
}

function act(task: Ref<"task">, group: Ref<"group">, info: SigInfo): number {
  const signo = info[0]!;
  if (signo === SIGKILL) {
    // Sent to this thread alone: execve of another thread, or the end of the group.
    Task.exitCode.set(task, SIGKILL);
    if ((Group.flags.load(group) & GROUP_EXEC) === 0) killGroup(task, SIGKILL);
    return DELIVER_EXIT;
  }
  tracer?.signal(task, signo, info[2]!, info[4]!);
  // Looked at once: another thread may change it meanwhile.
  const action = takeAction(sighandOf(task), signo);
  if (action.handler === SIG_IGN) return DELIVER_DONE;
  if (action.handler !== SIG_DFL) return handle(task, info, action);
  const bit = signo <= 32 ? sigBit(signo) : 0;
  if ((bit & DEFAULT_IGNORED) !== 0) return DELIVER_DONE;
  if ((bit & STOPPING) !== 0) return stopGroup(task, group, signo);
  // Without the "core dumped" bit: there are no core files here.
  Task.exitCode.set(task, signo);
  killGroup(task, signo);
  return DELIVER_EXIT;
}

/** Enters the user's handler; an interrupted call restarts after it, or fails with EINTR. */
function handle(task: Ref<"task">, info: SigInfo, action: Action): number {
  const signo = info[0]!;
  const regs = Task.regs.get(task);
  if (Task.restarting.get(task) !== 0) {
    const partial = Task.partial.get(task);
    if (partial > 0 || Task.blockKind.get(task) !== BLOCK || (action.flags & SA_RESTART) === 0) {
      const result = partial > 0 ? partial : storeRemaining(task) < 0 ? -EFAULT : -EINTR;
      hooks.callInterrupted?.(task, result);
      setReg(regs, X_A0, result);
      setPc(regs, getPc(regs) + ECALL_BYTES);
    }
    finishWait(task);
    clearRestart(task);
  }
  let maskLow = Task.blocked.get(task, 0);
  let maskHigh = Task.blocked.get(task, 1);
  const temporary = (Task.work.load(task) & WORK_RESTORE_MASK) !== 0;
  if (temporary) {
    maskLow = Task.savedMask.get(task, 0);
    maskHigh = Task.savedMask.get(task, 1);
  }
  if (setupFrame(task, info, action.handler, action.flags, maskLow, maskHigh) < 0) {
    // No room for the frame: SIGSEGV, and if that was it, with its default action.
    if (signo === SIGSEGV)
      setAction(sighandOf(task), SIGSEGV, { handler: SIG_DFL, flags: 0, maskLow: 0, maskHigh: 0 });
    forceFault(task, SIGSEGV, 0x80, 0);
    return DELIVER_DONE;
  }
  if (temporary) Task.work.and(task, ~WORK_RESTORE_MASK);
  let low = Task.blocked.get(task, 0) | action.maskLow;
  let high = Task.blocked.get(task, 1) | action.maskHigh;
  if ((action.flags & SA_NODEFER) === 0) {
    if (signo <= 32) low |= sigBit(signo);
    else high |= sigBit(signo);
  }
  setMask(task, low, high);
  return DELIVER_DONE;
}

/** nanosleep(2): the program learns how much of the sleep was left. 0 or -EFAULT. */
function storeRemaining(task: Ref<"task">): number {
  const address = Task.restartRemaining.get(task);
  if (address === 0) return 0;
  if (faultIn(address, 16, ACCESS.WRITE) < 0) return -EFAULT;
  const left = Math.max(0, Task.restartDeadline.get(task) - nowNs());
  putUser64(address, Math.floor(left / NSEC_PER_SEC));
  putUser64(address + 8, left % NSEC_PER_SEC);
  return 0;
}

/** A stop signal with its default action: every thread of the group is to stop. */
function stopGroup(task: Ref<"task">, group: Ref<"group">, signo: number): number {
  // An orphaned process group cannot be continued by its shell: terminal stops do nothing to it.
  if (signo !== SIGSTOP && isOrphaned(group)) return DELIVER_DONE;
  const held = Group.lock.lock(group);
  if ((Group.flags.load(group) & (GROUP_STOPPED | GROUP_EXITING)) === 0) {
    Group.flags.or(group, GROUP_STOPPED);
    Group.stopSignal.set(held, group, signo);
    Group.stopped.set(held, group, 0);
    forEachThread(held, group, (thread) => {
      if (thread !== task) notifyTask(thread, WORK_SIGNAL);
    });
  }
  Group.lock.unlock(group);
  return DELIVER_DONE; // The loop of deliverSignals sees GROUP_STOPPED.
}

/** Stops this thread as part of its group's stop. Group.lock is held, and released. */
function joinStop(held: Held<"lock">, group: Ref<"group">, task: Ref<"task">): void {
  const stopped = Group.stopped.get(held, group) + 1;
  Group.stopped.set(held, group, stopped);
  recalcPending(task);
  const last = stopped >= Group.alive.load(group);
  const signo = Group.stopSignal.get(held, group);
  if (last) Group.flags.or(group, GROUP_STOP_REPORT);
  finishWait(task);
  accountSwitch(task, true);
  // From here on SIGCONT or SIGKILL may take it to another CPU: nothing of the task is touched any more.
  Task.state.store(task, TASK_STOPPED);
  Group.lock.unlock(group);
  if (last) notifyStopOrContinue(group, signo);
}
