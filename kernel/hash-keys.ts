/**
 * Secret numbers of the machine that go into the hashes of what programs choose: names of files, inode numbers, addresses of futexes.
 * Without them a program could choose a million keys of one chain, and have every look-up of everybody walk it.
 *
 * Each thread has a copy, in a buffer which does not move: V8 has its address in the code of look-ups.
 */
import { randomFillSync } from "node:crypto";
import { arrayGet, arraySet, type Ref, tryAllocArray } from "../rcu/index.ts";
import { kernelGlobal, onGlobalsBound } from "./global.ts";

/**
 * The second of each pair of multipliers is twice an odd number, the others are odd: then differences in high bits of two words that
 * are hashed together cancel each other for no choice of words.
 */
const multiplier = (n: number, random: number): number =>
  n === 1 || n === 5 ? (random & ~3) | 2 : random | 1;

/** Those of a machine that has not drawn any. */
const DEFAULTS = [0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f, 0x165667b1, 0xd3a2646d].map((word, n) =>
  multiplier(n, word),
);
export const hashKeys = new Int32Array(new ArrayBuffer(4 * DEFAULTS.length));
hashKeys.set(DEFAULTS);

const drawn = kernelGlobal<Ref<"array">>("hash keys");

/** Draws the machine's numbers: once, at boot, before anything is hashed. */
export function hashKeysInit(): void {
  const array = tryAllocArray(DEFAULTS.length);
  if (array === 0) throw new Error("no memory for the hash keys");
  const random = randomFillSync(new Int32Array(DEFAULTS.length));
  for (let n = 0; n < random.length; n++) arraySet(array, n, multiplier(n, random[n]!));
  drawn.init(array);
  copyKeys();
}

function copyKeys(): void {
  const array = drawn.get();
  for (let n = 0; n < DEFAULTS.length; n++) hashKeys[n] = array === 0 ? DEFAULTS[n]! : arrayGet(array, n);
}
onGlobalsBound(copyKeys);

/** The word with its halves exchanged: differences in high bits, which a product pushes out, come down. */
export const swapHalves = (word: number): number => (word << 16) | (word >>> 16);

/**
 * A hash, 32 bits, of a number below 2^53 and another word: sums of products with the secret numbers. Whatever two keys are
 * hashed, both have the same hash in about one machine of 2^16.
 */
export function hashNumber(number: number, word: number): number {
  const low = number | 0;
  const high = (number / 4294967296) | 0;
  return (
    (Math.imul(low, hashKeys[0]!) +
      Math.imul(swapHalves(low), hashKeys[1]!) +
      Math.imul(high, hashKeys[2]!) +
      Math.imul(swapHalves(high), hashKeys[3]!) +
      Math.imul(word, hashKeys[4]!) +
      Math.imul(swapHalves(word), hashKeys[5]!)) |
    0
  );
}
