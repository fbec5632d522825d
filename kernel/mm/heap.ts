/** Room in the kernel's heap: making it, and keeping some of it from what belongs to no process. */
import { heapPages } from "../../rcu/index.ts";
import { rcuHurry, shrinkCaches } from "../../rcu/kernel.ts";
import { thisCpu } from "../sched/current.ts";
import { nowNs } from "../time/clock.ts";

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
