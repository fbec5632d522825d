/** Counters of the RCU core, gathered from the slots. */
import { gpSeq, slotBase } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { brokenLocks } from "./lock.ts";
import { i32 } from "./memory.ts";
import { shelved } from "./shelf.ts";
import { Domain, forEachSrcu } from "./srcu-domain.ts";
import { gpNumber } from "./trace.ts";
import { waitingBehind } from "./waitlist.ts";

const { CBLIST, LINE_IDLE, RCU, SLOT_RCU } = layout;

/** Counters since the heap was created. Counts wrap at 2^32; those of running threads are racy looks. */
export interface RcuStats {
  /** Grace periods completed. */
  readonly gracePeriods: number;
  /** Whether one is in progress now. */
  readonly inProgress: boolean;
  /** Callbacks run, and queued but not run. */
  readonly callbacksRun: number;
  readonly callbacksPending: number;
  /** Of the pending ones, those that no attached thread owns. */
  readonly orphans: number;
  /** Of the pending ones, those that a helper is to take, and lazy ones. */
  readonly offloaded: number;
  readonly lazy: number;
  /** Threads that help. */
  readonly helpers: number;
  /** Callbacks that wait for a grace period of an Srcu or of Tasks RCU first; not among the pending ones yet. */
  readonly callbacksBehind: number;
  /** Delayed releases run. */
  readonly releasesRun: number;
  /** Times that a thread had 10 000 more callbacks pending. */
  readonly floods: number;
  /** Times that sleepers in synchronize were notified. */
  readonly wakeups: number;
  /** Locks that this thread took from dead owners. */
  readonly brokenLocks: number;
  readonly slots: readonly {
    readonly slot: number;
    readonly idle: boolean;
    /** Quiescent states reported, grace periods started and ended by this slot. */
    readonly reports: number;
    readonly starts: number;
    readonly ends: number;
    readonly callbacksRun: number;
    readonly pending: number;
  }[];
}

/** The counters of the current heap, gathered from all slots: for monitoring, not for synchronizing. */
export function rcuStats(): RcuStats {
  const seq = gpSeq();
  const slots = [];
  let callbacksRun = 0;
  let pendingAll = Atomics.load(i32, RCU.ORPHANS);
  let releasesRun = 0;
  let floods = 0;
  let offloaded = 0;
  let lazy = 0;
  for (let slot = 0; slot < Atomics.load(i32, RCU.SLOT_HIGH); slot++) {
    const base = slotBase(slot);
    const list = base + SLOT_RCU.LIST;
    const pending = (i32[list + CBLIST.QUEUED]! - i32[list + CBLIST.RUN]!) | 0;
    callbacksRun += i32[base + SLOT_RCU.CALLBACKS]!;
    releasesRun += i32[base + SLOT_RCU.RELEASES]!;
    floods += i32[base + SLOT_RCU.FLOODS]!;
    offloaded += shelved(base + SLOT_RCU.OFFLOADED);
    lazy += shelved(base + SLOT_RCU.LAZY);
    pendingAll += pending;
    slots.push({
      slot,
      idle: Atomics.load(i32, base + SLOT_RCU.LINE) === LINE_IDLE,
      reports: i32[base + SLOT_RCU.REPORTS]!,
      starts: i32[base + SLOT_RCU.GP_STARTS]!,
      ends: i32[base + SLOT_RCU.GP_ENDS]!,
      callbacksRun: i32[base + SLOT_RCU.CALLBACKS]!,
      pending,
    });
  }
  let callbacksBehind = waitingBehind(RCU.TASKS_LIST);
  forEachSrcu((ref) => {
    callbacksBehind += waitingBehind(Domain.list.at(ref));
  });
  return {
    gracePeriods: gpNumber(seq),
    inProgress: (seq & 3) !== 0,
    callbacksRun,
    callbacksPending: pendingAll + offloaded + lazy,
    orphans: Atomics.load(i32, RCU.ORPHANS),
    offloaded,
    lazy,
    helpers: Atomics.load(i32, RCU.HELPERS),
    callbacksBehind,
    releasesRun,
    floods,
    wakeups: Atomics.load(i32, RCU.WAKEUPS),
    brokenLocks,
    slots,
  };
}
