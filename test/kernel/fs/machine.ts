/** A machine without CPUs: the tables of the kernel on this thread, and a task to make calls as. */

import { filesCreate } from "../../../kernel/fs/fdtable.ts";
import { fsCreate } from "../../../kernel/fs/fsinfo.ts";
import { mountRoot, vfsInit } from "../../../kernel/fs/vfs.ts";
import { bindGlobals, createGlobals } from "../../../kernel/global.ts";
import { createRam } from "../../../kernel/mm/ram.ts";
import { mmInit } from "../../../kernel/mm/shmem.ts";
import { setCurrent } from "../../../kernel/sched/current.ts";
import { newCred } from "../../../kernel/task/cred.ts";
import { Group, RLIM_NLIMITS, Task } from "../../../kernel/task/task.ts";
import { clockInit } from "../../../kernel/time/clock.ts";
import "../../../kernel/fs/tmpfs.ts";
import {
  drainReleases,
  Heap,
  type Held,
  type Ref,
  rcuBarrier,
  rcuQuiescent,
  rcuRunCallbacks,
  tryAlloc,
} from "../../../rcu/index.ts";

export interface Machine {
  readonly heap: Heap;
  readonly memory: unknown;
  readonly globals: number;
  readonly task: Ref<"task">;
  readonly files: Ref<"files">;
}

const HELD = 1 as Held;

export function bootMachine(ramBytes = 32 << 20): Machine {
  const heap = Heap.create({ bytes: 64 << 20, debug: true });
  const globals = createGlobals() as Ref<"array">;
  bindGlobals(globals);
  const memory = createRam(ramBytes, 1);
  clockInit();
  mmInit();
  vfsInit();
  if (mountRoot("tmpfs", "root", 0, "mode=755") !== 0) throw new Error("no root");
  const { task, files } = newTask(0, 0);
  setCurrent(task);
  return { heap, memory, globals, task, files };
}

/** A task of that user, not current yet. */
export function newTask(uid: number, gid: number): { task: Ref<"task">; files: Ref<"files"> } {
  const task = tryAlloc(Task) as Ref<"task">;
  const group = tryAlloc(Group) as Ref<"group">;
  for (let n = 0; n < RLIM_NLIMITS * 4; n++) Group.rlimits.set(group, n, -1);
  Task.group.init(task, group);
  const files = filesCreate() as Ref<"files">;
  Task.files.assign(HELD, task, files);
  Task.fs.assign(HELD, task, fsCreate() as Ref<"fsinfo">);
  Task.cred.assign(HELD, task, newCred(uid, gid) as Ref<"cred">);
  return { task, files };
}

/** What the CPU loop does between calls. */
export function safePoint(task: Ref<"task">): void {
  rcuQuiescent();
  rcuRunCallbacks();
  drainReleases(task);
}

/** Runs everything that is queued. */
export function settle(task: Ref<"task">): void {
  for (let n = 0; n < 4; n++) {
    drainReleases(task);
    rcuBarrier();
  }
}
