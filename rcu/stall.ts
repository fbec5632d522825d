/**
 * Stall warnings: a grace period that lasts too long is reported with the CPUs and tasks that it waits for. Whoever waits
 * (synchronize, barrier) or ticks (the host thread) looks.
 */
import { gpSeq, rcuLaggards, slotBase } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { heapIdentity, i32 } from "./memory.ts";
import { warn } from "./platform.ts";
import { rcuBlockedTasks } from "./preempt.ts";
import { stallClock } from "./rounds.ts";
import { gpNumber, rcuEvent, traceRcu } from "./trace.ts";

const { GP_SEQ_START, RCU, SLOT, SLOT_RCU } = layout;

/** A grace period that lasts too long, and who holds it up. */
export interface RcuStall {
  /** Whose grace period it is: RCU's, an Srcu's, or that of Tasks RCU. */
  readonly flavour: "rcu" | "srcu" | "tasks";
  /** Which Srcu: its name, or its address where it has none. Empty for the others. */
  readonly name: string;
  /** Number of the grace period: how many had ended before it. */
  readonly seq: number;
  /** How long it has been in progress. */
  readonly ms: number;
  /** RCU: threads (CPUs) that have reported no quiescent state. */
  readonly laggards: readonly (StalledThread & {
    /** How many grace periods ago the slot last reported; -1 when it has not since it left idle. */
    readonly behind: number;
  })[];
  /** RCU: tasks that were switched out inside a read scope: their records, and what the namer calls them. */
  readonly blocked: readonly { readonly record: number; readonly task: string }[];
  /** SRCU: threads that entered scopes which are still open, wherever they are to be left. */
  readonly readers: readonly (StalledThread & { readonly scopes: number })[];
  /** Tasks RCU: tasks that have neither switched of their own accord nor gone to sleep, and the threads that they last ran on. */
  readonly tasks: readonly (StalledThread & { readonly member: number })[];
}

/** A thread of a stall report. */
export interface StalledThread {
  readonly slot: number;
  /** worker_threads.threadId. */
  readonly thread: number;
  /** What runs there, as the namer says; empty without one. */
  readonly task: string;
}

/**
 * Says what runs in a slot (`record` 0), which task was switched out (`slot` -1, `record` the one of rcuSwitchOut), or which task of
 * Tasks RCU last ran in a slot (`record` what rcuTasksRegister returned).
 */
export type RcuTaskNamer = (slot: number, record: number) => string;

/** Milliseconds that a grace period may last, unless setRcuStallHandler says otherwise. */
const DEFAULT_MS = 100;
let timeoutMs = DEFAULT_MS;
let namer: RcuTaskNamer = () => "";
let handler: (stall: RcuStall) => void = (stall) => warn(rcuStallText(stall), "RcuStall");
/** What was reported last of each flavour and Srcu (`of`), and how old it was then. */
const reported: { readonly of: number; readonly seq: number; readonly ms: number }[] = [];
/** The heap that they are of. */
let reportedIn = 0;
/** Looks for stalls of the other flavours. */
const looks: (() => RcuStall | null)[] = [];
/** Another flavour looks for stalls too, whenever somebody does. */
export function onCheckStall(look: () => RcuStall | null): void {
  looks.push(look);
}

const running = (task: string): string => (task === "" ? "" : ` running ${task}`);
const GRACE_PERIODS = { rcu: "RCU", srcu: "SRCU", tasks: "Tasks RCU" } as const;

/** A stall in one line, as the default handler prints it. */
export function rcuStallText(stall: RcuStall): string {
  const who = stall.laggards.map(
    ({ slot, thread, task, behind }) => `slot ${slot} (thread ${thread}${running(task)}, ${behind} behind)`,
  );
  for (const { record, task } of stall.blocked)
    who.push(`a task switched out in its read scope (${task === "" ? `record ${record}` : task})`);
  for (const { slot, thread, task, scopes } of stall.readers)
    who.push(`${scopes} scope(s) that slot ${slot} entered (thread ${thread}${running(task)})`);
  for (const { slot, thread, task, member } of stall.tasks)
    who.push(
      `a task that has not switched (${task === "" ? `member ${member}` : task}) on slot ${slot} (thread ${thread})`,
    );
  const name = stall.name === "" ? "" : ` of ${stall.name}`;
  return `${GRACE_PERIODS[stall.flavour]} grace period ${stall.seq}${name} waits since ${stall.ms} ms for ${who.join(", ")}`;
}

export const stallTimeout = (): number => timeoutMs;

/** The thread in a slot, as a report names it; `record` is a task's, 0 for whatever runs there. */
export const stalledThread = (slot: number, record = 0): StalledThread => ({
  slot,
  thread: i32[slotBase(slot) + SLOT.THREAD]!,
  task: namer(slot, record),
});

/**
 * Sets how many milliseconds a grace period may last, and who is told: of this thread, which must be the one that waits
 * or calls checkStall. Default: 100, process.emitWarning with the type "RcuStall".
 */
export function setRcuStallHandler(ms: number, told?: (stall: RcuStall) => void): void {
  timeoutMs = ms;
  if (told !== undefined) handler = told;
}

/** Sets how stall warnings of this thread name what runs on a CPU; null: not at all. */
export function setRcuTaskNamer(name: RcuTaskNamer | null): void {
  namer = name ?? (() => "");
}

/**
 * How long a grace period has lasted that began when the clock said `started`, if that is to be reported now: once when it lasts too
 * long, then again each time its age has doubled. Else -1. `of` and `seq` say which one it is.
 */
export function stalledMs(of: number, seq: number, started: number): number {
  const ms = (stallClock() - started) & 0x7fff_ffff;
  if (ms < timeoutMs || ms > 0x4000_0000) return -1;
  if (reportedIn !== heapIdentity) reported.length = 0;
  reportedIn = heapIdentity;
  const last = reported.find((entry) => entry.of === of);
  return last !== undefined && last.seq === seq && ms < 2 * last.ms ? -1 : ms;
}

/** Reports a stall, and remembers that. */
export function reportStall(of: number, seq: number, stall: RcuStall): RcuStall {
  const at = reported.findIndex((entry) => entry.of === of);
  reported.splice(at < 0 ? reported.length : at, 1, { of, seq, ms: stall.ms });
  traceRcu(STALL, (GP_SEQ_START + (stall.seq << 2)) | 0, 0);
  handler(stall);
  return stall;
}

/**
 * Reports the grace periods in progress that last too long, of RCU, of each Srcu, and of Tasks RCU: once, then again each time their
 * age has doubled. Returns the first that it reported, or null. For threads that tick; those that wait in synchronize or
 * a barrier look by themselves. Of Tasks RCU it sees those that callbacks wait for; who waits in synchronizeRcuTasks sees its own.
 */
export function checkStall(): RcuStall | null {
  let first = checkRcu();
  for (const look of looks) {
    const stall = look();
    first ??= stall;
  }
  return first;
}

function checkRcu(): RcuStall | null {
  const seq = gpSeq();
  if ((seq & 3) === 0) return null;
  const ms = stalledMs(RCU.GP_SEQ, seq, i32[RCU.GP_STARTED]!);
  if (ms < 0) return null;
  const laggards = rcuLaggards().map((slot) => {
    const line = Atomics.load(i32, slotBase(slot) + SLOT_RCU.LINE);
    return { ...stalledThread(slot), behind: (line & 1) === 0 ? -1 : (seq - line) >> 2 };
  });
  const blocked = rcuBlockedTasks().map((record) => ({ record, task: namer(-1, record) }));
  if (laggards.length + blocked.length === 0 || gpSeq() !== seq) return null;
  return reportStall(RCU.GP_SEQ, seq, {
    flavour: "rcu",
    name: "",
    seq: gpNumber(seq),
    ms,
    laggards,
    blocked,
    readers: [],
    tasks: [],
  });
}

const STALL = rcuEvent("rcu_stall_warning", "StallDetected");
