/** What a torture worker does: attach, play its part until told to stop, leave. */
import { Heap, RcuDomain, rcuIdleEnter, rcuIdleExit } from "../index.ts";
import { barrierThread, floodThread, hotplugThread, sleeperThread } from "./chores.ts";
import { type Actor, type ControlRef, type Cpu, runCpu } from "./cpu.ts";
import { exitThread, reaperThread, victimThread } from "./exit.ts";
import {
  domainReader,
  domainUpdater,
  srcuReader,
  srcuUpdater,
  tasksReader,
  tasksUpdater,
} from "./flavours.ts";
import { type LitmusBoard, type LitmusHandle, litmusReader, litmusUpdater } from "./litmus.ts";
import { preemptReader } from "./preempt.ts";
import { Random } from "./random.ts";
import { reader } from "./reader.ts";
import { stallThread, watchStalls } from "./stall.ts";
import { Control, FAIL } from "./state.ts";
import { updater } from "./updater.ts";

/** What a CPU can host. */
export type ActorName = keyof typeof ACTORS;
/** What has a thread of its own. */
export type ThreadName = keyof typeof THREADS | keyof typeof PAIR;

export interface TortureWorkerData {
  buffer: SharedArrayBuffer;
  control: number;
  /** This worker's number: the workers attach in this order. -1: it comes while the others run. */
  index: number;
  part: ThreadName | readonly ActorName[];
  seed: number;
  mutant: string | null;
  /** Of the litmus pair, whose threads are in this heap instead. */
  litmus: LitmusHandle | null;
  /** Whether it ends without leaving the heap: whoever sees it end must reap it. */
  dies?: boolean;
}

const ACTORS = {
  reader,
  updater,
  "preempt-reader": preemptReader,
  "srcu-reader": srcuReader,
  "srcu-updater": srcuUpdater,
  "tasks-reader": tasksReader,
  "tasks-updater": tasksUpdater,
  "domain-reader": domainReader,
  "domain-updater": domainUpdater,
} satisfies Record<string, Actor>;

const THREADS = {
  barrier: barrierThread,
  flood: floodThread,
  hotplug: hotplugThread,
  sleeper: sleeperThread,
  stall: stallThread,
  victim: victimThread,
  exit: exitThread,
  reaper: reaperThread,
} satisfies Record<string, (control: ControlRef, seed: number, heap: Heap) => void>;

const PAIR = {
  "litmus-updater": litmusUpdater,
  "litmus-reader": litmusReader,
} satisfies Record<string, (litmus: LitmusHandle, seed: number, board: LitmusBoard) => void>;

export async function main(data: TortureWorkerData): Promise<void> {
  const words = new Int32Array(data.buffer);
  const control = data.control as ControlRef;
  const ready = control + Control.ready.offset;
  for (;;) {
    const seen = Atomics.load(words, ready);
    if (seen < 0 || seen === data.index) break;
    Atomics.wait(words, ready, seen, 1000);
  }
  if (data.part === "litmus-updater" || data.part === "litmus-reader") {
    Atomics.add(words, ready, 1);
    Atomics.notify(words, ready);
    for (let seen = Atomics.load(words, ready); seen >= 0; seen = Atomics.load(words, ready))
      Atomics.wait(words, ready, seen, 1000);
    PAIR[data.part](data.litmus!, data.seed, litmusBoard(words, control));
    return;
  }
  const heap = Heap.attach({ buffer: data.buffer });
  if (Control.ready.load(control) >= 0) {
    Control.ready.add(control, 1);
    Control.ready.notify(control);
  }
  watchStalls(control);
  rcuIdleEnter();
  for (;;) {
    const seen = Control.ready.load(control);
    if (seen < 0) break;
    Control.ready.wait(control, seen, 1000);
  }
  rcuIdleExit();
  if (typeof data.part === "string") {
    THREADS[data.part](control, data.seed, heap);
    if (data.dies !== true) heap.detach();
  } else await hostActors(data.part, control, data.seed, heap);
}

/** The pair is in another heap than the counters, which it reaches by their words. */
function litmusBoard(words: Int32Array, control: ControlRef): LitmusBoard {
  const failures = control + Control.failures.offset + FAIL.LITMUS;
  return {
    stopped: () => Atomics.load(words, control + Control.stop.offset) !== 0,
    round: () => Atomics.add(words, control + Control.litmus.offset, 1),
    failed: () => Atomics.add(words, failures, 1),
  };
}

async function hostActors(
  names: readonly ActorName[],
  control: ControlRef,
  seed: number,
  heap: Heap,
): Promise<void> {
  let domain: RcuDomain | null = null;
  if (names.some((name) => name.startsWith("domain"))) {
    heap.detach(); // What this thread reads, it reads as the domain's slot.
    domain = RcuDomain.attach(heap.handle());
  }
  const cpu: Cpu = {
    control,
    random: new Random(seed),
    heap: domain?.heap ?? heap,
    hosts: names,
    scopes: 0,
    domain,
  };
  await runCpu(
    cpu,
    names.map((name) => ACTORS[name]),
  );
  cpu.heap.use();
  if (domain !== null) domain.unregisterThread();
  else heap.detach();
}
