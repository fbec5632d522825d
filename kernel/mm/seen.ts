/**
 * What subsystems saw of user memory when they judged a system call. The call itself then reads the same bytes, whatever
 * other threads have written there meanwhile: a path that was allowed is the path that is opened. It holds for the runs of the
 * call that follow after it blocked, on any CPU: the record then waits in the kernel's heap.
 *
 * uaccess.ts records between `beginSeen` and `endSeen`, and answers from the record until `forgetSeen`. All of this
 * belongs to the CPU, and to the call in progress on it. A read that failed is recorded too: it fails again.
 */
import { arrayGet, arrayLength, arraySet, freeArray, type Ref, tryAllocArray } from "../../rcu/index.ts";
import { Task } from "../task/task.ts";

/** Nothing was seen; a subsystem is looking; the call in progress reads what was seen. */
const NOTHING = 0;
const LOOKING = 1;
const REPLAY = 2;

/** Non-zero: uaccess.ts has to ask here. */
export let seenMode: number = NOTHING;
export const isLooking = (): boolean => seenMode === LOOKING;

interface Piece {
  readonly at: number;
  /** The bytes at `at`, with the NUL of a text; empty for a read that failed. */
  readonly bytes: Uint8Array;
  /** -errno of a read that failed, or 0. */
  readonly error: number;
}
let pieces: Piece[] = [];

/** Task.seen of a call whose record found no room: subsystems are asked again. */
const LOST = -1;

/** Subsystems are about to judge a call. */
export function beginSeen(): void {
  pieces = [];
  seenMode = LOOKING;
}

/** They are done: the call runs on what they saw. */
export function endSeen(): void {
  seenMode = pieces.length > 0 ? REPLAY : NOTHING;
}

/** The run of the call is over. */
export function forgetSeen(): void {
  if (seenMode === NOTHING) return;
  pieces = [];
  seenMode = NOTHING;
}

/** Takes down what a subsystem reads. What it saw before stays as it saw it (patchSeen came first). */
export function noteSeen(at: number, bytes: Uint8Array, error: number): void {
  pieces.push({ at, bytes: bytes.slice(), error });
}

/** -errno of a read at this address that failed when a subsystem tried it; 0 for none. */
export function seenError(at: number): number {
  for (const piece of pieces) if (piece.at === at && piece.error !== 0) return piece.error;
  return 0;
}

/** Puts what was seen over dst[off..off + len), which was read from `at`. The first look counts. */
export function patchSeen(at: number, dst: Uint8Array, off: number, len: number): void {
  for (let n = pieces.length - 1; n >= 0; n--) {
    const piece = pieces[n]!;
    const from = Math.max(at, piece.at);
    const to = Math.min(at + len, piece.at + piece.bytes.length);
    if (from < to) dst.set(piece.bytes.subarray(from - piece.at, to - piece.at), off + from - at);
  }
}

/** The text that a subsystem saw at this address, with its NUL; null when it saw none that begins there. */
export function seenText(at: number): Uint8Array | null {
  for (const piece of pieces) {
    if (piece.at !== at) continue;
    const end = piece.bytes.indexOf(0);
    if (end < 0) continue;
    const text = piece.bytes.slice(0, end + 1);
    patchSeen(at, text, 0, text.length);
    return text;
  }
  return null;
}

/** Words of a piece in the heap: address (two words), error, length; then the bytes. */
const HEAD = 4;
const wordsOf = (piece: Piece): number => HEAD + ((piece.bytes.length + 3) >> 2);

/** The call blocks: what was seen goes with its task, until dropSeen. */
export function keepSeen(task: Ref<"task">): void {
  if (seenMode === NOTHING || Task.seen.get(task) !== 0) return;
  const array = tryAllocArray(pieces.reduce((sum, piece) => sum + wordsOf(piece), 0));
  Task.seen.set(task, array === 0 ? LOST : array);
  if (array === 0) return;
  let at = 0;
  for (const piece of pieces) {
    arraySet(array, at, piece.at | 0);
    arraySet(array, at + 1, Math.floor(piece.at / 2 ** 32) | 0);
    arraySet(array, at + 2, piece.error);
    arraySet(array, at + 3, piece.bytes.length);
    const padded = new Uint8Array((wordsOf(piece) - HEAD) * 4);
    padded.set(piece.bytes);
    new Int32Array(padded.buffer).forEach((word, n) => {
      arraySet(array, at + HEAD + n, word);
    });
    at += wordsOf(piece);
  }
}

/** The call runs again: false when subsystems have to look again. */
export function recallSeen(task: Ref<"task">): boolean {
  const kept = Task.seen.get(task);
  if (kept === LOST) {
    Task.seen.set(task, 0);
    return false;
  }
  if (kept === 0) return true;
  const array = kept as Ref<"array">;
  pieces = [];
  for (let at = 0; at < arrayLength(array); ) {
    const length = arrayGet(array, at + 3);
    const words = new Int32Array((length + 3) >> 2).map((_, n) => arrayGet(array, at + HEAD + n));
    pieces.push({
      at: (arrayGet(array, at) >>> 0) + (arrayGet(array, at + 1) >>> 0) * 2 ** 32,
      bytes: new Uint8Array(words.buffer, 0, length),
      error: arrayGet(array, at + 2),
    });
    at += HEAD + words.length;
  }
  seenMode = REPLAY;
  return true;
}

/** The call has ended. */
export function dropSeen(task: Ref<"task">): void {
  const kept = Task.seen.get(task);
  Task.seen.set(task, 0);
  if (kept > 0) freeArray(kept as Ref<"array">);
}
