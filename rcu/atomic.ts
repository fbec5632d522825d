/**
 * Atomic access to 32-bit words of any shared typed array: the one door to `Atomics` for code outside rcu/.
 * Kernel code uses it for words that live in RAM (page table entries, user futexes, needResched), which is not the
 * heap. All operations are sequentially consistent.
 */
import { park } from "./park.ts";

/** 32-bit words of shared memory. */
export type SharedWords = Int32Array<SharedArrayBuffer>;

/** Loads the word. */
export const atomicLoad = (words: SharedWords, index: number): number => Atomics.load(words, index);
/** Stores the word. */
export const atomicStore = (words: SharedWords, index: number, value: number): void => {
  Atomics.store(words, index, value);
};
/** Adds and returns the *old* value. */
export const atomicAdd = (words: SharedWords, index: number, value: number): number =>
  Atomics.add(words, index, value);
/** Keeps only these bits and returns the old value. */
export const atomicAnd = (words: SharedWords, index: number, value: number): number =>
  Atomics.and(words, index, value);
/** Sets these bits and returns the old value. */
export const atomicOr = (words: SharedWords, index: number, value: number): number =>
  Atomics.or(words, index, value);
/** Stores and returns the old value. */
export const atomicExchange = (words: SharedWords, index: number, value: number): number =>
  Atomics.exchange(words, index, value);
/** Stores `next` when the word holds `expected`; says whether it did. */
export const atomicCas = (words: SharedWords, index: number, expected: number, next: number): boolean =>
  Atomics.compareExchange(words, index, expected, next) === expected;
/** Sleeps while the word holds `value`, at most `ms`. */
export const atomicWait = (
  words: SharedWords,
  index: number,
  value: number,
  ms?: number,
): "ok" | "not-equal" | "timed-out" => park(words, index, value, ms);
/** Wakes sleepers of atomicWait, all of them or `count`; returns how many. */
export const atomicNotify = (words: SharedWords, index: number, count?: number): number =>
  Atomics.notify(words, index, count);
/** The same for a thread that must not block (the host's event loop): `value` settles when woken or after `ms`. */
export const atomicWaitAsync = (
  words: SharedWords,
  index: number,
  value: number,
  ms?: number,
): { async: false; value: string } | { async: true; value: Promise<string> } =>
  (Atomics.waitAsync as (...args: unknown[]) => { async: true; value: Promise<string> })(
    words,
    index,
    value,
    ms,
  );
