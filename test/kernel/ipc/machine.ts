/**
 * A whole kernel on the test's thread, without CPUs: booted as a machine boots, with a process that is current, has user memory
 * and makes calls. A call that blocks returns its BLOCK value; `woken` says whether something ended the wait since.
 */

import { STREAM_PLAIN } from "../../../kernel/drivers/console.ts";
import { fget, filesCreate } from "../../../kernel/fs/fdtable.ts";
import { fsCreate } from "../../../kernel/fs/fsinfo.ts";
import { fileRead, fileWrite } from "../../../kernel/fs/read-write.ts";
import { bootKernel } from "../../../kernel/machine/boot.ts";
import { UserIo } from "../../../kernel/mm/iov.ts";
import { mmCreate } from "../../../kernel/mm/mm.ts";
import { mmap } from "../../../kernel/mm/mmap.ts";
import { activateMm, tlbInit } from "../../../kernel/mm/tlb.ts";
import { copyFromUser, copyToUser } from "../../../kernel/mm/uaccess.ts";
import { isBlock } from "../../../kernel/sched/block.ts";
import { clearNeedResched } from "../../../kernel/sched/cpus.ts";
import { setCurrent, setThisCpu } from "../../../kernel/sched/current.ts";
import { clearRestart } from "../../../kernel/sched/restart.ts";
import { finishWait } from "../../../kernel/sched/waitqueue.ts";
import { newCred } from "../../../kernel/task/cred.ts";
import { newProcess } from "../../../kernel/task/fork.ts";
import {
  allGroups,
  allocPid,
  attachPid,
  initGroup,
  lockTaskList,
  setFamily,
  unlockTaskList,
} from "../../../kernel/task/pid.ts";
import { Group, KIND_RISCV64, TASK_RUNNING, TASK_WAITING, Task } from "../../../kernel/task/task.ts";
import {
  drainReleases,
  type Held,
  listAddTail,
  type Ref,
  rcuBarrier,
  rcuQuiescent,
  rcuRunCallbacks,
} from "../../../rcu/index.ts";
import { syscalls } from "../../../syscalls/table.ts";
import "../../../kernel/mm/vmfile.ts";

const HELD = 1 as Held;

export interface Machine {
  readonly task: Ref<"task">;
  readonly files: Ref<"files">;
  /** A megabyte of user memory that the tests may write. */
  readonly memory: number;
}

export function boot(): Machine {
  bootKernel({
    cpus: 1,
    memory: 32 << 20,
    heap: 64 << 20,
    debug: true,
    console: { stdin: STREAM_PLAIN, stdout: STREAM_PLAIN, stderr: STREAM_PLAIN },
  });
  setThisCpu(0);
  tlbInit(0, []);
  const task = newTask("test");
  const files = Task.files.access(task) as Ref<"files">;
  setCurrent(task);
  const mm = mmCreate() as Ref<"mm">;
  Task.mm.assign(HELD, task, mm);
  activateMm(mm);
  const memory = mmap(mm, 0x100000, 1 << 20, 3, 0x32, 0, 0);
  if (memory < 0) throw new Error(`mmap: ${memory}`);
  return { task, files, memory };
}

/** A process of root with an empty descriptor table; not current. */
export function newTask(name: string): Ref<"task"> {
  const task = newProcess(KIND_RISCV64, newCred(0, 0) as Ref<"cred">) as Ref<"task">;
  const group = Task.group.get(task);
  Task.files.assign(HELD, task, filesCreate() as Ref<"files">);
  Task.fs.assign(HELD, task, fsCreate() as Ref<"fsinfo">);
  const list = lockTaskList();
  const pid = allocPid(list);
  Task.pid.set(task, pid);
  Task.tgid.init(task, pid);
  Task.state.store(task, TASK_RUNNING);
  Group.tgid.init(group, pid);
  Group.leader.init(group, task);
  Group.alive.init(group, 1);
  Group.parent.store(group, initGroup());
  setFamily(list, group, pid, pid);
  listAddTail(list, Group.threads.at(group), Task.threadNode.at(task));
  listAddTail(list, allGroups(), Group.allNode.at(group));
  attachPid(list, pid, task);
  unlockTaskList();
  for (let i = 0; i < name.length; i++) Task.comm.set(task, i, name.charCodeAt(i));
  return task;
}

const byName = new Map(syscalls.map((call) => [call.name, call]));

/** Makes a system call as the current task. A call that blocked before runs again. */
export function call(task: Ref<"task">, name: string, ...args: number[]): number {
  const entry = byName.get(name);
  if (entry === undefined) throw new Error(`no system call ${name}`);
  return around(task, () =>
    (entry.handler as (task: Ref<"task">, ...args: number[]) => number)(task, ...args),
  );
}

/** What the CPU loop does around a call. */
export function around(task: Ref<"task">, work: () => number): number {
  setCurrent(task);
  const waiting = Task.restarting.get(task) !== 0;
  if (waiting) finishWait(task);
  const result = work();
  clearNeedResched(0);
  if (isBlock(result)) Task.restarting.set(task, 1);
  else {
    finishWait(task);
    clearRestart(task);
  }
  drainReleases(task);
  rcuQuiescent();
  rcuRunCallbacks();
  return result;
}

/** Whether a task that blocks has been woken. */
export const woken = (task: Ref<"task">): boolean => Task.state.load(task) !== TASK_WAITING;

const io = new UserIo();

/** read(2) into a buffer of `length` bytes: what was read, or the error. */
export function readBytes(task: Ref<"task">, fd: number, length: number): Uint8Array | number {
  const buffer = new Uint8Array(length);
  io.setKernel(buffer);
  const count = around(task, () => {
    const file = fget(Task.files.access(task) as Ref<"files">, fd);
    return file < 0 ? file : fileRead(file as Ref<"file">, io);
  });
  return count < 0 ? count : buffer.subarray(0, count);
}

/** The same as text. */
export function read(task: Ref<"task">, fd: number, length = 65536): string | number {
  const bytes = readBytes(task, fd, length);
  return typeof bytes === "number" ? bytes : new TextDecoder().decode(bytes);
}

export function write(task: Ref<"task">, fd: number, data: string | Uint8Array): number {
  io.setKernel(typeof data === "string" ? new TextEncoder().encode(data) : data);
  return around(task, () => {
    const file = fget(Task.files.access(task) as Ref<"files">, fd);
    return file < 0 ? file : fileWrite(file as Ref<"file">, io);
  });
}

/** Runs everything that was deferred. */
export function settle(task: Ref<"task">): void {
  setCurrent(task);
  drainReleases(task);
  rcuBarrier();
}

export function getBytes(address: number, length: number): Uint8Array {
  const bytes = copyFromUser(address, length);
  if (bytes === null) throw new Error("bad address");
  return bytes;
}

export function putWords(address: number, ...words: number[]): void {
  if (copyToUser(address, new Uint8Array(Int32Array.from(words).buffer)) < 0) throw new Error("bad address");
}
export function getWords(address: number, count: number): number[] {
  return [...new Int32Array(getBytes(address, count * 4).buffer)];
}
export function putBytes(address: number, bytes: Uint8Array): void {
  if (copyToUser(address, bytes) < 0) throw new Error("bad address");
}

/** The open file of a descriptor that is open. */
export const fileAt = (task: Ref<"task">, fd: number): Ref<"file"> =>
  fget(Task.files.access(task) as Ref<"files">, fd) as Ref<"file">;
