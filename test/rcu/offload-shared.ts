/** What the threads of offload.test.ts share. */
import {
  atomic,
  atomicAdd,
  atomicLoad,
  atomicWait,
  defineReclaimer,
  fixed,
  type HeapHandle,
  type Reclaimer,
  struct,
} from "../../rcu/index.ts";

export const Cell = struct("offload_cell", { current: atomic() });
export const Thing = struct("offload_thing", { alive: fixed() });

/** Words of the board. HOLD: reclaimers wait while it is 1, and say so in HELD. */
export const OFFLOAD = {
  READY: 0,
  STOP: 1,
  RAN: 2,
  DEAD_SEEN: 3,
  HELPED: 4,
  ENDED: 5,
  HOLD: 6,
  HELD: 7,
} as const;

export interface OffloadData {
  readonly domain: HeapHandle;
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly cell: never;
  readonly job: "help" | "busy" | "lazy";
  readonly updates: number;
}

let board: Int32Array<SharedArrayBuffer>;
const count = defineReclaimer("offload test: count", (n) => {
  atomicAdd(board, OFFLOAD.RAN, n);
  if (atomicLoad(board, OFFLOAD.HOLD) === 0) return;
  atomicAdd(board, OFFLOAD.HELD, 1);
  while (atomicLoad(board, OFFLOAD.HOLD) === 1) atomicWait(board, OFFLOAD.HOLD, 1);
});
/** The reclaimer that counts in this board. */
export function counted(words: Int32Array<SharedArrayBuffer>): Reclaimer {
  board = words;
  return count;
}
