/**
 * The kernel's tables without its CPUs: one heap with every table in it, that benchmark threads attach to and use
 * directly, as handlers on CPUs do.
 */
import "../../kernel/machine/modules.ts";
import { filesCreate } from "../../kernel/fs/fdtable.ts";
import { fsCreate } from "../../kernel/fs/fsinfo.ts";
import { mountRoot, vfsInit } from "../../kernel/fs/vfs.ts";
import { futexInit } from "../../kernel/futex.ts";
import { bindGlobals, createGlobals } from "../../kernel/global.ts";
import { bindRam, createRam } from "../../kernel/mm/ram.ts";
import { mmInit } from "../../kernel/mm/shmem.ts";
import { setCurrent } from "../../kernel/sched/current.ts";
import { CALLBACKS_GATHERED } from "../../kernel/sched/safe-point.ts";
import { newSighand } from "../../kernel/signal/sighand.ts";
import { newCred } from "../../kernel/task/cred.ts";
import { pidsInit } from "../../kernel/task/pid.ts";
import { Group, RLIM_NLIMITS, Task } from "../../kernel/task/task.ts";
import { clockInit } from "../../kernel/time/clock.ts";
import { timersInit } from "../../kernel/time/timer.ts";
import { Heap, type HeapHandle, type Held, type Ref, tryAlloc } from "../../rcu/index.ts";
import { setGathering } from "../../rcu/kernel.ts";

/** What a thread needs to join. */
export interface WorldHandle {
  readonly heap: HeapHandle;
  readonly globals: number;
  readonly memory: WebAssembly.Memory;
}

export interface World {
  readonly heap: Heap;
  readonly handle: WorldHandle;
}

/**
 * Reserved, not used: untouched pages cost nothing. Below 2 GiB, as machines have it: byte addresses above do not fit 32
 * bits, and V8's middle compiler (Maglev) throws its code away again and again.
 */
const HEAP_BYTES = 2 * 1024 ** 3 - (1 << 20);
const RAM_BYTES = 64 << 20;
const UNSHARED = 1 as Held;

/** Makes a world; this thread is attached to it. */
export function createWorld(): World {
  const heap = Heap.create({ bytes: HEAP_BYTES });
  const globals = createGlobals() as Ref<"array">;
  bindGlobals(globals);
  const memory = createRam(RAM_BYTES, 1);
  clockInit();
  timersInit();
  pidsInit();
  futexInit();
  mmInit();
  vfsInit();
  const mounted = mountRoot("tmpfs", "root", 0, "mode=755");
  if (mounted < 0) throw new Error(`no root file system: errno ${-mounted}`);
  setCurrent(newProcess());
  return { heap, handle: { heap: heap.handle(), globals, memory } };
}

/** Attaches this thread, with a process of its own as the current task. */
export function joinWorld(handle: WorldHandle): { heap: Heap; task: Ref<"task"> } {
  const heap = Heap.attach(handle.heap);
  bindGlobals(handle.globals as Ref<"array">);
  bindRam(handle.memory);
  const task = newProcess();
  setCurrent(task);
  setGathering(CALLBACKS_GATHERED);
  return { heap, task };
}

/** What a process consists of, as far as tables look at it. */
export function newProcess(): Ref<"task"> {
  const task = newTask(need(tryAlloc(Group)));
  Task.files.assign(UNSHARED, task, need(filesCreate()));
  Task.fs.assign(UNSHARED, task, need(fsCreate()));
  return task;
}

/** A process without files: group, credentials, signal handlers. */
export function newTask(group: Ref<"group">): Ref<"task"> {
  const task = need(tryAlloc(Task));
  for (let n = 0; n < RLIM_NLIMITS * 4; n++) Group.rlimits.set(group, n, -1);
  Group.sighand.init(group, need(newSighand()));
  Task.group.init(task, group);
  Task.cred.assign(UNSHARED, task, need(newCred(0, 0)));
  return task;
}

/** The value, unless it is 0 (no memory) or -errno. */
export function need<T extends number>(value: T): Exclude<T, 0> {
  if (value <= 0) throw new Error(`the benchmark's heap is too small (${value})`);
  return value as Exclude<T, 0>;
}
