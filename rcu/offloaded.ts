/** What threads do that offload their callbacks, and what becomes of those when a helper leaves: offload.ts says what a helper does. */
import { RcuUsageError } from "./error.ts";
import { slotBase } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { i32, slot } from "./memory.ts";
import { shelve, shelved, takeShelf, takeShelves } from "./shelf.ts";

const { RCU, SLOT_RCU } = layout;

/** Callbacks waiting, of this thread or of all, with which helpers have fallen behind: then threads keep theirs, and are held back by them. */
const BACKLOG = 1 << 16;
/** Words of SLOT_RCU.OFFLOADS. */
const KEEP = 1;
const REFUSE = 2;

/** What offloadRcu does about closures. */
export interface OffloadOptions {
  /**
   * "refuse", the default: callRcuHere and rcuDrop throw RcuUsageError on this thread, since only it could run what they queue.
   * "keep": they wait until it comes by.
   */
  closures?: "refuse" | "keep";
}

/** Whether some thread of this process has ever offloaded: for fast paths. */
let any = false;

/**
 * From here on helpers (helpRcu) run the callbacks that this thread queues: kfreeRcu and its like, callRcu and callRcuLazy with a reclaimer, what
 * collections replace and remove. Not offloaded, since JavaScript's functions and objects cannot leave their thread: closures (callRcuHere, rcuDrop;
 * `options.closures`), delayed releases, and a callRcu whose record found no memory. While there is no helper they lie there for the next
 * one, and this thread runs them when it comes by: at a safe point, at the end of a turn, or with every 1024th. When 65 536 wait, helpers have
 * fallen behind: this thread then queues its own as if it did not offload, and is held back by them.
 */
export function offloadRcu(options: OffloadOptions = {}): void {
  any = true;
  i32[slotBase(slot) + SLOT_RCU.OFFLOADS] = options.closures === "keep" ? KEEP : REFUSE;
}
/** Ends that; what is with helpers stays there. */
export function keepRcu(): void {
  i32[slotBase(slot) + SLOT_RCU.OFFLOADS] = 0;
}
/** Whether this thread's callbacks are offloaded. */
export const offloadsRcu = (): boolean => any && slot >= 0 && i32[slotBase(slot) + SLOT_RCU.OFFLOADS] !== 0;

/** A closure is about to be queued. */
export function assertClosures(what: string): void {
  if (any && slot >= 0 && i32[slotBase(slot) + SLOT_RCU.OFFLOADS] === REFUSE)
    throw new RcuUsageError(
      "ERR_RCU_NOT_OFFLOADED",
      `${what}: a closure stays on its thread, which offloads its callbacks: declare a reclaimer and use callRcu, or offload with { closures: "keep" }`,
    );
}

/** Puts a callback where helpers find it, or the next helper, or this thread when it comes by. False: too many wait. */
export function offloadCallback(cell: number): boolean {
  const shelf = slotBase(slot) + SLOT_RCU.OFFLOADED;
  if (i32[RCU.ORPHANS]! >= BACKLOG || shelved(shelf) >= BACKLOG) return false;
  if (shelve(shelf, cell)) {
    Atomics.add(i32, RCU.HELP_EVENT, 1);
    if (Atomics.load(i32, RCU.HELPERS) !== 0) Atomics.notify(i32, RCU.HELP_EVENT);
  }
  return true;
}

/** Callbacks of this thread that nobody has taken. */
export const shelvedHere = (): number => shelved(slotBase(slot) + SLOT_RCU.OFFLOADED);

/** What this thread has given to helpers, and they have not taken, while there is none. */
export function takeBack(): void {
  if (i32[slotBase(slot) + SLOT_RCU.OFFLOADED] !== 0) takeShelf(slot, SLOT_RCU.OFFLOADED);
}

/** The thread of slot `of` helps no more: it has ended that, left, or died. The last one's work goes back to the threads. */
export function leaveHelping(of: number): void {
  const base = slotBase(of);
  if (i32[base + SLOT_RCU.HELPS] === 0) return;
  i32[base + SLOT_RCU.HELPS] = 0;
  if (Atomics.sub(i32, RCU.HELPERS, 1) === 1) takeShelves([SLOT_RCU.OFFLOADED]);
}
