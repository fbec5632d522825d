/** The directory of a process: /proc/PID, /proc/self, its threads in task/, where it stands in the file tree. */
import { arrayGet, arrayLength, type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { dPath } from "../fs/dpath.ts";
import { FsInfo, Path } from "../fs/fsinfo.ts";
import { current } from "../sched/current.ts";
import { waitChannel } from "../sched/wchan.ts";
import { forEachThread } from "../signal/send.ts";
import { CAP_SYS_RESOURCE, capable } from "../task/cred.ts";
import { OOM_SCORE_ADJ_MAX, OOM_SCORE_ADJ_MIN, oomScore } from "../task/oom.ts";
import { findTask, nextPid } from "../task/pid.ts";
import { mayInspect } from "../task/ptrace.ts";
import { exactLimits } from "../task/rlimit.ts";
import { Group, Task } from "../task/task.ts";
import { EACCES, ENOENT } from "../uapi/errno.ts";
import {
  type ProcAt,
  type ProcEntry,
  pidDir,
  procDir,
  procFile,
  procLink,
  procRoot,
  threadDir,
} from "./node.ts";
import { oneInt } from "./number.ts";

/** A decimal number without leading zeros, or -1. */
export const pidOf = (name: string): number => (/^[1-9][0-9]{0,6}$/.test(name) ? Number(name) : -1);

const findPid = (pid: number): Ref<"task"> | 0 => {
  const task = findTask(rcuReadLock(), pid);
  rcuReadUnlock();
  return task;
};

const entryOf = (pid: number, node = pidDir): ProcEntry => ({ name: String(pid), node, pid, fd: 0 });

/** Threads are found by name, though only thread group leaders are listed. */
procRoot.lookup = (_at, name) => {
  const pid = pidOf(name);
  return pid > 0 && findPid(pid) !== 0 ? entryOf(pid) : null;
};
procRoot.list = function* (_at, from) {
  for (let pid = from; ; pid++) {
    pid = nextPid(rcuReadLock(), pid);
    rcuReadUnlock();
    if (pid === 0) return;
    const task = findPid(pid);
    if (task !== 0 && Task.tgid.get(task) === pid) yield { key: pid, entry: entryOf(pid) };
  }
};

procLink("self", () => (current() === 0 ? -ENOENT : String(Task.tgid.get(current()))));
procLink("thread-self", () => {
  const task = current();
  return task === 0 ? -ENOENT : `${Task.tgid.get(task)}/task/${Task.pid.get(task)}`;
});

/** Thread ids of the process, in order. */
export function threadsOf(task: Ref<"task">): number[] {
  const group = Task.group.get(task);
  const tids: number[] = [];
  const held = Group.lock.lock(group);
  forEachThread(held, group, (thread) => tids.push(Task.pid.get(thread)));
  Group.lock.unlock(group);
  return tids.sort((a, b) => a - b);
}

const taskDir = procDir("PID/task");
taskDir.lookup = ({ task }, name) => {
  const pid = pidOf(name);
  const thread = pid > 0 ? findPid(pid) : 0;
  return thread !== 0 && Task.group.get(thread) === Task.group.get(task) ? entryOf(pid, threadDir) : null;
};
taskDir.list = function* ({ task }, from) {
  for (const tid of threadsOf(task)) if (tid >= from) yield { key: tid, entry: entryOf(tid, threadDir) };
};

// cwd and root.

function placeOf({ task }: ProcAt, which: typeof FsInfo.cwd): Ref<"path"> | 0 {
  const fs = Task.fs.access(task);
  return fs === 0 ? 0 : which.access(fs);
}

function placeLink(name: string, which: typeof FsInfo.cwd): void {
  procLink(
    name,
    (at) => {
      const path = placeOf(at, which);
      return path === 0 ? -ENOENT : dPath(Path.mount.get(path), Path.dentry.get(path));
    },
    (at, link) => {
      const path = placeOf(at, which);
      if (path === 0) return -ENOENT;
      link.mount = Path.mount.get(path);
      link.dentry = Path.dentry.get(path);
      return 0;
    },
  );
}
placeLink("PID/cwd", FsInfo.cwd);
placeLink("PID/root", FsInfo.root);

// Small files.

const decoder = new TextDecoder();
/** The task's command name. */
export function commOf(task: Ref<"task">): string {
  const bytes = new Uint8Array(Task.comm.view(task));
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

procFile("PID/comm", ({ task }) => `${commOf(task)}\n`, {
  write({ task }, text, _pos, size) {
    const bytes = new TextEncoder().encode(text.replace(/\n$/, "")).subarray(0, 15);
    for (let i = 0; i < 16; i++) Task.comm.set(task, i, bytes[i] ?? 0);
    return size;
  },
});

const LIMITS: readonly (readonly [string, string])[] = [
  ["Max cpu time", "seconds"],
  ["Max file size", "bytes"],
  ["Max data size", "bytes"],
  ["Max stack size", "bytes"],
  ["Max core file size", "bytes"],
  ["Max resident set", "bytes"],
  ["Max processes", "processes"],
  ["Max open files", "files"],
  ["Max locked memory", "bytes"],
  ["Max address space", "bytes"],
  ["Max file locks", "locks"],
  ["Max pending signals", "signals"],
  ["Max msgqueue size", "bytes"],
  ["Max nice priority", ""],
  ["Max realtime priority", ""],
  ["Max realtime timeout", "us"],
];

procFile("PID/limits", ({ task }) => {
  const group = Task.group.get(task);
  const column = (text: string | number, width: number): string => String(text).padEnd(width);
  let text = `${column("Limit", 25)} ${column("Soft Limit", 20)} ${column("Hard Limit", 20)} ${column("Units", 10)}\n`;
  LIMITS.forEach(([name, unit], resource) => {
    const [soft, hard] = [...exactLimits(group, resource)].map((value) =>
      value === 2n ** 64n - 1n ? "unlimited" : String(value),
    );
    text += `${column(name, 25)} ${column(soft!, 20)} ${column(hard!, 20)} ${column(unit, 10)}\n`;
  });
  return text;
});

/** Of a longer text one write takes the beginning, as on Linux. */
const OOM_SCORE_DIGITS = 12;
procFile("PID/oom_score", ({ task }) => `${oomScore(task)}\n`);
procFile("PID/oom_score_adj", ({ task }) => `${Group.oomScoreAdj.load(Task.group.get(task))}\n`, {
  write({ task }, text, _pos, size) {
    const group = Task.group.get(task);
    const number = oneInt(text.slice(0, OOM_SCORE_DIGITS), OOM_SCORE_ADJ_MIN, OOM_SCORE_ADJ_MAX);
    if (typeof number === "number") return number;
    const { value } = number;
    const privileged = capable(current(), CAP_SYS_RESOURCE);
    if (value < Group.oomScoreAdjMin.load(group) && !privileged) return -EACCES;
    Group.oomScoreAdj.store(group, value);
    if (privileged) Group.oomScoreAdjMin.store(group, value);
    return Math.min(size, OOM_SCORE_DIGITS);
  },
});
procFile("PID/loginuid", () => "4294967295");
procFile("PID/sessionid", () => "4294967295");
procFile("PID/cgroup", () => "0::/\n");
procFile("PID/wchan", ({ task }) => (mayInspect(task) && waitChannel(task)) || "0");
procFile(
  "PID/personality",
  ({ task }) => `${(Task.personality.get(task) >>> 0).toString(16).padStart(8, "0")}\n`,
);
procFile("PID/uid_map", () => "         0          0 4294967295\n");
procFile("PID/gid_map", () => "         0          0 4294967295\n");
procFile("PID/setgroups", () => "allow\n");

/** Supplementary groups of a credential. */
export function groupsOf(groups: Ref<"array"> | 0): number[] {
  if (groups === 0) return [];
  return Array.from({ length: arrayLength(groups) }, (_, index) => arrayGet(groups, index) >>> 0);
}
