/**
 * The timed loop, compiled anew for every contender: functions that come from one literal share V8's type feedback, so
 * one generic loop would be slow for all contenders, and differently for the first and the last.
 */
import type { Guard } from "./locks.ts";

export interface Operations {
  /** Looks entry `n` up; the number returned keeps the work from being optimised away. */
  readonly read: (n: number) => number;
  /** Changes entry `n`. */
  readonly write: (n: number) => number;
}

export interface LoopResult {
  operations: number;
  /** Sum of what the reads returned. */
  sum: number;
  /** Most callbacks that were pending at one time. */
  peakPending: number;
}
export type Loop = (sequence: Int32Array) => LoopResult;

/** Operations between safe points, as between context switches or system calls. */
const BATCH = 64;
/** Batches between looks at how much waits for a grace period. */
const LOOK = 128;

let compiled = 0;

/** A loop that runs until `stopped()`, passing a safe point after each batch. */
export function compileLoop(
  table: Operations,
  guard: Guard,
  safePoint: () => void,
  stopped: () => boolean,
  pending: () => number,
): Loop {
  const read =
    guard.retry !== null
      ? "let seen, found; do { seen = begin(); found = read(n); } while (retry(seen)); sum = (sum + found) | 0;"
      : guard.enterRead !== null
        ? "enterRead(); sum = (sum + read(n)) | 0; exitRead();"
        : "sum = (sum + read(n)) | 0;";
  const write =
    guard.enterWrite !== null
      ? "enterWrite(); sum = (sum + write(~n)) | 0; exitWrite();"
      : "sum = (sum + write(~n)) | 0;";
  const text = `"use strict"; // loop ${++compiled}
    return function loop(sequence) {
      const mask = sequence.length - 1;
      let at = 0, batches = 0, sum = 0, peakPending = 0;
      do {
        for (const end = at + ${BATCH}; at < end; at++) {
          const n = sequence[at & mask];
          if (n >= 0) { ${read} } else { ${write} }
        }
        safePoint();
        if ((++batches & ${LOOK - 1}) === 0) {
          const now = pending();
          if (now > peakPending) peakPending = now;
          at &= mask;
        }
      } while (!stopped());
      return { operations: batches * ${BATCH}, sum, peakPending };
    };`;
  const names = ["read", "write", "enterRead", "exitRead", "begin", "retry", "enterWrite", "exitWrite"];
  const make = new Function(...names, "safePoint", "stopped", "pending", text);
  return make(
    table.read,
    table.write,
    guard.enterRead,
    guard.exitRead,
    guard.begin,
    guard.retry,
    guard.enterWrite,
    guard.exitWrite,
    safePoint,
    stopped,
    pending,
  ) as Loop;
}
