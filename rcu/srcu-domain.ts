/** What an Srcu is in the heap, and who reads in it: its counts, its name, the list of them all, reports of stalls. srcu.ts moves it on. */
import { freeArray, freeString, stringText, tryAllocArray, tryAllocString } from "./array.ts";
import { kfreeArrayRcu, kfreeRcu } from "./callback.ts";
import { HeapFullError, RcuUsageError } from "./error.ts";
import { settleLanes } from "./lanes.ts";
import * as layout from "./layout.ts";
import { lockWord, unlockWord } from "./lock.ts";
import { INNERMOST } from "./lock-order.ts";
import { i32, slot } from "./memory.ts";
import type { Ref } from "./ref.ts";
import { onCheckStall, type RcuStall, reportStall, stalledMs, stalledThread } from "./stall.ts";
import { atomic, fixed, free, locked, spinlock, struct, tryAlloc, words } from "./struct.ts";
import { gpNumber } from "./trace.ts";

const { ARRAY_ELEMENTS, CBLIST, GP_SEQ_START, MAX_SLOTS, RCU, SEQ_START } = layout;

export const Domain = struct("srcu", {
  counts: fixed<Ref<"array">>(),
  /** 1: its readers count themselves plainly. */
  fast: fixed(),
  /** The grace period of RCU that the step in progress waits for, when they do. */
  grace: atomic(),
  /** What reports call it. */
  name: fixed<Ref<"string"> | 0>(),
  /** The bank that new readers use. */
  index: atomic(),
  /** Grace periods: 0 none in progress, 1 the other bank empties, 2 switched, the old bank empties, 3 (fast only) it was empty. */
  seq: atomic(),
  /** The grace period that somebody waits for, at most. */
  needed: atomic(),
  /** Held by who moves `seq`; a word that is taken over when its holder dies. */
  gate: atomic(),
  /** Who waits, asleep or as a callback: readers look here when they leave. */
  waiting: atomic(),
  /** What they sleep on: moves when `seq` does. */
  event: atomic(),
  /** How often somebody had a reason to look whether `seq` can move. */
  looks: atomic(),
  /** stallClock() when the grace period in progress began: of who holds the gate, a racy look for others. */
  started: atomic(),
  // Callbacks: a CBLIST without a done segment; under lock, but for the counters.
  lock: spinlock(INNERMOST),
  list: words(CBLIST.WORDS),
  // All Srcus of the heap, under SRCU_LOCK.
  next: locked("srcus"),
  prev: locked("srcus"),
});
export type SrcuRef = Ref<"srcu">;

/** Words per slot: entered and left for each bank; a cache line, so that slots do not share one. */
export const STRIDE = 16;
export const LEFT = 2;
/** Calls of the slot's thread that have left a scope, or soon will, and still look whether somebody waits: destroy lets them go first. */
export const LEAVING = 4;

export const countsOf = (ref: SrcuRef): number => Domain.counts.get(ref) + ARRAY_ELEMENTS;
export const wordOf = (ref: SrcuRef, of: number): number => countsOf(ref) + of * STRIDE;

export function createSrcu(name: string, fast: boolean): SrcuRef {
  const counts = tryAllocArray(MAX_SLOTS * STRIDE);
  const text = name === "" ? 0 : tryAllocString(name);
  const ref = counts === 0 || (text === 0 && name !== "") ? 0 : tryAlloc(Domain);
  if (counts === 0 || ref === 0) {
    if (counts !== 0) freeArray(counts);
    if (text !== 0) freeString(text);
    throw new HeapFullError("new Srcu");
  }
  Domain.name.init(ref, text);
  Domain.fast.init(ref, fast ? 1 : 0);
  Domain.counts.init(ref, counts);
  Domain.seq.init(ref, GP_SEQ_START);
  Domain.needed.init(ref, GP_SEQ_START);
  Domain.list.set(ref, CBLIST.QUEUED, SEQ_START);
  Domain.list.set(ref, CBLIST.RUN, SEQ_START);
  lockWord(RCU.SRCU_LOCK);
  const head = i32[RCU.SRCU_HEAD]! as SrcuRef | 0;
  Domain.next.init(ref, head);
  if (head !== 0) Domain.prev.init(head, ref);
  i32[RCU.SRCU_HEAD] = ref;
  unlockWord(RCU.SRCU_LOCK);
  return ref;
}

/** Takes it off the list of all. */
export function unlistSrcu(ref: SrcuRef): void {
  lockWord(RCU.SRCU_LOCK);
  const next = Domain.next.racy(ref) as SrcuRef | 0;
  const prev = Domain.prev.racy(ref) as SrcuRef | 0;
  if (next !== 0) Domain.prev.init(next, prev);
  if (prev !== 0) Domain.next.init(prev, next);
  else i32[RCU.SRCU_HEAD] = next;
  unlockWord(RCU.SRCU_LOCK);
}

/** Readers that count plainly may look at it until their next quiescent state. */
export function freeSrcu(ref: SrcuRef): void {
  const name = Domain.name.get(ref);
  if (name !== 0) freeString(name);
  if (Domain.fast.get(ref) === 0) {
    freeArray(Domain.counts.get(ref));
    free(Domain, ref);
  } else {
    kfreeArrayRcu(Domain.counts.get(ref));
    kfreeRcu(Domain, ref);
  }
}

/** Every Srcu of the heap, under SRCU_LOCK: none is destroyed meanwhile. */
export function forEachSrcu(visit: (ref: SrcuRef) => void): void {
  if (Atomics.load(i32, RCU.SRCU_HEAD) === 0) return; // One that is made right now has no readers yet.
  lockWord(RCU.SRCU_LOCK);
  for (let ref = i32[RCU.SRCU_HEAD]! as SrcuRef | 0; ref !== 0; ref = Domain.next.racy(ref) as SrcuRef | 0)
    visit(ref);
  unlockWord(RCU.SRCU_LOCK);
}

/** What reports call it. */
export function srcuName(ref: SrcuRef): string {
  const name = Domain.name.get(ref);
  return name === 0 ? `Srcu ${ref}` : stringText(name);
}

/** Scopes that slot `of` entered and that are open: what left is read first, so a racy look is never too low. */
export function openOf(ref: SrcuRef, of: number): number {
  if (of === slot) settleLanes();
  const word = wordOf(ref, of);
  const left = Atomics.load(i32, word + LEFT) + Atomics.load(i32, word + LEFT + 1);
  return (Atomics.load(i32, word) + Atomics.load(i32, word + 1) - left) | 0;
}

/** Slots whose threads entered scopes that are open, and how many. */
function openSlots(ref: SrcuRef): { slot: number; scopes: number }[] {
  const open = [];
  for (let of = 0; of < Atomics.load(i32, RCU.SLOT_HIGH); of++) {
    const scopes = openOf(ref, of);
    if (scopes > 0) open.push({ slot: of, scopes });
  }
  return open;
}

type Readers = RcuStall["readers"];
/** Names who entered them: not under a lock, since the namer is the user's. */
const named = (open: readonly { slot: number; scopes: number }[]): Readers =>
  open.map(({ slot, scopes }) => ({ ...stalledThread(slot), scopes }));

/** Who entered the scopes that are open, in words. */
export const readersText = (ref: SrcuRef): string =>
  named(openSlots(ref))
    .map(({ slot, thread, scopes }) => `${scopes} entered by slot ${slot} (thread ${thread})`)
    .join(", ");

/** Scopes of one Srcu that are open: who entered them, wherever they are to be left. */
export interface OpenSrcuScopes {
  /** Its address: `new Srcu({ at: ref })`. */
  readonly ref: number;
  readonly name: string;
  readonly readers: Readers;
}

/**
 * Every Srcu of the heap of which scopes are open, with the threads that entered them: for the end of a program, or of a part of
 * it, which should leave none open. A racy look while threads run.
 */
export function openSrcuScopes(): OpenSrcuScopes[] {
  const found: { ref: number; name: string; open: ReturnType<typeof openSlots> }[] = [];
  forEachSrcu((ref) => {
    const open = openSlots(ref);
    if (open.length > 0) found.push({ ref, name: srcuName(ref), open });
  });
  return found.map(({ ref, name, open }) => ({ ref, name, readers: named(open) }));
}

/** A thread does not detach inside an SRCU scope: who would know when it ends? */
export function assertNoSrcuScopes(): void {
  const open: string[] = [];
  forEachSrcu((ref) => {
    const scopes = openOf(ref, slot);
    if (scopes !== 0) open.push(`${scopes} of ${srcuName(ref)}`);
  });
  if (open.length > 0)
    throw new RcuUsageError(
      "ERR_RCU_INSIDE_SCOPE",
      `detach inside SRCU scopes of this thread: ${open.join(", ")}: leave them first`,
    );
}

interface Late {
  readonly ref: SrcuRef;
  readonly name: string;
  readonly seq: number;
  readonly ms: number;
  readonly open: ReturnType<typeof openSlots>;
}
function late(ref: SrcuRef): Late | null {
  const seq = Domain.seq.load(ref);
  if ((seq & 3) === 0) return null;
  const ms = stalledMs(ref, seq, Domain.started.peek(ref));
  if (ms < 0) return null;
  const open = openSlots(ref);
  return open.length === 0 || Domain.seq.load(ref) !== seq
    ? null
    : { ref, name: srcuName(ref), seq, ms, open };
}
const report = ({ ref, name, seq, ms, open }: Late): RcuStall =>
  reportStall(ref, seq, {
    flavour: "srcu",
    name,
    seq: gpNumber(seq),
    ms,
    laggards: [],
    blocked: [],
    readers: named(open),
    tasks: [],
  });

/** Reports the grace period of an Srcu that this thread waits for, if it lasts too long. */
export function checkSrcu(ref: SrcuRef): void {
  const stall = late(ref);
  if (stall !== null) report(stall);
}
onCheckStall(() => {
  const stalls: Late[] = [];
  forEachSrcu((ref) => {
    const stall = late(ref);
    if (stall !== null) stalls.push(stall);
  });
  return stalls.map(report)[0] ?? null;
});
