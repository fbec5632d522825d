/**
 * Mutexes: lock words (lock.ts) that may stay held while their owner sleeps, so they do not count as locks that
 * forbid it. Waiting for one is an extended quiescent state.
 */
import { RcuUsageError } from "./error.ts";
import { goActive, goIdle } from "./grace-period.ts";
import { dropWord, locksHeld, takeWord, tryTakeWord } from "./lock.ts";
import { rcuNesting } from "./scope.ts";

/** Words of the mutexes that this thread holds, innermost last. */
const held: number[] = [];
/** The same, for who looks. */
export const mutexWords = (): readonly number[] => held;
/** How many mutexes this thread holds now. */
export const mutexesHeld = (): number => held.length;

export function mutexLock(word: number): void {
  if (rcuNesting() > 0)
    throw new RcuUsageError(
      "ERR_RCU_INSIDE_SCOPE",
      "a mutex is taken inside a read scope, where nothing may sleep",
    );
  if (locksHeld !== 0)
    throw new RcuUsageError(
      "ERR_RCU_LOCK_HELD",
      "a mutex is taken with a spinlock held, where nothing may sleep",
    );
  if (!tryTakeWord(word)) {
    const active = rcuNesting() === 0;
    if (active) goIdle();
    try {
      takeWord(word);
    } finally {
      if (active) goActive();
    }
  }
  held.push(word);
}

export function mutexTryLock(word: number): boolean {
  const taken = tryTakeWord(word);
  if (taken) held.push(word);
  return taken;
}

export function mutexUnlock(word: number): void {
  dropWord(word);
  if (held[held.length - 1] === word) held.length--;
  else held.splice(held.lastIndexOf(word), 1);
}

/** Gives back the mutexes that this thread took since it held `depth`: see releaseLocks. Returns how many; negative: too few are left. */
export function releaseMutexes(depth: number): number {
  const taken = held.length - depth;
  while (held.length > depth) mutexUnlock(held.at(-1)!);
  return taken;
}
