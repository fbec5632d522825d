/** RcuDomain in one thread: scopes nest and close by themselves, waiting inside one throws, callers share grace periods. */
import { RcuDomain, RcuHashMap, rcuStats } from "sternix/rcu";

const domain = RcuDomain.create({ bytes: 16 << 20 });
const table = new RcuHashMap();
table.insert(42, 1);

const sum = domain.run((scope) => (table.get(scope, 42) ?? 0) + domain.run(() => 1));
console.log(`nested scopes read ${sum}`);

try {
  domain.run(() => {
    throw new Error("inside");
  });
} catch (error) {
  console.log(`run threw "${(error as Error).message}", reading: ${domain.reading}`);
}
try {
  domain.run(() => domain.synchronizeBlocking());
} catch (error) {
  console.log(`${(error as Error).name}: ${(error as Error).message}`);
}

domain.quiesce(); // Nobody waits for this thread from here until its next read.
domain.synchronizeBlocking();
await domain.quiesceOnPending(domain.synchronize());

const before = rcuStats();
await Promise.all(Array.from({ length: 1000 }, () => domain.synchronize()));
const after = rcuStats();
console.log(`1000 callers, ${after.gracePeriods - before.gracePeriods} grace periods`);
console.log(`every reader was quiesced: ${after.wakeups - before.wakeups} threads woken`);
domain.unregisterThread();
