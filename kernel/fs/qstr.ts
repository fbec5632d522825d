/**
 * A name that is being looked up: length, hash, and its bytes four to a word. A path walk makes it while it looks for
 * the next slash; what follows (hash chain, comparison, a new record) works on words and allocates nothing.
 *
 * Most names are shorter than 8 bytes, and where a name ends is what a branch predictor cannot learn: for
 * those there is no branch on the length here, nor in the comparison (dname.ts).
 */
import { hashKeys } from "../hash-keys.ts";
import { NAME_MAX } from "../uapi/fcntl.ts";

/** Words of the longest name. */
const NAME_WORDS = (NAME_MAX + 1) >> 2;
const SLASHES = 0x2f2f2f2f;
const { imul, clz32 } = Math;

/** Bytes behind the beginning of a component that qstrScan may read. */
export const SCAN_AHEAD = 8;

export class Qstr {
  /** The first eight bytes, little-endian, zeros behind the end of a shorter name. */
  word0 = 0;
  word1 = 0;
  /** 32 bits, signed. */
  hash = 0;
  /** Bytes. More than NAME_MAX says only that the name is too long. */
  length = 0;
  /** By number, from 2 on: the words of a name of 8 bytes and more. The last one has the end of the name, perhaps only zeros (nameWords). */
  readonly words = new Int32Array(NAME_WORDS);
}

/** Words of a name of so many bytes, at least two: behind the text there is a zero byte. */
export const nameWords = (length: number): number => (length < 4 ? 2 : (length >> 2) + 1);

/**
 * Products with the machine's secret numbers (hash-keys.ts). Multiplying carries to the left only: the high bits are folded back, and each word
 * counts with its halves exchanged too, or names could be chosen that differ in high bits only and collide whatever the numbers are.
 */
const KEYS = hashKeys;
const mix = (hash: number, word: number): number => {
  const both = hash ^ word;
  const sum = (imul(both, KEYS[4]!) + imul((both << 16) | (both >>> 16), KEYS[5]!)) | 0;
  return sum ^ (sum >>> 15);
};
/** All products at once: a chain of them would be what a short lookup waits for. */
const mixTwo = (word0: number, word1: number): number => {
  const both = word0 ^ word1;
  const sum =
    (imul(word0, KEYS[0]!) + imul(word1, KEYS[1]!) + imul((both << 16) | (both >>> 16), KEYS[2]!)) | 0;
  return sum ^ (sum >>> 15);
};

/** Top bit of the byte set in the lowest byte that is a slash; anything above that one. */
const slashes = (word: number): number => {
  const differences = word ^ SLASHES;
  return (differences - 0x01010101) & ~differences & 0x80808080;
};
/** All bits of the bytes below the first slash: none, 8, 16 or 24 of them, or all when there is no slash. */
const textMask = (found: number): number => ((found & -found) - 1) >> 7;
/** Bytes that a mask covers. */
const maskBytes = (mask: number): number => (32 - clz32(mask)) >> 3;

/**
 * Takes the component of a path that begins at byte `from` and ends before the next slash; returns where that is, or -1 when
 * it has more than seven bytes: qstrScanOn goes on then. There must be a slash, and SCAN_AHEAD readable bytes from there on.
 *
 * Two functions, so that V8 has room for the short one in its callers' code.
 */
export function qstrScan(name: Qstr, path: DataView, from: number): number {
  let word0 = path.getInt32(from, true);
  let word1 = path.getInt32(from + 4, true);
  const mask0 = textMask(slashes(word0));
  const mask1 = textMask(slashes(word1)) & (mask0 >> 31);
  word0 &= mask0;
  word1 &= mask1;
  name.word0 = word0;
  name.word1 = word1;
  name.hash = mixTwo(word0, word1);
  if (mask1 === -1) return -1;
  const length = maskBytes(mask0) + maskBytes(mask1);
  name.length = length;
  return from + length;
}

/** The same from the third word on, after qstrScan has said -1; returns where the component ends. */
export function qstrScanOn(name: Qstr, path: DataView, from: number): number {
  const { words } = name;
  let { hash } = name;
  let at = from + 8;
  for (let n = 2; n < NAME_WORDS; n++) {
    const word = path.getInt32(at, true);
    const mask = textMask(slashes(word));
    const text = word & mask;
    words[n] = text;
    hash = mix(hash, text);
    if (mask !== -1) {
      at += maskBytes(mask);
      name.hash = hash;
      name.length = at - from;
      return at;
    }
    at += 4;
  }
  while (path.getUint8(at) !== 0x2f) at++;
  name.length = at - from;
  return at;
}

/** Takes the name that bytes[start..end) is, at most NAME_MAX bytes. */
export function qstrSet(name: Qstr, bytes: Uint8Array, start = 0, end = bytes.length): Qstr {
  name.length = end - start;
  name.word0 = wordAt(bytes, start, end);
  name.word1 = wordAt(bytes, start + 4, end);
  let hash = mixTwo(name.word0, name.word1);
  for (let n = 2, at = start + 8; at <= end; at += 4, n++) {
    const word = wordAt(bytes, at, end);
    name.words[n] = word;
    hash = mix(hash, word);
  }
  name.hash = hash;
  return name;
}

/** Four bytes, zeros from `end` on. */
function wordAt(bytes: Uint8Array, at: number, end: number): number {
  let word = 0;
  if (at < end) word = bytes[at]!;
  if (at + 1 < end) word |= bytes[at + 1]! << 8;
  if (at + 2 < end) word |= bytes[at + 2]! << 16;
  if (at + 3 < end) word |= bytes[at + 3]! << 24;
  return word;
}

/** A private copy of the name's bytes. */
export function qstrBytes({ words, word0, word1, length }: Qstr): Uint8Array<ArrayBuffer> {
  words[0] = word0;
  words[1] = word1;
  return new Uint8Array(words.buffer as ArrayBuffer).slice(0, length);
}

/** A name of its own for these bytes. */
export const qstrOf = (bytes: Uint8Array): Qstr => qstrSet(new Qstr(), bytes);
