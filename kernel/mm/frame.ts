/**
 * Page frames: reference counts in the heap, no lock. A frame is free when its count is 0; taking it is one
 * compare-and-swap from 0 to 1, so any frame can be asked for by number: that is how an address space keeps its
 * frames at one distance from its virtual addresses (where it is the same, the engine treats neighbouring pages as one).
 */
import { arrayAdd, arrayCas, arrayGet, arrayLoad } from "../../rcu/index.ts";
import { BLOCK_FRAMES, BLOCK_SHIFT, PAGE_SHIFT, PAGE_SIZE, RamState, ram, ramRef } from "./ram-state.ts";

/** Where this thread looks for frames first when no hint helps, as an index. Only a hint, so each has its own. */
let cursor = 0;
/** The same for runs of frames (page cache). */
let runCursor = -1;

/** Index of the frame at a byte address; the inverse. */
const indexOf = (address: number): number => (address - ram.base) / PAGE_SIZE;
const addressOf = (index: number): number => ram.base + index * PAGE_SIZE;

function take(index: number): boolean {
  if (!arrayCas(RamState.counts.get(ramRef), index, 0, 1)) return false;
  arrayAdd(RamState.blockFree.get(ramRef), index >> BLOCK_SHIFT, -1);
  RamState.freeFrames.add(ramRef, -1);
  return true;
}

/** Takes the frame with that index if it is free; its byte address, or 0. Contents undefined. */
export function takeFrame(index: number): number {
  const frames = RamState.frames.get(ramRef);
  if (index < 0 || index >= frames || arrayGet(RamState.counts.get(ramRef), index) !== 0) return 0;
  return take(index) ? addressOf(index) : 0;
}

/** Takes the frame at that byte address if it is one and is free. */
export function takeFrameAt(address: number): number {
  return address < ram.base || address >= ram.end ? 0 : takeFrame(indexOf(address));
}

/** How many frames there are, for hints that wrap around. */
export const frameTotal = (): number => RamState.frames.get(ramRef);
export const freeFrames = (): number => RamState.freeFrames.peek(ramRef);

/**
 * Takes any frame, from a wholly free block when there is one, at the place `colour` in it (so that the next pages can
 * follow at the same distance). Byte address, 0 when RAM is full. Contents undefined.
 */
export function findFrame(colour: number): number {
  const blockFree = RamState.blockFree.get(ramRef);
  const frames = RamState.frames.get(ramRef);
  const blocks = Math.ceil(frames / BLOCK_FRAMES);
  const start = cursor >> BLOCK_SHIFT;
  for (let n = 0; n < blocks; n++) {
    const block = (start + n) % blocks;
    if (arrayGet(blockFree, block) !== BLOCK_FRAMES) continue;
    const index = (block << BLOCK_SHIFT) + (colour & (BLOCK_FRAMES - 1));
    if (!take(index)) continue;
    cursor = block << BLOCK_SHIFT;
    return addressOf(index);
  }
  for (let n = 0; n < blocks; n++) {
    const block = (start + n) % blocks;
    // Atomic: the last free frame must not be overlooked because of a stale count.
    if (arrayLoad(blockFree, block) <= 0) continue;
    const first = block << BLOCK_SHIFT;
    const end = Math.min(first + BLOCK_FRAMES, frames);
    for (let index = first; index < end; index++) {
      if (arrayGet(RamState.counts.get(ramRef), index) !== 0 || !take(index)) continue;
      cursor = first;
      return addressOf(index);
    }
  }
  return 0;
}

export function zeroFrame(address: number): void {
  ram.u8.fill(0, address, address + PAGE_SIZE);
}

/** A zeroed frame with one reference: its byte address; 0 when RAM is full. */
export function allocFrame(): number {
  const address = allocFrameNear(0);
  if (address !== 0) zeroFrame(address);
  return address;
}

/** A frame at `near` if that is free, else any; contents undefined. 0 when RAM is full. */
export function allocFrameNear(near: number): number {
  if (near !== 0) {
    const address = takeFrameAt(near);
    if (address !== 0) return address;
  }
  const next = takeFrame(cursor + 1);
  if (next !== 0) {
    cursor++;
    return next;
  }
  return findFrame(near >>> PAGE_SHIFT);
}

/** `count` contiguous frames with one reference each, contents undefined: the first byte address, or 0. */
export function allocFrames(count: number): number {
  const frames = RamState.frames.get(ramRef);
  const counts = RamState.counts.get(ramRef);
  // Runs start in the middle of RAM: address spaces grow from both ends.
  if (runCursor < 0) runCursor = frames >> 1;
  let index = runCursor;
  let seen = 0;
  let run = 0;
  while (seen < frames + count) {
    if (index >= frames) {
      index = 0;
      run = 0;
    }
    run = arrayGet(counts, index) === 0 ? run + 1 : 0;
    index++;
    seen++;
    if (run < count) continue;
    const taken = takeRun(index - count, count);
    if (taken === count) {
      runCursor = index;
      return addressOf(index - count);
    }
    run = 0;
  }
  return 0;
}

/** Takes frames first..first+count-1: all of them, or none. */
function takeRun(first: number, count: number): number {
  for (let n = 0; n < count; n++) {
    if (take(first + n)) continue;
    for (let undo = 0; undo < n; undo++) putFrame(addressOf(first + undo));
    return 0;
  }
  return count;
}

/** Takes another reference to a frame that the caller knows to be in use. */
export function getFrame(address: number): void {
  arrayAdd(RamState.counts.get(ramRef), indexOf(address), 1);
}

/** Drops a reference; the last one frees the frame. */
export function putFrame(address: number): void {
  const index = indexOf(address);
  const old = arrayAdd(RamState.counts.get(ramRef), index, -1);
  if (old <= 0) throw new Error(`frame ${address.toString(16)} was freed twice`);
  if (old !== 1) return;
  arrayAdd(RamState.blockFree.get(ramRef), index >> BLOCK_SHIFT, 1);
  RamState.freeFrames.add(ramRef, 1);
}

/** References to a frame now. */
export const frameCount = (address: number): number =>
  arrayLoad(RamState.counts.get(ramRef), indexOf(address));
