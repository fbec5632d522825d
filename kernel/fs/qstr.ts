/**
 * A name that is being looked up: length, hash, and its bytes four to a word. A path walk makes it while it looks for
 * the next slash; what follows (hash chain, comparison, a new record) works on words and allocates nothing.
 */
import { NAME_MAX } from "../uapi/fcntl.ts";

/** Words of the longest name. */
const NAME_WORDS = (NAME_MAX + 1) >> 2;

/** The key of a name record, dname.ts: hash, parent, length, and the name's words. */
export const KEY = { HASH: 0, PARENT: 1, LENGTH: 2, TEXT: 3 } as const;
const SEED = 0x811c9dc5 | 0;
const SLASHES = 0x2f2f2f2f;

export class Qstr {
  /**
   * As KEY says; the parent is filled in by who looks it up. The length is in bytes, more than NAME_MAX says only that the
   * name is too long. Text is little-endian, with zeros behind the name in its last word (keyWords) and anything in the words after that.
   */
  readonly key = new Int32Array(KEY.TEXT + NAME_WORDS);
}

/** Words of the key of a name of so many bytes: the last one is the end of the name, perhaps all zeros. */
export const keyWords = (length: number): number => KEY.TEXT + 1 + (length >> 2);

/** Multiplying carries to the left only, so the high bits are folded back. */
function mix(hash: number, word: number): number {
  const product = Math.imul(hash ^ word, 0x9e3779b1);
  return product ^ (product >>> 15);
}

/**
 * Takes the component of a path that begins at byte `from` and ends before the next slash; returns where that is. There must
 * be one, and three readable bytes behind it.
 */
export function qstrScan(name: Qstr, path: DataView, from: number): number {
  const { key } = name;
  let hash = SEED;
  let at = from;
  for (let n = KEY.TEXT; n < KEY.TEXT + NAME_WORDS; n++) {
    let word = path.getInt32(at, true);
    // The lowest byte that is zero after this has its top bit set in `found`.
    const differences = word ^ SLASHES;
    const found = (differences - 0x01010101) & ~differences & 0x80808080;
    if (found !== 0) {
      // Without a branch: where names end is what a predictor cannot learn.
      const bits = 24 - (Math.clz32(found & -found) & 24);
      word &= (1 << bits) - 1;
      key[n] = word;
      hash = mix(hash, word);
      at += bits >> 3;
      key[KEY.HASH] = hash;
      key[KEY.LENGTH] = at - from;
      return at;
    }
    key[n] = word;
    hash = mix(hash, word);
    at += 4;
  }
  while (path.getUint8(at) !== 0x2f) at++;
  key[KEY.LENGTH] = at - from;
  return at;
}

/** Takes the name that bytes[start..end) is, at most NAME_MAX bytes. */
export function qstrSet(name: Qstr, bytes: Uint8Array, start = 0, end = bytes.length): Qstr {
  const { key } = name;
  let hash = SEED;
  for (let at = start, n: number = KEY.TEXT; at <= end; at += 4, n++) {
    let word = 0;
    if (at < end) word = bytes[at]!;
    if (at + 1 < end) word |= bytes[at + 1]! << 8;
    if (at + 2 < end) word |= bytes[at + 2]! << 16;
    if (at + 3 < end) word |= bytes[at + 3]! << 24;
    key[n] = word;
    hash = mix(hash, word);
  }
  key[KEY.HASH] = hash;
  key[KEY.LENGTH] = end - start;
  return name;
}

/** A private copy of the name's bytes. */
export const qstrBytes = (name: Qstr): Uint8Array<ArrayBuffer> =>
  new Uint8Array(name.key.buffer as ArrayBuffer, KEY.TEXT * 4).slice(0, name.key[KEY.LENGTH]);

/** A name of its own for these bytes. */
export const qstrOf = (bytes: Uint8Array): Qstr => qstrSet(new Qstr(), bytes);
