/** Resource usage: getrusage(2), times(2), wait4's rusage. */
import { listFirst, listNext, type Ref } from "../../rcu/index.ts";
import { mmPeakRss } from "../mm/mm.ts";
import { accountTime, runningTime } from "../sched/account.ts";
import { current } from "../sched/current.ts";
import { RUSAGE_BYTES } from "../uapi/resource.ts";
import { Group, TASK_DEAD, TASK_ZOMBIE, Task } from "./task.ts";

/** Times in nanoseconds, sizes in KiB. */
export interface Usage {
  utime: number;
  stime: number;
  maxRss: number;
  minorFaults: number;
  majorFaults: number;
  nvcsw: number;
  nivcsw: number;
}

export function taskUsage(task: Ref<"task">): Usage {
  const running = task === current() ? 0 : runningTime(task);
  if (task === current()) accountTime(task);
  const mm = Task.mm.access(task);
  return {
    utime: Task.utime.get(task) + running,
    stime: Task.stime.get(task),
    maxRss: mm === 0 ? 0 : mmPeakRss(mm) * 4,
    minorFaults: Task.minorFaults.get(task),
    majorFaults: Task.majorFaults.get(task),
    nvcsw: Task.nvcsw.get(task),
    nivcsw: Task.nivcsw.get(task),
  };
}

/** The group's own usage: threads that exited and threads that live. */
export function groupUsage(group: Ref<"group">): Usage {
  const sum: Usage = {
    utime: Group.utime.get(group),
    stime: Group.stime.get(group),
    maxRss: Group.maxRss.get(group),
    minorFaults: Group.minorFaults.get(group),
    majorFaults: Group.majorFaults.get(group),
    nvcsw: Group.nvcsw.get(group),
    nivcsw: Group.nivcsw.get(group),
  };
  const held = Group.lock.lock(group);
  const head = Group.threads.at(group);
  for (let node = listFirst(head); held !== 0 && node !== 0; node = listNext(head, node)) {
    const task = Task.threadNode.owner(node);
    const state = Task.state.load(task);
    if (state === TASK_ZOMBIE || state === TASK_DEAD) continue;
    const usage = taskUsage(task);
    sum.utime += usage.utime;
    sum.stime += usage.stime;
    sum.maxRss = Math.max(sum.maxRss, usage.maxRss);
    sum.minorFaults += usage.minorFaults;
    sum.majorFaults += usage.majorFaults;
    sum.nvcsw += usage.nvcsw;
    sum.nivcsw += usage.nivcsw;
  }
  Group.lock.unlock(group);
  return sum;
}

/** Usage of children that were waited for, and of theirs. */
export function childrenUsage(group: Ref<"group">): Usage {
  return {
    utime: Group.childUtime.get(group),
    stime: Group.childStime.get(group),
    maxRss: Group.childMaxRss.get(group),
    minorFaults: Group.childMinorFaults.get(group),
    majorFaults: Group.childMajorFaults.get(group),
    nvcsw: Group.childNvcsw.get(group),
    nivcsw: Group.childNivcsw.get(group),
  };
}

/** Usage of a process and of its children together: what wait4(2) tells, and what it adds to the parent's. */
export function totalUsage(group: Ref<"group">): Usage {
  return add(groupUsage(group), childrenUsage(group));
}

function add(a: Usage, b: Usage): Usage {
  return {
    utime: a.utime + b.utime,
    stime: a.stime + b.stime,
    maxRss: Math.max(a.maxRss, b.maxRss),
    minorFaults: a.minorFaults + b.minorFaults,
    majorFaults: a.majorFaults + b.majorFaults,
    nvcsw: a.nvcsw + b.nvcsw,
    nivcsw: a.nivcsw + b.nivcsw,
  };
}

/** The child was waited for: the parent's children used as much more. The task list lock is held. */
export function addChildUsage(parent: Ref<"group">, child: Ref<"group">): void {
  const sum = add(childrenUsage(parent), totalUsage(child));
  Group.childUtime.set(parent, sum.utime);
  Group.childStime.set(parent, sum.stime);
  Group.childMaxRss.set(parent, sum.maxRss);
  Group.childMinorFaults.set(parent, sum.minorFaults);
  Group.childMajorFaults.set(parent, sum.majorFaults);
  Group.childNvcsw.set(parent, sum.nvcsw);
  Group.childNivcsw.set(parent, sum.nivcsw);
}

/** struct rusage. */
export function encodeUsage(usage: Usage): Uint8Array {
  const bytes = new Uint8Array(RUSAGE_BYTES);
  const view = new DataView(bytes.buffer);
  const put = (offset: number, value: number): void =>
    view.setBigInt64(offset, BigInt(Math.floor(value)), true);
  put(0, usage.utime / 1e9);
  put(8, (usage.utime % 1e9) / 1000);
  put(16, usage.stime / 1e9);
  put(24, (usage.stime % 1e9) / 1000);
  put(32, usage.maxRss);
  put(64, usage.minorFaults);
  put(72, usage.majorFaults);
  put(128, usage.nvcsw);
  put(136, usage.nivcsw);
  return bytes;
}
