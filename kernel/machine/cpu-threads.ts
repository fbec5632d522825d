/**
 * The threads of a machine's CPUs, in piscina pools: one for each CPU, and one more where a CPU goes on at once that has to be restarted.
 * A thread loads the worker entry as soon as it starts, so they are started as early as can be: the kernel boots meanwhile.
 */
import { Piscina } from "piscina";

export class CpuThreads {
  readonly #worker: URL;
  readonly #pool: Piscina;
  #spare: Piscina | null = null;
  /** The CPU that runs on the spare thread; -1: none. */
  #onSpare = -1;
  /** Told of threads that ended while no CPU ran on them; those of CPUs reject what `run` returned. */
  onError: (error: Error) => void = () => {};

  /** `worker` is a module whose default export takes what `run` is given. */
  constructor(worker: URL, cpus: number) {
    this.#worker = worker;
    this.#pool = this.#threads(cpus);
  }

  #threads(count: number): Piscina {
    const pool = new Piscina({
      filename: this.#worker.href,
      minThreads: count,
      maxThreads: count,
      concurrentTasksPerWorker: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      atomics: "disabled",
      // A host file is opened on one CPU and closed on another, and outlives a CPU that is replaced.
      trackUnmanagedFds: false,
    });
    pool.on("error", (error: Error) => this.onError(error));
    return pool;
  }

  /** Starts the spare thread. */
  wantSpare(): void {
    this.#spare ??= this.#threads(1);
  }

  /** Runs a CPU on a thread of the pool, or on the spare one: a thread of the pool that is ended is replaced only then. */
  run<Report>(cpu: number, boot: unknown, signal: AbortSignal): Promise<Report> {
    if (this.#onSpare === cpu) this.#onSpare = -1;
    let pool = this.#pool;
    if (this.#spare !== null && this.#onSpare < 0) {
      this.#onSpare = cpu;
      pool = this.#spare;
    }
    return pool.run(boot, { signal });
  }

  /** Ends the threads, whatever they do. */
  async destroy(): Promise<void> {
    await Promise.all([this.#pool.destroy(), this.#spare?.destroy()]);
  }
}
