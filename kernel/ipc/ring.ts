/**
 * A ring of bytes in page frames: what pipes and sockets keep their data in.
 *
 * A ring has no lock: it belongs to the object that points at it, and that object's lock guards it. Frames are taken
 * when bytes first reach them and kept until the ring is freed or shrunk; an empty ring starts again at its first
 * frame, so a pipe that carries small messages lives in one.
 */
import {
  arrayGet,
  arraySet,
  free,
  freeArray,
  owned,
  type Ref,
  struct,
  tryAlloc,
  tryAllocArray,
} from "../../rcu/index.ts";
import { putFrame } from "../mm/frame.ts";
import type { UserIo } from "../mm/iov.ts";
import { ram } from "../mm/ram.ts";
import { allocKernelPage } from "../mm/reclaim.ts";

const FRAME = 4096;
/** Below this many bytes a loop beats subarray and set. */
const SMALL = 24;

export const Ring = struct("ring", {
  /** Frame numbers, 0 where none was needed yet. */
  frames: owned<Ref<"array">>(),
  /** Bytes that fit: a multiple of the frame size. */
  capacity: owned(),
  /** Where the oldest byte is. */
  head: owned(),
  used: owned(),
});

/** A ring of `bytes` (a multiple of 4096); 0 when the heap is full. */
export function ringCreate(bytes: number): Ref<"ring"> | 0 {
  const ring = tryAlloc(Ring);
  if (ring === 0) return 0;
  const frames = tryAllocArray(bytes / FRAME);
  if (frames === 0) {
    free(Ring, ring);
    return 0;
  }
  Ring.frames.set(ring, frames);
  Ring.capacity.set(ring, bytes);
  return ring;
}

export function ringFree(ring: Ref<"ring">): void {
  const frames = Ring.frames.get(ring);
  putFrames(frames, 0, Ring.capacity.get(ring) / FRAME);
  freeArray(frames);
  free(Ring, ring);
}

function putFrames(frames: Ref<"array">, from: number, to: number): void {
  for (let i = from; i < to; i++) {
    const frame = arrayGet(frames, i);
    if (frame !== 0) putFrame(frame * FRAME);
    arraySet(frames, i, 0);
  }
}

/** Frames that it has, about: as many as its bytes need. */
export const ringPages = (ring: Ref<"ring">): number => Math.ceil(Ring.used.get(ring) / FRAME);
export const ringRoom = (ring: Ref<"ring">): number => Ring.capacity.get(ring) - Ring.used.get(ring);

/** Bytes that `span` found room for, or in, from there to the end of the frame. */
let chunk = 0;

/** Address in RAM of byte `at` of the ring, with `chunk` bytes, at most `limit`, behind it; 0 when no frame is to be had. */
function span(ring: Ref<"ring">, at: number, limit: number): number {
  const frames = Ring.frames.get(ring);
  const index = at >>> 12;
  let frame = arrayGet(frames, index);
  if (frame === 0) {
    const address = allocKernelPage();
    if (address === 0) return 0;
    frame = address / FRAME;
    arraySet(frames, index, frame);
  }
  const within = at & (FRAME - 1);
  chunk = Math.min(limit, FRAME - within);
  return frame * FRAME + within;
}

/** Place of the byte `skip` behind the head. */
function place(ring: Ref<"ring">, skip: number): number {
  const at = Ring.head.get(ring) + skip;
  const capacity = Ring.capacity.get(ring);
  return at < capacity ? at : at - capacity;
}

/** Appends up to `length` bytes: as many as there is room and memory for; the number appended. */
export function ringWrite(ring: Ref<"ring">, source: Uint8Array, offset: number, length: number): number {
  const used = Ring.used.get(ring);
  const wanted = Math.min(length, ringRoom(ring));
  let done = 0;
  while (done < wanted) {
    const to = span(ring, place(ring, used + done), wanted - done);
    if (to === 0) break;
    const from = offset + done;
    if (chunk < SMALL) for (let i = 0; i < chunk; i++) ram.u8[to + i] = source[from + i]!;
    else ram.u8.set(source.subarray(from, from + chunk), to);
    done += chunk;
  }
  Ring.used.set(ring, used + done);
  return done;
}

/** Copies up to `length` bytes from `skip` bytes behind the head, without taking them; the number copied. */
export function ringPeek(
  ring: Ref<"ring">,
  skip: number,
  target: Uint8Array,
  offset: number,
  length: number,
): number {
  const wanted = Math.min(length, Ring.used.get(ring) - skip);
  let done = 0;
  while (done < wanted) {
    const from = span(ring, place(ring, skip + done), wanted - done);
    const to = offset + done;
    if (chunk < SMALL) for (let i = 0; i < chunk; i++) target[to + i] = ram.u8[from + i]!;
    else target.set(ram.u8.subarray(from, from + chunk), to);
    done += chunk;
  }
  return done;
}

/** Drops the oldest `length` bytes. */
export function ringConsume(ring: Ref<"ring">, length: number): void {
  const used = Ring.used.get(ring) - length;
  Ring.used.set(ring, used);
  if (used === 0) Ring.head.set(ring, 0);
  else Ring.head.set(ring, (Ring.head.get(ring) + length) % Ring.capacity.get(ring));
}

/** Takes up to `length` bytes; the number taken. */
export function ringRead(ring: Ref<"ring">, target: Uint8Array, offset: number, length: number): number {
  const done = ringPeek(ring, 0, target, offset, length);
  if (done !== 0) ringConsume(ring, done);
  return done;
}

/** As ringWrite, from user memory: bytes appended, or -EFAULT when none could be fetched. */
export function ringWriteFrom(ring: Ref<"ring">, io: UserIo, length: number): number {
  const used = Ring.used.get(ring);
  const wanted = Math.min(length, ringRoom(ring));
  let done = 0;
  while (done < wanted) {
    const to = span(ring, place(ring, used + done), wanted - done);
    if (to === 0) break;
    const asked = chunk; // Copying may fault, and come by here again.
    const moved = io.copyFrom(ram.u8, to, asked);
    if (moved < 0 && done === 0) return moved;
    if (moved > 0) done += moved;
    if (moved < asked) break;
  }
  Ring.used.set(ring, used + done);
  return done;
}

/** As ringRead, to user memory: bytes taken, or -EFAULT when none could be stored. */
export function ringReadTo(ring: Ref<"ring">, io: UserIo, length: number): number {
  const done = ringPeekTo(ring, io, length);
  if (done > 0) ringConsume(ring, done);
  return done;
}

/** The same, leaving the bytes in the ring. */
export function ringPeekTo(ring: Ref<"ring">, io: UserIo, length: number): number {
  const wanted = Math.min(length, Ring.used.get(ring));
  let done = 0;
  while (done < wanted) {
    const from = span(ring, place(ring, done), wanted - done);
    const asked = chunk;
    const moved = io.copyTo(ram.u8, from, asked);
    if (moved < 0 && done === 0) return moved;
    if (moved > 0) done += moved;
    if (moved < asked) break;
  }
  return done;
}

/** Puts `length` bytes that were read back in front of the oldest, growing the ring if need be; false without memory. */
export function ringUnread(ring: Ref<"ring">, bytes: Uint8Array, length: number): boolean {
  const used = Ring.used.get(ring);
  const rest = new Uint8Array(used);
  const wanted = Math.ceil((used + length) / FRAME) * FRAME;
  if (wanted > Ring.capacity.get(ring) && !ringResize(ring, wanted)) return false;
  ringRead(ring, rest, 0, used);
  return ringWrite(ring, bytes, 0, length) === length && ringWrite(ring, rest, 0, used) === used;
}

/** Takes back the newest `length` bytes. */
export function ringUnwrite(ring: Ref<"ring">, length: number): void {
  Ring.used.set(ring, Ring.used.get(ring) - length);
}

const page = new Uint8Array(FRAME);

/** Gives the ring another capacity (a multiple of 4096, not below what it holds); false when memory is short. */
export function ringResize(ring: Ref<"ring">, bytes: number): boolean {
  const next = ringCreate(bytes);
  if (next === 0) return false;
  const used = Ring.used.get(ring);
  for (let done = 0; done < used; ) {
    const chunk = ringPeek(ring, done, page, 0, FRAME);
    if (ringWrite(next, page, 0, chunk) !== chunk) {
      ringFree(next);
      return false;
    }
    done += chunk;
  }
  const frames = Ring.frames.get(ring);
  const capacity = Ring.capacity.get(ring);
  Ring.frames.set(ring, Ring.frames.get(next));
  Ring.capacity.set(ring, bytes);
  Ring.head.set(ring, 0);
  Ring.frames.set(next, frames);
  Ring.capacity.set(next, capacity);
  ringFree(next);
  return true;
}
