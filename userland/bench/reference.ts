/**
 * A fixed piece of work that has nothing to do with Sternix: how fast the machine is while a benchmark runs. Two runs in which it
 * took different times cannot be compared more finely than that. Two threads do it at the same time, as benchmarks use two: what
 * neighbours on the same cores take away is not seen by one alone.
 */
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { median } from "./statistics.ts";

const THREADS = Math.min(2, availableParallelism());
const TIMES = 9;

/** Random steps through 256 KiB, with some arithmetic on the way: nanoseconds per step, the median of some times. Needs no import. */
function walk(times: number): number {
  const words = Int32Array.from({ length: 1 << 16 }, (_, n) => Math.imul(n, 0x9e3779b1) >>> 16);
  const steps = 1 << 15;
  const found: number[] = [];
  for (let time = 0; time < times; time++) {
    const start = process.hrtime.bigint();
    let at = 1;
    let state = 0x2545f491;
    for (let n = 0; n < steps; n++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      at = (words[at]! ^ state) & 0xffff;
    }
    // `at` is used, or there would be nothing to do.
    found.push(Number(process.hrtime.bigint() - start) / steps + (at < 0 ? 1 : 0));
  }
  found.sort((a, b) => a - b);
  return found[times >> 1]!;
}

/** Threads that do the work when asked; they keep no process alive. */
export class Reference {
  readonly #workers: Worker[];
  readonly #taken: number[] = [];

  constructor() {
    const code = `const { parentPort } = require("node:worker_threads");
      ${walk.toString()}
      parentPort.on("message", (times) => parentPort.postMessage(walk(times)));`;
    this.#workers = Array.from({ length: THREADS }, () => new Worker(code, { eval: true }));
    for (const worker of this.#workers) worker.unref();
  }

  async take(): Promise<void> {
    const times = this.#workers.map(async (worker) => {
      worker.ref();
      worker.postMessage(TIMES);
      const [ns] = await once(worker, "message");
      worker.unref();
      return ns as number;
    });
    for (const ns of await Promise.all(times)) this.#taken.push(ns);
  }

  /** Nanoseconds per step so far; 0: never taken. */
  get ns(): number {
    return this.#taken.length === 0 ? 0 : median(this.#taken);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
