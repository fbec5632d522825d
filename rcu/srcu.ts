/**
 * SRCU: read scopes that may await, block, and be left on another thread than they were entered on. Costs two atomic
 * additions and two atomic loads a scope. Each Srcu object has grace periods of its own: a reader that never leaves harms no other.
 *
 * Readers count themselves in one of two banks, per slot: how many entered, how many left. A grace period waits until
 * the bank that is not current is empty (a reader may have picked it just before the last switch), makes it the
 * current one, and waits until the other is empty. Readers that come after the switch are not waited for.
 *
 * Nobody waits in the middle of it: the state (`seq`: count << 2 | step, like gpSeq) is moved on by whoever finds that it
 * can be, under `gate`: who asks for a grace period, and every reader that leaves while one is wanted.
 */
import { withRoom } from "./callback.ts";
import { Collection, checkObject, type Handle, isAt } from "./collection.ts";
import { RcuUsageError } from "./error.ts";
import { seqDone, seqSnap } from "./grace-period.ts";
import { rcuIdleEnter, rcuIdleExit } from "./idle.ts";
import * as layout from "./layout.ts";
import { dropWord, lockWord, ownerIsDead, takeOverWord, unlockWord } from "./lock.ts";
import { heapIdentity, home, i32, ownerId, slot } from "./memory.ts";
import type { Reclaimer } from "./reclaim.ts";
import type { Brand } from "./ref.ts";
import { stallClock } from "./rounds.ts";
import { rcuNesting } from "./scope.ts";
import {
  checkSrcu,
  countsOf,
  createSrcu,
  Domain,
  forEachSrcu,
  freeSrcu,
  LEAVING,
  LEFT,
  openOf,
  readersText,
  type SrcuRef,
  STRIDE,
  srcuName,
  unlistSrcu,
  wordOf,
} from "./srcu-domain.ts";
import { newRounds, rcuBarrier } from "./synchronize.ts";
import { waitAsync } from "./wait-async.ts";
import {
  handedOver,
  handOver,
  makeCall,
  mendBehind,
  queueBehind,
  queuedBehind,
  stampBehind,
} from "./waitlist.ts";

const { CBLIST, RCU } = layout;

/** What readLock returned: to be given back to readUnlock, on whatever thread. */
export type SrcuScope = Brand<"srcu scope">;
/** A point in time of one Srcu: done when a full grace period of it has followed. */
export type SrcuCookie = Brand<"srcu cookie">;

/** A domain of sleepable read scopes. Another thread opens the same one with `new Srcu({ at: srcu.ref })`. */
export class Srcu extends Collection<"srcu"> {
  readonly #counts: number;
  /** Its heap, for what goes on after an await. */
  readonly #home = home;

  /**
   * `name` is for reports: whose scopes are open. Throws HeapFullError; StaleReferenceError, WrongTypeError or WrongHeapError when
   * `at`, a reference or a handle, names no Srcu of this heap.
   */
  constructor(options: { at?: number | Handle; name?: string } = {}) {
    super(
      Domain,
      isAt(options)
        ? checkObject(Domain, options.at, "Srcu")
        : withRoom(() => createSrcu(options.name ?? "")),
    );
    this.#counts = countsOf(this.ref);
  }

  /** Goes on after an await, when this thread may use another heap. */
  #atHome<T>(what: () => T): T {
    if (this.heapId === heapIdentity || this.#home === null) return what();
    const outer = home;
    this.#home.use();
    try {
      return what();
    } finally {
      if (outer !== null && outer.slot >= 0) outer.use();
    }
  }

  /** What reports call it: the name that its maker gave it, else "Srcu" and its address. */
  get name(): string {
    this.assertHeap();
    return srcuName(this.ref);
  }

  /** Whether this thread has entered a scope that is still open. (Linux: srcu_read_lock_held.) */
  readLockHeld(): boolean {
    this.assertHeap();
    return slot >= 0 && openOf(this.ref, slot) > 0;
  }

  /** Enters a scope. It ends with its thread: when the worker that entered it dies, nobody waits for it any longer. */
  readLock(): SrcuScope {
    this.assertHeap();
    if (slot < 0)
      throw new RcuUsageError("ERR_RCU_NOT_ATTACHED", "Srcu.readLock: this thread is not attached");
    const bank = Domain.index.peek(this.ref) & 1; // However old: every grace period waits for both banks.
    const word = this.#counts + slot * STRIDE + bank;
    Atomics.add(i32, word, 1);
    Atomics.load(i32, word); // [S] Plain loads may pass the addition's store, but not this load (rcu/design.md).
    return ((ownerId << 1) | bank) as SrcuScope;
  }

  /** Leaves it: on any thread of the heap. */
  readUnlock(scope: SrcuScope): void {
    this.assertHeap();
    const owner = scope >>> 1;
    const word = this.#counts + ((owner & 0xff) - 1) * STRIDE + LEFT + (scope & 1);
    countLeaving(this.#counts, 1);
    if (owner === ownerId) {
      // Its own count of scopes that it entered: no other thread changes that.
      if (((i32[word - LEFT]! - Atomics.add(i32, word, 1)) | 0) <= 0) this.#leftTwice(word);
    } else leaveForeign(owner, word);
    if (Domain.waiting.load(this.ref) !== 0) advance(this.ref);
    countLeaving(this.#counts, -1);
  }

  #leftTwice(word: number): never {
    Atomics.sub(i32, word, 1);
    countLeaving(this.#counts, -1);
    throw new RcuUsageError(
      "ERR_RCU_LOCK_PAIRING",
      `Srcu.readUnlock of ${this.name}: this thread has no such scope open: each readLock has one readUnlock`,
    );
  }

  /** Runs `fn` in a scope, until its promise settles if it is async. */
  async run<T>(fn: (scope: SrcuScope) => T | Promise<T>): Promise<T> {
    const scope = this.readLock();
    try {
      return await fn(scope);
    } finally {
      this.#atHome(() => this.readUnlock(scope));
    }
  }

  /** Remembers now; done when a full grace period has followed (get_state_synchronize_srcu). */
  getState(): SrcuCookie {
    this.assertHeap();
    return seqSnap(Domain.seq.load(this.ref)) as SrcuCookie;
  }
  /** Remembers now and begins a grace period, which pollState moves on (start_poll_synchronize_srcu). */
  startPoll(): SrcuCookie {
    const cookie = this.getState();
    request(this.ref, cookie);
    return cookie;
  }
  /** Whether a full grace period has followed the cookie (poll_state_synchronize_srcu). Moves things on if it can. */
  pollState(cookie: SrcuCookie): boolean {
    this.assertHeap();
    if (seqDone(Domain.seq.load(this.ref), cookie)) return true;
    advance(this.ref);
    return seqDone(Domain.seq.load(this.ref), cookie);
  }

  /** A cookie whose grace period is over already (get_completed_synchronize_srcu). */
  getCompleted(): SrcuCookie {
    this.assertHeap();
    return (Domain.seq.load(this.ref) & ~3) as SrcuCookie;
  }
  /** Whether two cookies stand for the same grace period, so that one will do (same_state_synchronize_srcu). */
  sameState(one: SrcuCookie, other: SrcuCookie): boolean {
    return one === other;
  }

  /** Waits until all scopes that are open now have closed. Not inside one of them. */
  async synchronize(): Promise<void> {
    const cookie = this.getState();
    const rounds = newRounds();
    Domain.waiting.add(this.ref, 1);
    try {
      const words = i32;
      let event = this.#begin(cookie);
      while (!this.#atHome(() => this.pollState(cookie))) {
        await waitAsync(words, this.ref + Domain.event.offset, event, rounds.left());
        event = Atomics.load(words, this.ref + Domain.event.offset);
        if (rounds.due()) this.#atHome(() => checkSrcu(this.ref));
      }
    } finally {
      this.#atHome(() => Domain.waiting.add(this.ref, -1));
    }
  }

  /** The same, blocking this thread: readers must not depend on its event loop. */
  synchronizeBlocking(): void {
    const cookie = this.getState();
    const rounds = newRounds();
    Domain.waiting.add(this.ref, 1);
    try {
      for (let event = this.#begin(cookie); !this.pollState(cookie); event = Domain.event.load(this.ref)) {
        rounds.sleep(this.ref + Domain.event.offset, event);
        if (rounds.due()) checkSrcu(this.ref);
      }
    } finally {
      Domain.waiting.add(this.ref, -1);
    }
  }

  /** Asks for the grace period. Returns the event count from before, so that nothing that happens since is slept through. */
  #begin(cookie: SrcuCookie): number {
    const event = Domain.event.load(this.ref);
    request(this.ref, cookie);
    return event;
  }

  /**
   * Runs `reclaimer` with `arg` when all scopes that are open now have closed, at a safe point of some thread. When the reclaimer was
   * declared with a struct type, `arg` is an object that is handed over: throws CorruptionError if it was before. Throws
   * HeapFullError, and has done nothing then. (Linux: call_srcu.)
   */
  call<T extends number>(reclaimer: Reclaimer<T>, arg: T): void {
    this.assertHeap();
    const head = makeCall(reclaimer, arg, "Srcu.call");
    Domain.waiting.add(this.ref, 1);
    Domain.lock.lock(this.ref);
    queueBehind(Domain.list.at(this.ref), head);
    const stamp = accelerate(this.ref);
    Domain.lock.unlock(this.ref);
    request(this.ref, stamp);
  }

  /** Waits until all callbacks that were queued by call() before have run (srcu_barrier). Blocks this thread in the end. */
  async barrier(): Promise<void> {
    this.assertHeap();
    const list = Domain.list.at(this.ref);
    const goal = queuedBehind(list);
    while (!this.#atHome(() => handedOver(list, goal))) await this.#atHome(() => this.synchronize());
    this.#atHome(rcuBarrier);
  }
  /** The same, blocking all the while: readers must not depend on this thread's event loop. */
  barrierBlocking(): void {
    this.assertHeap();
    const list = Domain.list.at(this.ref);
    const goal = queuedBehind(list);
    while (!handedOver(list, goal)) this.synchronizeBlocking();
    rcuBarrier();
  }

  /**
   * Frees it. Throws RcuUsageError when scopes are open, and names who entered them, or when callbacks wait: synchronize() and
   * barrier() come first.
   */
  destroy(): void {
    this.assertHeap();
    if (!empty(this.ref, 0) || !empty(this.ref, 1))
      throw new RcuUsageError(
        "ERR_RCU_IN_USE",
        `Srcu.destroy of ${this.name}: scopes of it are open: ${readersText(this.ref)}`,
      );
    const list = Domain.list.at(this.ref);
    if (!handedOver(list, queuedBehind(list)))
      throw new RcuUsageError(
        "ERR_RCU_IN_USE",
        `Srcu.destroy of ${this.name}: callbacks wait: await barrier() first`,
      );
    unlistSrcu(this.ref);
    while (leaving(this.ref)) Domain.event.wait(this.ref, Domain.event.load(this.ref), 1);
    freeSrcu(this.ref);
    this.destroyed();
  }
}

/** A scope that another thread entered. If that one has died, its scopes were ended for it. */
function leaveForeign(owner: number, word: number): void {
  lockWord(RCU.SRCU_LOCK);
  if (!ownerIsDead(owner)) Atomics.add(i32, word, 1);
  unlockWord(RCU.SRCU_LOCK);
}

/** Whether no reader is in the bank: what left is counted before what entered, so equal means empty. */
function empty(ref: SrcuRef, bank: number): boolean {
  const counts = countsOf(ref);
  const high = Atomics.load(i32, RCU.SLOT_HIGH); // Who attaches later has not read yet.
  let left = 0;
  let entered = 0;
  for (let of = 0; of < high; of++) left += Atomics.load(i32, counts + of * STRIDE + LEFT + bank);
  for (let of = 0; of < high; of++) entered += Atomics.load(i32, counts + of * STRIDE + bank);
  return ((entered - left) | 0) === 0;
}

/** A plain store by the slot's owner, before an atomic one: who sees that a scope has ended sees this too. */
function countLeaving(counts: number, change: number): void {
  if (slot >= 0) i32[counts + slot * STRIDE + LEAVING]! += change;
}

/** Whether some thread still looks at it on its way out. */
function leaving(ref: SrcuRef): boolean {
  const high = Atomics.load(i32, RCU.SLOT_HIGH);
  for (let of = 0; of < high; of++) if (Atomics.load(i32, wordOf(ref, of) + LEAVING) !== 0) return true;
  return false;
}

/** Asks for a grace period that ends at `stamp` or later, and does what can be done for it now. */
function request(ref: SrcuRef, stamp: number): void {
  want(ref, stamp);
  advance(ref);
}

function want(ref: SrcuRef, stamp: number): void {
  for (;;) {
    const needed = Domain.needed.load(ref);
    if (seqDone(needed, stamp) || Domain.needed.cas(ref, needed, stamp)) return;
  }
}

/**
 * Moves the grace period on as far as it goes without waiting, and hands callbacks over. Who finds the gate taken has said
 * in `looks` that something changed; the holder looks again when it did.
 */
function advance(ref: SrcuRef): void {
  const wait = Domain.list.at(ref) + CBLIST.WAIT;
  // Counted once: if looking again counted too, two threads could keep each other looking for ever.
  let look = (Domain.looks.add(ref, 1) + 1) | 0;
  for (let again = true; again; ) {
    if (!takeOverWord(ref + Domain.gate.offset)) return;
    const before = Domain.seq.load(ref);
    try {
      while (step(ref));
    } finally {
      dropWord(ref + Domain.gate.offset);
    }
    if (Domain.seq.load(ref) !== before) {
      Domain.event.add(ref, 1);
      Domain.event.notify(ref);
    }
    const now = Domain.looks.load(ref);
    again = now !== look;
    look = now;
    if (i32[wait] !== 0) again = handOverDone(ref) || again;
  }
}

/** One step, with the gate held; false when there is nothing to do or a reader is in the way. */
function step(ref: SrcuRef): boolean {
  const seq = Domain.seq.load(ref);
  const bank = Domain.index.load(ref) & 1;
  if ((seq & 3) === 0) {
    if (seqDone(seq, Domain.needed.load(ref))) return false;
    i32[ref + Domain.started.offset] = stallClock();
  } else if (!empty(ref, bank ^ 1)) return false;
  if ((seq & 3) === 1) Domain.index.store(ref, bank ^ 1);
  Domain.seq.store(ref, ((seq & 3) === 2 ? seq + 2 : seq + 1) | 0);
  return true;
}

/** Stamps callbacks that have none, if a segment is free for them. Returns the stamp that the list waits for. Locked. */
function accelerate(ref: SrcuRef): number {
  const list = Domain.list.at(ref);
  const stamp = seqSnap(Domain.seq.load(ref));
  if (i32[list + CBLIST.WAIT] === 0 || i32[list + CBLIST.WAIT_STAMP] === stamp) stampBehind(list, stamp);
  return i32[list + CBLIST.WAIT_STAMP]!;
}

/**
 * Gives the callbacks whose grace period is over to this thread's RCU list: they run at a safe point, as all do. An idle
 * thread passes one now, since nobody else may come by. Returns whether there was something; then those left are stamped.
 */
function handOverDone(ref: SrcuRef): boolean {
  const list = Domain.list.at(ref);
  const idle = rcuNesting() < 0;
  if (idle) rcuIdleExit();
  Domain.lock.lock(ref);
  const count = seqDone(Domain.seq.load(ref), i32[list + CBLIST.WAIT_STAMP]!) ? handOver(list) : 0;
  if (count > 0 && i32[list + CBLIST.NEXT] !== 0) want(ref, accelerate(ref));
  Domain.lock.unlock(ref);
  Domain.waiting.add(ref, -count);
  if (idle) rcuIdleEnter();
  return count > 0;
}

/**
 * Ends the scopes that this thread has entered and nobody has left, and tells which: for a thread that must detach all the same, and
 * does so next. Giving one of them back after that does nothing, on whatever thread.
 */
export function abandonSrcuScopes(): { readonly name: string; readonly scopes: number }[] {
  const open: { name: string; scopes: number }[] = [];
  forEachSrcu((ref) => {
    const scopes = openOf(ref, slot);
    if (scopes > 0) open.push({ name: srcuName(ref), scopes });
  });
  if (open.length > 0) dropSrcuScopes(slot);
  return open;
}

/** The thread of slot `of` is dead: the scopes that it entered and nobody left are over, and its hands are off the callbacks. */
export function dropSrcuScopes(of: number): void {
  const dropped: SrcuRef[] = [];
  forEachSrcu((ref) => {
    const word = wordOf(ref, of);
    for (const bank of [0, 1]) Atomics.store(i32, word + LEFT + bank, Atomics.load(i32, word + bank));
    Atomics.store(i32, word + LEAVING, 0);
    countLeaving(countsOf(ref), 1);
    dropped.push(ref);
  });
  for (const ref of dropped) {
    if (Domain.waiting.load(ref) !== 0) {
      mendCallbacks(ref);
      advance(ref);
    }
    countLeaving(countsOf(ref), -1);
  }
}

function mendCallbacks(ref: SrcuRef): void {
  Domain.lock.lock(ref);
  const list = Domain.list.at(ref);
  mendBehind(list);
  if (i32[list + CBLIST.NEXT] !== 0) want(ref, accelerate(ref));
  Domain.lock.unlock(ref);
}

/** Queues a callback behind the readers of `srcu`: srcu.call(). (Linux: call_srcu.) */
export function callSrcu<T extends number>(srcu: Srcu, reclaimer: Reclaimer<T>, arg: T): void {
  srcu.call(reclaimer, arg);
}

/** Waits, blocking, until all callbacks queued behind the readers of `srcu` have run. (Linux: srcu_barrier.) */
export function srcuBarrier(srcu: Srcu): void {
  srcu.barrierBlocking();
}
