/**
 * Use after free, found at the access: in a debug heap every accessor of a struct field looks at the state word of the
 * object first, and at whether what it stores has 32 bits. A thread replaces the accessors' methods when it first uses a debug heap; threads that never do pay nothing.
 */

import { pageIsFree } from "./buddy.ts";
import { CorruptionError, StaleReferenceError } from "./error.ts";
import { Atomic, Bytes, Fixed, Locked, LockedWide, Owned, RcuField, Wide, Words } from "./fields.ts";
import * as layout from "./layout.ts";
import { ListNode } from "./list-node.ts";
import { Mutex, Rwlock, Spinlock } from "./lock-fields.ts";
import { heapDebug, i32 } from "./memory.ts";
import { cellAround, cellIsAlive } from "./slab.ts";

const { HEADER } = layout;

type Method = (this: { readonly of: string }, ...args: number[]) => unknown;

/** Methods whose first argument is a token, the reference the second. */
const SECOND: ReadonlyMap<unknown, readonly string[]> = new Map<unknown, readonly string[]>([
  [RcuField, ["deref", "check", "peek", "assign"]],
  [Locked, ["get", "set"]],
  [LockedWide, ["get", "set"]],
]);
/** Methods that store words of 32 bits: where their values begin among the arguments. */
const STORES: ReadonlyMap<unknown, Readonly<Record<string, number>>> = new Map<
  unknown,
  Record<string, number>
>([
  [Fixed, { init: 1 }],
  [Owned, { set: 1 }],
  [Atomic, { store: 1, init: 1, add: 1, or: 1, and: 1, exchange: 1, cas: 1 }],
  [RcuField, { assign: 2, init: 1, exchange: 1, cas: 1 }],
  [Locked, { set: 2, init: 1 }],
  [Words, { set: 2, store: 2, add: 2, cas: 2 }],
]);
/** Methods that take an address, not a reference. */
const EXEMPT = ["constructor", "owner"];

let installed = false;

/** Checks field accesses of this thread from here on, while it uses a debug heap. */
export function checkFields(): void {
  if (installed) return;
  installed = true;
  for (const type of [
    Atomic,
    Bytes,
    Fixed,
    ListNode,
    Locked,
    LockedWide,
    Mutex,
    Owned,
    RcuField,
    Rwlock,
    Spinlock,
    Wide,
    Words,
  ]) {
    const methods = type.prototype as unknown as Record<string, Method>;
    for (const name of Object.getOwnPropertyNames(methods)) {
      if (EXEMPT.includes(name)) continue;
      const method = methods[name]!;
      const at = SECOND.get(type)?.includes(name) === true ? 1 : 0;
      const value = STORES.get(type)?.[name] ?? Number.POSITIVE_INFINITY;
      methods[name] = function (...args) {
        if (heapDebug) assertLive(args[at]!, this.of);
        if (heapDebug) for (let n = value; n < args.length; n++) assertWord(args[n]!, this.of);
        return method.apply(this, args);
      };
    }
  }
}

/** What a word of 32 bits cannot hold, signed or unsigned, would be stored as something else. */
function assertWord(value: number, struct: string): void {
  if (Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 32) return;
  throw new CorruptionError(
    "ERR_RCU_CORRUPTION",
    `struct ${struct}: ${value} is no number of 32 bits: bound it where it comes from, or declare the field as wide`,
  );
}

/** Also for structs that are embedded in others: the cell around them counts. */
function assertLive(ref: number, struct: string): void {
  if (!(ref >= i32[HEADER.FIRST_PAGE]! && ref < i32.length)) {
    if (ref < i32[HEADER.FIRST_PAGE]! && ref > 0) return; // In a slot: the embedder's words.
    throw new StaleReferenceError(`struct ${struct}: ${ref === 0 ? "NULL" : ref} was followed`);
  }
  const cell = cellAround(ref);
  if (cell === 0 ? !pageIsFree(ref) : cellIsAlive(cell)) return;
  throw new StaleReferenceError(
    `struct ${struct}: the object at ${ref} was freed before it was looked at: ` +
      "hold a read scope or a count while a reference is used",
    "ERR_RCU_USE_AFTER_FREE",
  );
}
