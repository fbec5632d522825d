/**
 * A name that is being looked up: length, hash, and its bytes four to a word. A path walk makes it while it looks for
 * the next slash; what follows (hash chain, comparison, a new record) works on words and allocates nothing.
 */
import { NAME_MAX } from "../uapi/fcntl.ts";

/** Words of the longest name. */
export const NAME_WORDS = (NAME_MAX + 1) >> 2;
const SEED = 0x811c9dc5 | 0;
const SLASHES = 0x2f2f2f2f;

export class Qstr {
  /** In bytes; more than NAME_MAX says only that it is too long. */
  length = 0;
  hash = 0;
  /** Little-endian; zeros behind the name in its last word, anything in the words after that. */
  readonly words = new Int32Array(NAME_WORDS);
}

/** Words that a name of this length fills. */
export const wordsOf = (length: number): number => (length + 3) >> 2;

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
  const { words } = name;
  let hash = SEED;
  let at = from;
  for (let n = 0; n < NAME_WORDS; n++) {
    let word = path.getInt32(at, true);
    // The lowest byte that is zero after this has its top bit set in `found`.
    const differences = word ^ SLASHES;
    const found = (differences - 0x01010101) & ~differences & 0x80808080;
    if (found !== 0) {
      const bits = 24 - (Math.clz32(found & -found) & 24);
      if (bits !== 0) {
        word &= (1 << bits) - 1;
        words[n] = word;
        hash = mix(hash, word);
        at += bits >> 3;
      }
      name.hash = hash;
      name.length = at - from;
      return at;
    }
    words[n] = word;
    hash = mix(hash, word);
    at += 4;
  }
  while (path.getUint8(at) !== 0x2f) at++;
  name.length = at - from;
  return at;
}

/** Takes the name that bytes[start..end) is, at most NAME_MAX bytes. */
export function qstrSet(name: Qstr, bytes: Uint8Array, start = 0, end = bytes.length): Qstr {
  const { words } = name;
  let hash = SEED;
  for (let at = start, n = 0; at < end; at += 4, n++) {
    let word = bytes[at]!;
    if (at + 1 < end) word |= bytes[at + 1]! << 8;
    if (at + 2 < end) word |= bytes[at + 2]! << 16;
    if (at + 3 < end) word |= bytes[at + 3]! << 24;
    words[n] = word;
    hash = mix(hash, word);
  }
  name.hash = hash;
  name.length = end - start;
  return name;
}

/** A private copy of the name's bytes. */
export const qstrBytes = (name: Qstr): Uint8Array<ArrayBuffer> =>
  new Uint8Array(name.words.buffer as ArrayBuffer).slice(0, name.length);

/** A name of its own for these bytes. */
export const qstrOf = (bytes: Uint8Array): Qstr => qstrSet(new Qstr(), bytes);
