/**
 * Lock order, checked in debug heaps. A lock's class is its struct and field; its rank is declared with it. A thread that holds a lock takes
 * only locks of higher ranks: threads that all keep to this cannot wait for each other in a circle. Locks without a rank are not compared.
 *
 * The locks of rcu/ itself are innermost: who holds one takes no lock that has a rank. Those of its structs have the rank INNERMOST. The
 * words of the heap and of the domain (pages, slabs, orphans, ...) and the locks of tables are taken by lockWord, which is too hot
 * to look at: they are known by that nobody noted them. Among themselves they have one order, which the code shows: what a
 * collection or the domain guards, then a slab cache, then the pages.
 *
 * A thread replaces the methods of the locks' accessors when it first uses a debug heap, as field-check.ts does; threads that never do pay
 * nothing. Each taken lock is noted with the place where that was, so that a report names both.
 */
import { RcuUsageError } from "./error.ts";
import { Atomic } from "./fields.ts";
import { heldWord, locksHeld } from "./lock.ts";
import { Mutex, Rwlock, Spinlock } from "./lock-fields.ts";
import { heapDebug } from "./memory.ts";
import { mutexWords } from "./mutex.ts";

/** Locks declared in one field of one struct. */
export interface LockClass {
  /** Struct and field: `pipe.lock`. */
  readonly name: string;
  /** Locks of lower ranks are taken first; 0: it has none; Infinity: it is taken last, as those of this library are. */
  readonly rank: number;
}

/** Rank of a lock that is taken last. */
export const INNERMOST = Number.POSITIVE_INFINITY;

interface Taken {
  readonly of: LockClass;
  /** Its stack is where the lock was taken. */
  readonly at: { readonly stack?: string };
}

const classes = new Map<object, LockClass>();
/** By word: what was noted when it was taken last. Locks that are held are among them. */
const taken = new Map<number, Taken>();

/** A struct is declared: `accessor` is that of a lock. */
export function declareLock(accessor: object, name: string, rank: number): void {
  classes.set(accessor, { name, rank });
}

/** Where they are, for who looks at the heap. */
export const declaredLocks = (): { struct: string; name: string; offset: number }[] =>
  [...classes].map(([accessor, { name }]) => {
    const { of, offset } = accessor as { of: string; offset: number };
    return { struct: of, name, offset };
  });

/** The locks that structs declared so far in this thread have, by rank. */
export function lockClasses(): LockClass[] {
  return [...classes.values()].sort(
    (one, other) => one.rank - other.rank || (one.name < other.name ? -1 : 1),
  );
}

/** The words of the locks that this thread holds: mutexes, then the others, outermost first. */
function heldWords(): number[] {
  const words = [...mutexWords()];
  for (let n = 0; n < locksHeld; n++) words.push(heldWord(n));
  return words;
}

/** A lock that is held, and where it was taken. */
function text(word: number): string {
  const note = taken.get(word);
  if (note === undefined) return `a lock of rcu/ at ${word}, which is innermost`;
  const rank =
    note.of.rank === 0 ? "no rank" : note.of.rank === INNERMOST ? "innermost" : `rank ${note.of.rank}`;
  return `${note.of.name} at ${word} (${rank}), which was taken${stackOf(note.at)}`;
}

/** The frames of whoever took it. */
const stackOf = (at: { readonly stack?: string }): string =>
  (at.stack ?? "")
    .split("\n")
    .slice(1)
    .map((line) => `\n  ${line.trim()}`)
    .join("");

/**
 * Throws RcuUsageError when this thread holds a lock that must not be held across a sleep or a switch of tasks. In a debug heap it names
 * the locks and where they were taken.
 */
export function assertNoLocksHeld(what: string): void {
  if (locksHeld === 0) return;
  const words: number[] = [];
  for (let n = 0; n < locksHeld; n++) words.push(heldWord(n));
  throw new RcuUsageError("ERR_RCU_LOCK_HELD", `${what} with ${words.map(text).join("\nand ")}\nheld`);
}

/** Before a lock is taken: throws RcuUsageError when that is out of order. */
function check(of: LockClass, word: number, nested: boolean): void {
  const held = heldWords();
  if (held.includes(word))
    throw new RcuUsageError(
      "ERR_RCU_WAITS_FOR_ITSELF",
      `lock taken twice: this thread takes ${of.name} and holds ${text(word)}`,
    );
  if (of.rank === 0) return;
  // A nested one is one more of its class: what may be held with the first may be held with it.
  if (nested && held.some((other) => taken.get(other)?.of === of)) return;
  for (const other of held) {
    const rank = taken.get(other)?.of.rank ?? INNERMOST;
    if (rank === 0 || rank < of.rank) continue;
    const own = of.rank === INNERMOST ? "innermost" : `rank ${of.rank}`;
    throw new RcuUsageError(
      "ERR_RCU_LOCK_ORDER",
      `lock order: this thread takes ${of.name} (${own}) at ${word} and holds ${text(other)}`,
    );
  }
}

type Lock = (this: { readonly offset: number }, ref: number) => number;

/** Replaces a method that takes a lock. One that only tries cannot wait for anybody: it is noted, not checked. */
function watch(prototype: object, name: string, waits: boolean, nested = false): void {
  const methods = prototype as Record<string, Lock>;
  const method = methods[name]!;
  methods[name] = function (ref) {
    if (!heapDebug) return method.call(this, ref);
    const word = ref + this.offset;
    const of = classes.get(this)!;
    if (waits) check(of, word, nested);
    const proof = method.call(this, ref);
    if (proof !== 0) {
      const at = {};
      Error.captureStackTrace(at, methods[name]); // Formatted when somebody reads it.
      taken.set(word, { of, at });
    }
    return proof;
  };
}

let installed = false;

/** Checks the locks of this thread from here on, while it uses a debug heap. */
export function checkLocks(): void {
  if (installed) return;
  installed = true;
  watch(Spinlock.prototype, "lock", true);
  watch(Spinlock.prototype, "lockNested", true, true);
  watch(Spinlock.prototype, "tryLock", false);
  watch(Mutex.prototype, "lock", true);
  watch(Mutex.prototype, "tryLock", false);
  watch(Rwlock.prototype, "readLock", true);
  watch(Rwlock.prototype, "writeLock", true);
  const { wait } = Atomic.prototype;
  Atomic.prototype.wait = function (ref, value, ms) {
    if (heapDebug) assertNoLocksHeld("a sleep");
    return wait.call(this, ref, value, ms);
  };
}
