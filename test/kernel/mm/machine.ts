/** A machine with memory and no CPUs: heap, globals, RAM and a task that is current, all on the test's thread. */
import { bindGlobals, createGlobals } from "../../../kernel/global.ts";
import { freeFrames } from "../../../kernel/mm/frame.ts";
import { createRam } from "../../../kernel/mm/ram.ts";
import { mmInit } from "../../../kernel/mm/shmem.ts";
import { setCurrent } from "../../../kernel/sched/current.ts";
import { Task } from "../../../kernel/task/task.ts";
import type { Ref } from "../../../rcu/index.ts";
import { Heap, rcuBarrier, tryAlloc } from "../../../rcu/index.ts";

export interface TestMachine {
  readonly heap: Heap;
  readonly task: Ref<"task">;
}

/** Boots one with `bytes` of RAM; the heap poisons what is freed. */
export function bootMemory(bytes = 16 << 20, cpus = 1): TestMachine {
  const heap = Heap.create({ bytes: 64 << 20, debug: true });
  bindGlobals(createGlobals() as Ref<"array">);
  createRam(bytes, cpus);
  mmInit();
  const task = tryAlloc(Task) as Ref<"task">;
  setCurrent(task);
  return { heap, task };
}

/** Free frames once everything that was deferred has been freed. */
export function settledFrames(): number {
  rcuBarrier();
  return freeFrames();
}
