/** Mutants that nothing kills, and why each is as good as the code. */

const BLOCKED_COUNT =
  "The count and the list change with the lock held. Others look at the count alone, and then take the lock: before this thread's report " +
  "for the grace period, which is an atomic store behind both, they need not see either; after it they see both, in whatever order they were stored.";

export const SURVIVORS: Readonly<Record<string, string>> = {
  "preempt/block/swap: i32[RCU.PREEMPT_HEAD] = record; <> Atomics.add(i32, RCU.PREEMPT_COUNT,": BLOCKED_COUNT,
  "preempt/block/weaken: Atomics.add(i32, RCU.PREEMPT_COUNT, 1)": BLOCKED_COUNT,
  "preempt/firstBlocked/weaken: Atomics.load(i32, RCU.GP_SEQ)":
    "An older number makes the task block older grace periods, and this one as well. If the thread has reported for the older one, " +
    "the task blocks from the one after it, which is the one in progress or came before it.",
  "preempt/firstBlocked/off-by-one less: 1":
    "No grace period is in progress, and none has the number seq, or one between it and the next grace period, seq + 1.",
  "preempt/firstBlocked/off-by-one less: 4":
    "No grace period has a number between seq, for which the thread has reported, and the next, seq + 4; seq + 3 is that of the time between the two.",
  "preempt/rcuBlockedTasks/weaken: Atomics.load(i32, RCU.GP_SEQ)":
    "What the function returns is of a moment that is over. An older number is one that it could have read a moment before; no record is followed because of it, but with the lock held.",
  "preempt/rcuBlockedTasks/condition false: (seq & 3) === 0 || Atomics.load(i32, RCU.PREEMPT_COUNT) === 0 ?":
    "Between two grace periods every task on the list blocks from the next one on, or the last could not have ended; without tasks the list is empty. It only takes the lock for nothing.",
};
