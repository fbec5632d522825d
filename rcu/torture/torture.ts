/**
 * Torture: threads that read, update, flood, sleep, stall, leave and come back, all at once, and check that no reader ever
 * holds what a grace period has passed over. The checks are rcutorture's.
 */
import { Worker } from "node:worker_threads";
import {
  free,
  Heap,
  liveObjects,
  RcuHashMap,
  type Ref,
  rcuBarrier,
  rcuBarrierTasks,
  rcuIdleEnter,
  rcuIdleExit,
  rcuStats,
  Srcu,
  tryAlloc,
} from "../index.ts";
import type { ActorName, ThreadName, TortureWorkerData } from "./body.ts";
import "./chores.ts"; // The host runs what is left over: it needs their reclaimers.
import type { ControlRef } from "./cpu.ts";
import "./flavours.ts";
import { createLitmus, type LitmusHandle } from "./litmus.ts";
import { findMutant } from "./mutants.ts";
import { type Cast, missing, reportOf, type TortureReport } from "./report.ts";
import {
  AGES,
  Control,
  Element,
  FAILURES,
  FIRM_KEYS,
  FLAVOURS,
  type Flavour,
  STOP_ALL,
  STOP_ALL_BUT_REAPERS,
  TASKS,
  Task,
} from "./state.ts";
import "./updater.ts";

/** Readers and updaters of each flavour. */
const CAST: Record<Flavour, readonly [reader: ActorName, updater: ActorName]> = {
  qsbr: ["reader", "updater"],
  preempt: ["preempt-reader", "updater"],
  srcu: ["srcu-reader", "srcu-updater"],
  tasks: ["tasks-reader", "tasks-updater"],
  domain: ["domain-reader", "domain-updater"],
};

export const CHORES = ["barrier", "flood", "hotplug", "sleeper", "stall", "exit", "litmus"] as const;
export type Chore = (typeof CHORES)[number];
/** Threads that are there all the time; those that come only to exit are not. */
const THREADS_OF: Record<Chore, readonly ThreadName[]> = {
  barrier: ["barrier"],
  flood: ["flood"],
  hotplug: ["hotplug"],
  sleeper: ["sleeper"],
  stall: ["stall"],
  exit: ["reaper"],
  litmus: ["litmus-updater", "litmus-reader"],
};

/** CPUs that fit into a heap beside the host, the chores, and what crashes. */
export const MAX_CPUS = 48;
/** Readers, and updaters, of one run. */
export const MAX_ACTORS = 1000;

export interface TortureOptions {
  /** Length of the run. Default: 10. */
  seconds?: number;
  /** Threads that host the readers and updaters, several to a thread when there are more; 0: chores only. Default: 2. */
  cpus?: number;
  /** Default: one to a CPU. */
  readers?: number;
  /** Default: one to two CPUs. */
  updaters?: number;
  /** Whose readers and updaters. Default: qsbr, the kernel's CPUs. */
  flavour?: Flavour;
  /** What happens besides, each in a thread of its own. Default: all. */
  chores?: readonly Chore[];
  mutant?: string | null;
  /** Terminates a reading thread now and then, without warning, and reaps its slot. */
  crash?: boolean;
  /** Goes on, within reason, until the run means something: for tests on a busy machine. */
  untilMeaningful?: boolean;
  /** Dereference by atomic load. */
  strict?: boolean;
  /** Ends the run at the first failure. Default: true. */
  stopEarly?: boolean;
  /** Ends the run early. */
  signal?: AbortSignal;
  /** Called about ten times a second. */
  progress?: (elapsedMs: number, gracePeriods: number) => void;
}

/** A grace period that lasts longer than this has been lost; readers hold one up for milliseconds. */
const LOST_MS = 12_000;
/** How much longer a run may take to mean something. */
const PATIENCE_MS = 90_000;
/** How long workers may take to leave after the stop. */
const LEAVE_MS = 20_000;
const FAILED_LEAVE_MS = 300;
/** Time between crashes, and between readers that come only to exit. */
const CRASH_MS = 150;
const EXIT_MS = 300;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs a torture test; its threads are workers of this process. */
export async function torture(options: TortureOptions = {}): Promise<TortureReport> {
  const run = new Run(options);
  await run.start();
  await run.watch();
  return await run.end();
}

/** What was asked for, or by default a reader to a CPU and an updater to two. A CPU without an actor would do nothing. */
function castOf({ cpus = 2, readers = cpus, updaters = Math.max(1, cpus >> 1) }: TortureOptions): Cast {
  return { cpus: Math.min(cpus, readers + updaters), readers, updaters };
}

class Run {
  readonly #options: TortureOptions & Cast;
  readonly #chores: readonly Chore[];
  readonly #parts: TortureWorkerData["part"][];
  readonly #heap: Heap;
  readonly #control: ControlRef;
  readonly #litmus: LitmusHandle | null;
  readonly #failures: string[] = [];
  readonly #workers = new Set<Worker>();
  #victim: Worker | null = null;
  #crashes = 0;
  /** threadIds of threads that have died in the heap and were not reaped yet. */
  readonly #dead = new Set<number>();
  /** Readers that came only to exit, and whether one is there now. */
  #exits = 0;
  #exiting = false;
  #started = 0;

  constructor(options: TortureOptions) {
    this.#options = { ...options, ...castOf(options) };
    if (options.mutant != null) findMutant(options.mutant);
    this.#chores = options.chores ?? CHORES;
    const crash: ThreadName[] = options.crash === true ? ["victim", "reaper"] : [];
    // CPUs come last, so that the highest slots are theirs.
    this.#parts = [...this.#chores.flatMap((chore) => THREADS_OF[chore]), ...crash, ...this.#cpus()];
    this.#litmus = this.#chores.includes("litmus") ? createLitmus(this.#options.cpus > 0 ? 100 : 5) : null;
    this.#heap = Heap.create({ bytes: 64 << 20, debug: true });
    this.#control = tryAlloc(Control) as ControlRef;
    const map = new RcuHashMap({ buckets: 64 });
    for (let key = 0; key < FIRM_KEYS; key++) map.insert(key, key);
    Control.map.init(this.#control, map.ref);
    Control.flavour.init(this.#control, FLAVOURS.indexOf(options.flavour ?? "qsbr"));
    Control.srcu.init(this.#control, new Srcu().ref);
    Control.stallRecord.init(this.#control, tryAlloc(Task) as Ref<"torture_task">);
    for (let n = 0; n < TASKS; n++) Control.tasks.store(this.#control, n, tryAlloc(Task));
    rcuIdleEnter();
  }

  /** What each CPU hosts: updaters and readers are dealt out in turn. */
  #cpus(): ActorName[][] {
    const { cpus, readers, updaters, flavour = "qsbr" } = this.#options;
    const [reader, updater] = CAST[flavour];
    const hosted: ActorName[][] = Array.from({ length: cpus }, () => []);
    for (let n = 0; n < updaters + readers; n++) hosted[n % cpus]!.push(n < updaters ? updater : reader);
    return hosted;
  }

  #spawn(index: number, part: TortureWorkerData["part"], seed: number, dies = false): Worker {
    const { mutant = null, strict } = this.#options;
    const data: TortureWorkerData = {
      buffer: this.#heap.buffer,
      control: this.#control,
      index,
      part,
      seed,
      mutant,
      litmus: this.#litmus,
      dies,
    };
    const worker = new Worker(new URL(`./torture-worker${import.meta.url.slice(-3)}`, import.meta.url), {
      workerData: data,
      env: { ...process.env, STERNIX_RCU_STRICT: strict === true ? "1" : "" },
    });
    this.#workers.add(worker);
    worker.once("error", (error: Error) => this.#failures.push(`${part}: ${error.message}`));
    worker.once("exit", () => this.#workers.delete(worker));
    return worker;
  }

  /** Brings all threads up; none begins before the last one is there. */
  async start(): Promise<void> {
    const workers = this.#parts.map((part, index) => this.#spawn(index, part, index));
    this.#victim = workers[this.#parts.indexOf("victim")] ?? null;
    const startup = performance.now();
    while (Control.ready.load(this.#control) < this.#parts.length && this.#failures.length === 0) {
      await sleep(2);
      if (performance.now() - startup > 60_000) this.#failures.push("workers did not start");
    }
    Control.ready.store(this.#control, -1);
    Control.ready.notify(this.#control);
    this.#started = performance.now();
  }

  /** Until the time is over, or something is wrong. */
  async watch(): Promise<void> {
    const { seconds = 10, progress, signal, stopEarly, untilMeaningful } = this.#options;
    let lastSeq = -1;
    let lastMove = this.#started;
    let lastCrash = this.#started;
    let lastExit = this.#started - EXIT_MS;
    for (;;) {
      const now = performance.now();
      const elapsed = now - this.#started;
      if (elapsed >= seconds * 1000 && (untilMeaningful !== true || this.#missing().length === 0)) return;
      if (elapsed >= seconds * 1000 + PATIENCE_MS || signal?.aborted === true) return;
      if (stopEarly !== false && this.#failed()) return;
      const { gracePeriods } = rcuStats();
      if (gracePeriods !== lastSeq) lastMove = now;
      else if (now - lastMove > LOST_MS) {
        this.#failures.push(`no grace period ended for ${LOST_MS} ms`);
        return;
      }
      lastSeq = gracePeriods;
      if (this.#victim !== null && now - lastCrash > CRASH_MS) {
        await this.#crash();
        lastCrash = performance.now();
      }
      if (this.#exiting) lastExit = now;
      else if (this.#chores.includes("exit") && now - lastExit > EXIT_MS) this.#readThenExit();
      progress?.(elapsed, gracePeriods);
      await sleep(Math.min(20, seconds * 1000));
    }
  }

  async #crash(): Promise<void> {
    const index = this.#parts.indexOf("victim");
    const thread = this.#victim!.threadId;
    await this.#victim!.terminate();
    this.#crashes++;
    await this.#reap(thread);
    this.#victim = this.#spawn(index, "victim", 1000 + this.#crashes);
  }

  /** Has the reaper see to what a dead thread left in the heap. What it does not come to before it ends itself stays noted. */
  async #reap(thread: number): Promise<void> {
    this.#dead.add(thread);
    while (Control.stop.load(this.#control) !== STOP_ALL) {
      if (Control.dead.load(this.#control) === 0) {
        if (!this.#dead.has(thread)) return;
        this.#dead.delete(thread);
        Control.dead.store(this.#control, thread);
        Control.dead.notify(this.#control);
      }
      await sleep(1);
    }
  }

  /** A thread that reads and exits at once. Every other one has not left the heap: it is reaped by its thread. */
  #readThenExit(): void {
    this.#exiting = true;
    const worker = this.#spawn(-1, "exit", this.#exits, this.#exits++ % 2 === 1);
    const thread = worker.threadId;
    worker.once("exit", async () => {
      await this.#reap(thread);
      this.#exiting = false;
    });
  }

  #failed(): boolean {
    if (this.#failures.length > 0) return true;
    for (let n = 0; n < FAILURES.length; n++) if (Control.failures.load(this.#control, n) > 0) return true;
    return false;
  }

  #missing(): string[] {
    return missing(this.#control, this.#chores, this.#options.crash === true ? this.#crashes : null);
  }

  /** Stops all threads, looks for what they left over, and sums up. */
  async end(): Promise<TortureReport> {
    const control = this.#control;
    const seconds = (performance.now() - this.#started) / 1000;
    const tell = (what: number) => {
      Control.stop.store(control, what);
      Control.stop.notify(control);
    };
    const stopping = performance.now();
    // After a failure others may be stuck because of it: that is no further news.
    const patience = this.#failed() ? FAILED_LEAVE_MS : LEAVE_MS;
    const left = async (count: number, until: number) => {
      while (this.#workers.size > count && performance.now() < until) await sleep(5);
    };
    tell(STOP_ALL_BUT_REAPERS);
    await left(this.#parts.filter((part) => part === "reaper").length, stopping + patience);
    tell(STOP_ALL);
    await left(0, performance.now() + patience);
    const stuck = this.#workers.size > 0;
    if (stuck) {
      if (!this.#failed()) this.#failures.push(`${this.#workers.size} threads hung`);
      await Promise.all([...this.#workers].map((worker) => worker.terminate()));
    } else if (!this.#failed()) {
      const last = Control.dead.load(control);
      if (last !== 0) this.#dead.add(last);
      for (const thread of this.#dead) this.#heap.reapThread(thread);
      checkLeftovers(control, this.#failures);
    }
    const report = reportOf(control, this.#options, seconds, this.#failures, this.#crashes, this.#missing());
    // What terminated threads had locked stays locked: a heap like that is abandoned.
    if (!stuck) this.#heap.detach();
    return report;
  }
}

/** With all threads gone, everything queued can run here, and nothing may be left over. */
function checkLeftovers(control: ControlRef, failures: string[]): void {
  rcuIdleExit();
  const last = Control.current.exchange(control, 0);
  if (last !== 0) free(Element, last);
  new Srcu({ at: Control.srcu.get(control) }).barrierBlocking();
  rcuBarrierTasks();
  for (let age = 0; age < AGES; age++) rcuBarrier(); // An ageing element queues itself again.
  const { callbacksPending, callbacksBehind } = rcuStats();
  const pending = callbacksPending + callbacksBehind;
  if (pending !== 0) failures.push(`${pending} callbacks never ran`);
  const live = liveObjects(Element);
  if (live !== 0) failures.push(`${live} elements leaked`);
}
