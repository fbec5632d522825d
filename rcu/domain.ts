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
 * every 64 outermost `run`s.
 */
import { getEnvironmentData, setEnvironmentData, type Worker } from "node:worker_threads";
import { rcuRunCallbacks } from "./callback.ts";
import { RcuError } from "./error.ts";
import { gpSeq, gpStamp, rcuQuiescent, requestGp, seqDone } from "./grace-period.ts";
import { currentHeap, Heap, type HeapHandle, type HeapOptions } from "./heap.ts";
import { rcuIdleEnter, rcuIdleExit } from "./idle.ts";
import * as layout from "./layout.ts";
import { closuresHere } from "./reclaim.ts";
import type { RcuScope } from "./ref.ts";
import { rcuReadLock, rcuReadUnlock } from "./scope.ts";
import { newRounds, nudge, rcuBarrier, synchronizeRcu } from "./synchronize.ts";
import { waitAsync } from "./wait-async.ts";

const { RCU } = layout;

/** Outermost scopes between two quiescent states within one turn. */
const QUIESCE_EVERY = 64;
const GLOBAL = "sternix/rcu global domain";

/** A call that the rules of the domain forbid; the message says what to do instead. */
export class RcuDomainError extends RcuError {
  constructor(message: string) {
    super("ERR_RCU_DOMAIN", message);
  }
  static {
    RcuDomainError.prototype.name = "RcuDomainError";
  }
}

/** How RcuDomain.synchronize waits. */
export interface SynchronizeOptions {
  /**
   * Called again and again until the grace period is over, with the milliseconds after which a look is due; each time that it
   * has waited in vain, lagging threads are asked to hurry and a stall is looked for. Default: until the grace period ends,
   * at most 100 ms at a time.
   */
  sleep?: (ms: number) => Promise<unknown>;
}

/** A heap with its grace periods, and this thread's registration in it. */
export class RcuDomain {
  /** Structs and collections of the domain live here. */
  readonly heap: Heap;
  #scopes = 0;
  #online = false;
  /** The turn is over. A scope that is open now may be closed by a microtask; not later. */
  readonly #offline = (): void => {
    if (this.#scopes > 0) setImmediate(this.#late);
    else this.#inHeap(() => this.#endTurn());
  };
  readonly #late = (): void => this.#inHeap(() => this.#endTurn());

  private constructor(heap: Heap) {
    this.heap = heap;
    rcuIdleEnter();
  }

  /** A new domain with a heap of its own; this thread is its first. */
  static create(options: HeapOptions = {}): RcuDomain {
    return new RcuDomain(Heap.create(options));
  }

  /** Registers this thread with a domain that another thread made. */
  static attach(handle: HeapHandle): RcuDomain {
    return new RcuDomain(Heap.attach(handle));
  }

  static #global: RcuDomain | null = null;
  /**
   * The domain of this process. Workers find it when they were started after the first call in their parent: the handle
   * travels in the environment data of worker_threads.
   */
  static global(): RcuDomain {
    if (RcuDomain.#global !== null) return RcuDomain.#global;
    const handle = getEnvironmentData(GLOBAL) as unknown as HeapHandle | undefined;
    RcuDomain.#global = handle === undefined ? RcuDomain.create() : RcuDomain.attach(handle);
    if (handle === undefined) setEnvironmentData(GLOBAL, RcuDomain.#global.handle() as never);
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
    if (currentHeap() !== this.heap) this.heap.use();
    if (!this.#online) this.#goOnline();
    this.#scopes++;
    return rcuReadLock();
  }

  /** Closes the innermost scope of enter(). */
  exit(): void {
    if (this.#scopes === 0) throw new RcuDomainError("exit() without enter()");
    rcuReadUnlock();
    if (--this.#scopes === 0) this.#outermost();
  }

  /**
   * Runs `fn(scope, arg)` in a read scope and returns what it returns. The scope is closed even if it throws. Scopes nest.
   * Throws RcuDomainError when `fn` returns a promise, or this thread is not registered.
   */
  run<T, A = undefined>(fn: (scope: RcuScope, arg: A) => T, arg?: A): T {
    const outer = currentHeap();
    const scope = this.enter();
    let result: T;
    try {
      result = fn(scope, arg as A);
    } finally {
      rcuReadUnlock();
      if (--this.#scopes === 0) this.#outermost();
      if (outer !== null && outer !== this.heap) outer.use();
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
  #outermost(): void {
    if (++this.#sinceQuiescent < QUIESCE_EVERY) return;
    this.#sinceQuiescent = 0;
    rcuQuiescent();
    rcuRunCallbacks();
  }

  #goOnline(): void {
    if (this.heap.slot < 0) throw new RcuDomainError("this thread is not registered: call registerThread()");
    rcuIdleExit();
    this.#online = true;
    queueMicrotask(this.#offline);
  }

  #endTurn(): void {
    if (!this.#online || this.heap.slot < 0) return;
    if (this.#scopes > 0)
      throw new RcuDomainError("a read scope is still open at the end of the turn: enter() needs its exit()");
    this.#online = false;
    this.heap.use();
    rcuIdleEnter();
    if (closuresHere() > 0) setTimeout(this.#again, 1).unref();
  }

  /** Closures wait for this thread, and it may have nothing else to do. */
  readonly #again = (): void => {
    if (this.#online || this.heap.slot < 0) return;
    this.#inHeap(() => {
      this.#goOnline();
      this.#endTurn();
    });
  };

  /** Does something in the domain's heap between two turns of others, and gives back the heap that was in use. */
  #inHeap(what: () => void): void {
    const outer = currentHeap();
    this.heap.use();
    what();
    if (outer !== null && outer !== this.heap) outer.use();
  }

  /** This thread is quiescent from here until its next read: no grace period waits for it. */
  quiesce(): void {
    if (this.#scopes > 0) throw new RcuDomainError("quiesce() inside a read scope");
    this.#endTurn();
  }

  /** Quiesces while the promise is pending, and returns it. */
  quiesceOnPending<T>(promise: Promise<T>): Promise<T> {
    this.quiesce();
    return promise;
  }

  #batch: Promise<void> | null = null;

  /**
   * Waits until every read scope that is open now, on any thread, has closed; the event loop goes on meanwhile. All callers of
   * one turn share a grace period. Rejects with RcuDomainError inside a read scope.
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
    return this.#synchronize(null);
  }

  async #synchronize(sleep: ((ms: number) => Promise<unknown>) | null): Promise<void> {
    const heap = this.heap.use();
    const stamp = gpStamp();
    requestGp(stamp);
    const rounds = newRounds();
    while (!seqDone(Atomics.load(heap.i32, RCU.GP_SEQ), stamp)) {
      if (sleep !== null) await sleep(rounds.left());
      else await this.#nextGp(stamp, rounds.left());
      heap.use();
      // A sleep of the caller's has its own pace.
      if ((rounds.due() || sleep !== null) && !seqDone(gpSeq(), stamp)) nudge(gpSeq());
    }
  }

  /** Until gpSeq moves, or it is time to look for a stall. */
  async #nextGp(stamp: number, ms: number): Promise<void> {
    const words = this.heap.i32;
    const seq = Atomics.load(words, RCU.GP_SEQ);
    if (seqDone(seq, stamp)) return;
    Atomics.add(words, RCU.GP_WAITERS, 1);
    try {
      await waitAsync(words, RCU.GP_SEQ, seq, ms);
    } finally {
      Atomics.sub(words, RCU.GP_WAITERS, 1);
    }
  }

  /** The same, blocking this thread. Throws RcuDomainError inside a read scope. */
  synchronizeBlocking(): void {
    this.#mayWait("synchronizeBlocking");
    this.heap.use();
    synchronizeRcu();
  }

  /** Waits, blocking, until all callbacks that any thread has queued so far have run. */
  barrier(): void {
    this.#mayWait("barrier");
    this.heap.use();
    if (!this.#online) this.#goOnline();
    rcuBarrier();
  }

  #mayWait(what: string): void {
    if (this.#scopes > 0)
      throw new RcuDomainError(`${what}() inside a read scope would wait for itself: leave the scope first`);
    if (this.heap.slot < 0) throw new RcuDomainError("this thread is not registered: call registerThread()");
  }

  /** Comes back after unregisterThread(); attach() and create() register the thread by themselves. */
  registerThread(): void {
    if (this.heap.slot >= 0) return;
    this.heap.reattach();
    rcuIdleEnter();
  }

  /** Leaves the domain; callbacks that this thread has queued run elsewhere. */
  unregisterThread(): void {
    this.quiesce();
    this.heap.detach();
  }

  /** Reaps what the worker held in the domain when it ends, however it ends. */
  watch(worker: Worker): void {
    const id = worker.threadId;
    worker.once("exit", () => {
      const outer = currentHeap();
      this.heap.reapThread(id);
      if (outer !== null) outer.use();
    });
  }
}
