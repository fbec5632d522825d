/**
 * Mutexes: lock words (lock.ts) that may stay held while their owner sleeps, so they do not count as locks that
 * forbid it. Waiting for one is an extended quiescent state.
 */
import { RcuUsageError } from "./error.ts";
import { goActive, goIdle } from "./grace-period.ts";
import { dropWord, locksHeld, takeWord, tryTakeWord } from "./lock.ts";
import { rcuNesting } from "./scope.ts";

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
  if (tryTakeWord(word)) return;
  const active = rcuNesting() === 0;
  if (active) goIdle();
  try {
    takeWord(word);
  } finally {
    if (active) goActive();
  }
}

export const mutexTryLock = (word: number): boolean => tryTakeWord(word);

export function mutexUnlock(word: number): void {
  dropWord(word);
}
