/** Which scenario finds which mutant of rcu/torture/mutants.ts; the same scenario holds without it. */
import type { MemoryModel } from "./machine.ts";

export const FOUND_BY: Readonly<
  Record<string, { readonly scenario: string; readonly memory?: MemoryModel }>
> = {
  "synchronize-noop": { scenario: "RCU+sync+free" },
  "local-stamp": { scenario: "kfreeRcu" },
  "nested-enter": { scenario: "a scope in a scope" },
  "late-report": { scenario: "two updates in turn" },
  "one-boundary": { scenario: "a grace period in progress" },
  "idle-late": { scenario: "a CPU goes to sleep" },
  "stamp-early": { scenario: "a cookie, polled" },
  "update-by-reinsert": { scenario: "RcuHashMap, a key is updated" },
  "last-slot-forgotten": { scenario: "two readers" },
  "first-report-ends": { scenario: "two readers" },
  "active-unmarked": { scenario: "idle, then reading" },
  "free-at-once": { scenario: "kfreeRcu" },
  "barrier-noop": { scenario: "rcuBarrier" },
  "orphans-lost": { scenario: "a CPU leaves with callbacks queued" },
  "publish-plain": { scenario: "a grace period in progress" },
  "preempted-forgotten": { scenario: "preempted in a scope" },
  "srcu-one-bank": { scenario: "SRCU, a delayed reader" },
  "tasks-any-switch": { scenario: "Tasks RCU" },
  "tasks-seq-unmoved": { scenario: "Tasks RCU, a callback" },
  "barrier-tasks-early": { scenario: "rcuBarrierTasks" },
  "turn-never-begins": { scenario: "RcuDomain, turns of an event loop" },
  "stall-unnamed": { scenario: "a stall, by a CPU" },
  "stall-task-unseen": { scenario: "a stall, by a task that was switched out" },
  "stall-srcu-unseen": { scenario: "a stall, by a reader of an Srcu" },
  "stall-tasks-unnamed": { scenario: "a stall, by a task that does not switch" },
  "srcu-hands-lost": { scenario: "a CPU dies among the callbacks of an Srcu" },
  "replace-by-removal": { scenario: "a list, a node is replaced" },
  "splice-at-once": { scenario: "lists, one is joined to another" },
  "percpu-ref-sums-early": { scenario: "PercpuRef, killed while a count is held" },
  "sync-enter-at-once": { scenario: "RcuSync" },
  "sync-idle-at-once": { scenario: "RcuSync", memory: "weak" },
  "resize-loses-readers": { scenario: "RcuHashMap, the table grows" },
};
