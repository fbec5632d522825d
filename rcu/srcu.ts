/**
 * SRCU: read scopes that may await, block, and be left on another thread than they were entered on. Costs two atomic
 * operations a scope. Each Srcu object has grace periods of its own: a reader that never leaves harms no other.
 *
 * Readers count themselves in one of two banks, per slot: how many entered, how many left. A grace period waits until
 * the bank that is not current is empty (a reader may have picked it just before the last switch), makes it the
 * current one, and waits until the other is empty. Readers that come after the switch are not waited for.
 */

import { allocArray, freeArray } from "./array.ts";
import { HeapFullError, StaleReferenceError } from "./error.ts";
import { MAX_SLOTS } from "./layout.ts";
import { i32, slot } from "./memory.ts";
import { mutexTryLock, mutexUnlock } from "./mutex.ts";
import type { Brand, Ref } from "./ref.ts";
import { cellIsAlive } from "./slab.ts";
import { alloc, atomic, fixed, free, mutex, struct } from "./struct.ts";
import { waitAsync } from "./wait-async.ts";

const Domain = struct("srcu", {
  counts: fixed<Ref<"array">>(),
  /** The bank that new readers use. */
  index: atomic(),
  /** Grace periods completed: what cookies are compared with. */
  completed: atomic(),
  gate: mutex(),
  sleepers: atomic(),
  /** Moves when a reader leaves while somebody sleeps. */
  event: atomic(),
});

/** What srcuReadLock returned: the bank, to be given back to unlock. */
export type SrcuScope = Brand<"srcu scope">;

/** Words per slot: entered and left for each bank; a cache line, so that slots do not share one. */
const STRIDE = 16;
const LEFT = 2;

export class Srcu {
  readonly ref: Ref<"srcu">;
  readonly #counts: number;

  constructor(options: { at?: number } = {}) {
    if (options.at !== undefined) {
      this.ref = options.at as Ref<"srcu">;
      if (!cellIsAlive(this.ref))
        throw new StaleReferenceError(`Srcu: ${options.at} names no Srcu of this heap`);
    } else {
      const counts = allocArray(MAX_SLOTS * STRIDE);
      const ref = counts === 0 ? 0 : alloc(Domain);
      if (counts === 0 || ref === 0) {
        if (counts !== 0) freeArray(counts);
        throw new HeapFullError("new Srcu");
      }
      Domain.counts.init(ref, counts);
      this.ref = ref;
    }
    this.#counts = Domain.counts.get(this.ref) + 1;
  }

  readLock(): SrcuScope {
    const bank = Domain.index.load(this.ref) & 1;
    Atomics.add(i32, this.#counts + slot * STRIDE + bank, 1);
    return bank as SrcuScope;
  }

  readUnlock(scope: SrcuScope): void {
    Atomics.add(i32, this.#counts + slot * STRIDE + LEFT + scope, 1);
    if (Domain.sleepers.load(this.ref) === 0) return;
    Domain.event.add(this.ref, 1);
    Domain.event.notify(this.ref);
  }

  /** Runs `fn` in a scope; it may be async. */
  async run<T>(fn: (scope: SrcuScope) => T | Promise<T>): Promise<T> {
    const scope = this.readLock();
    try {
      return await fn(scope);
    } finally {
      this.readUnlock(scope);
    }
  }

  /** Whether no reader is in the bank: what left is counted before what entered, so equal means empty. */
  #empty(bank: number): boolean {
    let left = 0;
    let entered = 0;
    for (let of = 0; of < MAX_SLOTS; of++)
      left += Atomics.load(i32, this.#counts + of * STRIDE + LEFT + bank);
    for (let of = 0; of < MAX_SLOTS; of++) entered += Atomics.load(i32, this.#counts + of * STRIDE + bank);
    return ((entered - left) | 0) === 0;
  }

  /** Remembers now; done when a full grace period has followed. */
  getState(): number {
    return (Domain.completed.load(this.ref) + 2) | 0;
  }
  pollState(cookie: number): boolean {
    return ((Domain.completed.load(this.ref) - cookie) | 0) >= 0;
  }

  /** Waits until all scopes that are open now have closed. Not inside one of them. */
  async synchronize(): Promise<void> {
    const steps = this.#steps();
    Domain.sleepers.add(this.ref, 1);
    try {
      for (;;) {
        const event = Domain.event.load(this.ref);
        if (steps.next().done === true) return;
        await waitAsync(i32, this.ref + Domain.event.offset, event, 100);
      }
    } finally {
      Domain.sleepers.add(this.ref, -1);
    }
  }

  /** The same, blocking this thread: readers must not depend on its event loop. */
  synchronizeBlocking(): void {
    const steps = this.#steps();
    Domain.sleepers.add(this.ref, 1);
    try {
      for (;;) {
        const event = Domain.event.load(this.ref);
        if (steps.next().done === true) return;
        Domain.event.wait(this.ref, event, 100);
      }
    } finally {
      Domain.sleepers.add(this.ref, -1);
    }
  }

  /** A grace period, yielding whenever it has to wait for something. */
  *#steps(): Generator<void, void> {
    const gate = this.ref + Domain.gate.offset;
    const cookie = this.getState();
    while (!mutexTryLock(gate)) {
      yield;
      if (this.pollState(cookie)) return; // Others did it for us.
    }
    try {
      const bank = Domain.index.load(this.ref) & 1;
      while (!this.#empty(bank ^ 1)) yield;
      Domain.index.store(this.ref, bank ^ 1);
      while (!this.#empty(bank)) yield;
      Domain.completed.add(this.ref, 1);
    } finally {
      mutexUnlock(gate);
      Domain.event.add(this.ref, 1);
      Domain.event.notify(this.ref);
    }
  }

  destroy(): void {
    freeArray(Domain.counts.get(this.ref));
    free(Domain, this.ref);
  }
}
