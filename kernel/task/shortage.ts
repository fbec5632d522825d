/**
 * What a task does to which memory was refused: it waits. Memory is on its way back after a grace period, when a killed process is gone,
 * or when a process has been killed for it; a system call without memory is run again then, as the instruction of a page fault is.
 */
import type { Ref } from "../../rcu/index.ts";
import { rcuHurry } from "../../rcu/kernel.ts";
import { klog } from "../klog.ts";
import { onlyReserve } from "../mm/reclaim.ts";
import { reserveRefilled, SHORT_HEAP, SHORT_NOTHING, SHORT_RAM, takeRefusal } from "../mm/shortage.ts";
import { BLOCK_KILLABLE } from "../sched/block.ts";
import { setNeedResched } from "../sched/cpus.ts";
import { thisCpu } from "../sched/current.ts";
import { blockUntil } from "../sched/restart.ts";
import { finishWait } from "../sched/waitqueue.ts";
import { fatalPending } from "../sched/yield.ts";
import { nowNs } from "../time/clock.ts";
import { heapExhausted, OOM_NOBODY, outOfMemory } from "./oom.ts";
import { Task, WORK_MEMORY } from "./task.ts";

/** Between two tries. */
const AGAIN_NS = 1e6;
/** What is freed already has so long to come back before a process is killed. */
const GRACE_NS = 50e6;
/** The longest that a call waits: a process that is killed may take seconds to end on a busy host. */
const LONGEST_NS = 10e9;
/** The same when no process may be killed for it. */
const HOPELESS_NS = 2e9;

/** Whether it is worth while to wait for that kind of memory; has a process killed for it when nothing has come back for a while. */
function comesBack(task: Ref<"task">, what: number): boolean {
  if (fatalPending(task)) return false;
  const now = nowNs();
  const since = Task.shortSince.get(task);
  if (since === 0) Task.shortSince.set(task, now);
  const waited = since === 0 ? 0 : now - since;
  if (waited > LONGEST_NS) return false;
  if (waited > GRACE_NS) {
    const done = what === SHORT_HEAP ? heapExhausted() : outOfMemory();
    if (done === OOM_NOBODY && waited > HOPELESS_NS) return false;
  }
  rcuHurry();
  return true;
}

/**
 * A call of the current task has failed with -ENOMEM, without having done anything. BLOCK_KILLABLE when memory was refused to it that may come
 * back: the task is prepared to wait for a moment, and the call runs again. Else 0: the error is the program's.
 */
export function waitForMemory(task: Ref<"task">): number {
  const what = takeRefusal(task);
  if (what === SHORT_NOTHING || !comesBack(task, what)) return 0;
  finishWait(task);
  blockUntil(nowNs() + AGAIN_NS);
  return BLOCK_KILLABLE;
}

/** The first run of a process that the host started failed with -ENOMEM: whether it is to be tried again after others have run. */
export function startAgain(task: Ref<"task">): boolean {
  const what = takeRefusal(task);
  if (what === SHORT_NOTHING || !comesBack(task, what)) return false;
  letOthersRun(task);
  return true;
}

/** WORK_MEMORY, with no lock held: who has used the kernel's reserve of frames waits until there is more than that. */
export function refillReserve(task: Ref<"task">): void {
  if (onlyReserve() && comesBack(task, SHORT_RAM)) {
    Task.work.or(task, WORK_MEMORY);
    letOthersRun(task);
    return;
  }
  if (onlyReserve() && !fatalPending(task))
    klog(
      `pid ${Task.pid.get(task)} goes on without free memory: none came back, and no process may be killed for it`,
    );
  Task.shortSince.set(task, 0);
  reserveRefilled();
}

function letOthersRun(task: Ref<"task">): void {
  Task.yielding.set(task, 1);
  if (thisCpu() >= 0) setNeedResched(thisCpu());
}
