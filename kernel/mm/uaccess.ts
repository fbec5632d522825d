/**
 * User memory of the current task, as the kernel reads and writes it. Addresses are JavaScript numbers; 2^32 and more is
 * a bad address. Checked forms answer -EFAULT (or null); the plain get and put forms are for after faultIn:
 * where another thread unmapped the page in between, a get reads 0 and a put goes nowhere.
 */
import { EFAULT, ENAMETOOLONG, ENOMEM } from "../uapi/errno.ts";
import { ACCESS } from "../usermode.ts";
import { FAULT_NOMEM, resolvePage } from "./fault.ts";
import { PTE_READ, PTE_WRITE, pteFrame, pteGet } from "./pte.ts";
import { PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, ram } from "./ram.ts";
import { setSparing } from "./reclaim.ts";
import { isLooking, noteSeen, patchSeen, seenError, seenMode, seenText } from "./seen.ts";
import { mayUseReserve } from "./shortage.ts";
import { activeMm, activePgd } from "./tlb.ts";

const LIMIT = 2 ** 32;
const { READ, WRITE } = ACCESS;

/**
 * Two words as a signed 64-bit number. A double has 53 bits. Of what is larger the low 11 bits go, and bit 11 says whether there
 * were any: it passes no power of two, 2^63 - 1 does not become 2^63, and what was not aligned to a page is not afterwards.
 */
export const signed64 = (low: number, high: number): number =>
  high * LIMIT + (high >= -HIGH_EXACT && high < HIGH_EXACT ? low >>> 0 : kept(low));
/** The same, unsigned. */
export const unsigned64 = (low: number, high: number): number =>
  (high >>> 0) * LIMIT + (high >>> 0 < HIGH_EXACT ? low >>> 0 : kept(low));
/** High words below which all bits of the low one fit in a double. */
const HIGH_EXACT = 2 ** 21;
const kept = (low: number): number => ((low & -2048) | ((low & 2047) === 0 ? 0 : 2048)) >>> 0;

/** Byte address in RAM of a user address, for reading; negative: FAULT_ numbers. */
export function userRead(addr: number): number {
  if (!(addr >= 0 && addr < LIMIT) || activeMm === 0) return -1;
  const pte = pteGet(activePgd, addr >>> PAGE_SHIFT);
  if ((pte & PTE_READ) !== 0) return pteFrame(pte) + (addr & PAGE_MASK);
  return slow(addr, READ);
}

/** The same for writing. */
export function userWrite(addr: number): number {
  if (!(addr >= 0 && addr < LIMIT) || activeMm === 0) return -1;
  const pte = pteGet(activePgd, addr >>> PAGE_SHIFT);
  if ((pte & PTE_WRITE) !== 0) return pteFrame(pte) + (addr & PAGE_MASK);
  return slow(addr, WRITE);
}

function slow(addr: number, access: number): number {
  if (activeMm === 0 || addr < 0) return -1;
  let result = resolvePage(activeMm, addr, access);
  if (result === FAULT_NOMEM && mayUseReserve()) {
    setSparing(false);
    result = resolvePage(activeMm, addr, access);
    setSparing(true);
  }
  return result < 0 ? result : result - (result & PAGE_MASK) + (addr & PAGE_MASK);
}

/** Makes [addr, addr + len) accessible (ACCESS.READ, WRITE): 0, -EFAULT, or -ENOMEM when RAM is full. */
export function faultIn(addr: number, len: number, access: number): number {
  if (len === 0) return 0;
  if (!(addr >= 0 && addr + len <= LIMIT)) return -EFAULT;
  const write = (access & WRITE) !== 0;
  for (let at = addr; at < addr + len; at = at - (at & PAGE_MASK) + PAGE_SIZE) {
    const result = write ? userWrite(at) : userRead(at);
    if (result < 0) return result === FAULT_NOMEM ? -ENOMEM : -EFAULT;
  }
  return 0;
}

export function getUser8(addr: number): number {
  const at = userRead(addr);
  return at < 0 ? 0 : ram.u8[at]!;
}
export function getUser16(addr: number): number {
  return getUser8(addr) | (getUser8(addr + 1) << 8);
}
/** Signed 32 bits. */
export function getUser32(addr: number): number {
  if ((addr & 3) !== 0) return getUser16(addr) | (getUser16(addr + 2) << 16);
  const at = userRead(addr);
  return at < 0 ? 0 : ram.i32[at >>> 2]!;
}
export function getUserU32(addr: number): number {
  return getUser32(addr) >>> 0;
}
/** Signed 64 bits as signed64 makes them: long, off_t, time. */
export function getUser64(addr: number): number {
  return signed64(getUser32(addr), getUser32(addr + 4));
}
/** Unsigned 64 bits as unsigned64 makes them: pointers, size_t. */
export function getUserU64(addr: number): number {
  return unsigned64(getUser32(addr), getUser32(addr + 4));
}

export function putUser8(addr: number, value: number): void {
  const at = userWrite(addr);
  if (at >= 0) ram.u8[at] = value;
}
export function putUser16(addr: number, value: number): void {
  putUser8(addr, value);
  putUser8(addr + 1, value >>> 8);
}
export function putUser32(addr: number, value: number): void {
  if ((addr & 3) !== 0) {
    putUser16(addr, value);
    putUser16(addr + 2, value >>> 16);
    return;
  }
  const at = userWrite(addr);
  if (at >= 0) ram.i32[at >>> 2] = value;
}
/** Any number between -2^63 and 2^64, exact below 2^53. */
export function putUser64(addr: number, value: number): void {
  putUser32(addr, (value % LIMIT) | 0);
  putUser32(addr + 4, Math.floor(value / LIMIT) | 0);
}

/** Bytes below which a loop beats creating a view. */
const SMALL = 32;

/** A private copy of user memory, or null when some of it cannot be read. */
export function copyFromUser(addr: number, len: number): Uint8Array<ArrayBuffer> | null {
  if (len !== 0 && !(addr >= 0 && addr + len <= LIMIT)) return null;
  if (seenMode !== 0) return copySeen(addr, len);
  const bytes = new Uint8Array(len);
  return copyIn(addr, bytes, 0, len) === len ? bytes : null;
}

/** copyFromUser in a call that a subsystem looks at, or has looked at. */
function copySeen(addr: number, len: number): Uint8Array<ArrayBuffer> | null {
  if (seenError(addr) !== 0) return null;
  const bytes = new Uint8Array(len);
  const whole = copyIn(addr, bytes, 0, len) === len;
  if (isLooking()) noteSeen(addr, whole ? bytes : NO_BYTES, whole ? 0 : -EFAULT);
  return whole ? bytes : null;
}

const NO_BYTES = new Uint8Array(0);

/** Writes bytes to user memory: 0 or -EFAULT (then some may have been written). */
export function copyToUser(addr: number, bytes: Uint8Array): number {
  if (bytes.length === 0) return 0;
  return copyOut(addr, bytes, 0, bytes.length) === bytes.length ? 0 : -EFAULT;
}

/** User memory to dst[off..off + len): how many bytes could be read. `dst` may be ram.u8. */
export function copyIn(addr: number, dst: Uint8Array, off: number, len: number): number {
  let done = 0;
  while (done < len) {
    const from = userRead(addr + done);
    if (from < 0) break;
    const n = Math.min(len - done, PAGE_SIZE - (from & PAGE_MASK));
    move(ram.u8, from, dst, off + done, n);
    done += n;
  }
  if (seenMode !== 0) patchSeen(addr, dst, off, done);
  return done;
}

/** src[off..off + len) to user memory: how many bytes could be written. `src` may be ram.u8. */
export function copyOut(addr: number, src: Uint8Array, off: number, len: number): number {
  let done = 0;
  while (done < len) {
    const to = userWrite(addr + done);
    if (to < 0) break;
    const n = Math.min(len - done, PAGE_SIZE - (to & PAGE_MASK));
    move(src, off + done, ram.u8, to, n);
    done += n;
  }
  return done;
}

/** Zeroes user memory: how many bytes could be written. */
export function clearUser(addr: number, len: number): number {
  let done = 0;
  while (done < len) {
    const to = userWrite(addr + done);
    if (to < 0) break;
    const n = Math.min(len - done, PAGE_SIZE - (to & PAGE_MASK));
    ram.u8.fill(0, to, to + n);
    done += n;
  }
  return done;
}

/** Copies between byte arrays, quickly for a few bytes and for moves inside RAM. */
export function move(src: Uint8Array, from: number, dst: Uint8Array, to: number, n: number): void {
  if (n <= SMALL) for (let i = 0; i < n; i++) dst[to + i] = src[from + i]!;
  else if (src === dst) dst.copyWithin(to, from, from + n);
  else dst.set(src.subarray(from, from + n), to);
}

/** Bytes of a string that are copied one by one: for short ones that is the fastest. */
const BYTEWISE = 64;

/**
 * A NUL-terminated string of fewer than `max` bytes to dst[off..), without the NUL: its length, -EFAULT, or -ENAMETOOLONG when no
 * NUL comes within `max` bytes.
 */
export function copyStringIn(addr: number, dst: Uint8Array, off: number, max: number): number {
  if (seenMode !== 0) return copyStringSeen(addr, dst, off, max);
  for (let done = 0; done < max; ) {
    const from = userRead(addr + done);
    if (from < 0) return -EFAULT;
    const { u8 } = ram;
    const end = from + Math.min(max - done, PAGE_SIZE - (from & PAGE_MASK));
    let to = off + done;
    let at = from;
    for (const near = Math.min(end, from + BYTEWISE); at < near; at++, to++) {
      const byte = u8[at]!;
      if (byte === 0) return to - off;
      dst[to] = byte;
    }
    if (at < end) {
      // Copied first, and then looked at: another thread may change it meanwhile. Behind the NUL is whatever was there.
      dst.set(u8.subarray(at, end), to);
      const nul = dst.subarray(to, to + end - at).indexOf(0);
      if (nul >= 0) return to + nul - off;
    }
    done += end - from;
  }
  return -ENAMETOOLONG;
}

/** copyStringIn in a call that a subsystem has looked at. */
function copyStringSeen(addr: number, dst: Uint8Array, off: number, max: number): number {
  const text = stringSeen(addr, max);
  if (typeof text === "number") return text;
  dst.set(text, off);
  return text.length;
}

/** strncpyFromUser in a call that a subsystem looks at, or has looked at. */
function stringSeen(addr: number, max: number): Uint8Array<ArrayBuffer> | number {
  const error = seenError(addr);
  if (error !== 0) return error;
  const seen = seenText(addr);
  if (seen !== null) return seen.length > max ? -ENAMETOOLONG : new Uint8Array(seen.subarray(0, -1));
  let text = new Uint8Array(Math.min(max, PAGE_SIZE));
  for (let done = 0; ; text = grow(text, max)) {
    const got = copyIn(addr + done, text, done, text.length - done);
    const end = text.subarray(0, done + got).indexOf(0, done);
    done += got;
    if (end >= 0) {
      if (isLooking()) noteSeen(addr, text.subarray(0, end + 1), 0);
      return text.slice(0, end);
    }
    if (done === text.length && done < max) continue;
    const failed = done < text.length ? -EFAULT : -ENAMETOOLONG;
    if (isLooking()) noteSeen(addr, NO_BYTES, failed);
    return failed;
  }
}

function grow(text: Uint8Array<ArrayBuffer>, max: number): Uint8Array<ArrayBuffer> {
  const grown = new Uint8Array(Math.min(max, text.length * 2));
  grown.set(text);
  return grown;
}

const scratch = new Uint8Array(PAGE_SIZE);

/**
 * A NUL-terminated string of fewer than `max` bytes, without the NUL: a private copy, -EFAULT, or -ENAMETOOLONG when no NUL
 * comes within `max` bytes.
 */
export function strncpyFromUser(addr: number, max: number): Uint8Array<ArrayBuffer> | number {
  if (seenMode !== 0) return stringSeen(addr, max);
  let result: Uint8Array<ArrayBuffer> | null = null;
  let done = 0;
  while (done < max) {
    const from = userRead(addr + done);
    if (from < 0) return -EFAULT;
    const n = Math.min(max - done, PAGE_SIZE - (from & PAGE_MASK));
    let end = from;
    const u8 = ram.u8;
    while (end < from + n && u8[end] !== 0) end++;
    const length = end - from;
    if (end < from + n && result === null) {
      // The usual case: all of it on one page.
      move(u8, from, scratch, 0, length);
      return scratch.slice(0, length);
    }
    const grown: Uint8Array<ArrayBuffer> = new Uint8Array(done + length);
    if (result !== null) grown.set(result);
    grown.set(u8.subarray(from, end), done);
    result = grown;
    done += length;
    if (length < n) return result;
  }
  return -ENAMETOOLONG;
}
