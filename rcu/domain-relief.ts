/** What a thread of a domain does when callbacks, or memory, pile up. The heap is the one in use, and no scope of the domain is open. */
import { HELP_EVERY, pendingOwn, rcuRunCallbacks, runSome } from "./callback.ts";
import { rcuLaggards, rcuQuiescent } from "./grace-period.ts";
import type { Heap } from "./heap.ts";
import * as layout from "./layout.ts";
import { locksHeld } from "./lock.ts";
import { mutexesHeld } from "./mutex.ts";
import { mayBlock, warn } from "./platform.ts";
import { rcuNesting } from "./scope.ts";
import { takeShelves } from "./shelf.ts";
import { shrinkCaches } from "./shrink.ts";
import { synchronizeRcuAtMost } from "./synchronize.ts";

const { HEADER, RCU } = layout;

/** Callbacks of one thread above which its updates wait for a grace period, and the longest such wait in ms. */
const BACKLOG = 16 * HELP_EVERY;
const HOLD_BACK_MS = 50;
/** The longest wait of an update that found the heap full. */
const MAKE_ROOM_MS = 1000;

export class Relief {
  readonly #heap: Heap;
  #warned = false;
  #pressureSeen = 0;

  constructor(heap: Heap) {
    this.#heap = heap;
  }

  /**
   * Very many callbacks were queued in this turn, outside of scopes: it passes a quiescent state and runs what it may. Where others hold the
   * grace period up, the update waits for them, and memory stays bounded.
   */
  help(): void {
    if (rcuNesting() !== 0 || mutexesHeld() > 0) return;
    rcuQuiescent();
    rcuRunCallbacks();
    if (pendingOwn() < BACKLOG) return;
    const before = pendingOwn();
    if (synchronizeRcuAtMost(mayBlock ? HOLD_BACK_MS : 0)) runSome(Number.POSITIVE_INFINITY);
    if (pendingOwn() < before || this.#warned) return;
    this.#warned = true;
    const laggards = rcuLaggards().join(", ");
    warn(
      `${pendingOwn()} callbacks of slot ${this.#heap.slot} wait for a grace period, which slot ${laggards} holds up`,
      "RcuBacklog",
    );
  }

  /** Whether this thread may wait for room. */
  mayMakeRoom(): boolean {
    return rcuNesting() <= 0 && locksHeld === 0 && mutexesHeld() === 0;
  }

  /** The heap is full: waits for what is to be freed. Whether something was. */
  makeRoom(): boolean {
    const words = this.#heap.i32;
    takeShelves();
    const before = pendingOwn() + Atomics.load(words, RCU.ORPHANS);
    let pages = 0;
    for (let rounds = 0; rounds < 2; rounds++) {
      rcuRunCallbacks(); // Stamps what is not stamped.
      if (!synchronizeRcuAtMost(mayBlock ? MAKE_ROOM_MS : 0)) break;
      runSome(Number.POSITIVE_INFINITY);
      // What was freed now may be whole slabs, whose pages come back in the second round.
      if (rounds === 0) pages = this.#shrink();
      else if (pages > 0) return true;
    }
    return pendingOwn() + Atomics.load(words, RCU.ORPHANS) < before;
  }

  /** The end of a turn: gives memory back when the heap was full since the last one. */
  endTurn(): void {
    if (this.#heap.i32[HEADER.PRESSURE] !== this.#pressureSeen && locksHeld === 0) this.#shrink();
  }

  /**
   * This thread gives back its free cells, and slabs in which nothing lives give their pages back after a grace period. Returns how many
   * pages.
   */
  #shrink(): number {
    this.#pressureSeen = this.#heap.i32[HEADER.PRESSURE]!;
    return shrinkCaches();
  }
}
