/**
 * Delayed releases: cleanup that needs the context of the thread's current task (closing a file flushes it), queued by
 * code that may not do it on the spot and drained at the same safe points as RCU callbacks, which are another pool:
 * a release waits for no grace period.
 */

import { callRcu, rcuRunCallbacks } from "./callback.ts";
import { DeclarationError, RcuUsageError } from "./error.ts";
import { rcuQuiescent, slotBase } from "./grace-period.ts";
import { CELL_LINK, RCU, SLOT_RCU } from "./layout.ts";
import { lockWord, unlockWord } from "./lock.ts";
import { i32, slot } from "./memory.ts";
import { defineReclaimer, RcuHead } from "./reclaim.ts";
import { hashName, type Ref } from "./ref.ts";
import { rcuNesting } from "./scope.ts";
import { alloc, free } from "./struct.ts";
import { rcuBarrier } from "./synchronize.ts";

/** A cleanup function, known by its name in every worker. */
export interface Releaser {
  readonly name: string;
  readonly hash: number;
  readonly release: (arg: number, context: number) => void;
}

const WARN_PASSES = 100;
const PANIC_PASSES = 10_000;

const releasers = new Map<number, Releaser>();
/** Releases whose record could not be allocated. */
let recordless: { heap: unknown; releaser: Releaser; arg: number }[] = [];

/** Declares a releaser. `context` is what drainReleases was given: the current task. */
export function defineReleaser(name: string, release: (arg: number, context: number) => void): Releaser {
  const hash = hashName(name);
  const other = releasers.get(hash);
  if (other !== undefined)
    throw new DeclarationError(
      "ERR_RCU_DECLARED_TWICE",
      `releaser ${name}: ${other.name} is declared already`,
    );
  const releaser = { name, hash, release };
  releasers.set(hash, releaser);
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

/** Queues a release for a safe point of this thread. Never fails. */
export function queueRelease(releaser: Releaser, arg: number): void {
  const head = alloc(RcuHead);
  if (head === 0) {
    recordless.push({ heap: i32, releaser, arg });
    return;
  }
  RcuHead.reclaimer.init(head, releaser.hash);
  RcuHead.arg.init(head, arg);
  if (backend === "rcu") callRcu(afterGp, head);
  else append(head);
}

function append(head: Ref<"rcu_head">): void {
  const list = slotBase(slot) + SLOT_RCU.RELEASE_LIST;
  const tail = i32[list + 1]!;
  if (tail === 0) i32[list] = head;
  else i32[tail + CELL_LINK] = head;
  i32[list + 1] = head;
}

/** Whether drainReleases has anything to do. */
export function releasesPending(): boolean {
  return (
    i32[slotBase(slot) + SLOT_RCU.RELEASE_LIST] !== 0 ||
    recordless.length > 0 ||
    i32[RCU.ORPHAN_RELEASES] !== 0
  );
}

/**
 * Safe point: runs releases until none is left, those included that releases queue. Returns how many ran. Not in a
 * read scope. Warns after 100 passes; more than 10 000 are a loop, which throws.
 */
export function drainReleases(context: number): number {
  if (backend === "list" && !releasesPending()) return 0;
  if (rcuNesting() > 0) throw new RcuUsageError("ERR_RCU_INSIDE_SCOPE", "drainReleases inside a read scope");
  let ran = 0;
  for (let pass = 1; ; pass++) {
    const done = releasePass(context);
    if (done === 0) break;
    ran += done;
    if (pass === WARN_PASSES)
      process.emitWarning(`delayed releases: ${pass} passes, and more are queued`, "RcuRelease");
    if (pass > PANIC_PASSES)
      throw new RcuUsageError(
        "ERR_RCU_RELEASE_LOOP",
        `delayed releases: still not empty after ${PANIC_PASSES} passes`,
      );
  }
  const counter = slotBase(slot) + SLOT_RCU.RELEASES;
  i32[counter] = (i32[counter]! + ran) | 0;
  return ran;
}

/** The end: waits for what is behind a grace period too, and runs everything. */
export function finalizeReleases(context: number): number {
  let ran = 0;
  for (let more = 1; more > 0; ran += more) {
    if (backend === "rcu") rcuBarrier();
    more = drainReleases(context);
  }
  return ran;
}

/** Runs what is queued now, not what that queues. */
function releasePass(context: number): number {
  if (backend === "rcu") {
    rcuQuiescent();
    rcuRunCallbacks();
  }
  const list = slotBase(slot) + SLOT_RCU.RELEASE_LIST;
  if (i32[RCU.ORPHAN_RELEASES] !== 0) takeOrphans(list);
  let ran = 0;
  const last = i32[list + 1]!;
  for (let more = i32[list] !== 0; more; ) {
    const head = i32[list]! as Ref<"rcu_head">;
    more = head !== last;
    i32[list] = i32[head + CELL_LINK]!;
    if (i32[list] === 0) i32[list + 1] = 0;
    const releaser = releasers.get(RcuHead.reclaimer.get(head));
    if (releaser === undefined)
      throw new DeclarationError(
        "ERR_RCU_NOT_DECLARED",
        `delayed release: this worker has not loaded the module of releaser ${head}`,
      );
    const arg = RcuHead.arg.get(head);
    free(RcuHead, head);
    ran++;
    releaser.release(arg, context);
  }
  if (recordless.length > 0) {
    const mine = recordless.filter((entry) => entry.heap === i32);
    recordless = recordless.filter((entry) => entry.heap !== i32);
    for (const entry of mine) entry.releaser.release(entry.arg, context);
    ran += mine.length;
  }
  return ran;
}

/** Gives what slot `of` had queued to the next thread that drains. */
export function orphanReleases(of: number): void {
  const list = slotBase(of) + SLOT_RCU.RELEASE_LIST;
  lockWord(RCU.ORPHAN_LOCK);
  splice(list, RCU.ORPHAN_RELEASES);
  unlockWord(RCU.ORPHAN_LOCK);
}

function takeOrphans(list: number): void {
  lockWord(RCU.ORPHAN_LOCK);
  splice(RCU.ORPHAN_RELEASES, list);
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
