/**
 * Boundaries for exceptions. What runs code that may throw (a batch of callbacks, a drain of releases, a turn of the host thread)
 * goes on behind it: the scopes, locks and mutexes that the code left behind are given back, and the error goes to the heap's
 * error handler.
 */
import { goActive, goIdle } from "./grace-period.ts";
import { locksHeld, releaseLocks } from "./lock.ts";
import { i32 } from "./memory.ts";
import { mutexesHeld, releaseMutexes } from "./mutex.ts";
import { rcuNesting, setNesting } from "./scope.ts";

/** Is told of an exception that was contained. `where` says what ran. It must not throw. */
export type ErrorHandler = (error: unknown, where: string) => void;

/** By the words of their heap. */
const handlers = new WeakMap<Int32Array, ErrorHandler>();

/**
 * Sets this thread's error handler for the heap that it uses now; null: none. Without one, the first exception of a batch is thrown
 * by whoever ran the batch, when the rest of it has run.
 */
export function setErrorHandler(handler: ErrorHandler | null): void {
  if (handler === null) handlers.delete(i32);
  else handlers.set(i32, handler);
}

/** What unwind found, and gave back. Negative: something was closed that had not been opened. */
export interface Unwound {
  readonly scopes: number;
  readonly locks: number;
  readonly mutexes: number;
}

/**
 * Takes this thread back to where it was when rcuNesting, locksHeld and mutexesHeld were these: scopes, extended quiescent states, locks
 * and mutexes. What a lock protects may be half-changed.
 */
export function unwind(nesting: number, locks: number, mutexes: number): Unwound {
  const idle = rcuNesting() < 0 !== nesting < 0;
  const scopes = idle ? 0 : rcuNesting() - nesting;
  const taken = { scopes, locks: releaseLocks(locks), mutexes: releaseMutexes(mutexes) };
  if (idle && nesting >= 0) goActive();
  else if (idle) goIdle();
  setNesting(nesting);
  return taken;
}

/** Whether this thread's scopes, locks and mutexes are those. */
export const balanced = (nesting: number, locks: number, mutexes: number): boolean =>
  rcuNesting() === nesting && locksHeld === locks && mutexesHeld() === mutexes;

/** Tells the heap's error handler; false when there is none. */
export function reportError(error: unknown, where: string): boolean {
  const handler = handlers.get(i32);
  if (handler === undefined) return false;
  handler(error, where);
  return true;
}

/**
 * Calls work(arg) and returns what it returns. When it throws, this thread is unwound, the error is reported, and the result is
 * `fallback`. Throws only when the heap has no error handler.
 */
export function contain<A, R, F>(where: string, work: (arg: A) => R, arg: A, fallback: F): R | F {
  const nesting = rcuNesting();
  const locks = locksHeld;
  const mutexes = mutexesHeld();
  try {
    return work(arg);
  } catch (error) {
    unwind(nesting, locks, mutexes);
    if (!reportError(error, where)) throw error;
    return fallback;
  }
}

/**
 * The exceptions of a batch whose parts know nothing of each other: `failed` reports one, and keeps the first when nobody wants to know;
 * `end` throws that.
 */
export class Batch {
  readonly #nesting = rcuNesting();
  readonly #locks = locksHeld;
  readonly #mutexes = mutexesHeld();
  #first: { readonly error: unknown } | null = null;

  failed(error: unknown, where: string): void {
    unwind(this.#nesting, this.#locks, this.#mutexes);
    if (!reportError(error, where)) this.#first ??= { error };
  }

  end(): void {
    if (this.#first !== null) throw this.#first.error;
  }
}
