/**
 * Read scopes: a nesting count in a variable that only this thread touches. Entering and leaving cost 0.7 ns and
 * no shared access; the quiescent states of the thread (grace-period.ts) tell the others that its scopes are over.
 */
import { RcuUsageError } from "./error.ts";
import { slot } from "./memory.ts";
import { PROVE_RCU } from "./prove.ts";
import type { RcuScope } from "./ref.ts";

const PROVE = PROVE_RCU;

/** Nesting while the thread is in an extended quiescent state: far below 0, so that a scope opened there is noticed. */
export const IDLE_NESTING = -0x4000_0000;

// A private typed array: TurboFan forwards its stores to its loads, so a scope costs a third of what a variable does. It has a
// buffer of its own, which does not move: the address is a constant in the code (a small array alone would be on V8's heap).
const nest = new Int32Array(new ArrayBuffer(4));

/** How often this thread may have let go of what it had read: of its own accord only, so no other thread looks at it. */
const eras = new Int32Array(new ArrayBuffer(4));

/** The same as long as nothing can have been freed that was reachable then: what is found in a scope is good in its era. */
export function rcuEra(): number {
  return eras[0]!;
}
/** A scope of a domain, or the time between two quiescent states, is over. */
export function endEra(): void {
  eras[0]!++;
}

/** Open read scopes of this thread; 2 ** 30 below that while it is idle. (Linux: rcu_preempt_depth.) */
export function rcuNesting(): number {
  return nest[0]!;
}

export function setNesting(value: number): void {
  nest[0] = value;
}

/** Opens a read scope: what is reached inside it stays allocated until it closes. Nest freely, never block inside. */
export function rcuReadLock(): RcuScope {
  nest[0]!++;
  if (PROVE) proveLock();
  return 1 as RcuScope;
}

/** Closes the innermost read scope. An unlock too many is noticed at the next quiescent state (PROVE_RCU: at once). */
export function rcuReadUnlock(): void {
  nest[0]!--;
  if (PROVE) proveUnlock();
}

// Functions of their own, so that V8 has room for the two above in their callers' code.
function proveLock(): void {
  if (nest[0]! < 0) idleScope();
}
function proveUnlock(): void {
  if (nest[0]! < 0) checkNesting();
  if (nest[0] === 0) endEra();
}

/**
 * Whether this thread is inside a read scope. (Linux: rcu_read_lock_held.)
 */
export function rcuReadLockHeld(): boolean {
  return nest[0]! > 0;
}

/**
 * Whether RCU watches this thread: it is attached and not in an extended quiescent state, so that it may open read scopes. (Linux:
 * rcu_is_watching.)
 */
export function rcuIsWatching(): boolean {
  return slot >= 0 && nest[0]! >= 0;
}

/** Throws when scopes and idle states do not pair up. Outside of scopes only. */
export function checkNesting(): void {
  const value = nest[0]!;
  if (value === 0 || value === IDLE_NESTING) return;
  nest[0] = value < IDLE_NESTING >> 1 ? IDLE_NESTING : 0;
  if (value < IDLE_NESTING >> 1) idleScope();
  throw new RcuUsageError(
    "ERR_RCU_SCOPE_PAIRING",
    value > 0 ? `a read scope is still open (nesting ${value})` : "rcuReadUnlock without rcuReadLock",
  );
}

/** PROVE_RCU: a dereference needs an open scope. */
export function assertScope(): void {
  if (nest[0]! <= 0) throw new RcuUsageError("ERR_RCU_OUTSIDE_SCOPE", "dereference outside of a read scope");
}

function idleScope(): never {
  throw new RcuUsageError("ERR_RCU_IDLE", "RCU used while idle: rcuIdleExit must come before the read scope");
}
