/** A subsystem as one machine runs it, on this thread: its tables, its record in the heap, and what it may ask for. */
import {
  arrayGet,
  arraySet,
  atomic,
  callRcu,
  fixed,
  type GpCookie,
  type Ptr,
  queueRelease,
  type Ref,
  struct,
  tryAlloc,
  tryAllocArray,
  tryAllocString,
} from "../../rcu/index.ts";
import { klog } from "../klog.ts";
import { nowNs, thisCpu } from "../sched/current.ts";
import { waitqueue, wakeUp } from "../sched/waitqueue.ts";
import { POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../uapi/poll.ts";
import { noteQueued, reclaimerOf, releaserOf } from "./callback.ts";
import type { Options, Subsystem } from "./define.ts";
import { asKernel } from "./place.ts";
import { isStruct, type TableSpec } from "./table.ts";

/** One subsystem of a machine. */
export const SubsystemRecord = struct("subsystem", {
  name: fixed<Ref<"string">>(),
  /** References of its tables, in the order of the literal; 0 for struct types. */
  tables: fixed<Ref<"array">>(),
  /** Wait queues of devices and pollable files, in order: Ref<"subsystem_event">. */
  events: fixed<Ref<"array">>(),
  /** Switched off: by too many faults, or through /sys/kernel/NAME/state. */
  disabled: atomic(),
  /** Misbehaviour caught so far. */
  faults: atomic(),
  /** gracePeriod hook: the point in time that the next call waits for. */
  cookie: atomic<GpCookie>(),
  next: fixed<Ptr<"subsystem">>(),
});

/** Somebody may wait for this device or file. */
export const SubsystemEvent = struct("subsystem_event", {
  /** Counts notify(); starts at 1, so that a file that was never read is readable. */
  changes: atomic(),
  wait: waitqueue(),
});

export class SubsystemContext<T = Readonly<Record<string, unknown>>, O = Options> {
  readonly name: string;
  readonly options: O;
  readonly tables: T;
  /** Its record, for the kernel's side. */
  readonly record: Ref<"subsystem">;
  readonly #subsystem: Subsystem;
  readonly #events: ReadonlyMap<string, number>;

  constructor(subsystem: Subsystem, options: O, tables: T, record: Ref<"subsystem">) {
    this.#subsystem = subsystem;
    this.name = subsystem.name;
    this.options = options;
    this.tables = tables;
    this.record = record;
    const events = SubsystemRecord.events.get(record);
    this.#events = new Map(eventNames(subsystem).map((name, index) => [name, arrayGet(events, index)]));
  }

  /** Number of this CPU; -1 on the host. */
  get cpu(): number {
    return thisCpu();
  }
  /** Monotonic nanoseconds. */
  now(): number {
    return nowNs();
  }
  /** A line in the kernel log. */
  log(text: string): void {
    asKernel(() => klog(`${this.name}: ${text}`));
  }
  /** Runs `reclaimers[name](context, arg)` after a grace period. Unlink the object first. */
  callRcu(name: string, arg: number): void {
    const reclaimer = reclaimerOf(this.#subsystem, name);
    asKernel(() => callRcu(reclaimer, arg));
  }
  /**
   * Runs `releasers[name](context, arg, task)` at this CPU's next safe point. A releaser may queue others; a thousand in a
   * row are a loop, which throws.
   */
  queueRelease(name: string, arg: number): void {
    const releaser = releaserOf(this.#subsystem, name);
    noteQueued(this.name);
    asKernel(() => queueRelease(releaser, arg));
  }
  /** Who waits in read, write or poll of /dev/NAME tries again. */
  wake(device: string): void {
    wakeUp(SubsystemEvent.wait.at(this.event(`/dev/${device}`)), 0, ALL_EVENTS);
  }
  /** A pollable file has changed: "/proc/NAME" or "/sys/kernel/NAME/FILE". */
  notify(path: string): void {
    const event = this.event(path);
    SubsystemEvent.changes.add(event, 1);
    wakeUp(SubsystemEvent.wait.at(event), 0, ALL_EVENTS);
  }
  event(path: string): Ref<"subsystem_event"> {
    const event = this.#events.get(path);
    if (event === undefined) throw new Error(`${this.name} has no device or pollable file ${path}`);
    return event as Ref<"subsystem_event">;
  }
}

const ALL_EVENTS = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;

/** Devices and pollable files: what has a wait queue. */
function eventNames(subsystem: Subsystem): string[] {
  const names = Object.keys(subsystem.devices ?? {}).map((name) => `/dev/${name}`);
  if (subsystem.proc?.pollable === true) names.push(`/proc/${subsystem.name}`);
  for (const [name, file] of Object.entries(subsystem.sys ?? {}))
    if (file.pollable === true) names.push(`/sys/kernel/${subsystem.name}/${name}`);
  return names;
}

/** Booting thread: makes the record. Throws when the heap is full. */
export function createRecord(subsystem: Subsystem, next: Ptr<"subsystem">): Ref<"subsystem"> {
  const names = eventNames(subsystem);
  const record = tryAlloc(SubsystemRecord);
  const name = tryAllocString(subsystem.name);
  const tables = tryAllocArray(Object.keys(subsystem.tables ?? {}).length);
  const events = tryAllocArray(names.length);
  if (record === 0 || name === 0 || tables === 0 || events === 0) throw new Error(TOO_SMALL);
  SubsystemRecord.name.init(record, name);
  SubsystemRecord.tables.init(record, tables);
  SubsystemRecord.events.init(record, events);
  SubsystemRecord.next.init(record, next);
  for (const index of names.keys()) {
    const event = tryAlloc(SubsystemEvent);
    if (event === 0) throw new Error(TOO_SMALL);
    SubsystemEvent.changes.init(event, 1);
    arraySet(events, index, event);
  }
  return record;
}
const TOO_SMALL = "the kernel heap is too small for it: give the machine a larger one (heap)";

/** A context whose tables `open` finds; struct types are tables by themselves. */
export function newContext(
  subsystem: Subsystem,
  options: Options,
  record: Ref<"subsystem">,
  open: (spec: TableSpec, index: number, key: string) => unknown,
): SubsystemContext {
  const opened: Record<string, unknown> = {};
  for (const [index, [key, spec]] of Object.entries(subsystem.tables ?? {}).entries())
    opened[key] = isStruct(spec) ? spec : open(spec as TableSpec, index, key);
  return new SubsystemContext(subsystem, options, opened, record);
}
