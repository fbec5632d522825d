/**
 * Iterators over collections: `for (const [key, value] of map.entries(scope))`. They hold nothing, so a loop may break or throw at any
 * time. One that is used when its scope may be over throws: what it stands on may have been freed.
 */
import { RcuUsageError } from "./error.ts";
import { heapIdentity } from "./memory.ts";
import type { RcuScope } from "./ref.ts";
import { rcuEra, rcuNesting } from "./scope.ts";

/** What a step answers behind the last element. */
export const END: unique symbol = Symbol("end of the walk");

/**
 * An iterator over a collection, good in the scope that it was made for: it throws RcuUsageError (ERR_RCU_OUTSIDE_SCOPE) once that is over.
 * (Two scopes of rcuReadLock between which no grace period moved on are one to it: nothing can have been freed.) What is in the collection
 * throughout comes once; what comes or goes meanwhile may be seen or not. It has the methods of Iterator: map, filter, take, find, ...
 */
export class RcuWalk<T> extends Iterator<T, undefined> {
  readonly #scope: RcuScope;
  readonly #step: () => T | typeof END;
  readonly #era = rcuEra();
  readonly #heap = heapIdentity;
  #over = false;

  /** Collections make them: `step` answers the next element, or END. */
  constructor(scope: RcuScope, step: () => T | typeof END) {
    super();
    this.#scope = scope;
    this.#step = step;
  }

  /** The next element. Throws RcuUsageError when the scope is over. */
  override next(): IteratorResult<T, undefined> {
    if (this.#over) return { done: true, value: undefined };
    if (!this.#open()) this.#tooLate();
    const value = this.#step();
    if (value !== END) return { done: false, value };
    return this.return();
  }

  /** Ends it; a loop that is left early does so. Never throws. */
  override return(): IteratorResult<T, undefined> {
    this.#over = true;
    return { done: true, value: undefined };
  }

  #open(): boolean {
    return (
      rcuNesting() > 0 &&
      rcuEra() === this.#era &&
      heapIdentity === this.#heap &&
      (typeof this.#scope === "number" || this.#scope.open)
    );
  }

  #tooLate(): never {
    this.#over = true;
    throw new RcuUsageError(
      "ERR_RCU_OUTSIDE_SCOPE",
      "an iterator is used after its scope has closed: what it stands on may have been freed",
    );
  }
}

/** Iterates over what `next` finds, one after the other, until that answers 0. `read` makes an element of each. */
export function walkNodes<N extends number, T>(
  scope: RcuScope,
  next: () => N | 0,
  read: (node: N) => T,
): RcuWalk<T> {
  return new RcuWalk(scope, () => {
    const node = next();
    return node === 0 ? END : read(node);
  });
}

/** Iterates over what hangs together by links: from `first()` on to `next(at)`, until that is 0. `read` makes an element of each. */
export function walkLinks<L extends number, T>(
  scope: RcuScope,
  first: () => L | 0,
  next: (at: L) => L | 0,
  read: (at: L) => T,
): RcuWalk<T> {
  let at: L | 0 | undefined;
  const step = (): L | 0 => {
    at = at === undefined ? first() : at === 0 ? 0 : next(at);
    return at;
  };
  return walkNodes(scope, step, read);
}
