/** What a torture worker does: attach, play its part until told to stop, leave. */
import { Heap, RcuDomain, rcuIdleEnter, rcuIdleExit } from "../index.ts";
import { barrierThread, floodThread, hotplugThread, sleeperThread } from "./chores.ts";
import { type Actor, type ControlRef, type Cpu, runCpu } from "./cpu.ts";
import { exitThread, victimThread } from "./exit.ts";
import {
  domainReader,
  domainUpdater,
  srcuReader,
  srcuUpdater,
  tasksReader,
  tasksUpdater,
} from "./flavours.ts";
import { preemptReader } from "./preempt.ts";
import { Random } from "./random.ts";
import { reader } from "./reader.ts";
import { stallThread, watchStalls } from "./stall.ts";
import { Control } from "./state.ts";
import { updater } from "./updater.ts";

/** What a CPU can host. */
export type ActorName = keyof typeof ACTORS;
/** What has a thread of its own. */
export type ThreadName = keyof typeof THREADS;

export interface TortureWorkerData {
  buffer: SharedArrayBuffer;
  control: number;
  /** This worker's number: the workers attach in this order. -1: it comes while the others run. */
  index: number;
  part: ThreadName | readonly ActorName[];
  seed: number;
  mutant: string | null;
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
} satisfies Record<string, (control: ControlRef, seed: number, heap: Heap) => void>;

export async function main(data: TortureWorkerData): Promise<void> {
  const words = new Int32Array(data.buffer);
  const control = data.control as ControlRef;
  const ready = control + Control.ready.offset;
  for (;;) {
    const seen = Atomics.load(words, ready);
    if (seen < 0 || seen === data.index) break;
    Atomics.wait(words, ready, seen, 1000);
  }
  const heap = Heap.attach({ buffer: data.buffer });
  if (data.index >= 0) Control.slots.store(control, data.index, heap.slot + 1);
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
    alone: names.length === 1,
    blocks: names.includes("tasks-updater"),
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
