/** Numbers about a process: /proc/PID/stat, statm, status, schedstat. Fields and their order as in proc(5). */
import type { Ref } from "../../rcu/index.ts";
import { Tty, ttyDevice } from "../drivers/tty.ts";
import { Files, filesMax } from "../fs/fdtable.ts";
import { FsInfo } from "../fs/fsinfo.ts";
import { Mm, mmPeakRss, mmRss } from "../mm/mm.ts";
import { PAGE_SIZE } from "../mm/ram.ts";
import { forEachVma, VM_EXEC, VM_GROWSDOWN, VM_WRITE, Vma } from "../mm/vma.ts";
import { nrCpus } from "../sched/cpus.ts";
import { handlerOf, isIgnored, sighandOf } from "../signal/sighand.ts";
import { credOf, userOfTask } from "../task/cred.ts";
import { softLimit } from "../task/rlimit.ts";
import {
  Cred,
  Group,
  TASK_DEAD,
  TASK_NEW,
  TASK_NO_NEW_PRIVS,
  TASK_RUNNABLE,
  TASK_RUNNING,
  TASK_STOPPED,
  TASK_ZOMBIE,
  Task,
} from "../task/task.ts";
import { childrenUsage, groupUsage, taskUsage } from "../task/usage.ts";
import { User } from "../task/user.ts";
import { bootNs } from "../time/clock.ts";
import { RLIMIT_RSS, RLIMIT_SIGPENDING } from "../uapi/resource.ts";
import { NSIG } from "../uapi/signal.ts";
import { procFile } from "./node.ts";
import { commOf, groupsOf } from "./pid.ts";
import { mmOf } from "./pid-mem.ts";

/** Clock ticks of USER_HZ, 100 a second. */
const ticks = (ns: number): number => Math.floor(ns / 10_000_000);

function stateLetter(task: Ref<"task">): string {
  switch (Task.state.load(task)) {
    case TASK_RUNNING:
    case TASK_RUNNABLE:
    case TASK_NEW:
      return "R";
    case TASK_STOPPED:
      return "T";
    case TASK_ZOMBIE:
      return "Z";
    case TASK_DEAD:
      return "X";
    default:
      return "S";
  }
}
const STATE_NAMES: Readonly<Record<string, string>> = {
  R: "running",
  S: "sleeping",
  T: "stopped",
  Z: "zombie",
  X: "dead",
};

function parentOf(group: Ref<"group">): number {
  const parent = Group.parent.load(group);
  return parent === 0 ? 0 : Group.tgid.get(parent);
}

/** Sets of signals that are ignored and caught, low and high word each. */
function dispositions(task: Ref<"task">): { ignored: number[]; caught: number[] } {
  const sighand = sighandOf(task);
  const ignored = [0, 0];
  const caught = [0, 0];
  for (let signo = 1; signo <= NSIG; signo++) {
    const word = (signo - 1) >> 5;
    const bit = 1 << ((signo - 1) & 31);
    if (handlerOf(sighand, signo) > 1) caught[word]! |= bit;
    else if (handlerOf(sighand, signo) === 1 && isIgnored(sighand, signo)) ignored[word]! |= bit;
  }
  return { ignored, caught };
}

procFile("PID/stat", ({ task }) => {
  const group = Task.group.get(task);
  const mm = mmOf(task);
  const tty = Group.tty.load(group) as Ref<"tty"> | 0;
  const own = groupUsage(group);
  const children = childrenUsage(group);
  const { ignored, caught } = dispositions(task);
  const nice = Task.nice.load(task);
  const rss = softLimit(group, RLIMIT_RSS);
  const at = (field: typeof Mm.brk): number => (mm === 0 ? 0 : field.get(mm));
  const fields: (number | string)[] = [
    Task.pid.get(task),
    `(${commOf(task)})`,
    stateLetter(task),
    parentOf(group),
    Group.pgrp.load(group),
    Group.session.load(group),
    tty === 0 ? 0 : ttyDevice(tty),
    tty === 0 ? -1 : Tty.pgrp.load(tty),
    0x400000,
    own.minorFaults,
    children.minorFaults,
    own.majorFaults,
    children.majorFaults,
    ticks(own.utime),
    ticks(own.stime),
    ticks(children.utime),
    ticks(children.stime),
    20 + nice,
    nice,
    Group.alive.load(group),
    0,
    ticks(Task.startTime.get(task) - bootNs()),
    mm === 0 ? 0 : Mm.totalVm.racy(mm) * PAGE_SIZE,
    mm === 0 ? 0 : mmRss(mm),
    Number.isFinite(rss) ? rss : "18446744073709551615",
    at(Mm.startCode),
    at(Mm.endCode),
    at(Mm.startStack),
    0,
    0,
    Task.pending.get(task, 0) >>> 0,
    Task.blocked.get(task, 0) >>> 0,
    ignored[0]! >>> 0,
    caught[0]! >>> 0,
    0,
    0,
    0,
    Group.exitSignal.load(group),
    Task.cpu.load(task),
    0,
    0,
    0,
    0,
    0,
    at(Mm.startData),
    at(Mm.endData),
    at(Mm.brkStart),
    at(Mm.argStart),
    at(Mm.argEnd),
    at(Mm.envStart),
    at(Mm.envEnd),
    Task.exitCode.get(task),
  ];
  return `${fields.join(" ")}\n`;
});

/** Pages of code, of data with the stack, and of the stack alone. */
function sizes(mm: Ref<"mm">): { text: number; data: number; stack: number } {
  const sum = { text: 0, data: 0, stack: 0 };
  forEachVma(mm, (vma) => {
    const pages = Vma.end.get(vma) - Vma.start.get(vma);
    const flags = Vma.flags.get(vma);
    if ((flags & VM_EXEC) !== 0) sum.text += pages;
    if ((flags & VM_WRITE) !== 0 && Vma.mapping.get(vma) === 0) sum.data += pages;
    if ((flags & VM_GROWSDOWN) !== 0) sum.stack += pages;
  });
  return sum;
}

procFile("PID/statm", ({ task }) => {
  const mm = mmOf(task);
  if (mm === 0) return "0 0 0 0 0 0 0\n";
  const { text, data } = sizes(mm);
  return `${Mm.totalVm.racy(mm)} ${mmRss(mm)} ${Mm.rssFile.racy(mm)} ${text} 0 ${data} 0\n`;
});

const hexSet = (low: number, high: number): string =>
  (high >>> 0).toString(16).padStart(8, "0") + (low >>> 0).toString(16).padStart(8, "0");

/** Signals queued for the task's user, and timers: what RLIMIT_SIGPENDING counts. */
function pendingOf(task: Ref<"task">): number {
  const user = userOfTask(task);
  return user === 0 ? 0 : User.pending.load(user);
}

procFile("PID/status", ({ task }) => {
  const group = Task.group.get(task);
  const cred = credOf(task);
  const fs = Task.fs.access(task);
  const files = Task.files.access(task) as Ref<"files"> | 0;
  const mm = mmOf(task);
  const letter = stateLetter(task);
  const { ignored, caught } = dispositions(task);
  const fdSize = files !== 0 && Files.users.load(files) > 0 ? filesMax(files) : 64;
  const pair = (words: typeof Task.pending): string => hexSet(words.get(task, 0), words.get(task, 1));
  const caps = (words: typeof Cred.effective): string => hexSet(words.get(cred, 0), words.get(cred, 1));
  const cpus = nrCpus();
  const lines: [string, string | number][] = [
    ["Name", commOf(task)],
    ["Umask", `0${(fs === 0 ? 0 : FsInfo.umask.load(fs)).toString(8).padStart(3, "0")}`],
    ["State", `${letter} (${STATE_NAMES[letter]})`],
    ["Tgid", Task.tgid.get(task)],
    ["Ngid", 0],
    ["Pid", Task.pid.get(task)],
    ["PPid", parentOf(group)],
    ["TracerPid", 0],
    ["Uid", [Cred.uid, Cred.euid, Cred.suid, Cred.fsuid].map((id) => id.get(cred)).join("\t")],
    ["Gid", [Cred.gid, Cred.egid, Cred.sgid, Cred.fsgid].map((id) => id.get(cred)).join("\t")],
    ["FDSize", fdSize],
    ["Groups", groupsOf(Cred.groups.get(cred)).join(" ") + " "],
    ...(mm === 0 ? [] : memoryLines(mm)),
    ["Threads", Group.alive.load(group)],
    ["SigQ", `${pendingOf(task)}/${softLimit(group, RLIMIT_SIGPENDING)}`],
    ["SigPnd", pair(Task.pending)],
    ["ShdPnd", hexSet(Group.pending.get(group, 0), Group.pending.get(group, 1))],
    ["SigBlk", pair(Task.blocked)],
    ["SigIgn", hexSet(ignored[0]!, ignored[1]!)],
    ["SigCgt", hexSet(caught[0]!, caught[1]!)],
    ["CapInh", caps(Cred.inheritable)],
    ["CapPrm", caps(Cred.permitted)],
    ["CapEff", caps(Cred.effective)],
    ["CapBnd", caps(Cred.bounding)],
    ["CapAmb", caps(Cred.ambient)],
    ["NoNewPrivs", (Task.flags.get(task) & TASK_NO_NEW_PRIVS) !== 0 ? 1 : 0],
    ["Seccomp", 0],
    ["Cpus_allowed", affinity(task, cpus).toString(16)],
    ["Cpus_allowed_list", cpuList(affinity(task, cpus), cpus)],
    ["Mems_allowed", "1"],
    ["Mems_allowed_list", "0"],
    ["voluntary_ctxt_switches", Task.nvcsw.get(task)],
    ["nonvoluntary_ctxt_switches", Task.nivcsw.get(task)],
  ];
  return lines.map(([name, value]) => `${name}:\t${value}\n`).join("");
});

function memoryLines(mm: Ref<"mm">): [string, string][] {
  const { text, data, stack } = sizes(mm);
  const kib = (pages: number): string => `${String((pages * PAGE_SIZE) / 1024).padStart(8)} kB`;
  const total = Mm.totalVm.racy(mm);
  const rss = mmRss(mm);
  return [
    ["VmPeak", kib(Math.max(total, Mm.hiwaterVm.racy(mm)))],
    ["VmSize", kib(total)],
    ["VmLck", kib(Mm.lockedVm.racy(mm))],
    ["VmPin", kib(0)],
    ["VmHWM", kib(mmPeakRss(mm))],
    ["VmRSS", kib(rss)],
    ["RssAnon", kib(Mm.rssAnon.racy(mm))],
    ["RssFile", kib(Mm.rssFile.racy(mm))],
    ["RssShmem", kib(0)],
    ["VmData", kib(data)],
    ["VmStk", kib(stack)],
    ["VmExe", kib(text)],
    ["VmLib", kib(0)],
    ["VmPTE", kib(1)],
    ["VmSwap", kib(0)],
  ];
}

function affinity(task: Ref<"task">, cpus: number): bigint {
  const mask = (BigInt(Task.affinity.get(task, 1) >>> 0) << 32n) | BigInt(Task.affinity.get(task, 0) >>> 0);
  return mask & ((1n << BigInt(cpus)) - 1n);
}

/** "0-3,5" from a set of CPUs. */
export function cpuList(mask: bigint, cpus: number): string {
  const ranges: string[] = [];
  for (let cpu = 0; cpu < cpus; cpu++) {
    if (((mask >> BigInt(cpu)) & 1n) === 0n) continue;
    const first = cpu;
    while (cpu + 1 < cpus && ((mask >> BigInt(cpu + 1)) & 1n) !== 0n) cpu++;
    ranges.push(first === cpu ? String(first) : `${first}-${cpu}`);
  }
  return ranges.join(",");
}

procFile("PID/schedstat", ({ task }) => {
  const { utime, stime } = taskUsage(task);
  const ran = Math.floor(utime + stime);
  return `${ran} 0 ${Task.nvcsw.get(task) + Task.nivcsw.get(task)}\n`;
});
