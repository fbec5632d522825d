/** PercpuRef: a count that every thread takes and drops without atomic operations, until it is killed. */
import { once } from "node:events";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { defineReclaimer, PercpuRef, RcuDomain } from "sternix/rcu";

// Known by name in every thread: the last one to drop a count need not be the one that made it.
const closed = defineReclaimer("example: closed", (device) => console.log(`device ${device} is closed`));

if (isMainThread) {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  const users = new PercpuRef({ reclaimer: closed, arg: 7 });
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { domain: domain.handle(), users: users.handle() },
  });
  await once(worker, "exit");
  console.log(`while it lives nobody knows how many: zero ${users.isZero}`);
  users.kill(); // Nobody begins any more; who holds a count goes on.
  console.log(`another user: ${users.tryGetLive()}`);
  domain.barrier(); // What the threads counted is added up: the worker left one.
  console.log(`dying ${users.dying}, zero ${users.isZero}`);
  users.put();
  console.log(`the last one is gone: zero ${users.isZero}`);
  domain.barrier();
  users.reinit();
  console.log(`and again: ${users.tryGetLive()}`);
  users.kill();
  domain.run(() => users.put());
  domain.barrier();
  domain.barrier();
  users.destroy();
  domain.unregisterThread();
} else {
  const domain = RcuDomain.attach(workerData.domain);
  const users = new PercpuRef({ at: workerData.users });
  domain.run(() => {
    for (let n = 0; n < 100_000; n++) {
      users.get();
      users.put();
    }
    users.get();
  });
  domain.unregisterThread();
}
