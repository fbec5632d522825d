/**
 * This thread's views of the shared heap it is bound to.
 *
 * A worker serves one heap, so the views are module variables: V8 keeps loads through them at 1.4 ns, where a view
 * fetched from a Map costs 20. A thread that looks after several heaps (the host of many machines) binds the one
 * it is about to use with `useHeap` (heap.ts) before each synchronous piece of work.
 * Only rcu/ may import this module.
 */
import { STRICT_RCU } from "./prove.ts";

const STRICT = STRICT_RCU;

export let i32: Int32Array<SharedArrayBuffer>;
export let u32: Uint32Array<SharedArrayBuffer>;
export let u8: Uint8Array<SharedArrayBuffer>;
export let f64: Float64Array<SharedArrayBuffer>;
/** This thread's slot in the heap, -1 when it has none. */
export let slot = -1;
/** What this thread writes into a lock it owns: incarnation << 8 | slot + 1. Never 0, never negative. */
export let ownerId = 0;
/** HEADER.IDENTITY of the heap, so that a collection can tell that it belongs to another one. */
export let heapIdentity = 0;
/** Whether the heap is a debug heap: HEADER.DEBUG, which never changes. */
export let heapDebug = false;

export interface Views {
  readonly i32: Int32Array<SharedArrayBuffer>;
  readonly u32: Uint32Array<SharedArrayBuffer>;
  readonly u8: Uint8Array<SharedArrayBuffer>;
  readonly f64: Float64Array<SharedArrayBuffer>;
}

/** Makes these views the current ones of this thread. */
export function bindViews(views: Views, threadSlot: number, owner: number): void {
  i32 = views.i32;
  u32 = views.u32;
  u8 = views.u8;
  f64 = views.f64;
  slot = threadSlot;
  ownerId = owner;
}

/** A heap, as what can be made the current one again. */
export interface Home {
  readonly slot: number;
  use(): unknown;
}
/** The heap that this thread uses now; null before the first one, and after it left one. */
export let home: Home | null = null;

export function bindHeap(identity: number, debug: boolean, heap: Home): void {
  heapIdentity = identity;
  heapDebug = debug;
  home = heap;
}
export function leaveHome(): void {
  home = null;
}

/** rcu_dereference of a word: a plain load, an Atomics.load under STERNIX_RCU_STRICT=1 (rcu/design.md). */
export function derefWord(word: number): number {
  return STRICT ? Atomics.load(i32, word) : i32[word]!;
}
