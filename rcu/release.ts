/**
 * Delayed releases: cleanup that needs the context of the thread's current task (closing a file flushes it), queued by
 * code that may not do it on the spot and drained at the same safe points as RCU callbacks, which are another pool:
 * a release waits for no grace period.
 */

import { callRcu, queueClosure, rcuRunCallbacks } from "./callback.ts";
import { Batch } from "./contain.ts";
import { DeclarationError, RcuUsageError } from "./error.ts";
import { rcuQuiescent, slotBase } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { lockWord, unlockWord } from "./lock.ts";
import { i32, slot } from "./memory.ts";
import { warn } from "./platform.ts";
import { defineReclaimer, RcuHead } from "./reclaim.ts";
import { hashName, type Ref } from "./ref.ts";
import { rcuNesting } from "./scope.ts";
import { free, tryAlloc } from "./struct.ts";
import { rcuBarrier, synchronizeRcu } from "./synchronize.ts";

const { CELL_LINK, RCU, SLOT_RCU } = layout;

/** A cleanup function, known by its name in every worker. C is the context that drainReleases is given: the current task. */
export interface Releaser<C = number> {
  readonly name: string;
  readonly hash: number;
  release(arg: number, context: C): void;
}

/** An object whose cleanup needs a context that only a safe point has. (Starnix: Releasable.) */
export interface Releasable<C = number> {
  /** Called once, at a safe point. It may wait, and queue more releases. */
  release(context: C): void;
}

const WARN_PASSES = 100;
const PANIC_PASSES = 10_000;

const releasers = new Map<number, Releaser<never>>();
/** Releases of this thread's own objects, and those whose record could not be allocated. */
let local: { heap: unknown; release: (context: never) => void }[] = [];
/** Objects that wait for a grace period before they come here. */
let behindGp = 0;

/**
 * Declares a releaser: what queueRelease(releaser, arg) runs at a safe point. Every worker must load the module that
 * declares it, since a release may outlive the worker that queued it. Throws DeclarationError when the name is taken.
 */
export function defineReleaser<C = number>(
  name: string,
  release: (arg: number, context: C) => void,
): Releaser<C> {
  const hash = hashName(name);
  const other = releasers.get(hash);
  if (other !== undefined)
    throw new DeclarationError(
      "ERR_RCU_DECLARED_TWICE",
      `releaser ${name}: ${other.name} is declared already`,
    );
  const releaser = { name, hash, release };
  releasers.set(hash, releaser as unknown as Releaser<never>);
  return releaser;
}

/** Where releases wait: in a list of their thread, or behind a grace period first (a release then also follows every reader). */
export type ReleaseBackend = "list" | "rcu";
let backend: ReleaseBackend = "list";

/** Chooses the backend of this thread's queueRelease. The interface is the same, and so is what callers see. */
export function setReleaseBackend(choice: ReleaseBackend): void {
  backend = choice;
}

const afterGp = defineReclaimer("rcu: delayed release", (head) => append(head as Ref<"rcu_head">));

/** Queues a release for a safe point of this thread; of another one, if this thread ends before. Never fails. */
export function queueRelease<C = number>(releaser: Releaser<C>, arg: number): void {
  const head = tryAlloc(RcuHead);
  if (head === 0) {
    queueObject({ release: (context: C) => releaser.release(arg, context) });
    return;
  }
  RcuHead.reclaimer.init(head, releaser.hash);
  RcuHead.arg.init(head, arg);
  if (backend === "rcu") callRcu(afterGp, head);
  else append(head);
}

/**
 * Queues the release of an object of this thread: behind a grace period, if that is the backend. It must be drained
 * before the thread detaches.
 */
export function queueObject<C>(object: Releasable<C>): void {
  const entry = { heap: i32, release: (context: C) => object.release(context) };
  if (backend === "list") {
    local.push(entry);
    return;
  }
  behindGp++;
  queueClosure(() => {
    behindGp--;
    local.push(entry);
  });
}

/** This thread detaches: nobody else could release its objects. */
export function assertNoLocalReleases(): void {
  const waiting = local.filter((entry) => entry.heap === i32).length + behindGp;
  if (waiting > 0)
    throw new RcuUsageError(
      "ERR_RCU_IN_USE",
      `detach with ${waiting} delayed release(s) of this thread's objects: call finalizeReleases(context) first`,
    );
}

function append(head: Ref<"rcu_head">): void {
  const list = slotBase(slot) + SLOT_RCU.RELEASE_LIST;
  const tail = i32[list + 1]!;
  i32[head + CELL_LINK] = 0;
  if (tail === 0) i32[list] = head;
  else i32[tail + CELL_LINK] = head;
  i32[list + 1] = head;
}

/** Whether drainReleases has anything to do now. */
export function releasesPending(): boolean {
  return (
    i32[slotBase(slot) + SLOT_RCU.RELEASE_LIST] !== 0 || local.length > 0 || i32[RCU.ORPHAN_RELEASES] !== 0
  );
}

/**
 * Safe point: runs releases until none is left, those included that releases queue. Returns how many ran. Not in a
 * read scope. Warns after 100 passes; more than 10 000 are a loop, which throws RcuUsageError. An exception of a release ends none of
 * the others; it goes to the error handler, or is thrown when the pass is over.
 */
export function drainReleases<C = number>(context: C): number {
  if (backend === "list" && !releasesPending()) return 0;
  assertNoScope();
  let ran = 0;
  for (let pass = 1; ; pass++) {
    takeOrphans(Infinity);
    const done = releasePass(context, Infinity);
    if (done === 0) break;
    ran += done;
    if (pass === WARN_PASSES) warn(`delayed releases: ${pass} passes, and more are queued`, "RcuRelease");
    if (pass > PANIC_PASSES)
      throw new RcuUsageError(
        "ERR_RCU_RELEASE_LOOP",
        `delayed releases: still not empty after ${PANIC_PASSES} passes`,
      );
  }
  count(ran);
  return ran;
}

/**
 * Safe point of a thread that has more to do: runs what is queued on it, then up to `limit` of what that queues and up to `orphans` of
 * what threads have handed over. What is left then is handed over itself: to whoever passes a safe point next, this thread among
 * them, while releasesPending() says so. However long a chain of releases is, it comes to its end, and no safe point is longer than this.
 * Returns how many ran. Exceptions as in drainReleases.
 */
export function drainSomeReleases<C = number>(context: C, limit: number, orphans: number): number {
  if (!releasesPending()) return 0;
  assertNoScope();
  if (orphans > 0) takeOrphans(orphans);
  let ran = releasePass(context, Infinity);
  for (let left = limit; left > 0; ) {
    const done = releasePass(context, left);
    if (done === 0) break;
    ran += done;
    left -= done;
  }
  if (i32[slotBase(slot) + SLOT_RCU.RELEASE_LIST] !== 0) orphanReleases(slot);
  count(ran);
  return ran;
}

function assertNoScope(): void {
  if (rcuNesting() > 0) throw new RcuUsageError("ERR_RCU_INSIDE_SCOPE", "drainReleases inside a read scope");
}

function count(ran: number): void {
  const counter = slotBase(slot) + SLOT_RCU.RELEASES;
  i32[counter] = (i32[counter]! + ran) | 0;
}

/** The end: waits for what is behind a grace period too, and runs everything. Returns how many ran. */
export function finalizeReleases<C = number>(context: C): number {
  let ran = 0;
  for (let more = 1; more > 0; ran += more) {
    if (backend === "rcu") rcuBarrier();
    if (behindGp > 0) synchronizeRcu(); // Their closures run at the safe point that drainReleases passes.
    more = drainReleases(context);
  }
  return ran;
}

/** Runs what is queued now, not what that queues, and of references no more than `limit`. */
function releasePass(context: unknown, limit: number): number {
  if (backend === "rcu") {
    rcuQuiescent();
    rcuRunCallbacks();
  }
  const list = slotBase(slot) + SLOT_RCU.RELEASE_LIST;
  const batch = new Batch();
  let ran = 0;
  const last = i32[list + 1]!;
  for (let more = i32[list] !== 0; more && ran < limit; ran++) {
    const head = i32[list]! as Ref<"rcu_head">;
    more = head !== last;
    i32[list] = i32[head + CELL_LINK]!;
    if (i32[list] === 0) i32[list + 1] = 0;
    const hash = RcuHead.reclaimer.get(head);
    try {
      release(head, hash, context);
    } catch (error) {
      batch.failed(error, `releaser ${releasers.get(hash)?.name}`);
    }
  }
  if (local.length > 0) {
    const mine = local.filter((entry) => entry.heap === i32);
    local = local.filter((entry) => entry.heap !== i32);
    for (const entry of mine)
      try {
        entry.release(context as never);
      } catch (error) {
        batch.failed(error, "release of an object");
      }
    ran += mine.length;
  }
  batch.end();
  return ran;
}

/** Runs one, which is on no list any more. */
function release(head: Ref<"rcu_head">, hash: number, context: unknown): void {
  const arg = RcuHead.arg.get(head);
  free(RcuHead, head);
  const releaser = releasers.get(hash);
  if (releaser === undefined)
    throw new DeclarationError(
      "ERR_RCU_NOT_DECLARED",
      `delayed release: this worker has not loaded the module of releaser ${hash}`,
    );
  releaser.release(arg, context as never);
}

/** Gives what slot `of` had queued to the next thread that drains. */
export function orphanReleases(of: number): void {
  const list = slotBase(of) + SLOT_RCU.RELEASE_LIST;
  lockWord(RCU.ORPHAN_LOCK);
  splice(list, RCU.ORPHAN_RELEASES);
  unlockWord(RCU.ORPHAN_LOCK);
}

/** Takes the oldest `limit` of what others have handed over. */
function takeOrphans(limit: number): void {
  if (i32[RCU.ORPHAN_RELEASES] === 0) return;
  lockWord(RCU.ORPHAN_LOCK);
  if (limit === Infinity) splice(RCU.ORPHAN_RELEASES, slotBase(slot) + SLOT_RCU.RELEASE_LIST);
  else
    for (let left = limit; left > 0 && i32[RCU.ORPHAN_RELEASES] !== 0; left--) {
      const head = i32[RCU.ORPHAN_RELEASES]! as Ref<"rcu_head">;
      i32[RCU.ORPHAN_RELEASES] = i32[head + CELL_LINK]!;
      if (i32[RCU.ORPHAN_RELEASES] === 0) i32[RCU.ORPHAN_RELEASES + 1] = 0;
      append(head);
    }
  unlockWord(RCU.ORPHAN_LOCK);
}

function splice(from: number, to: number): void {
  const head = i32[from]!;
  if (head === 0) return;
  const tail = i32[to + 1]!;
  if (tail === 0) i32[to] = head;
  else i32[tail + CELL_LINK] = head;
  i32[to + 1] = i32[from + 1]!;
  i32[from] = 0;
  i32[from + 1] = 0;
}
