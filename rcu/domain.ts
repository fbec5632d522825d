/**
 * RcuDomain: RCU for any Node worker that lives in its event loop. A domain is a heap with its grace periods; the
 * thread is quiescent whenever its synchronous code has returned, so readers only mark where they read:
 *
 *   const domain = RcuDomain.create();                 // main thread
 *   new Worker(file, { workerData: { domain: domain.handle() } });
 *   const domain = RcuDomain.attach(workerData.domain);  // worker
 *   const value = domain.run((scope) => table.get(scope, 42));
 *
 * The first `run` of a turn makes the thread active; it is idle again, an extended quiescent state, when the turn is
 * over. A turn is one synchronous run of code: it ends before the next microtask, since a pool's worker may go to sleep
 * in one (piscina waits for its next task in Atomics.wait). A thread that never returns reports a quiescent state
 * every 64 outermost `run`s. A thread that is about to block outside of a scope says so (`blocking`).
 *
 * In an *announcing* domain (`create({ announce: true })`) a thread is active only inside its scopes. Nobody waits for one that
 * is busy or blocked elsewhere, and each outermost scope costs two atomic stores. (liburcu: the mb flavour.)
 *
 * Callbacks run at the end of turns, and within a long one when very many wait; never inside a scope, never while this thread
 * holds a lock. What they throw goes to `onError`. Threads that end, however they end, leave nothing behind.
 */
import { HELP_EVERY, pendingOwn, rcuRunCallbacks, setTurnHooks } from "./callback.ts";
import { setErrorHandler } from "./contain.ts";
import { Relief } from "./domain-relief.ts";
import { gracePeriod, type SynchronizeOptions } from "./domain-wait.ts";
import { RcuDomainError } from "./error.ts";
import { announceScope, endAnnouncedScope, goIdle, rcuQuiescent } from "./grace-period.ts";
import { currentHeap, Heap, type HeapHandle, type HeapOptions } from "./heap.ts";
import { rcuIdleEnter, rcuIdleExit } from "./idle.ts";
import * as layout from "./layout.ts";
import { flushAllInTime } from "./lazy.ts";
import { locksHeld } from "./lock.ts";
import { endRcuHelp, helpRcu } from "./offload.ts";
import { type OffloadOptions, offloadRcu } from "./offloaded.ts";
import {
  afterTurn,
  bequeath,
  inBackground,
  inherited,
  mayBlock,
  throwOutOfBand,
  type Worker,
} from "./platform.ts";
import { closuresHere } from "./reclaim.ts";
import type { RcuScope } from "./ref.ts";
import { endEra, IDLE_NESTING, rcuNesting, rcuReadLock, rcuReadUnlock, setNesting } from "./scope.ts";
import { anyShelved } from "./shelf.ts";
import { rcuBarrier, synchronizeRcu } from "./synchronize.ts";
import { inHeap, joinTurns, leaveTurns, reapAtExit } from "./turn.ts";

const { HEADER, RCU } = layout;

/** Outermost scopes between two quiescent states within one turn. */
const QUIESCE_EVERY = 64;
/** Pauses between two looks of an idle thread at callbacks that wait: each twice the last, in ms. */
const FIRST_LOOK = 1;
const LAST_LOOK = 64;
const GLOBAL = "sternix/rcu global domain";

/** How a thread takes part in a domain. */
export interface DomainThreadOptions {
  /**
   * Is told what a callback of this thread threw (a reclaimer, a closure, a cache's drop), and of scopes and locks that outlived their
   * turn; `where` says what it was. Default: the error is thrown out of band, an 'uncaughtException' of this thread.
   */
  onError?: (error: unknown, where: string) => void;
}

/** How RcuDomain.create makes a domain. */
export interface RcuDomainOptions extends HeapOptions, DomainThreadOptions {
  /** Readers announce each outermost scope, so that nobody ever waits for a thread outside of one. Default: false. */
  announce?: boolean;
}

/** A heap with its grace periods, and this thread's registration in it. */
export class RcuDomain {
  /** Structs and collections of the domain live here. */
  declare readonly heap: Heap; // Written once, by the constructor: V8 takes it for constant then, as the next one.
  /** Whether readers announce their scopes. */
  declare readonly announcing: boolean;
  readonly #onError: (error: unknown, where: string) => void;
  readonly #relief: Relief;
  #scopes = 0;
  /** Heaps that this thread used when it opened scopes here, and how many were open before. */
  readonly #outers: { scopes: number; heap: Heap | null }[] = [];
  /** How many of them: a scope looks at this. */
  #switched = 0;
  #online = false;
  /** Calls of blocking, and promises that quiesceOnPending waits for: the thread is active only inside its scopes meanwhile. */
  #pending = 0;
  /** Whether scopes are announced now. */
  #announces = false;
  /** The turn is over. A scope that is open now may be closed by a microtask; not later. */
  readonly #offline = (): void => {
    if (this.#scopes > 0) afterTurn(this.#late);
    else this.#late();
  };
  readonly #late = (): void => inHeap(this.heap, () => this.#endTurn());

  private constructor(heap: Heap, { onError }: DomainThreadOptions) {
    this.heap = heap;
    this.#relief = new Relief(heap);
    this.announcing = heap.i32[HEADER.ANNOUNCING] !== 0;
    this.#announces = this.announcing;
    this.#onError = (error, where) => {
      if (onError === undefined) throwOutOfBand(error);
      else
        try {
          onError(error, where);
        } catch (failure) {
          throwOutOfBand(failure);
        }
    };
    this.#join();
  }

  /** A new domain with a heap of its own; this thread is its first. */
  static create(options: RcuDomainOptions = {}): RcuDomain {
    const heap = Heap.create(options);
    if (options.announce === true) heap.i32[HEADER.ANNOUNCING] = 1;
    return new RcuDomain(heap, options);
  }

  /** Registers this thread with a domain that another thread made. */
  static attach(handle: HeapHandle, options: DomainThreadOptions = {}): RcuDomain {
    return new RcuDomain(Heap.attach(handle), options);
  }

  #join(): void {
    setErrorHandler(this.#onError);
    setTurnHooks({
      wake: () => this.#wake(),
      help: () => this.#help(),
      makeRoom: () => this.#makeRoom(),
      look: () => this.#lookAgain(FIRST_LOOK),
    });
    joinTurns(this.heap);
    rcuIdleEnter();
  }

  static #global: RcuDomain | null = null;
  /**
   * The domain of this process. Workers find it when they were started after the first call in their parent: the handle
   * travels in the environment data of worker_threads.
   */
  static global(): RcuDomain {
    if (RcuDomain.#global !== null) return RcuDomain.#global;
    const handle = inherited(GLOBAL) as HeapHandle | undefined;
    RcuDomain.#global = handle === undefined ? RcuDomain.create() : RcuDomain.attach(handle);
    if (handle === undefined) bequeath(GLOBAL, RcuDomain.#global.handle());
    return RcuDomain.#global;
  }

  /** What another thread needs to attach: for workerData or postMessage. */
  handle(): HeapHandle {
    return this.heap.handle();
  }

  /** Whether this thread is in a read scope of the domain. */
  get reading(): boolean {
    return this.#scopes > 0;
  }

  /**
   * Opens a scope; what `enter` opened `exit` must close in the same turn, without an await between. Throws RcuDomainError
   * when this thread is not registered.
   */
  enter(): RcuScope {
    if (currentHeap() !== this.heap) this.#switchIn();
    if (!this.#online) this.#goOnline();
    this.#scopes++;
    return rcuReadLock();
  }

  /** Closes the innermost scope of enter(). */
  exit(): void {
    const scopes = this.#scopes - 1;
    if (scopes < 0) throw new RcuDomainError("exit() without enter()");
    if (currentHeap() !== this.heap) this.heap.use();
    rcuReadUnlock();
    this.#scopes = scopes;
    if (scopes === 0) this.#outermost();
    if (this.#switched !== 0) this.#switchBack();
  }

  #switchIn(): void {
    this.#switched = this.#outers.push({ scopes: this.#scopes, heap: currentHeap() });
    this.heap.use();
  }
  /** The scope that was opened while this thread used another heap is closed: it uses that one again. */
  #switchBack(): void {
    const { scopes, heap } = this.#outers.at(-1)!;
    if (scopes !== this.#scopes) return;
    this.#outers.pop();
    this.#switched = this.#outers.length;
    if (heap !== null && heap.slot >= 0) heap.use();
  }

  /**
   * Runs `fn(scope, arg)` in a read scope and returns what it returns. The scope is closed even if it throws. Scopes nest.
   * Throws RcuDomainError when `fn` returns a promise, or this thread is not registered.
   */
  run<T, A = undefined>(fn: (scope: RcuScope, arg: A) => T, arg?: A): T {
    const scope = this.enter();
    let result: T;
    try {
      result = fn(scope, arg as A);
    } finally {
      this.exit();
    }
    if (
      typeof result === "object" &&
      result !== null &&
      typeof (result as { then?: unknown }).then === "function"
    )
      throw new RcuDomainError(
        "run(fn): fn returned a promise, but a read scope is synchronous; use Srcu to await",
      );
    return result;
  }

  #sinceQuiescent = 0;
  /** The last scope closed. */
  #outermost(): void {
    if (this.#announces) {
      this.#endAnnounced();
      return;
    }
    endEra();
    // Not by the era: another domain's scopes end eras too, and this one's might never meet the right one.
    if (++this.#sinceQuiescent < QUIESCE_EVERY) return;
    this.#sinceQuiescent = 0;
    if (rcuNesting() !== 0) return;
    rcuQuiescent();
    if (pendingOwn() >= HELP_EVERY && locksHeld === 0) this.#help();
  }

  #endAnnounced(): void {
    this.#online = false;
    // With a plain scope around it this thread stays active: nobody is told when that closes.
    if (rcuNesting() !== 0) this.#stayOnline();
    else if (endAnnouncedScope() > 0) this.#afterQueueing();
  }

  /** Callbacks were queued in a scope that no end of a turn follows. */
  #afterQueueing(): void {
    if (pendingOwn() < HELP_EVERY || locksHeld !== 0) {
      this.#lookAgain(FIRST_LOOK);
      return;
    }
    this.#wake();
    this.#help();
  }

  /** Until the end of the turn. */
  #stayOnline(): void {
    this.#online = true;
    queueMicrotask(this.#offline);
  }

  #goOnline(): void {
    if (rcuNesting() !== IDLE_NESTING) this.#refuse();
    if (this.#announces) {
      announceScope();
      this.#online = true;
    } else {
      rcuIdleExit();
      this.#stayOnline();
    }
  }

  /** enter() changes nothing then. */
  #refuse(): never {
    const why =
      this.heap.slot < 0
        ? "this thread is not registered: call registerThread()"
        : "a read scope was opened by rcuReadLock() while this thread was idle, which protects nothing: open it with enter() or run()";
    if (this.#switched !== 0) this.#switchBack();
    throw new RcuDomainError(why);
  }

  /** A callback is queued outside of any turn's scopes: this thread keeps it, and looks after it when the turn is over. */
  #wake(): void {
    if (this.#online || this.heap.slot < 0) return;
    rcuIdleExit();
    this.#stayOnline();
  }

  /** Very many callbacks were queued. */
  #help(): void {
    if (this.#scopes === 0) this.#relief.help();
  }

  #makeRoom(): boolean {
    if (this.#scopes > 0 || !this.#relief.mayMakeRoom()) return false;
    this.#wake();
    return this.#relief.makeRoom();
  }

  /** The turn is over, whatever it left behind. */
  #endTurn(): void {
    if (!this.#online || this.heap.slot < 0) return;
    this.#online = false;
    if (this.#scopes > 0 || rcuNesting() > 0) {
      this.#scopes = 0;
      this.#outers.length = 0;
      this.#switched = 0;
      setNesting(0);
      const error = new RcuDomainError(
        "a read scope is still open at the end of the turn: enter() needs its exit()",
      );
      this.#onError(error, "the end of a turn");
    }
    this.#relief.endTurn();
    // A mutex may be kept across turns; a lock that is kept forbids nothing but running callbacks.
    if (locksHeld === 0) rcuIdleEnter();
    else {
      goIdle();
      this.#reportLocks();
    }
    this.#lookAgain(FIRST_LOOK);
  }

  #locksReported = 0;
  #reportLocks(): void {
    if (locksHeld <= this.#locksReported) return;
    this.#locksReported = locksHeld;
    const error = new RcuDomainError(
      `${locksHeld} lock(s) are still held at the end of the turn: a guard is unlocked in the turn that took it`,
    );
    this.#onError(error, "the end of a turn");
  }

  #looking = false;
  /** Callbacks wait that nobody else may run, or nobody else is there to run: this thread looks at them now and then. */
  #lookAgain(ms: number): void {
    if (this.#looking || !this.#anyWaiting()) return;
    this.#looking = true;
    inBackground(() => {
      this.#looking = false;
      if (this.heap.slot < 0) return;
      inHeap(this.heap, () => this.#turn());
      this.#lookAgain(Math.min(2 * ms, LAST_LOOK));
    }, ms);
  }
  #anyWaiting(): boolean {
    const words = this.heap.i32;
    return inHeap(
      this.heap,
      () => pendingOwn() > 0 || Atomics.load(words, RCU.ORPHANS) > 0 || closuresHere() > 0 || anyShelved(),
    );
  }

  /** A turn for callbacks only. */
  #turn(): void {
    if (this.#online || rcuNesting() >= 0 || locksHeld !== 0) return;
    rcuIdleExit();
    flushAllInTime();
    rcuRunCallbacks();
    rcuIdleEnter();
  }

  /** This thread is quiescent from here until its next read: no grace period waits for it. */
  quiesce(): void {
    if (this.#scopes > 0) throw new RcuDomainError("quiesce() inside a read scope");
    this.#late();
  }

  /**
   * From here on helpers of the domain run what this thread hands to RCU, so that it may be as busy as it likes and still leaves no garbage.
   * offloadRcu says what is offloaded (data) and what cannot be (closures: an error, unless `closures` is "keep").
   */
  offload(options?: OffloadOptions): void {
    this.#mustBeRegistered();
    inHeap(this.heap, () => offloadRcu(options));
  }

  /**
   * Makes this thread a helper of the domain: blocks it, and runs what others offload, until some thread calls endHelp(). It must have loaded the
   * modules that declare reclaimers. Returns how many callbacks it ran. Throws RcuDomainError inside a read scope, and in a window.
   */
  help(): number {
    this.#mayBlock("help");
    return inHeap(this.heap, () => {
      this.#wake();
      return helpRcu();
    });
  }
  /** Ends help() on all threads. What they have not run goes back to the threads that are active. */
  endHelp(): void {
    inHeap(this.heap, endRcuHelp);
  }

  /**
   * Calls `fn`, which may block this thread (Atomics.wait, execSync, a long computation), and returns what it returns. No grace period
   * waits for this thread meanwhile, but for scopes that `fn` opens. Throws RcuDomainError inside a read scope.
   */
  blocking<T>(fn: () => T): T {
    if (this.#scopes > 0)
      throw new RcuDomainError(
        "blocking() inside a read scope would hold everybody up: leave the scope first",
      );
    this.quiesce();
    this.#changePending(1);
    try {
      return fn();
    } finally {
      this.#changePending(-1);
    }
  }

  #changePending(by: 1 | -1): void {
    this.#pending += by;
    this.#announces = this.announcing || this.#pending > 0;
  }

  /**
   * Returns a promise like the one given, or like what the function returns, and is quiescent whenever that is suspended: until it
   * settles this thread is active only inside its scopes. (minircu: quiesce_on_pending.)
   */
  quiesceOnPending<T>(work: Promise<T> | (() => Promise<T>)): Promise<T> {
    if (this.#scopes > 0) {
      // Its rejection is not lost: this error stands for it.
      if (typeof work !== "function") Promise.resolve(work).catch(() => {});
      throw new RcuDomainError("quiesceOnPending() inside a read scope");
    }
    this.quiesce();
    this.#changePending(1);
    const settled = () => this.#changePending(-1);
    let promise: Promise<T>;
    try {
      promise = Promise.resolve(typeof work === "function" ? work() : work);
    } catch (error) {
      settled();
      throw error;
    }
    promise.then(settled, settled);
    return promise;
  }

  #batch: Promise<void> | null = null;

  /**
   * Waits until every read scope that is open now, on any thread, has closed; the event loop goes on meanwhile. All callers of
   * one turn share a grace period. Callbacks of this thread whose time has come have run when it returns. Rejects with
   * RcuDomainError inside a read scope.
   */
  async synchronize(options: SynchronizeOptions = {}): Promise<void> {
    this.#mayWait("synchronize");
    this.quiesce();
    if (options.sleep !== undefined) return this.#synchronize(options.sleep);
    this.#batch ??= this.#synchronizeAll();
    return this.#batch;
  }

  /** After all who call in this turn have unlinked what they unlink. */
  async #synchronizeAll(): Promise<void> {
    await null;
    this.#batch = null;
    return this.#synchronize(undefined);
  }

  async #synchronize(sleep: SynchronizeOptions["sleep"]): Promise<void> {
    await gracePeriod(this.heap, sleep);
    if (this.heap.slot >= 0) inHeap(this.heap, () => this.#turn());
  }

  /** The same, blocking this thread. Throws RcuDomainError inside a read scope. */
  synchronizeBlocking(): void {
    this.#mayBlock("synchronizeBlocking");
    inHeap(this.heap, () => {
      this.#endTurn();
      synchronizeRcu();
      this.#turn();
    });
  }

  /** Waits, blocking, until all callbacks that any thread has queued so far have run. */
  barrier(): void {
    this.#mayBlock("barrier");
    inHeap(this.heap, () => {
      this.#wake();
      rcuBarrier();
    });
  }

  #mayBlock(what: string): void {
    this.#mayWait(what);
    if (!mayBlock)
      throw new RcuDomainError(
        `${what}() in a window, which may not block: await synchronize(), or use a worker`,
      );
  }

  #mayWait(what: string): void {
    if (this.#scopes > 0)
      throw new RcuDomainError(`${what}() inside a read scope would wait for itself: leave the scope first`);
    this.#mustBeRegistered();
  }

  #mustBeRegistered(): void {
    if (this.heap.slot < 0) throw new RcuDomainError("this thread is not registered: call registerThread()");
  }

  /** Comes back after unregisterThread(); attach() and create() register the thread by themselves. */
  registerThread(): void {
    if (this.heap.slot >= 0) return;
    this.heap.reattach();
    this.#join();
  }

  /** Leaves the domain; callbacks that this thread has queued run elsewhere. A thread that ends leaves by itself. */
  unregisterThread(): void {
    this.quiesce();
    this.heap.detach();
    leaveTurns(this.heap);
  }

  /**
   * Reaps what the worker held in the domain when it ends, however it ends. Needed only for workers that this thread started before it
   * joined its first domain, on systems other than Linux: all others are seen to end.
   */
  watch(worker: Worker): void {
    reapAtExit(worker, this.heap);
  }
}
