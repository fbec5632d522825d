/** Idr: small integers for references, lowest first or going round. */
import { Heap, Idr, RcuReadScope } from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const idr = new Idr();
const ids = [100, 200, 300].map((value) => idr.alloc(value));
console.log(`linear: ${ids.join(" ")}`);
console.log(`removed the value ${idr.remove(1)}, lowest free: ${idr.alloc(201)}`);
console.log(
  `cyclic: ${[1, 2, 3].map((value) => idr.allocCyclic(value, 10, 12)).join(" ")} (-1: none is free)`,
);
idr.remove(10);
console.log(`goes round to ${idr.allocCyclic(4, 10, 12)}`);
const entries: string[] = [];
{
  using scope = new RcuReadScope();
  idr.forEach(scope, (id, value) => entries.push(`${id}=${value}`));
}
console.log(entries.join(" "));
heap.detach();
