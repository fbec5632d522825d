/** A task that is switched out inside its read scope: its CPU is quiescent, the task holds the grace period up. */
import {
  alloc,
  Heap,
  pollStateSynchronizeRcu,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  startPollSynchronizeRcu,
  struct,
  synchronizeRcu,
  words,
} from "sternix/rcu";
import { PREEMPT_WORDS, rcuBlockedTasks, rcuSwitchIn, rcuSwitchOut, rcuTaskGone } from "sternix/rcu/kernel";

const heap = Heap.create({ bytes: 16 << 20 });
const Task = struct("task", { rcu: words(PREEMPT_WORDS) });
const task = Task.rcu.at(alloc(Task));
const killed = Task.rcu.at(alloc(Task));

rcuReadLock();
console.log(`switched out inside a scope: ${rcuSwitchOut(task)}`);
rcuReadLock();
rcuSwitchOut(killed); // Another task, likewise.
const cookie = startPollSynchronizeRcu();
for (let n = 0; n < 10; n++) rcuQuiescent(); // The CPU runs other tasks meanwhile.
console.log(`blocked by ${rcuBlockedTasks().length} tasks, done: ${pollStateSynchronizeRcu(cookie)}`);

rcuTaskGone(killed); // Killed while it was switched out.
rcuSwitchIn(task); // On whatever CPU.
rcuReadUnlock();
rcuQuiescent();
console.log(`after its outermost unlock: ${pollStateSynchronizeRcu(cookie)}`);
synchronizeRcu();
heap.detach();
