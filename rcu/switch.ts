/** Switching tasks that may be inside read scopes: what a preemptible kernel's scheduler calls. */
import { RcuUsageError } from "./error.ts";
import { gpSeq, leavePreempted, tryEndGp } from "./grace-period.ts";
import { block, dropTask, resume, resumed } from "./preempt.ts";
import { rcuNesting } from "./scope.ts";

/**
 * The running task is switched out: called at every switch, in a scope or not. Returns whether it is inside a read scope; then
 * `record` is on the blocked list, and rcuSwitchIn must come before the task runs again, on whatever CPU. When false, the
 * record is on no list: the task may exit. `record` is a heap address (Words.at).
 */
export function rcuSwitchOut(record: number): boolean {
  const depth = rcuNesting();
  if (depth > 0) block(record, depth);
  else if (resumed()) leavePreempted();
  return depth > 0;
}

/** The task runs again, inside the scopes that it had open. */
export function rcuSwitchIn(record: number): void {
  if (rcuNesting() !== 0)
    throw new RcuUsageError(
      "ERR_RCU_INSIDE_SCOPE",
      "rcuSwitchIn while another task's scope is open on this CPU",
    );
  if (resumed()) leavePreempted();
  resume(record);
}

/**
 * The task will not run again: it was killed while it was switched out inside a read scope. Its record leaves the list;
 * harmless when it is on none.
 */
export function rcuTaskGone(record: number): void {
  if (dropTask(record)) tryEndGp(gpSeq());
}
