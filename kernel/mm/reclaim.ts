/**
 * Frames for pages, and what happens when there are few: clean pages of files that nobody maps are dropped. Their
 * frames come back after a grace period, since a reader may be copying out of one; so reclaim starts early, at a
 * low-water mark, and whoever finds nothing at all tries again after its next safe point (fault.ts).
 */
import { rcuHurry } from "../../rcu/kernel.ts";
import { allocFrame, findFrame, frameTotal, freeFrames, takeFrameAt, zeroFrame } from "./frame.ts";
import { forEachMapping } from "./mapping.ts";
import { dropCleanPages } from "./pages.ts";
import { PAGE_SHIFT } from "./ram.ts";
import { noteRefusal, SHORT_RAM } from "./shortage.ts";

/** Below a 16th of RAM reclaim starts, and tries to get back to an 8th: what is read until a grace period ends fits between. */
const LOW_SHIFT = 4;
const TARGET_SHIFT = 3;
/** Allocations to wait after a reclaim that found nothing. */
const PAUSE = 256;
let pause = 0;

/** Drops up to `target` clean, unmapped pages of files; how many it dropped. */
export function reclaimPages(target: number): number {
  let dropped = 0;
  forEachMapping((mapping) => {
    dropped += dropCleanPages(mapping, target - dropped);
    return dropped < target;
  });
  return dropped;
}

/** Frames that are left to copies between the kernel and programs, which could not be done again: a 128th of RAM. */
const RESERVE_SHIFT = 7;
let sparing = true;
/** Whether allocations of this thread leave the kernel's reserve. */
export function setSparing(spare: boolean): void {
  sparing = spare;
}
/** Whether only the reserve is left. */
export const onlyReserve = (): boolean => freeFrames() < frameTotal() >> RESERVE_SHIFT;

/** A frame for a page, at byte address `near` if that is free; contents undefined. 0: out of memory. */
export function allocPage(near: number): number {
  if (freeFrames() < frameTotal() >> LOW_SHIFT && --pause < 0) makeRoom();
  const frame = sparing && onlyReserve() ? 0 : takeFrameAt(near) || findFrame(near >>> PAGE_SHIFT);
  if (frame === 0) refuse();
  return frame;
}

/** A zeroed frame for the kernel's own use, wherever it is. 0: out of memory. */
export function allocKernelPage(): number {
  if (freeFrames() < frameTotal() >> LOW_SHIFT && --pause < 0) makeRoom();
  const frame = onlyReserve() ? 0 : allocFrame();
  if (frame === 0) refuse();
  return frame;
}

/** Nothing is to be had: for whoever tries again, what can come back hurries. */
function refuse(): void {
  makeRoom();
  rcuHurry();
  noteRefusal(SHORT_RAM);
}

/** What else holds memory that nobody needs. Called wherever memory is short, perhaps with locks held: `hook` only takes notice. */
export function onMemoryShort(hook: () => void): void {
  memoryShort = hook;
}
let memoryShort = (): void => {};

/** Starts the return of some frames. They need a grace period to arrive, so the next reclaim waits for a part of as many allocations. */
function makeRoom(): void {
  memoryShort();
  const dropped = reclaimPages((frameTotal() >> TARGET_SHIFT) - freeFrames());
  pause = dropped === 0 ? PAUSE : dropped >> 3;
}

/** The same, zeroed. */
export function allocZeroedPage(near: number): number {
  const frame = allocPage(near);
  if (frame !== 0) zeroFrame(frame);
  return frame;
}
