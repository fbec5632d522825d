/**
 * Allocations that throw when the heap is full. Those that answer 0 instead (`tryAlloc`, `tryAllocArray`, `tryAllocString`) are for code
 * that has an answer of its own, as a kernel has -ENOMEM: their type, `Ref | 0`, fits no call that wants a Ref until it was compared with 0.
 */
import { tryAllocArray, tryAllocString } from "./array.ts";
import { makeRoom } from "./callback.ts";
import { HeapFullError } from "./error.ts";
import type { Ref } from "./ref.ts";
import { type StructType, TYPE, tryAlloc } from "./struct.ts";

/**
 * Allocates an object, all fields zero. When the heap is full, a thread of a domain waits first for what is to be freed, unless it is
 * inside a scope or holds a lock. Throws HeapFullError.
 */
export function alloc<N extends string>(type: StructType<N>): Ref<N> {
  const ref = tryAlloc(type) || (makeRoom() ? tryAlloc(type) : 0);
  if (ref === 0) throw new HeapFullError(`alloc(${type[TYPE].name})`);
  return ref;
}

/** Allocates an array of `length` words, all zero; when the heap is full as alloc() does. Throws HeapFullError. */
export function allocArray(length: number): Ref<"array"> {
  const ref = tryAllocArray(length) || (makeRoom() ? tryAllocArray(length) : 0);
  if (ref === 0) throw new HeapFullError(`allocArray(${length})`);
  return ref;
}

/** Allocates an immutable string (or bytes); when the heap is full as alloc() does. Throws HeapFullError. */
export function allocString(text: string | Uint8Array): Ref<"string"> {
  const ref = tryAllocString(text) || (makeRoom() ? tryAllocString(text) : 0);
  if (ref === 0) throw new HeapFullError("allocString");
  return ref;
}
