/** Waiting for a grace period without blocking the thread: what RcuDomain.synchronize does. */
import { RcuDomainError } from "./error.ts";
import { gpSeq, gpStamp, pollGp, requestGp, seqDone } from "./grace-period.ts";
import type { Heap } from "./heap.ts";
import * as layout from "./layout.ts";
import { flushLazy } from "./lazy.ts";
import { FIRST_POLL, newRounds, nudge } from "./synchronize.ts";
import { inHeap } from "./turn.ts";
import { waitAsync } from "./wait-async.ts";

const { RCU } = layout;

/** How RcuDomain.synchronize waits. */
export interface SynchronizeOptions {
  /**
   * Called again and again until the grace period is over, with the milliseconds after which a look is due; it must return a promise.
   * synchronize goes on when that settles or when the grace period ends, whichever comes first; each time the promise was first, lagging
   * threads are asked to hurry and a stall is looked for. What it rejects with, synchronize rejects with. Default: a timer.
   * (minircu: synchronize's sleep.)
   */
  sleep?: (ms: number) => Promise<unknown>;
}

/** Settles when a grace period of the heap has gone by that began after this call. Rejects with what `sleep` rejects with. */
export async function gracePeriod(heap: Heap, sleep: SynchronizeOptions["sleep"]): Promise<void> {
  const words = heap.i32;
  const stamp = inHeap(heap, () => {
    flushLazy();
    const needed = gpStamp();
    requestGp(needed);
    return needed;
  });
  const rounds = newRounds();
  const over = (): boolean => seqDone(Atomics.load(words, RCU.GP_SEQ), stamp);
  let asleep: Promise<boolean> | null = null;
  let moved: Promise<boolean> | null = null;
  Atomics.add(words, RCU.GP_WAITERS, 1);
  try {
    for (let poll = FIRST_POLL; !over(); ) {
      moved ??= gpMoved(words, stamp, Math.min(poll, rounds.left()));
      if (sleep !== undefined) asleep ??= sleepOf(sleep, rounds.left());
      const slept = await (asleep === null ? moved : Promise.race([asleep, moved]));
      if (slept) asleep = null;
      else moved = null;
      if (!slept) poll *= 2;
      // A sleep of the caller's has its own pace.
      const look = rounds.due() || slept;
      inHeap(heap, () => {
        if (over()) return;
        if (look) nudge(gpSeq());
        else pollGp();
      });
    }
  } finally {
    Atomics.sub(words, RCU.GP_WAITERS, 1);
  }
}

/** Until gpSeq moves, or it is time to look for a stall. */
async function gpMoved(words: Heap["i32"], stamp: number, ms: number): Promise<boolean> {
  const seq = Atomics.load(words, RCU.GP_SEQ);
  if (!seqDone(seq, stamp)) await waitAsync(words, RCU.GP_SEQ, seq, ms);
  return false;
}

/** Settles with true when the caller's sleep is over. */
async function sleepOf(sleep: (ms: number) => Promise<unknown>, ms: number): Promise<boolean> {
  const slept = sleep(ms);
  if (typeof slept?.then !== "function")
    throw new RcuDomainError("synchronize({ sleep }): sleep must return a promise");
  await slept;
  return true;
}
