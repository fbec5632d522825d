/** What subsystems do wrong: counted, reported with place and task, and after some times the subsystem is switched off. */
import { klog } from "../klog.ts";
import { notifyHost } from "../machine/state.ts";
import { current, thisCpu } from "../sched/current.ts";
import { commText } from "../task/exec.ts";
import { Task } from "../task/task.ts";
import { SubsystemRecord } from "./context.ts";
import { asKernel, type Instance, type Place } from "./place.ts";

export const MAX_FAULTS = 10;
/** Of a subsystem that is never switched off, one in so many is logged. */
const LOG_EVERY = 1000;

export const isDisabled = (instance: Instance): boolean =>
  SubsystemRecord.disabled.peek(instance.context.record) !== 0;

/** In whose context this thread is: " in pid 7 (cat)". */
function whose(): string {
  const task = current();
  if (task !== 0) return ` in pid ${Task.pid.get(task)} (${commText(task)})`;
  return thisCpu() < 0 ? "" : ` on CPU ${thisCpu()}`;
}

/** `what` continues a sentence that begins with the place. `fatal`: it is switched off at once. */
export function fault(place: Place, what: string, fatal: boolean, who = whose()): void {
  const { instance, where } = place;
  const { name, record } = instance.context;
  const count = SubsystemRecord.faults.add(record, 1) + 1;
  const failClosed = instance.subsystem.failClosed === true;
  asKernel(() => {
    if (count <= MAX_FAULTS || fatal || count % LOG_EVERY === 0)
      klog(`subsystem ${name}: ${where}${who} ${what}${count > MAX_FAULTS ? ` (fault ${count})` : ""}`);
    const off = fatal || (count >= MAX_FAULTS && !failClosed);
    if (off && SubsystemRecord.disabled.exchange(record, 1) === 0)
      klog(
        `subsystem ${name}: switched off ${fatal ? "at once" : `after ${count} faults`}; ` +
          `echo enabled > /sys/kernel/${name}/state switches it on again`,
      );
  });
  notifyHost();
}
