/**
 * Stall warnings: a grace period that lasts too long is reported with the slots that it waits for. Whoever waits
 * (synchronize, barrier) or ticks (the host thread) looks.
 */
import { gpSeq, rcuLaggards, slotBase } from "./grace-period.ts";
import { RCU, SLOT_RCU } from "./layout.ts";
import { i32 } from "./memory.ts";

export interface RcuStall {
  /** gpSeq of the grace period. */
  readonly seq: number;
  /** How long it has been in progress. */
  readonly ms: number;
  readonly laggards: readonly {
    readonly slot: number;
    /** How many grace periods ago the slot last reported; -1 when it has not since it left idle. */
    readonly behind: number;
  }[];
}

let timeoutMs = 10_000;
let report: (stall: RcuStall) => void = (stall) => {
  const who = stall.laggards.map((late) => `slot ${late.slot} (${late.behind} behind)`).join(", ");
  process.emitWarning(`RCU grace period ${stall.seq >> 2} waits since ${stall.ms} ms for ${who}`, "RcuStall");
};
let reportedSeq = 0;
let reportedMs = 0;

export const stallTimeout = (): number => timeoutMs;

/** Sets how long a grace period may last, and who is told (the default: process.emitWarning). */
export function setRcuStallHandler(ms: number, handler?: (stall: RcuStall) => void): void {
  timeoutMs = ms;
  if (handler !== undefined) report = handler;
}

/** Reports the grace period in progress if it lasts too long: once, then again each time its age has doubled. */
export function checkStall(): RcuStall | null {
  const seq = gpSeq();
  if ((seq & 3) === 0) return null;
  const ms = ((Date.now() & 0x7fff_ffff) - i32[RCU.GP_STARTED]!) & 0x7fff_ffff;
  if (ms < timeoutMs || ms > 0x4000_0000) return null;
  if (seq === reportedSeq && ms < 2 * reportedMs) return null;
  const laggards = rcuLaggards().map((slot) => {
    const line = Atomics.load(i32, slotBase(slot) + SLOT_RCU.LINE);
    return { slot, behind: (line & 1) === 0 ? -1 : (seq - line) >> 2 };
  });
  if (laggards.length === 0 || gpSeq() !== seq) return null;
  reportedSeq = seq;
  reportedMs = ms;
  const stall = { seq, ms, laggards };
  report(stall);
  return stall;
}
