/**
 * Use after free, found at the access: in a debug heap every accessor of a struct field looks at the state word of the
 * object first. A thread replaces the accessors' methods when it first uses a debug heap; threads that never do pay nothing.
 */
import { StaleReferenceError } from "./error.ts";
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
      methods[name] = function (...args) {
        if (heapDebug) assertLive(args[at]!, this.of);
        return method.apply(this, args);
      };
    }
  }
}

/** Also for structs that are embedded in others: the cell around them counts. */
function assertLive(ref: number, struct: string): void {
  if (!(ref >= i32[HEADER.FIRST_PAGE]! && ref < i32.length)) {
    if (ref < i32[HEADER.FIRST_PAGE]! && ref > 0) return; // In a slot: the embedder's words.
    throw new StaleReferenceError(`struct ${struct}: ${ref === 0 ? "NULL" : ref} was followed`);
  }
  const cell = cellAround(ref);
  if (cell === 0 || cellIsAlive(cell)) return;
  throw new StaleReferenceError(
    `struct ${struct}: the object at ${ref} was freed before it was looked at: ` +
      "hold a read scope or a count while a reference is used",
    "ERR_RCU_USE_AFTER_FREE",
  );
}
