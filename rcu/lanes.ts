/**
 * Counts that a thread keeps to itself between two quiescent states, for those whom nobody looks at before a grace period is over: an addition to a
 * private array instead of one to the heap. What they come to is written there before the thread reports its next quiescent state, or goes
 * idle, so whoever has waited for a grace period that began later sees it. (Fast readers of an Srcu: srcu.ts.)
 *
 * A lane is armed with a count in the heap, and counts from there; once settled, it is 0 until it is armed again. So "armed" also says: no
 * quiescent state since, and this thread still uses the same heap.
 */
import { i32 } from "./memory.ts";

/** Lanes of a thread; lane 0 is never armed. Whoever gets none counts in the heap. */
const MAX_LANES = 1024;
/** 0: not armed. Else the count, and 1. Private: TurboFan knows its address. */
export const lanes = new Int32Array(new ArrayBuffer(4096));

/** What an armed lane began with, and the words of the heap that count up and down. */
const began = new Int32Array(new ArrayBuffer(4096));
const upWords = new Int32Array(new ArrayBuffer(4096));
const downWords = new Int32Array(new ArrayBuffer(4096));
/** The armed ones, and how many. */
const armed = new Int32Array(new ArrayBuffer(4096));
const count = new Int32Array(new ArrayBuffer(4));

const free: number[] = [];
let used = 1;
const owners = new FinalizationRegistry<number>((lane) => {
  settleLanes();
  free.push(lane);
});

/** A lane of this thread, for as long as `owner` lives; 0 when there is none left. */
export function takeLane(owner: object): number {
  const lane = free.pop() ?? (used < MAX_LANES ? used++ : 0);
  if (lane !== 0) owners.register(owner, lane);
  return lane;
}

/**
 * From here on the lane counts, from `start` on, which is word `up` less word `down` of the heap: words that only this thread writes. `more` are
 * counted already.
 */
export function armLane(lane: number, start: number, up: number, down: number, more: number): void {
  lanes[lane] = start + 1 + more;
  began[lane] = start + 1;
  upWords[lane] = up;
  downWords[lane] = down;
  armed[count[0]!++] = lane;
}

/** Writes what all lanes have counted into the heap, by plain stores, and disarms them. */
export function settleLanes(): void {
  if (count[0] !== 0) settle();
}
function settle(): void {
  while (count[0]! > 0) {
    const lane = armed[--count[0]!]!;
    const change = (lanes[lane]! - began[lane]!) | 0;
    if (change > 0) i32[upWords[lane]!]! += change;
    if (change < 0) i32[downWords[lane]!]! -= change;
    lanes[lane] = 0;
  }
}

/** This thread leaves its heap as if it had died: what the lanes have counted is nobody's any more. */
export function dropLanes(): void {
  while (count[0]! > 0) lanes[armed[--count[0]!]!] = 0;
}
