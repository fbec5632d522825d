/** In a piscina pool: every task of a worker uses the domain that its thread attached to once. */
import { Piscina } from "piscina";
import { type HeapHandle, RcuDomain, RcuHashMap } from "sternix/rcu";

interface Job {
  readonly domain: HeapHandle;
  readonly table: number;
  readonly from: number;
  readonly to: number;
}

let attached: { domain: RcuDomain; table: RcuHashMap } | null = null;

/** A task: sums the values of a range of keys. */
export default function sum(job: Job): number {
  attached ??= { domain: RcuDomain.attach(job.domain), table: new RcuHashMap({ at: job.table }) };
  const { domain, table } = attached;
  let total = 0;
  for (let key = job.from; key < job.to; key++) total += domain.run((scope) => table.get(scope, key) ?? 0);
  return total;
}

if (!Piscina.isWorkerThread) {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  const table = new RcuHashMap();
  for (let key = 0; key < 1000; key++) table.insert(key, key);
  const pool = new Piscina<Job, number>({ filename: import.meta.url, minThreads: 2, maxThreads: 2 });
  const shared = { domain: domain.handle(), table: table.ref };
  const parts = await Promise.all(
    Array.from({ length: 10 }, (_, n) => pool.run({ ...shared, from: n * 100, to: (n + 1) * 100 })),
  );
  console.log(`${parts.length} tasks on ${pool.threads.length} threads: ${parts.reduce((a, b) => a + b)}`);
  const updates = Array.from({ length: 20 }, async (_, n) => {
    table.insert(n, 0);
    await domain.synchronize(); // The pool's threads are quiescent between their tasks.
  });
  await Promise.all(updates);
  console.log(`after updates: ${await pool.run({ ...shared, from: 0, to: 1000 })}`);
  for (const worker of pool.threads) domain.watch(worker);
  await pool.destroy();
  domain.unregisterThread();
}
