/**
 * Read scopes that close by themselves at the end of a block: `using scope = new RcuReadScope()`. They cost 40 to 110 ns
 * where rcuReadLock and rcuReadUnlock cost one: for tests and slow paths.
 */
import { RcuUsageError } from "./error.ts";
import type { RcuScope } from "./ref.ts";
import { rcuReadLock, rcuReadUnlock } from "./scope.ts";

/** Where scopes are opened: an RcuDomain. Without one, rcuReadLock and rcuReadUnlock of this thread. */
export interface RcuScopeOwner {
  enter(): RcuScope;
  exit(): void;
}

/**
 * An open read scope: passes for the RcuScope that readers ask for. It closes when the `using` block ends, even by an
 * exception, in the turn in which it was opened. (Starnix: RcuReadScope.)
 */
export class RcuReadScope implements Disposable {
  readonly #owner: RcuScopeOwner | undefined;
  #open = true;

  /** Opens it. Of an RcuDomain: `using scope = new RcuReadScope(domain)`. */
  constructor(owner?: RcuScopeOwner) {
    this.#owner = owner;
    if (owner === undefined) rcuReadLock();
    else owner.enter();
  }

  /** Whether it is open still. */
  get open(): boolean {
    return this.#open;
  }

  /** Closes it; the second time does nothing. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.#owner === undefined) rcuReadUnlock();
    else this.#owner.exit();
  }
}

/**
 * What a cell held when it was read, in a scope that stays open until the guard is disposed of:
 * `using route = rcuRead(box); Route.metric.get(route.value)`. (Starnix: RcuReadGuard.)
 */
export class RcuReadGuard<T> implements Disposable {
  readonly #scope: RcuReadScope;
  readonly #value: T;

  constructor(scope: RcuReadScope, value: T) {
    this.#scope = scope;
    this.#value = value;
  }

  /** The value. Throws RcuUsageError after the scope has closed. */
  get value(): T {
    if (!this.#scope.open)
      throw new RcuUsageError("ERR_RCU_OUTSIDE_SCOPE", "RcuReadGuard used after its scope has closed");
    return this.#value;
  }

  /** The scope, for reading other things in it. */
  get scope(): RcuReadScope {
    return this.#scope;
  }

  [Symbol.dispose](): void {
    this.#scope[Symbol.dispose]();
  }
}

/** Opens a scope and reads a cell in it: an RcuPtr, RcuBox, RcuArc, RcuString, RcuAtomic, or whatever has get(scope). */
export function rcuRead<T>(cell: { get(scope: RcuScope): T }, owner?: RcuScopeOwner): RcuReadGuard<T> {
  const scope = new RcuReadScope(owner);
  try {
    return new RcuReadGuard(scope, cell.get(scope));
  } catch (error) {
    scope[Symbol.dispose]();
    throw error;
  }
}
