/**
 * The timed loop, compiled anew for every contender: functions that come from one literal share V8's type feedback, so
 * one generic loop would be slow for all contenders, and differently for the first and the last.
 */
import { rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import type { Guard } from "./locks.ts";

export interface Operations {
  /** Looks entry `n` up; the number returned keeps the work from being optimised away. */
  readonly read: (n: number) => number;
  /** Changes entry `n`. */
  readonly write: (n: number) => number;
  /**
   * For what costs a nanosecond: the loop enters and leaves (rcu: a read scope), reads in between unless that is "empty",
   * and does nothing else, not even look up which entry.
   */
  readonly bare?: "empty" | "read";
}

export interface LoopResult {
  operations: number;
  /** Sum of what the reads returned. */
  sum: number;
  /** Most callbacks that this thread had queued at one time: they are taken off at safe points, so before one. */
  peakPending: number;
}
export type Loop = (sequence: Int32Array) => LoopResult;

/** Operations between safe points, as between context switches or system calls. */
const BATCH = 64;
/** The same for bare loops: safe points are to be lost in the noise. */
const BARE_BATCH = 4096;

let compiled = 0;

/** A loop that runs until `stopped()`, passing a safe point after each batch. */
export function compileLoop(
  table: Operations,
  guard: Guard,
  safePoint: () => void,
  stopped: () => boolean,
  pending: () => number,
): Loop {
  const call = table.bare === "empty" ? "" : "sum ^= read(n);";
  const read =
    guard.retry !== null
      ? `let seen, found = 0; do { seen = begin(); ${call === "" ? "" : "found = read(n);"} } while (retry(seen)); sum ^= found;`
      : guard.enterRead !== null || table.bare !== undefined
        ? `enterRead(); ${call} exitRead();`
        : call;
  const write =
    guard.enterWrite !== null ? "enterWrite(); sum ^= write(~n); exitWrite();" : "sum ^= write(~n);";
  const bare = table.bare !== undefined;
  const batch = bare ? BARE_BATCH : BATCH;
  const work = bare
    ? `for (let n = 0; n < ${batch}; n++) { ${read} }`
    : `for (const end = at + ${batch}; at < end; at++) {
          const n = sequence[at & mask];
          if (n >= 0) { ${read} } else { ${write} }
        }`;
  const text = `"use strict"; // loop ${++compiled}
    return function loop(sequence) {
      const mask = sequence.length - 1;
      let at = 0, batches = 0, sum = 0, peakPending = 0;
      do {
        ${work}
        const now = pending();
        if (now > peakPending) peakPending = now;
        safePoint();
        batches++;
        at &= mask;
      } while (!stopped());
      return { operations: batches * ${batch}, sum, peakPending };
    };`;
  const names = ["read", "write", "enterRead", "exitRead", "begin", "retry", "enterWrite", "exitWrite"];
  const make = new Function(...names, "safePoint", "stopped", "pending", text);
  return make(
    table.read,
    table.write,
    guard.enterRead ?? rcuReadLock,
    guard.exitRead ?? rcuReadUnlock,
    guard.begin,
    guard.retry,
    guard.enterWrite,
    guard.exitWrite,
    safePoint,
    stopped,
    pending,
  ) as Loop;
}
