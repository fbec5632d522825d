/** Sleeping on a word of shared memory. */
import { mayBlock } from "./platform.ts";

/**
 * Atomics.wait: sleeps while the word holds `value`, at most `ms`. A thread that may not block (a browser's window) spins instead: what it
 * may wait for, a lock, is held for microseconds.
 */
export function park(
  words: Int32Array<SharedArrayBuffer>,
  word: number,
  value: number,
  ms = Number.POSITIVE_INFINITY,
): "ok" | "not-equal" | "timed-out" {
  if (mayBlock) return Atomics.wait(words, word, value, ms);
  if (Atomics.load(words, word) !== value) return "not-equal";
  const end = performance.now() + ms;
  while (Atomics.load(words, word) === value) if (performance.now() >= end) return "timed-out";
  return "ok";
}
