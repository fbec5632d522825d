/**
 * What a callback does when its time has come: a reclaimer runs, or an object goes back to its slab.
 */

import { freePages, pageCache } from "./buddy.ts";
import { CorruptionError, DeclarationError } from "./error.ts";
import { gpSeq, seqDone } from "./grace-period.ts";
import { CELL_DYING, CELL_FREE, CELL_LIVE, CELL_STATE } from "./layout.ts";
import { i32 } from "./memory.ts";
import { hashName, type Ref } from "./ref.ts";
import { freeCell } from "./slab.ts";
import { fixed, free, struct } from "./struct.ts";

/** Runs what a callback or a delayed release names: `reclaimer` is the hash of its name. */
export const RcuHead = struct("rcu_head", { reclaimer: fixed(), arg: fixed() });

/** A function that may be run by another thread than the one that queued it, known by its name in all of them. */
export interface Reclaimer {
  readonly name: string;
  readonly hash: number;
  readonly run: (arg: number) => void;
}

const reclaimers = new Map<number, Reclaimer>();

/** Declares a reclaimer. Every worker that may run callbacks must load the module that declares it. */
export function defineReclaimer(name: string, run: (arg: number) => void): Reclaimer {
  const hash = hashName(name);
  const other = reclaimers.get(hash);
  if (other !== undefined)
    throw new DeclarationError(
      "ERR_RCU_DECLARED_TWICE",
      `reclaimer ${name}: ${other.name} is declared already`,
    );
  const reclaimer = { name, hash, run };
  reclaimers.set(hash, reclaimer);
  return reclaimer;
}

/** Callbacks whose record could not be allocated: they wait here with their stamp. Lost only if the thread dies. */
export const recordless: { reclaimer: Reclaimer; arg: number; stamp: number; heap: unknown }[] = [];

/** Runs one callback. */
export function invoke(cell: number, cache: number, headCache: number): void {
  if (cache === headCache) {
    const reclaimer = reclaimers.get(RcuHead.reclaimer.get(cell as Ref<"rcu_head">))!;
    const arg = RcuHead.arg.get(cell as Ref<"rcu_head">);
    free(RcuHead, cell as Ref<"rcu_head">);
    reclaimer.run(arg);
  } else if (cache >= 0) freeCell(cache, cell);
  else freeRun(cell);
}

/** Frees an array that fills a run of pages of its own. */
export function freeRun(ref: number): void {
  const state = i32[ref + CELL_STATE]! & 0xff;
  if (state !== CELL_LIVE && state !== CELL_DYING)
    throw new CorruptionError("ERR_RCU_DOUBLE_FREE", `double free: array ${ref}`);
  i32[ref + CELL_STATE] = CELL_FREE;
  freePages(ref - 2);
}

/** Whether this thread has the code for the callback. */
export function runnable(cell: number, headCache: number): boolean {
  return pageCache(cell) !== headCache || reclaimers.has(RcuHead.reclaimer.get(cell as Ref<"rcu_head">));
}

/** Marks a cell as handed to RCU; a second call for the same object is a bug that is caught here. */
export function markDying(ref: number): void {
  const state = i32[ref + CELL_STATE]!;
  if ((state & 0xff) !== CELL_LIVE) {
    const what = (state & 0xff) === CELL_DYING ? "handed to RCU twice" : "freed already";
    throw new CorruptionError("ERR_RCU_DOUBLE_FREE", `kfreeRcu: object ${ref} was ${what}`);
  }
  i32[ref + CELL_STATE] = (state & ~0xff) | CELL_DYING;
}

export function recordlessHere(): number {
  let count = 0;
  for (const entry of recordless) if (entry.heap === i32) count++;
  return count;
}

export function runRecordless(): number {
  let ran = 0;
  const seq = gpSeq();
  for (let n = 0; n < recordless.length; ) {
    const entry = recordless[n]!;
    if (entry.heap !== i32 || !seqDone(seq, entry.stamp)) {
      n++;
      continue;
    }
    recordless.splice(n, 1);
    ran++;
    entry.reclaimer.run(entry.arg);
  }
  return ran;
}
