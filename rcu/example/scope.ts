/** Read scopes by hand, and scopes and guards that close with their block. */
import {
  alloc,
  fixed,
  Heap,
  RcuBox,
  RcuReadScope,
  rcuNesting,
  rcuRead,
  rcuReadLock,
  rcuReadLockHeld,
  rcuReadUnlock,
  struct,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const Route = struct("route", { metric: fixed() });
const route = alloc(Route);
Route.metric.init(route, 7);
const best = new RcuBox(Route, route);

// The fast way: two plain additions.
const scope = rcuReadLock();
console.log(`metric ${Route.metric.get(best.get(scope))}, held: ${rcuReadLockHeld()}`);
rcuReadUnlock();

{
  using outer = new RcuReadScope(); // Passes for the scope that readers ask for.
  using guard = rcuRead(best); // A scope of its own, and what was read in it.
  console.log(`metric ${Route.metric.get(guard.value)}, nesting ${rcuNesting()}`);
  console.log(`the same object: ${best.get(outer) === guard.value}`);
}
console.log(`after the block: nesting ${rcuNesting()}`);
heap.detach();
