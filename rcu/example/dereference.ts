/** Declared structs, and every way to publish and to dereference a pointer in one. */
import {
  alloc,
  fixed,
  Heap,
  kfreeRcu,
  type Ref,
  rcu,
  rcuBarrier,
  rcuReadLock,
  rcuReadUnlock,
  spinlock,
  struct,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const Route = struct("route", { metric: fixed() });
const Table = struct("table", { lock: spinlock(), best: rcu("route"), spare: rcu("route") });
const newRoute = (metric: number): Ref<"route"> => {
  const route = alloc(Route);
  Route.metric.init(route, metric);
  return route;
};
const metric = (route: Ref<"route"> | 0): number => (route === 0 ? -1 : Route.metric.get(route));

const table = alloc(Table);
Table.best.init(table, newRoute(1)); // RCU_INIT_POINTER: nobody can reach the table yet.

const scope = rcuReadLock();
console.log(`rcu_dereference: ${metric(Table.best.deref(scope, table))}`);
console.log(`rcu_dereference_check, in a scope: ${metric(Table.best.check(scope, table))}`);
rcuReadUnlock();

const held = Table.lock.lock(table);
const old = Table.best.peek(held, table);
console.log(`rcu_dereference_protected: ${metric(old)}`);
Table.best.assign(held, table, newRoute(2)); // rcu_assign_pointer
console.log(`rcu_dereference_check, with the lock: ${metric(Table.best.check(held, table))}`);
Table.lock.unlock(table);
if (old !== 0) kfreeRcu(Route, old);

console.log(`rcu_access_pointer, to compare only: ${Table.spare.access(table) === 0}`);
console.log(`xchg gave ${metric(Table.best.exchange(table, 0))}`);
console.log(`cmpxchg: ${Table.best.cas(table, 0, newRoute(3))}`);
console.log(`rcu_dereference_raw: ${metric(Table.best.raw(table))}`);
rcuBarrier();
heap.detach();
