/**
 * Stall warnings: a grace period that lasts too long is reported with the CPUs and tasks that it waits for. Whoever waits
 * (synchronize, barrier) or ticks (the host thread) looks.
 */
import { gpSeq, rcuLaggards, slotBase } from "./grace-period.ts";
import { RCU, SLOT, SLOT_RCU } from "./layout.ts";
import { i32 } from "./memory.ts";
import { rcuBlockedTasks } from "./preempt.ts";
import { gpNumber, rcuEvent, traceRcu } from "./trace.ts";

/** A grace period that lasts too long, and who holds it up. */
export interface RcuStall {
  /** Number of the grace period: how many had ended before it in this heap. */
  readonly seq: number;
  /** How long it has been in progress. */
  readonly ms: number;
  /** Threads (CPUs) that have reported no quiescent state. */
  readonly laggards: readonly {
    readonly slot: number;
    /** worker_threads.threadId. */
    readonly thread: number;
    /** What runs there, as the namer says; empty without one. */
    readonly task: string;
    /** How many grace periods ago the slot last reported; -1 when it has not since it left idle. */
    readonly behind: number;
  }[];
  /** Tasks that were switched out inside a read scope: their records, and what the namer calls them. */
  readonly blocked: readonly { readonly record: number; readonly task: string }[];
}

/** Says what runs in a slot (`record` 0), or which task was switched out (`slot` -1, `record` the one of rcuSwitchOut). */
export type RcuTaskNamer = (slot: number, record: number) => string;

let timeoutMs = 10_000;
let namer: RcuTaskNamer = () => "";
let report: (stall: RcuStall) => void = (stall) => process.emitWarning(rcuStallText(stall), "RcuStall");
let reportedSeq = 0;
let reportedMs = 0;

/** A stall in one line, as the default handler prints it. */
export function rcuStallText(stall: RcuStall): string {
  const named = (task: string): string => (task === "" ? "" : ` running ${task}`);
  const who = stall.laggards.map(
    (late) => `slot ${late.slot} (thread ${late.thread}${named(late.task)}, ${late.behind} behind)`,
  );
  for (const { record, task } of stall.blocked)
    who.push(`a task switched out in its read scope (${task === "" ? `record ${record}` : task})`);
  return `RCU grace period ${stall.seq} waits since ${stall.ms} ms for ${who.join(", ")}`;
}

export const stallTimeout = (): number => timeoutMs;

/**
 * Sets how many milliseconds a grace period may last, and who is told: of this thread, which must be the one that waits
 * or calls checkStall. Default: 10 000, process.emitWarning with the type "RcuStall".
 */
export function setRcuStallHandler(ms: number, handler?: (stall: RcuStall) => void): void {
  timeoutMs = ms;
  if (handler !== undefined) report = handler;
}

/** Sets how stall warnings of this thread name what runs on a CPU; null: not at all. */
export function setRcuTaskNamer(name: RcuTaskNamer | null): void {
  namer = name ?? (() => "");
}

/**
 * Reports the grace period in progress if it lasts too long: once, then again each time its age has doubled. Returns what it
 * reported, or null. For threads that tick; those that wait in synchronize or a barrier look by themselves.
 */
export function checkStall(): RcuStall | null {
  const seq = gpSeq();
  if ((seq & 3) === 0) return null;
  const ms = ((Date.now() & 0x7fff_ffff) - i32[RCU.GP_STARTED]!) & 0x7fff_ffff;
  if (ms < timeoutMs || ms > 0x4000_0000) return null;
  if (seq === reportedSeq && ms < 2 * reportedMs) return null;
  const laggards = rcuLaggards().map((slot) => {
    const line = Atomics.load(i32, slotBase(slot) + SLOT_RCU.LINE);
    const thread = i32[slotBase(slot) + SLOT.THREAD]!;
    return { slot, thread, task: namer(slot, 0), behind: (line & 1) === 0 ? -1 : (seq - line) >> 2 };
  });
  const blocked = rcuBlockedTasks().map((record) => ({ record, task: namer(-1, record) }));
  if (laggards.length + blocked.length === 0 || gpSeq() !== seq) return null;
  reportedSeq = seq;
  reportedMs = ms;
  const stall = { seq: gpNumber(seq), ms, laggards, blocked };
  traceRcu(STALL, seq, 0);
  report(stall);
  return stall;
}

const STALL = rcuEvent("rcu_stall_warning", "StallDetected");
