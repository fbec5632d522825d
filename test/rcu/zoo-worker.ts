/** Reads every collection and posts how many atomic loads that took, and what was said to a read without a scope. */
import { parentPort } from "node:worker_threads";
import { Heap, type RcuError, type RcuScope, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { openZoo } from "./zoo.ts";

Heap.create({ bytes: 8 << 20 });
const zoo = openZoo();

const real = globalThis.Atomics;
let operations = 0;
const loads: Record<string, number> = {};
globalThis.Atomics = new Proxy(real, {
  get(target, key) {
    operations++;
    return Reflect.get(target, key) as unknown;
  },
});
for (const [name, cage] of Object.entries(zoo)) {
  const scope = rcuReadLock();
  operations = 0;
  cage.read(scope);
  loads[name] = operations;
  rcuReadUnlock();
}
globalThis.Atomics = real;

const said: Record<string, string> = {};
for (const [name, cage] of Object.entries(zoo))
  try {
    cage.read(1 as RcuScope);
    said[name] = "nothing";
  } catch (error) {
    said[name] = (error as RcuError).code;
  }
parentPort!.postMessage({ loads, said });
