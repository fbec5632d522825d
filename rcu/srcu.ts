/**
 * SRCU: read scopes that may await, block, and be left on another thread than they were entered on. Costs two atomic
 * additions a scope. Each Srcu object has grace periods of its own: a reader that never leaves harms no other.
 *
 * Readers count themselves in one of two banks, per slot: how many entered, how many left. A grace period waits until
 * the bank that is not current is empty (a reader may have picked it just before the last switch), makes it the
 * current one, and waits until the other is empty. Readers that come after the switch are not waited for.
 *
 * _Fast_ readers count themselves by plain additions to a word of their thread (lanes.ts), and no atomic operation. What those would order, three grace periods of RCU
 * do instead, which the updater waits for: one before the switch (whoever enters after it has seen what was unlinked, and what was counted
 * before is seen), one after it (nobody picks the old bank any more), and one when the old bank is empty (what its readers read comes before
 * that). An idle thread, for which no grace period waits, counts atomically. (Linux: srcu_read_lock_fast.)
 *
 * Nobody waits in the middle of it: the state (`seq`: count << 2 | step, like gpSeq) is moved on by whoever finds that it
 * can be, under `gate`: who asks for a grace period, and every reader that leaves while one is wanted.
 */
import { withRoom } from "./callback.ts";
import { Collection, checkObject, type Handle, isAt } from "./collection.ts";
import { RcuUsageError } from "./error.ts";
import { goActive, goIdle, gpSeq, seqDone, seqSnap } from "./grace-period.ts";
import { armLane, lanes, settleLanes, takeLane } from "./lanes.ts";
import { ownerIsDead } from "./lock.ts";
import { heapIdentity, home, i32, ownerId, slot } from "./memory.ts";
import { keepsOrder } from "./platform.ts";
import type { Reclaimer } from "./reclaim.ts";
import type { Brand } from "./ref.ts";
import type { Rounds } from "./rounds.ts";
import { rcuNesting } from "./scope.ts";
import {
  checkSrcu,
  countsOf,
  createSrcu,
  Domain,
  freeSrcu,
  LEFT,
  openOf,
  readersText,
  STRIDE,
  srcuName,
  unlistSrcu,
} from "./srcu-domain.ts";
import { accelerate, advance, countLeaving, empty, leaveForeign, leaving, request } from "./srcu-gp.ts";
import { assertMayWait, condSynchronizeRcu, type GpCookie, newRounds, rcuBarrier } from "./synchronize.ts";
import { waitAsync } from "./wait-async.ts";
import { handedOver, makeCall, queueBehind, queuedBehind } from "./waitlist.ts";

// V8 folds a constant of this module, not an imported one.
const LANES = lanes;
const IN_ORDER = keepsOrder;
const WORDS = STRIDE;
const LEFT_AT = LEFT;
const INDEX = Domain.index.offset;
const WAITING = Domain.waiting.offset;

/** What readLock returned: to be given back to readUnlock, on whatever thread. */
export type SrcuScope = Brand<"srcu scope">;
/** A point in time of one Srcu: done when a full grace period of it has followed. */
export type SrcuCookie = Brand<"srcu cookie">;

/** A domain of sleepable read scopes. Another thread opens the same one with `new Srcu({ at: srcu.ref })`. */
export class Srcu extends Collection<"srcu"> {
  // Each is written once, with what it is: V8 then folds it into the code of who holds a constant Srcu.
  readonly #counts = countsOf(this.ref);
  readonly #fast = Domain.fast.get(this.ref) !== 0;
  /** Where fast scopes of this object are counted between two quiescent states; 0: nowhere. What such a scope is. */
  readonly #lane = this.#fast && !this.checked ? takeLane(this) : 0;
  #scope = 0 as SrcuScope;
  /** Its heap, for what goes on after an await. */
  readonly #home = home;

  /**
   * `name` is for reports: whose scopes are open. `fast`: its readers do no atomic operation (a scope costs a nanosecond), must leave
   * on the thread that they entered on, and its grace periods take three of RCU. Throws HeapFullError; StaleReferenceError, WrongTypeError or WrongHeapError when
   * `at`, a reference or a handle, names no Srcu of this heap.
   */
  constructor(options: { at?: number | Handle; name?: string; fast?: boolean } = {}) {
    super(
      Domain,
      isAt(options)
        ? checkObject(Domain, options.at, "Srcu")
        : withRoom(() => createSrcu(options.name ?? "", options.fast ?? false)),
    );
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
    const lane = this.#lane;
    const count = LANES[lane]!;
    if (count === 0) return this.#fast ? this.#enterFast() : this.#enter();
    LANES[lane] = count + 1;
    return this.#scope;
  }

  /**
   * Counts plainly; from here to the next quiescent state, in a lane. Whoever waits for a bank to be empty waits for a grace period of RCU first that
   * begins when the bank is not current any more, so none who leaves it after that counts in a lane: it looks for those who wait.
   */
  #enterFast(): SrcuScope {
    this.assertHeap();
    if (this.checked || rcuNesting() < 0 || slot < 0) return this.#enter();
    // No quiescent state lies between this look and the count.
    const bank = i32[this.ref + INDEX]! & 1;
    const word = this.#counts + slot * WORDS + bank;
    const left = word + LEFT_AT;
    this.#scope = ((ownerId << 1) | bank) as SrcuScope;
    if (this.#lane === 0) i32[word]!++;
    else armLane(this.#lane, (i32[word]! - i32[left]!) | 0, word, left, 1);
    return this.#scope;
  }

  #enter(): SrcuScope {
    this.assertHeap();
    if (slot < 0)
      throw new RcuUsageError("ERR_RCU_NOT_ATTACHED", "Srcu.readLock: this thread is not attached");
    const bank = Domain.index.peek(this.ref) & 1; // However old: every grace period waits for both banks.
    const word = this.#counts + slot * WORDS + bank;
    Atomics.add(i32, word, 1);
    if (!IN_ORDER) Atomics.load(i32, word); // [S] Plain loads may pass the addition's store, but not this load (rcu/design.md).
    return ((ownerId << 1) | bank) as SrcuScope;
  }

  /** Leaves it: on any thread of the heap, but where readers are fast. */
  readUnlock(scope: SrcuScope): void {
    const lane = this.#lane;
    const count = LANES[lane]!;
    if (count > 1 && scope === this.#scope) LANES[lane] = count - 1;
    else this.#leave(scope);
  }

  #leave(scope: SrcuScope): void {
    if (this.#fast) settleLanes();
    const owner = scope >>> 1;
    const word = this.#counts + ((owner & 0xff) - 1) * WORDS + LEFT_AT + (scope & 1);
    if (
      this.#fast &&
      !this.checked &&
      owner === ownerId &&
      this.heapId === heapIdentity &&
      rcuNesting() >= 0 &&
      i32[word] !== i32[word - LEFT_AT] &&
      i32[this.ref + WAITING] === 0
    )
      i32[word]!++; // Who waits since then waits for a grace period of RCU before it looks here.
    else this.#leaveCounted(owner, word);
  }

  #leaveCounted(owner: number, word: number): void {
    this.assertHeap();
    if (this.#fast && owner !== ownerId) {
      if (ownerIsDead(owner)) return; // Its scopes ended with it.
      throw new RcuUsageError(
        "ERR_RCU_LOCK_PAIRING",
        `Srcu.readUnlock of ${this.name}: a fast scope is left on the thread that entered it`,
      );
    }
    countLeaving(this.#counts, 1);
    if (owner === ownerId) {
      // Its own count of scopes that it entered: no other thread changes that.
      if (((i32[word - LEFT_AT]! - Atomics.add(i32, word, 1)) | 0) <= 0) this.#leftTwice(word);
    } else leaveForeign(owner, word);
    const waiting = IN_ORDER ? i32[this.ref + WAITING] : Domain.waiting.load(this.ref);
    if (waiting !== 0) advance(this.ref);
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
      for (let pause = 1; !this.#atHome(() => this.pollState(cookie)); pause = Math.min(2 * pause, 16)) {
        // The end of a grace period of RCU wakes nobody here; whoever runs its callback does.
        const most = this.#fast ? pause : rounds.left();
        await waitAsync(words, this.ref + Domain.event.offset, event, Math.min(most, rounds.left()));
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
        if (this.#fast) this.#sleepIdle(rounds, event);
        else rounds.sleep(this.ref + Domain.event.offset, event);
        if (rounds.due()) checkSrcu(this.ref);
      }
    } finally {
      Domain.waiting.add(this.ref, -1);
    }
  }

  /** What is waited for may be a grace period of RCU: for that, or for the readers, but so that this thread holds none up. */
  #sleepIdle(rounds: Rounds, event: number): void {
    const stamp = Domain.grace.load(this.ref);
    if (!seqDone(gpSeq(), stamp)) {
      condSynchronizeRcu(stamp as number as GpCookie);
      return;
    }
    assertMayWait("Srcu.synchronizeBlocking");
    const active = rcuNesting() === 0;
    if (active) goIdle();
    try {
      rounds.sleep(this.ref + Domain.event.offset, event);
    } finally {
      if (active) goActive();
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

/** Queues a callback behind the readers of `srcu`: srcu.call(). (Linux: call_srcu.) */
export function callSrcu<T extends number>(srcu: Srcu, reclaimer: Reclaimer<T>, arg: T): void {
  srcu.call(reclaimer, arg);
}

/** Waits, blocking, until all callbacks queued behind the readers of `srcu` have run. (Linux: srcu_barrier.) */
export function srcuBarrier(srcu: Srcu): void {
  srcu.barrierBlocking();
}
