/**
 * Workers of a workload: processes on all CPUs of the machine, that begin together, stop together, and leave counts behind.
 *
 * They meet in one shared mapping: words that futexes sleep on, then per worker a row of doubles that only it writes
 * (operations, then `counters` of the workload's own), then `bytes` that the workload uses as it likes.
 */
import { SIGKILL } from "../../kernel/uapi/signal.ts";
import { WNOHANG } from "../../kernel/uapi/wait.ts";
import type { Steps } from "./program.ts";
import type { Sys } from "./sys.ts";

// Offsets of the words.
const GATE = 0;
const STOP = 4;
const READY = 8;
const LEFT = 12;
const ROWS = 64;
const EVERYBODY = 0x7fffffff;
const CLOCK_MONOTONIC = 1;
/** Milliseconds between two looks for workers that failed. */
const PATROL_MS = 100;

const rowBytes = (counters: number): number => Math.ceil((8 * (1 + counters)) / 64) * 64;

export interface CrewOptions {
  readonly workers: number;
  /** Rounds of each worker; 0: until it is stopped. */
  readonly iterations: number;
  /** Doubles that each worker reports besides its operations. */
  readonly counters?: number;
  /** Shared bytes for the workload. */
  readonly bytes?: number;
}

export interface CrewResult {
  readonly operations: number;
  /** From the moment the gate opened until the last worker ended. */
  readonly seconds: number;
  /** By worker: operations. */
  readonly each: readonly number[];
  /** By counter: the sum over all workers. */
  readonly counters: readonly number[];
}

/** The side that starts and waits. */
export class Crew {
  readonly cpus: readonly number[];
  /** Address of the workload's own shared bytes. */
  readonly shared: number;
  readonly #sys: Sys;
  readonly #page: number;
  readonly #options: Required<CrewOptions>;
  readonly #pids: number[] = [];

  private constructor(sys: Sys, page: number, options: Required<CrewOptions>, cpus: readonly number[]) {
    this.#sys = sys;
    this.#page = page;
    this.#options = options;
    this.cpus = cpus;
    this.shared = page + ROWS + options.workers * rowBytes(options.counters);
  }

  static *create(sys: Sys, { workers, iterations, counters = 0, bytes = 0 }: CrewOptions): Steps<Crew> {
    const cpus = yield* sys.cpus();
    const page = yield* sys.ok(sys.mapShared(ROWS + workers * rowBytes(counters) + bytes));
    return new Crew(sys, page, { workers, iterations, counters, bytes }, cpus);
  }

  /** Starts the next worker, in an entry of the program. CPUs take turns unless one is given. Returns its pid. */
  *add(entry: string, args: readonly (string | number)[] = [], cpu?: number): Steps<number> {
    const index = this.#pids.length;
    const { iterations, counters } = this.#options;
    const row = this.#page + ROWS + index * rowBytes(counters);
    const on = cpu ?? this.cpus[index % this.cpus.length]!;
    const pid = yield* this.#sys.ok(
      this.#sys.forkOn(on, entry, [this.#page, row, index, iterations, this.shared, ...args]),
    );
    this.#pids.push(pid);
    return pid;
  }

  /**
   * Lets them begin, stops them after so many seconds (0: they end by themselves), waits for their ends.
   * null: a worker failed; it has said why, and the others were killed.
   */
  *run(seconds: number): Steps<CrewResult | null> {
    const sys = this.#sys;
    const page = this.#page;
    const { workers, counters } = this.#options;
    if (!(yield* this.#until(READY, Number.POSITIVE_INFINITY))) return null;
    const start = yield* sys.clockGettime(CLOCK_MONOTONIC);
    sys.memory.store(page + GATE, 1);
    yield* sys.futexWake(page + GATE, EVERYBODY);
    if (!(yield* this.#until(LEFT, seconds === 0 ? Number.POSITIVE_INFINITY : start + seconds * 1e9)))
      return null;
    sys.memory.store(page + STOP, 1);
    if (!(yield* this.#until(LEFT, Number.POSITIVE_INFINITY))) return null;
    const end = yield* sys.clockGettime(CLOCK_MONOTONIC);
    while (this.#pids.length > 0) if (!(yield* this.#reap(0))) return null;
    const rows = Array.from({ length: workers }, (_, index) => page + ROWS + index * rowBytes(counters));
    const each = rows.map((row) => sys.memory.float64(row));
    const sum = (column: number) =>
      rows.reduce((total, row) => total + sys.memory.float64(row + 8 * column), 0);
    return {
      operations: sum(0),
      seconds: (end - start) / 1e9,
      each,
      counters: Array.from({ length: counters }, (_, index) => sum(index + 1)),
    };
  }

  /** Waits until a word counts all workers, or the time has come. False when a worker failed. */
  *#until(offset: number, deadline: number): Steps<boolean> {
    const sys = this.#sys;
    for (;;) {
      const value = sys.memory.load(this.#page + offset);
      if (value === this.#options.workers) return true;
      const left = (deadline - (yield* sys.clockGettime(CLOCK_MONOTONIC))) / 1e6;
      if (left <= 0) return true;
      yield* sys.futexWait(this.#page + offset, value, Math.min(left, PATROL_MS));
      if (!(yield* this.#reap(WNOHANG))) return false;
    }
  }

  /** Reaps one worker, or with WNOHANG one that has ended. False when it failed: then the others are killed, and reaped. */
  *#reap(options: number): Steps<boolean> {
    const sys = this.#sys;
    const waited = yield* sys.waitpid(-1, options);
    if (typeof waited === "number" || waited.pid === 0) return true;
    const index = this.#pids.indexOf(waited.pid);
    if (index < 0) return true;
    this.#pids.splice(index, 1);
    if (waited.status === 0) return true;
    const { status } = waited;
    const how =
      (status & 0x7f) === 0 ? `ended with status ${status >> 8}` : `was killed by signal ${status & 0x7f}`;
    yield* sys.writeAll(2, `a worker ${how}\n`);
    for (const pid of this.#pids) yield* sys.kill(pid, SIGKILL);
    for (const pid of this.#pids) yield* sys.waitpid(pid);
    return false;
  }
}

/** The side that works: made by `Worker.join` first of all in an entry. */
export class Worker {
  readonly index: number;
  /** Address of the workload's own shared bytes. */
  readonly shared: number;
  /** What `Crew.add` was given. */
  readonly args: readonly string[];
  /** What it has done: the workload counts. */
  operations = 0;
  readonly #sys: Sys;
  readonly #page: number;
  readonly #row: number;
  readonly #iterations: number;
  #rounds = 0;

  constructor(sys: Sys, argv: readonly string[]) {
    const [page, row, index, iterations, shared] = argv.slice(1, 6).map(Number) as [
      number,
      number,
      number,
      number,
      number,
    ];
    this.#sys = sys;
    this.#page = page;
    this.#row = row;
    this.#iterations = iterations === 0 ? Number.POSITIVE_INFINITY : iterations;
    this.index = index;
    this.shared = shared;
    this.args = argv.slice(6);
  }

  /** Everything is prepared: waits until all workers are, and the gate opens. */
  *begin(): Steps<void> {
    const sys = this.#sys;
    sys.memory.add(this.#page + READY, 1);
    yield* sys.futexWake(this.#page + READY, 1);
    while (sys.memory.load(this.#page + GATE) === 0) yield* sys.futexWait(this.#page + GATE, 0);
  }

  /** Whether there is to be another round. */
  goesOn(): boolean {
    if (this.#sys.memory.load(this.#page + STOP) !== 0 || this.#rounds >= this.#iterations) return false;
    this.#rounds++;
    return true;
  }

  /** Leaves the counts behind; the entry returns 0 after this. */
  *end(...counters: readonly number[]): Steps<number> {
    const { memory } = this.#sys;
    memory.storeFloat64(this.#row, this.operations);
    for (const [index, value] of counters.entries()) memory.storeFloat64(this.#row + 8 * (index + 1), value);
    memory.add(this.#page + LEFT, 1);
    yield* this.#sys.futexWake(this.#page + LEFT, 1);
    return 0;
  }
}
