/** SRCU: readers that await. Each Srcu waits for its own readers only; callbacks and polling as in RCU. */
import { setTimeout as after } from "node:timers/promises";
import { callSrcu, defineReclaimer, RcuDomain, RcuHashMap, Srcu } from "sternix/rcu";

const domain = RcuDomain.create({ bytes: 16 << 20 });
const sessions = new Srcu();
const bystander = new Srcu();
const table = new RcuHashMap();
table.insert(1, 42);
const retire = defineReclaimer("example: retire session", (id) => console.log(`session ${id} retired`));

const reader = sessions.run(async () => {
  const value = domain.run((scope) => table.get(scope, 1));
  await after(30); // A read scope of RCU could not.
  console.log(`the reader used ${value} after an await`);
});
table.remove(1);
callSrcu(sessions, retire, 1); // Runs when the readers of now have left.
const cookie = sessions.startPoll();
await bystander.synchronize();
console.log(`another Srcu did not wait, this one is done: ${sessions.pollState(cookie)}`);
await sessions.synchronize();
console.log(`synchronized, the cookie is done: ${sessions.pollState(cookie)}`);
const scope = sessions.readLock(); // The same by hand, to be left on whatever thread.
sessions.readUnlock(scope);
const fast = new Srcu({ fast: true }); // Its readers do no atomic operation; they leave where they entered.
const read = await fast.run(async () => {
  await after(1);
  return "read";
});
console.log(`fast: ${read}`);
await fast.synchronize();
fast.destroy();
await reader;
await sessions.barrier();
sessions.destroy();
bystander.destroy();
domain.unregisterThread();
