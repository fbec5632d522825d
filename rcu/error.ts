/**
 * What sternix/rcu throws. Every error is an RcuError: `code` tells programs which mistake it was, the message names the
 * input and says what to do instead. Classes group what a caller would handle in the same way.
 */
export type RcuErrorCode =
  // HeapError
  | "ERR_RCU_HEAP_SIZE"
  | "ERR_RCU_BAD_HANDLE"
  | "ERR_RCU_TOO_MANY_THREADS"
  | "ERR_RCU_NOT_ATTACHED"
  // HeapFullError
  | "ERR_RCU_HEAP_FULL"
  // StaleReferenceError
  | "ERR_RCU_STALE_REFERENCE"
  | "ERR_RCU_USE_AFTER_FREE"
  | "ERR_RCU_POISONED"
  // WrongHeapError, WrongTypeError, LayoutError
  | "ERR_RCU_WRONG_HEAP"
  | "ERR_RCU_WRONG_STRUCT"
  | "ERR_RCU_WRONG_KIND"
  | "ERR_RCU_BAD_ARGUMENT"
  | "ERR_RCU_LAYOUT"
  | "ERR_RCU_TOO_MANY_STRUCTS"
  | "ERR_RCU_DECLARED_TWICE"
  | "ERR_RCU_NOT_DECLARED"
  // RcuUsageError
  | "ERR_RCU_OUTSIDE_SCOPE"
  | "ERR_RCU_INSIDE_SCOPE"
  | "ERR_RCU_SCOPE_PAIRING"
  | "ERR_RCU_LOCK_HELD"
  | "ERR_RCU_LOCK_ORDER"
  | "ERR_RCU_LOCK_PAIRING"
  | "ERR_RCU_LOCK_TIMEOUT"
  | "ERR_RCU_IDLE"
  | "ERR_RCU_WAITS_FOR_ITSELF"
  | "ERR_RCU_RELEASE_LOOP"
  | "ERR_RCU_IN_USE"
  | "ERR_RCU_NOT_OFFLOADED"
  | "ERR_RCU_GLOBAL"
  | "ERR_RCU_DOMAIN"
  // CorruptionError
  | "ERR_RCU_DOUBLE_FREE"
  | "ERR_RCU_CORRUPTION";

/** Everything that sternix/rcu throws by itself. */
export class RcuError extends Error {
  /** Which mistake it was: for programs, where the message is for people. */
  readonly code: RcuErrorCode;
  constructor(code: RcuErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** The heap itself: a bad size, a handle that names none, no room for another thread. */
export class HeapError extends RcuError {}

/** The heap has no room for what a collection was asked to hold. Nothing was changed. */
export class HeapFullError extends RcuError {
  constructor(what: string) {
    super(
      "ERR_RCU_HEAP_FULL",
      `${what}: the shared heap is full; create it with more bytes, or remove something`,
    );
  }
}

/** A reference that names nothing: what was there has been freed, or it never was a reference. */
export class StaleReferenceError extends RcuError {
  constructor(message: string, code: RcuErrorCode = "ERR_RCU_STALE_REFERENCE") {
    super(code, message);
  }
}

/** A handle or a collection of one heap was used while the thread works on another. */
export class WrongHeapError extends RcuError {
  constructor(what: string) {
    super(
      "ERR_RCU_WRONG_HEAP",
      `${what} belongs to another heap than the one this thread uses now: call heap.use() of its own heap first`,
    );
  }
}

/** A value of the wrong kind: another struct's reference, a string where integers are kept, an argument out of range. */
export class WrongTypeError extends RcuError {
  constructor(message: string, code: RcuErrorCode = "ERR_RCU_WRONG_KIND") {
    super(code, message);
  }
}

/** Two threads declare one struct (or reclaimer) differently, or one declares it twice. */
export class DeclarationError extends RcuError {}

/** A call that the rules of RCU forbid where it was made. */
export class RcuUsageError extends RcuError {}

/** Shared memory does not hold what it must: an object freed twice, or written after it was freed. */
export class CorruptionError extends RcuError {}

/** A call that the rules of the domain forbid; the message says what to do instead. */
export class RcuDomainError extends RcuError {
  constructor(message: string) {
    super("ERR_RCU_DOMAIN", message);
  }
}

// Not in a static block of each: a class that names itself is renamed when it is bundled, and stack traces show that name.
for (const type of [
  RcuError,
  HeapError,
  HeapFullError,
  StaleReferenceError,
  WrongHeapError,
  WrongTypeError,
  DeclarationError,
  RcuUsageError,
  CorruptionError,
  RcuDomainError,
])
  type.prototype.name = type.name;
