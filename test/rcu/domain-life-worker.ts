/** Jobs of domain-life.test.ts: workers that end in every way, or are busy in every way. */
import { parentPort, workerData } from "node:worker_threads";
import { RcuDomain, RcuHashMap } from "../../rcu/index.ts";

const { job, domain: handle, map: at } = workerData;
const gate = workerData.gate as Int32Array<SharedArrayBuffer>;
const domain = RcuDomain.attach(handle);
const port = parentPort!;
const forever = (): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);

const jobs: Readonly<Record<string, () => void>> = {
  returns: () => domain.run(() => 0),
  throws: () => {
    throw new Error("as it should");
  },
  exits: () => process.exit(3),
  "exits in a scope": () => domain.run(() => process.exit(3)),
  "exits with a lock": () => {
    new RcuHashMap({ at }).lock();
    process.exit(3);
  },
  "hangs in a scope": () =>
    domain.run(() => {
      port.postMessage("hangs");
      forever();
    }),
  "hangs with a lock": () => {
    new RcuHashMap({ at }).lock();
    port.postMessage("hangs");
    forever();
  },
  // Busy outside of any scope, after it has read in this very turn.
  busy: () => {
    domain.run(() => 0);
    port.postMessage("busy");
    Atomics.wait(gate, 0, 0);
  },
  blocking: () => {
    domain.run(() => 0);
    domain.blocking(() => {
      port.postMessage("busy");
      Atomics.wait(gate, 0, 0);
      domain.run(() => 0); // A scope of its own.
    });
  },
  "pending promise": () => {
    void domain.quiesceOnPending(async () => {
      domain.run(() => 0);
      await null;
      domain.run(() => 0);
      port.postMessage("busy");
      Atomics.wait(gate, 0, 0);
    });
  },
  walks: () => {
    const map = new RcuHashMap({ at });
    let seen = 0;
    port.postMessage("walks");
    while (Atomics.load(gate, 0) === 0) domain.run((scope) => map.forEach(scope, () => seen++));
  },
};
jobs[job]!();
