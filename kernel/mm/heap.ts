/** Room in the kernel's heap: making it, and keeping some of it from what belongs to no process. */
import { heapPages, type Ref, tryAllocArray } from "../../rcu/index.ts";
import { rcuHurry, shrinkCaches } from "../../rcu/kernel.ts";
import { thisCpu } from "../sched/current.ts";
import { nowNs } from "../time/clock.ts";
import { noteRefusal, SHORT_HEAP } from "./shortage.ts";

/** Between two looks through all free cells. */
const SHRINK_NS = 20e6;
let shrunk = 0;

/** What waits for a grace period hurries, and slabs without objects give their pages back after one. */
export function makeHeapRoom(): void {
  rcuHurry();
  const now = nowNs();
  if (now - shrunk < SHRINK_NS) return;
  shrunk = now;
  shrinkCaches();
}

/**
 * Whether what belongs to no process (files in memory, mounts) has to wait: three sixteenths of the heap are kept for programs. Room is
 * made from a quarter on.
 */
export function heapIsLow(): boolean {
  // What the host puts there, programs to start among it, is not for programs to prevent.
  if (thisCpu() < 0) return false;
  const { total, free } = heapPages();
  if (free > total >> 2) return false;
  makeHeapRoom();
  return free * 16 < total * 3;
}

/**
 * Whether the kernel's heap has no more than a quarter left, or would have after `bytes` more. Then queues that may grow long are kept short, and
 * a process that holds much of the heap gets no more of it (refuseHolder): one that takes all it can would otherwise leave nothing for
 * others before anybody is killed for it. Never on the host's thread.
 */
export function heapIsScarce(bytes = 0): boolean {
  if (thisCpu() < 0) return false;
  const { total, free, bytes: page } = heapPages();
  return (free - Math.ceil(bytes / page)) * 4 < total;
}

/** A process that holds this part of the heap in one kind of object holds much of it. */
const MUCH_PART = 64;

/**
 * Whether a process that holds `held` bytes of the heap in one kind of object is refused `more` of it. Then it waits, as whoever is refused
 * memory does, until some process has been killed for what it holds (task/shortage.ts).
 */
export function refuseHolder(held: number, more: number): boolean {
  if (!heapIsScarce(more)) return false;
  const { total, bytes } = heapPages();
  if ((held + more) * MUCH_PART < total * bytes) return false;
  makeHeapRoom();
  noteRefusal(SHORT_HEAP);
  return true;
}

/** An array whose length a process chooses; 0 when memory is short, and when it would be much of a heap that is scarce. */
export const tryAllocTable = (length: number): Ref<"array"> | 0 =>
  refuseHolder(0, length * 4) ? 0 : tryAllocArray(length);
