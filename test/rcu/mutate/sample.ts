/**
 * Mutants that the tests try each time, with the scenario that finds each: one of every few that the model kills, and those that nothing killed
 * until a scenario was written for them.
 */
import type { MemoryModel } from "../../../userland/check/model/machine.ts";

export const SAMPLE: readonly (readonly [id: string, scenario: string, memory: MemoryModel])[] = [
  ["grace-period/gpStamp/weaken: Atomics.load(i32, RCU.GP_SEQ)", "a grace period in progress", "weak"],
  [
    "preempt/block/unlocked: lockWord(RCU.PREEMPT_LOCK)",
    "a task is switched out while another leaves its scope",
    "sc",
  ],
  [
    "preempt/block/drop: i32[record + NEXT] = head;",
    "a task is switched out while another leaves its scope",
    "sc",
  ],
  ["preempt/dropPreempted/drop: dropTask(i32[word]!);", "a CPU dies while it switches tasks", "sc"],
  [
    "preempt/dropTask/unlocked: lockWord(RCU.PREEMPT_LOCK)",
    "a task is gone while another is switched out",
    "sc",
  ],
  [
    "preempt/rcuBlockedTasks/unlocked: lockWord(RCU.PREEMPT_LOCK)",
    "blocked tasks are looked through while one leaves",
    "sc",
  ],
  ["cblist/move/drop: i32[list + from] = 0;", "a dead CPU's callbacks", "tso"],
  ["cblist/accelerate/sequence early: gpStamp()", "a list, a node is replaced", "tso"],
  ["grace-period/requestGp/drop: startNeeded();", "idle, then reading", "tso"],
];
