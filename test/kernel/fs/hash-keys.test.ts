/** What programs choose is hashed with secret numbers of the machine, and tables are as large as its memory asks for. */
import test from "ava";
import { dcacheBits } from "../../../kernel/fs/dname.ts";
import { qstrOf } from "../../../kernel/fs/qstr.ts";
import { hashKeys, hashKeysInit, hashNumber } from "../../../kernel/hash-keys.ts";
import { bootMachine } from "./machine.ts";

bootMachine();
hashKeysInit();

const [A, B] = [0x9e3779b1, 0x85ebca6b];
/** The inverse of an odd number modulo 2^32: each step doubles the bits that are right. */
function inverse(odd: number): number {
  let x = odd;
  for (let n = 0; n < 5; n++) x = Math.imul(x, 2 - Math.imul(odd, x));
  return x;
}
const INVERSE = inverse(A);

/** Names of seven bytes whose two words have the same sum of products with numbers that anybody can read in the source. */
function chosen(count: number): Uint8Array[] {
  const names: Uint8Array[] = [];
  for (let n = 0; names.length < count; n++) {
    const word1 = 0x202020 + (n % 200) + (Math.floor(n / 200) << 8);
    const word0 = Math.imul(0x12345678 - Math.imul(word1, B), INVERSE);
    const bytes = new Uint8Array(Int32Array.of(word0, word1).buffer).slice(0, 7);
    if (!bytes.includes(0) && !bytes.includes(0x2f)) names.push(bytes);
  }
  return names;
}

test("names that were chosen to collide do not", (t) => {
  const names = chosen(2000);
  t.is(new Set(names.map((name) => name.join())).size, 2000);
  t.true(new Set(names.map((name) => qstrOf(name).hash)).size > 1900);
  // The same behind the first eight bytes, and with differences in the high bits of two words, which products push out.
  const longer = names.map((name) => Uint8Array.of(...Array(8).fill(0x61), ...name));
  t.true(new Set(longer.map((name) => qstrOf(name).hash)).size > 1900);
  const high = Array.from({ length: 2000 }, (_, n) =>
    Uint8Array.of(97, 97, 97, 128 + (n % 50), 97, 97, 97, 128 + Math.floor(n / 50), 97),
  );
  t.true(new Set(high.map((name) => qstrOf(name).hash)).size > 1900);
});

test("inode numbers and addresses far apart or in rows do not collide", (t) => {
  const numbers = Array.from({ length: 2000 }, (_, n) => [n, n * 4096, n * 2 ** 21, n * 2 ** 32]).flat();
  const distinct = new Set(numbers);
  t.true(new Set([...distinct].map((number) => hashNumber(number, 1))).size > 0.95 * distinct.size);
});

test("each machine draws numbers of its own", (t) => {
  const name = new TextEncoder().encode("name");
  const before = [...hashKeys, qstrOf(name).hash];
  hashKeysInit();
  t.true([...hashKeys, qstrOf(name).hash].filter((value, n) => value === before[n]).length <= 1);
});

test("there is a chain for every two page frames, within bounds", (t) => {
  const frames = (bytes: number): number => bytes / 4096;
  t.is(dcacheBits(frames(2 ** 25)), 15);
  t.is(dcacheBits(frames(2 ** 30)), 17);
  t.is(dcacheBits(frames(2 ** 31 - 2 ** 28)), 18);
  t.is(dcacheBits(frames(2 ** 32)), 19);
  t.is(dcacheBits(frames(2 ** 36)), 19);
});
