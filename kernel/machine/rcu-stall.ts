/** Stall warnings of RCU in the kernel log, with the CPU and the task that runs there. */
import { type RcuStall, rcuStallText, setRcuStallHandler, setRcuTaskNamer } from "../../rcu/index.ts";
import { klog } from "../klog.ts";
import { Cpu, cpuOf, nrCpus } from "../sched/cpus.ts";
import { commText } from "../task/exec.ts";
import { Task } from "../task/task.ts";

/** Milliseconds that a grace period may last. */
const STALL_MS = 10_000;

/** This thread, a CPU or the host, reports stalls to the kernel log. */
export function reportRcuStalls(ms = STALL_MS): void {
  setRcuTaskNamer(nameSlot);
  setRcuStallHandler(ms, (stall: RcuStall) => klog(`rcu: INFO: ${rcuStallText(stall)}`));
}

/** What runs in a heap slot. A racy look: the task may end meanwhile. */
function nameSlot(slot: number): string {
  for (let number = 0; number < nrCpus(); number++) {
    const cpu = cpuOf(number);
    if (Cpu.slot.load(cpu) !== slot + 1) continue;
    const task = Cpu.curr.load(cpu);
    return task === 0
      ? `CPU ${number}, no task`
      : `CPU ${number}, task ${Task.pid.get(task)} (${commText(task)})`;
  }
  return "";
}
