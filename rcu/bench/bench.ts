/**
 * `sternix bench rcu`: what RCU costs, beside its peers in the same run. Every figure is measured here and now; a
 * machine that is busy with something else gives busy figures.
 */
import { writeFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import {
  fixed,
  Heap,
  kfreeRcu,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuRunCallbacks,
  rcuStats,
  struct,
  synchronizeRcu,
  synchronizeRcuExpedited,
  tryAlloc,
} from "../index.ts";
import { makeShared, PEERS, type Shared } from "./peers.ts";

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What it should be at most (or at least, with a unit of "x" or "/s"). */
  readonly target?: number;
}

interface Crew {
  done: Promise<number[]>;
  stop: () => void;
}

/** Starts threads on a peer; `done` gives ns per operation of each. */
async function crew(
  heap: Heap,
  shared: Shared,
  peer: string,
  threads: number,
  writes: number,
  ms: number,
): Promise<Crew> {
  const start = new SharedArrayBuffer(4);
  const stop = new SharedArrayBuffer(4);
  const url = new URL(`./bench-worker${import.meta.url.slice(-3)}`, import.meta.url);
  const workers = Array.from(
    { length: threads },
    () => new Worker(url, { workerData: { buffer: heap.buffer, shared, peer, writes, ms, start, stop } }),
  );
  let left = threads;
  const results: number[] = [];
  const warm = Promise.withResolvers<void>();
  const done = Promise.withResolvers<number[]>();
  for (const worker of workers) {
    worker.once("error", (error) => {
      warm.reject(error);
      done.reject(error);
    });
    worker.on("message", (message: "warm" | { ns: number }) => {
      if (message === "warm") {
        if (--left === 0) warm.resolve();
        return;
      }
      results.push(message.ns);
      if (results.length === threads) done.resolve(results);
    });
  }
  await warm.promise;
  Atomics.store(new Int32Array(start), 0, 1);
  Atomics.notify(new Int32Array(start), 0);
  return { done: done.promise, stop: () => Atomics.store(new Int32Array(stop), 0, 1) };
}

const mean = (numbers: number[]): number => numbers.reduce((sum, n) => sum + n, 0) / numbers.length;
const median = (numbers: number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;

const Garbage = struct("bench_garbage", { a: fixed(), b: fixed() });

/** Measures everything; `ms` is the time for each figure. */
export async function benchRcu(ms = 500): Promise<Figure[]> {
  const heap = Heap.create({ bytes: 128 << 20 });
  const shared = makeShared();
  const figures: Figure[] = [];
  const put = (name: string, value: number, unit: string, target?: number): void => {
    figures.push(target === undefined ? { name, value, unit } : { name, value, unit, target });
  };
  const measure = async (peer: string, threads: number, writes = 0): Promise<number> => {
    rcuIdleEnter();
    const ns = mean(await (await crew(heap, shared, peer, threads, writes, ms)).done);
    rcuIdleExit();
    return ns;
  };

  const scope = await measure("scope", 2);
  const pair = await measure("mutex pair", 1);
  put("read scope, enter + exit", scope, "ns", 1.5);
  put("uncontended mutex pair", pair, "ns");
  put("mutex pair / read scope", pair / scope, "x", 20);
  const lookups: Record<string, number> = {};
  for (const threads of [1, 2])
    for (const peer of ["rcu", "lock-free", "mutex", "rwlock", "map"])
      for (const writes of threads === 2 ? [0, 100] : [0]) {
        const ns = await measure(peer, threads, writes);
        lookups[`${peer} ${threads} ${writes}`] = ns;
        put(`lookup, ${peer}, ${threads} threads${writes === 0 ? "" : ", 1 % writes"}`, ns, "ns");
      }
  const changes: Record<string, number> = {};
  for (const [peer, name] of [
    ["changes", "RcuHashMap"],
    ["lock-free changes", "RcuLockFreeMap"],
  ] as const)
    for (const threads of [1, 2]) {
      const ns = await measure(peer, threads);
      changes[`${peer} ${threads}`] = ns;
      put(`insert + remove, ${name}, ${threads} threads`, ns, "ns");
    }
  const gain = (peer: string): number => (2 * changes[`${peer} 1`]!) / changes[`${peer} 2`]!;
  put("RcuHashMap's changes, 2 threads / 1 thread", gain("changes"), "x");
  put("RcuLockFreeMap's changes, 2 threads / 1 thread", gain("lock-free changes"), "x", 1.6);
  put("private Map / RcuHashMap, 2 threads", lookups["map 2 0"]! / lookups["rcu 2 0"]!, "x", 1);
  put("mutex / RcuHashMap, 2 threads", lookups["mutex 2 0"]! / lookups["rcu 2 0"]!, "x", 8);
  put("rwlock / RcuHashMap, 2 threads", lookups["rwlock 2 0"]! / lookups["rcu 2 0"]!, "x", 15);

  rcuIdleEnter();
  const busy = await crew(heap, shared, "rcu", 2, 0, 600_000);
  rcuIdleExit();
  put("synchronize, two busy CPUs, median", median(times(synchronizeRcu, ms)), "us", 100);
  put("expedited synchronize, two busy CPUs, median", median(times(synchronizeRcuExpedited, ms)), "us", 30);
  busy.stop();
  rcuIdleEnter();
  await busy.done;
  rcuIdleExit();

  const helper = await crewWhileActive(heap, shared, ms);
  const flood = freeRate(ms * 2);
  helper.stop();
  rcuIdleEnter();
  await helper.done;
  rcuIdleExit();
  put("kfreeRcu sustained, beside a reading CPU", flood.rate, "/s", 1_000_000);
  put("  most objects waiting at one time", flood.most, "objects");
  heap.detach();
  return figures;
}

async function crewWhileActive(heap: Heap, shared: Shared, _ms: number): Promise<Crew> {
  rcuIdleEnter();
  const result = await crew(heap, shared, "rcu", 1, 0, 600_000);
  rcuIdleExit();
  return result;
}

function times(call: () => void, ms: number): number[] {
  const result: number[] = [];
  const end = performance.now() + ms;
  while (performance.now() < end) {
    const start = process.hrtime.bigint();
    call();
    result.push(Number(process.hrtime.bigint() - start) / 1000);
  }
  return result;
}

function freeRate(ms: number): { rate: number; most: number } {
  let freed = 0;
  let most = 0;
  const start = performance.now();
  while (performance.now() - start < ms) {
    for (let n = 0; n < 200; n++) {
      const ref = tryAlloc(Garbage);
      if (ref === 0) break; // Only the rate suffers.
      kfreeRcu(Garbage, ref);
      freed++;
    }
    rcuQuiescent();
    rcuRunCallbacks();
    most = Math.max(most, rcuStats().callbacksPending);
  }
  return { rate: (freed / (performance.now() - start)) * 1000, most };
}

/** The table that `bench rcu` prints. */
export function formatFigures(figures: readonly Figure[]): string {
  const width = Math.max(...figures.map((figure) => figure.name.length));
  return figures
    .map(({ name, value, unit, target }) => {
      const digits = value >= 1000 ? 0 : value >= 100 ? 1 : 2;
      const line = `${name.padEnd(width)} ${value.toFixed(digits).padStart(10)} ${unit}`;
      if (target === undefined) return line;
      const more = unit === "x" || unit === "/s";
      const met = more ? value >= target : value <= target;
      return `${line.padEnd(width + 16)} ${more ? "at least" : "at most"} ${target}: ${met ? "met" : "MISSED"}`;
    })
    .join("\n");
}

/** Command line: [--ms N] [--json FILE]. */
export async function benchRcuMain(args: string[]): Promise<number> {
  const option = (name: string): string | undefined => {
    const at = args.indexOf(name);
    return at < 0 ? undefined : args[at + 1];
  };
  const figures = await benchRcu(Number(option("--ms") ?? 500));
  console.log(formatFigures(figures));
  const file = option("--json");
  if (file !== undefined)
    writeFileSync(file, `${JSON.stringify({ figures, peers: Object.keys(PEERS) }, null, 2)}\n`);
  return 0;
}

if (import.meta.main) process.exit(await benchRcuMain(process.argv.slice(2)));
