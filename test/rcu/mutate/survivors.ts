/** Mutants that nothing kills, and why each is as good as the code. */

const BLOCKED_COUNT =
  "The count and the list change with the lock held. Others look at the count alone, and then take the lock: before this thread's report " +
  "for the grace period, which is an atomic store behind both, they need not see either; after it they see both, in whatever order they were stored.";
const NOTHING_BLOCKS =
  "Between two grace periods every task on the list blocks from the next one on, or the last could not have ended; without tasks the list is empty. It only takes the lock for nothing.";

export const SURVIVORS: Readonly<Record<string, string>> = {
  "preempt/block/swap: i32[RCU.PREEMPT_HEAD] = record; <> Atomics.add(i32, RCU.PREEMPT_COUNT,": BLOCKED_COUNT,
  "preempt/block/weaken: Atomics.add(i32, RCU.PREEMPT_COUNT, 1)": BLOCKED_COUNT,
  "preempt/firstBlocked/weaken: Atomics.load(i32, RCU.GP_SEQ)":
    "An older number makes the task block older grace periods, and this one as well. If the thread has reported for the older one, " +
    "the task blocks from the one after it, which is the one in progress or came before it.",
  "preempt/firstBlocked/condition false: (seq & 3) === 0 ?":
    "Between two grace periods the number has state 0, which no line of an active thread holds: the task blocks from that number on, so from the next grace period on.",
  "preempt/firstBlocked/off-by-one less: 1":
    "No grace period is in progress, and none has the number seq, or one between it and the next grace period, seq + 1.",
  "preempt/firstBlocked/off-by-one less: 4":
    "No grace period has a number between seq, for which the thread has reported, and the next, seq + 4; seq + 3 is that of the time between the two.",
  "preempt/rcuBlockedTasks/weaken: Atomics.load(i32, RCU.GP_SEQ)":
    "What the function returns is of a moment that is over. An older number is one that it could have read a moment before; no record is followed because of it, but with the lock held.",
  "preempt/rcuBlockedTasks/condition false: (seq & 3) === 0 || Atomics.load(i32, RCU.PREEMPT_COUNT) === 0 ?":
    NOTHING_BLOCKS,
  "preempt/dropTask/swap: i32[record + NESTING] = 0; <> Atomics.store(i32, RCU.PREEMPT_COUNT":
    "Both are stored with the lock held, before it is given back; the nesting is of a task that will not run again, and nobody else looks at it.",
  "preempt/dropTask/condition true: i32[at + PREV] !== prev ?":
    "What is there is stored again, with the lock held: the condition only saves a store.",
  "preempt/dropTask/condition true: i32[link] !== at ?":
    "What is there is stored again, with the lock held: the condition only saves a store.",
  "preempt/dropTask/weaken: Atomics.store(i32, RCU.PREEMPT_COUNT, count)":
    "The lock is given back by an atomic exchange behind it. Who sees an old count meanwhile takes the lock, or sees none although a dead task is still listed, which blocks nobody.",
  "preempt/rcuBlockedTasks/operand right only: (seq & 3) === 0 || Atomics.load(i32, RCU.PREEMPT_COUNT) === 0":
    NOTHING_BLOCKS,
  "preempt/rcuBlockedTasks/operand left only: (seq & 3) === 0 || Atomics.load(i32, RCU.PREEMPT_COUNT) === 0":
    NOTHING_BLOCKS,
};
