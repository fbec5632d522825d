/**
 * Torture: threads that read, update, flood, sleep, leave and come back, all at once, and check that no reader ever
 * holds what a grace period has passed over. The checks are rcutorture's.
 */
import { Worker } from "node:worker_threads";
import {
  alloc,
  free,
  Heap,
  liveObjects,
  RcuHashMap,
  type Ref,
  rcuBarrier,
  rcuIdleEnter,
  rcuIdleExit,
  rcuStats,
  Srcu,
} from "../index.ts";
import type { TortureWorkerData } from "./body.ts";
import "./chores.ts"; // The host runs what is left over: it needs their reclaimers.
import { findMutant } from "./mutants.ts";
import { AGES, Control, Element, FAILURES, FIRM_KEYS, TASKS, Task } from "./state.ts";
import "./updater.ts";

export const FLAVOURS = ["qsbr", "preempt", "srcu", "tasks", "domain"] as const;
export type Flavour = (typeof FLAVOURS)[number];

/** Parts of the readers and updaters of each flavour. */
const CAST: Record<Flavour, [reader: TortureWorkerData["part"], updater: TortureWorkerData["part"]]> = {
  qsbr: ["reader", "updater"],
  preempt: ["preempt-reader", "updater"],
  srcu: ["srcu-reader", "srcu-updater"],
  tasks: ["tasks-reader", "tasks-updater"],
  domain: ["domain-reader", "updater"],
};

export interface TortureOptions {
  seconds?: number;
  readers?: number;
  updaters?: number;
  /** Whose readers and updaters. Default: qsbr, the kernel's CPUs. */
  flavour?: Flavour;
  /** Chores besides: barrier, flood, hotplug, sleeper. Default: all. */
  chores?: readonly TortureWorkerData["part"][];
  mutant?: string | null;
  /** Terminates a reader now and then, without warning, and reaps its slot. */
  crash?: boolean;
  /** Goes on, within reason, until the run means something: for tests on a busy machine. */
  untilMeaningful?: boolean;
  /** Dereference by atomic load. */
  strict?: boolean;
  /** Ends the run at the first failure. Default: true. */
  stopEarly?: boolean;
  /** Called about ten times a second. */
  progress?: (elapsedMs: number, gracePeriods: number) => void;
}

export interface TortureReport {
  readonly success: boolean;
  /** What went wrong, one line each. */
  readonly failures: readonly string[];
  readonly seconds: number;
  /** Elements seen by readers, by age. */
  readonly ages: readonly number[];
  readonly reads: number;
  readonly updates: number;
  readonly gracePeriods: number;
  readonly callbacks: number;
  readonly barriers: number;
  readonly floods: number;
  readonly sleeps: number;
  readonly hotplugs: number;
  readonly crashes: number;
  /** The run was too short to mean anything. */
  readonly tooShort: boolean;
}

const ALL_CHORES = ["barrier", "flood", "hotplug", "sleeper"] as const;
/** A grace period that lasts longer than this has been lost; readers hold one up for milliseconds. */
const LOST_MS = 8000;
/** How much longer a run may take to mean something. */
const PATIENCE_MS = 20_000;
/** How long workers may take to leave after the stop. */
const LEAVE_MS = 10_000;
const FAILED_LEAVE_MS = 300;
/** Time between crashes. */
const CRASH_MS = 150;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs a torture test; its threads are workers of this process. */
export async function torture(options: TortureOptions = {}): Promise<TortureReport> {
  const seconds = options.seconds ?? 10;
  const mutant = options.mutant ?? null;
  if (mutant !== null) findMutant(mutant);
  const heap = Heap.create({ bytes: 64 << 20, debug: true });
  const control = alloc(Control) as Ref<"torture_control">;
  const map = new RcuHashMap({ buckets: 64 });
  for (let key = 0; key < FIRM_KEYS; key++) map.insert(key, key);
  Control.map.init(control, map.ref);
  Control.srcu.init(control, new Srcu().ref);
  for (let n = 0; n < TASKS; n++) Control.tasks.store(control, n, alloc(Task));
  rcuIdleEnter();

  const [reader, updater] = CAST[options.flavour ?? "qsbr"];
  // Readers come last, so that the highest slots are theirs.
  const parts: TortureWorkerData["part"][] = [
    ...(options.chores ?? ALL_CHORES),
    ...Array(options.updaters ?? 1).fill(updater),
    ...Array(options.crash === true ? 1 : 0).fill("victim"),
    ...Array(options.readers ?? 2).fill(reader),
  ];
  const failures: string[] = [];
  const workers = new Set<Worker>();
  const spawn = (index: number, part: TortureWorkerData["part"], seed: number): Worker => {
    const data: TortureWorkerData = { buffer: heap.buffer, control, index, part, seed, mutant };
    const worker = new Worker(new URL(`./torture-worker${import.meta.url.slice(-3)}`, import.meta.url), {
      workerData: data,
      env: { ...process.env, STERNIX_RCU_STRICT: options.strict === true ? "1" : "" },
    });
    workers.add(worker);
    worker.once("error", (error: Error) => failures.push(`${part}: ${error.message}`));
    worker.once("exit", () => workers.delete(worker));
    return worker;
  };
  const all = parts.map((part, index) => spawn(index, part, index));
  const startup = performance.now();
  while (Control.ready.load(control) < parts.length && failures.length === 0) {
    await sleep(2);
    if (performance.now() - startup > 60_000) failures.push("workers did not start");
  }
  Control.ready.store(control, -1);
  Control.ready.notify(control);

  const start = performance.now();
  let lastCrash = start;
  let crashes = 0;
  let lastSeq = -1;
  let lastMove = start;
  const failed = (): boolean => {
    if (failures.length > 0) return true;
    for (let n = 0; n < FAILURES.length; n++) if (Control.failures.load(control, n) > 0) return true;
    return false;
  };
  for (;;) {
    const now = performance.now();
    if (now - start >= seconds * 1000 && (options.untilMeaningful !== true || !tooShort(control))) break;
    if (now - start >= seconds * 1000 + PATIENCE_MS) break;
    if (options.stopEarly !== false && failed()) break;
    const { gracePeriods } = rcuStats();
    if (gracePeriods !== lastSeq) lastMove = now;
    else if (now - lastMove > LOST_MS) {
      failures.push(`no grace period ended for ${LOST_MS} ms`);
      break;
    }
    lastSeq = gracePeriods;
    if (options.crash === true && now - lastCrash > CRASH_MS) {
      crashes++;
      const victim = parts.indexOf("victim");
      await all[victim]!.terminate();
      const slot = Control.slots.load(control, victim) - 1;
      Control.slots.store(control, victim, 0);
      if (slot >= 0) heap.reap(slot); // Otherwise it had not attached yet.
      all[victim] = spawn(victim, "victim", 1000 + crashes);
      lastCrash = performance.now();
    }
    options.progress?.(now - start, gracePeriods);
    await sleep(Math.min(20, seconds * 1000));
  }
  const elapsed = (performance.now() - start) / 1000;
  Control.stop.store(control, 1);
  Control.stop.notify(control);
  const stopping = performance.now();
  // After a failure others may be stuck because of it: that is no further news.
  const patience = failed() ? FAILED_LEAVE_MS : LEAVE_MS;
  while (workers.size > 0 && performance.now() - stopping < patience) await sleep(5);
  if (workers.size > 0) {
    if (!failed()) failures.push(`${workers.size} threads hung`);
    await Promise.all([...workers].map((worker) => worker.terminate()));
  } else if (!failed()) checkLeftovers(control, failures);

  for (const [n, text] of FAILURES.entries()) {
    const times = Control.failures.load(control, n);
    if (times > 0) failures.push(`${text} (${times} times)`);
  }
  const stats = rcuStats();
  const reads = Control.reads.load(control);
  const updates = Control.updates.load(control);
  const report: TortureReport = {
    success: failures.length === 0,
    failures,
    seconds: elapsed,
    ages: Array.from({ length: AGES }, (_, age) => Control.ages.load(control, age)),
    reads,
    updates,
    gracePeriods: stats.gracePeriods,
    callbacks: stats.callbacksRun,
    barriers: Control.barriers.load(control),
    floods: Control.floods.load(control),
    sleeps: Control.sleeps.load(control),
    hotplugs: Control.hotplugs.load(control),
    crashes,
    tooShort: tooShort(control),
  };
  heap.detach();
  return report;
}

/** Whether too little has happened so far for a success to mean anything. */
function tooShort(control: Ref<"torture_control">): boolean {
  return (
    rcuStats().gracePeriods < 50 || Control.reads.load(control) < 500 || Control.updates.load(control) < 25
  );
}

/** With all threads gone, everything queued can run here, and nothing may be left over. */
function checkLeftovers(control: Ref<"torture_control">, failures: string[]): void {
  rcuIdleExit();
  const last = Control.current.exchange(control, 0);
  if (last !== 0) free(Element, last);
  for (let age = 0; age < AGES; age++) rcuBarrier(); // An ageing element queues itself again.
  const pending = rcuStats().callbacksPending;
  if (pending !== 0) failures.push(`${pending} callbacks never ran`);
  const live = liveObjects(Element);
  if (live !== 0) failures.push(`${live} elements leaked`);
}
