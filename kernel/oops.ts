/**
 * Oopses: exceptions in the kernel. Wherever code of the kernel runs there is a boundary behind it, on a CPU and on the host thread,
 * that takes the exception, gives back what the code held (unwind), and reports it here: a line in the machine's log with
 * its backtrace. What the code was for fails; the rest goes on.
 *
 * Boundaries: `contain` around any piece of work; RCU's own around each callback and release (the heap's error handler); the CPU loop
 * around a task (sched/cpu.ts), whose process dies; Machine.run around what the host does (machine/host-boundary.ts).
 */
import { setErrorHandler } from "../rcu/index.ts";
import { klog } from "./klog.ts";
import { notifyHost } from "./machine/state.ts";
import { current, thisCpu } from "./sched/current.ts";
import { commText } from "./task/exec.ts";
import { Task } from "./task/task.ts";

/** What was thrown, and from where. Node.js may put the line of the source before an error's name: what comes first here is the name. */
export function traceOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const name = Error.prototype.toString.call(error); // Its own toString() may be anything.
  const trace = error.stack ?? name;
  return trace.slice(Math.max(0, trace.indexOf(name)));
}

function whose(): string {
  const task = current();
  const cpu = thisCpu() < 0 ? " on the host thread" : ` on CPU ${thisCpu()}`;
  return task === 0 ? cpu : ` in pid ${Task.pid.get(task)} (${commText(task)})${cpu}`;
}

/** Reports an exception; `where` says what ran. Never throws. */
export function reportOops(error: unknown, where: string): void {
  try {
    klog(`Oops: ${where}${whose()}: ${traceOf(error)}`);
    notifyHost();
  } catch {
    // The log itself is broken.
    process.emitWarning(`${where}: ${traceOf(error)}`, "KernelOops");
  }
}

/** This thread's boundaries report here from now on, in the heap that it uses. */
export const reportOopses = (): void => setErrorHandler(reportOops);
