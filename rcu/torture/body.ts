/** What a torture worker does: attach, play its part until told to stop, leave. */
import { Heap, type Ref, rcuIdleEnter, rcuIdleExit } from "../index.ts";
import { barrierThread, floodThread, hotplugThread, sleeperThread } from "./chores.ts";
import {
  domainReaderThread,
  preemptReaderThread,
  srcuReaderThread,
  tasksReaderThread,
  waitingUpdaterThread,
} from "./flavours.ts";
import { readerThread, victimThread } from "./reader.ts";
import { Control } from "./state.ts";
import { updaterThread } from "./updater.ts";

export interface TortureWorkerData {
  buffer: SharedArrayBuffer;
  control: number;
  /** This worker's number: the workers attach in this order. */
  index: number;
  part: keyof typeof PARTS;
  seed: number;
  mutant: string | null;
}

const PARTS = {
  reader: readerThread,
  victim: victimThread,
  updater: updaterThread,
  barrier: barrierThread,
  flood: floodThread,
  hotplug: hotplugThread,
  sleeper: sleeperThread,
  "preempt-reader": preemptReaderThread,
  "srcu-reader": srcuReaderThread,
  "srcu-updater": waitingUpdaterThread("srcu"),
  "tasks-reader": tasksReaderThread,
  "tasks-updater": waitingUpdaterThread("tasks"),
  "domain-reader": domainReaderThread,
} satisfies Record<
  string,
  (control: Ref<"torture_control">, seed: number, heap: Heap) => void | Promise<void>
>;

export async function main(data: TortureWorkerData): Promise<void> {
  const words = new Int32Array(data.buffer);
  const control = data.control as Ref<"torture_control">;
  const ready = control + Control.ready.offset;
  for (;;) {
    const seen = Atomics.load(words, ready);
    if (seen < 0 || seen === data.index) break;
    Atomics.wait(words, ready, seen, 1000);
  }
  const heap = Heap.attach({ buffer: data.buffer });
  Control.slots.store(control, data.index, heap.slot + 1);
  if (Control.ready.load(control) >= 0) {
    Control.ready.add(control, 1);
    Control.ready.notify(control);
  }
  rcuIdleEnter();
  for (;;) {
    const seen = Control.ready.load(control);
    if (seen < 0) break;
    Control.ready.wait(control, seen, 1000);
  }
  rcuIdleExit();
  await PARTS[data.part](control, data.seed, heap);
  heap.detach();
}
