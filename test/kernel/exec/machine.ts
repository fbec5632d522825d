/** A kernel without CPUs, and a process that can call execve. */

import { filesCreate } from "../../../kernel/fs/fdtable.ts";
import { File, fput } from "../../../kernel/fs/file.ts";
import { fsCreate } from "../../../kernel/fs/fsinfo.ts";
import { vfsOpen } from "../../../kernel/fs/open.ts";
import { kernelWrite } from "../../../kernel/fs/read-write.ts";
import { mountRoot, vfsInit } from "../../../kernel/fs/vfs.ts";
import { futexInit } from "../../../kernel/futex.ts";
import { bindGlobals, createGlobals } from "../../../kernel/global.ts";
import { createRam } from "../../../kernel/mm/ram.ts";
import { mmInit } from "../../../kernel/mm/shmem.ts";
import { setCurrent } from "../../../kernel/sched/current.ts";
import { newCred } from "../../../kernel/task/cred.ts";
import { newProcess } from "../../../kernel/task/fork.ts";
import { pidsInit } from "../../../kernel/task/pid.ts";
import { Group, KIND_RISCV64, Task } from "../../../kernel/task/task.ts";
import { clockInit } from "../../../kernel/time/clock.ts";
import { timersInit } from "../../../kernel/time/timer.ts";
import { drainReleases, Heap, type Held, type Ref, rcuBarrier } from "../../../rcu/index.ts";

const HELD = 1 as Held;

export function bootForExec(): Ref<"task"> {
  Heap.create({ bytes: 64 << 20, debug: true });
  bindGlobals(createGlobals() as Ref<"array">);
  setCurrent(0);
  createRam(32 << 20, 1);
  clockInit();
  timersInit();
  pidsInit();
  futexInit();
  mmInit();
  vfsInit();
  if (mountRoot("tmpfs", "root", 0, "mode=755") !== 0) throw new Error("no root");
  const task = newProcess(KIND_RISCV64, newCred(0, 0) as Ref<"cred">) as Ref<"task">;
  Task.files.assign(HELD, task, filesCreate() as Ref<"files">);
  Task.fs.assign(HELD, task, fsCreate() as Ref<"fsinfo">);
  Group.leader.store(Task.group.get(task), task);
  Group.alive.store(Task.group.get(task), 1);
  setCurrent(task);
  return task;
}

/** Makes a file with that content. */
export function put(path: string, content: Uint8Array | string, mode = 0o755): void {
  const file = vfsOpen(-100, path, 0o1102, mode);
  if (file < 0) throw new Error(`open ${path}: ${file}`);
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  if (kernelWrite(file as Ref<"file">, bytes, 0) !== bytes.length) throw new Error(`write ${path}`);
  fput(file as Ref<"file">);
  settle();
}

/** What a safe point and a grace period do. */
export function settle(): void {
  drainReleases(0);
  rcuBarrier();
  drainReleases(0);
  rcuBarrier();
}

/** Counts on an open file now. */
export const fileCounts = (file: Ref<"file">): number => File.refcount.load(file);
