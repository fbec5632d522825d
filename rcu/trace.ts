/**
 * Trace events of the RCU core, named as Linux names them (include/trace/events/rcu.h), in a ring in the heap: any
 * thread switches them on for all, and any thread reads what all of them did. Off by default. The read path has none; elsewhere
 * an event that is off costs one plain load of a word that only its own thread loads.
 *
 * The ring is made when tracing is first switched on and lives as long as the heap, since a thread that is idle, which
 * no grace period waits for, may still be writing to it.
 */
import { tryAllocArray } from "./array.ts";
import { HeapFullError, WrongTypeError } from "./error.ts";
import * as layout from "./layout.ts";
import { f64, i32, slot } from "./memory.ts";

const { GP_SEQ_START, MAX_SLOTS, RCU, SLOT } = layout;

/** Each event: what may have happened (Linux's message strings), and what its two numbers are. */
const EVENTS = {
  rcu_utilization: [["Start RCU core", "End RCU core"], []],
  rcu_grace_period: [
    ["newreq", "start", "end", "cpustart", "cpuqs", "cpuonl", "cpuofl", "reqwait"],
    ["gp_seq"],
  ],
  rcu_exp_grace_period: [["startwait", "endwait"], ["gp_seq"]],
  rcu_watching: [["Start", "End"], []],
  rcu_preempt_task: [[""], ["record", "gp_seq"]],
  rcu_unlock_preempted_task: [[""], ["record"]],
  rcu_fqs: [["kick"], ["cpu"]],
  rcu_callback: [[""], ["rhp", "qlen"]],
  rcu_kvfree_callback: [[""], ["rhp", "qlen"]],
  rcu_batch_start: [[""], ["qlen", "blimit"]],
  rcu_invoke_callback: [[""], ["rhp", "func"]],
  rcu_invoke_kvfree_callback: [[""], ["rhp"]],
  rcu_batch_end: [[""], ["callbacks_invoked"]],
  rcu_barrier: [["Begin", "Inc1", "Inc2"], ["cnt"]],
  rcu_stall_warning: [["StallDetected"], ["gp_seq"]],
} as const satisfies Record<string, readonly [details: readonly string[], fields: readonly string[]]>;

/** Names of the events that the core emits. */
export type RcuTraceName = keyof typeof EVENTS;

/** One event: what happened where, and when. */
export interface RcuTraceEvent {
  readonly name: RcuTraceName;
  /** What happened, in Linux's words ("start", "cpuqs", "Begin"); empty where the name says it all. */
  readonly detail: string;
  /** Slot of the thread that it happened on. */
  readonly slot: number;
  /** Milliseconds since 1970 with microseconds behind the point: comparable between threads. */
  readonly time: number;
  /** Linux's field names and their numbers; grace periods are counted from 0, references are heap references. */
  readonly fields: Readonly<Record<string, number>>;
}

const NAMES = Object.keys(EVENTS) as RcuTraceName[];

/** Words of an entry: ticket (0 while it is written), event, time (a double), two numbers. */
const ENTRY = 8;
const TICKET = 0;
const EVENT = 1;
const TIME = 2;
const FIRST = 4;
const SECOND = 5;
/** The ring starts with a count of tickets given out; entries start at an even word, for the double. */
const HEAD = 1;
const ENTRIES = 2;

/** Number of an event with its detail, for `traceRcu`. */
export function rcuEvent(name: RcuTraceName, detail = ""): number {
  return (NAMES.indexOf(name) << 8) | (EVENTS[name][0] as readonly string[]).indexOf(detail);
}

/** Adds an event of this thread, if tracing is on. */
export function traceRcu(event: number, first: number, second: number): void {
  if (slot >= 0 && i32[SLOT.BASE + slot * SLOT.WORDS + SLOT.TRACE] !== 0) emit(event, first, second);
}

const capacity = (ring: number): number => (i32[ring]! - 1) >> 3;
const ticketOf = (count: number): number => (count & 0x7fff_ffff) + 1;

function emit(event: number, first: number, second: number): void {
  const ring = i32[RCU.TRACE_RING]!;
  const count = Atomics.add(i32, ring + HEAD, 1);
  const at = ring + ENTRIES + (count & (capacity(ring) - 1)) * ENTRY;
  Atomics.store(i32, at + TICKET, 0);
  i32[at + EVENT] = (event << 8) | slot;
  f64[(at + TIME) >> 1] = performance.timeOrigin + performance.now();
  i32[at + FIRST] = first;
  i32[at + SECOND] = second;
  Atomics.store(i32, at + TICKET, ticketOf(count));
}

/**
 * Switches tracing on, for all threads of the heap, those included that attach later. The ring keeps the last `entries`
 * events (default 4096, rounded up to a power of two, 32 bytes each); it stays, so another size later is an error.
 * Throws HeapFullError, WrongTypeError.
 */
export function startRcuTrace(options: { entries?: number } = {}): void {
  const wanted = options.entries ?? 4096;
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > 1 << 20)
    throw new WrongTypeError(
      `startRcuTrace: ${wanted} entries: give 1 to ${1 << 20}`,
      "ERR_RCU_BAD_ARGUMENT",
    );
  const entries = 2 ** Math.ceil(Math.log2(wanted));
  let ring = Atomics.load(i32, RCU.TRACE_RING);
  if (ring === 0) {
    const fresh = tryAllocArray(1 + entries * ENTRY);
    if (fresh === 0) throw new HeapFullError("startRcuTrace");
    ring = Atomics.compareExchange(i32, RCU.TRACE_RING, 0, fresh) || fresh;
    // Of two that start at once one wins; the other's ring stays unused, which nobody has seen.
  }
  if (options.entries !== undefined && capacity(ring) !== entries)
    throw new WrongTypeError(
      `startRcuTrace: ${wanted} entries, but this heap's ring was made with ${capacity(ring)}: leave the size out`,
      "ERR_RCU_BAD_ARGUMENT",
    );
  setFlags(1);
}

/** Switches tracing off. What was traced can still be read. */
export function stopRcuTrace(): void {
  setFlags(0);
}

/** In every slot, taken or not: who attaches later finds it there. */
function setFlags(on: number): void {
  for (let of = 0; of < MAX_SLOTS; of++) Atomics.store(i32, SLOT.BASE + of * SLOT.WORDS + SLOT.TRACE, on);
}

/** The events in the ring, oldest first, of all threads. Those being written at the moment are left out. */
export function readRcuTrace(): RcuTraceEvent[] {
  const ring = Atomics.load(i32, RCU.TRACE_RING);
  if (ring === 0) return [];
  const events: RcuTraceEvent[] = [];
  const head = Atomics.load(i32, ring + HEAD);
  const entries = capacity(ring);
  for (let back = entries; back > 0; back--) {
    const count = (head - back) | 0;
    const at = ring + ENTRIES + (count & (entries - 1)) * ENTRY;
    if (Atomics.load(i32, at + TICKET) !== ticketOf(count)) continue;
    const event = decode(at);
    if (Atomics.load(i32, at + TICKET) === ticketOf(count)) events.push(event);
  }
  return events;
}

function decode(at: number): RcuTraceEvent {
  const word = i32[at + EVENT]!;
  const name = NAMES[word >> 16]!;
  const [details, names] = EVENTS[name] as readonly [readonly string[], readonly string[]];
  const fields: Record<string, number> = {};
  for (const [n, field] of names.entries()) {
    const value = i32[at + (n === 0 ? FIRST : SECOND)]!;
    fields[field] = field === "gp_seq" ? gpNumber(value) : value;
  }
  return {
    name,
    detail: details[(word >> 8) & 0xff]!,
    slot: word & 0xff,
    time: f64[(at + TIME) >> 1]!,
    fields,
  };
}

/** How many grace periods had ended when gpSeq was `seq`. */
export const gpNumber = (seq: number): number => (seq - GP_SEQ_START) >>> 2;
