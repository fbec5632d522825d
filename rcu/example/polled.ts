/** Polled grace periods: a cookie now, a look later, waiting only if one must. */
import {
  condSynchronizeRcu,
  condSynchronizeRcuExpedited,
  getCompletedSynchronizeRcu,
  getStateSynchronizeRcu,
  Heap,
  pollStateSynchronizeRcu,
  rcuQuiescent,
  rcuStats,
  sameStateSynchronizeRcu,
  startPollSynchronizeRcu,
  startPollSynchronizeRcuExpedited,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const state = getStateSynchronizeRcu(); // Starts nothing.
rcuQuiescent();
console.log(`nobody started a grace period: ${pollStateSynchronizeRcu(state)}`);

const cookie = startPollSynchronizeRcu();
console.log(`started: ${pollStateSynchronizeRcu(cookie)}`);
rcuQuiescent();
console.log(`after a quiescent state of every thread: ${pollStateSynchronizeRcu(cookie)}`);
console.log(`the earlier one as well: ${pollStateSynchronizeRcu(state)}`);

console.log(`one will do: ${sameStateSynchronizeRcu(getStateSynchronizeRcu(), getStateSynchronizeRcu())}`);
const one = startPollSynchronizeRcu();
const other = startPollSynchronizeRcuExpedited(); // Asks lagging threads to hurry.
condSynchronizeRcuExpedited(other);
condSynchronizeRcu(one);
const { gracePeriods } = rcuStats();
condSynchronizeRcu(one);
condSynchronizeRcuExpedited(other);
console.log(`waiting again took ${rcuStats().gracePeriods - gracePeriods} grace periods`);
console.log(`a completed one: ${pollStateSynchronizeRcu(getCompletedSynchronizeRcu())}`);
heap.detach();
