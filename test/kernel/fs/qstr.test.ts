/** Names as words: a walk and a copy agree on them, and the dentry cache tells names of every length apart. */
import test from "ava";
import fc from "fast-check";
import { makeNode, unlinkPath } from "../../../kernel/fs/dir.ts";
import { pathLookup } from "../../../kernel/fs/namei.ts";
import {
  nameWords,
  Qstr,
  qstrBytes,
  qstrOf,
  qstrScan,
  qstrScanOn,
  SCAN_AHEAD,
} from "../../../kernel/fs/qstr.ts";
import { ENAMETOOLONG, ENOENT } from "../../../kernel/uapi/errno.ts";
import { AT_FDCWD, NAME_MAX } from "../../../kernel/uapi/fcntl.ts";
import { S_IFREG } from "../../../kernel/uapi/stat.ts";
import { bootMachine } from "./machine.ts";

/** Any byte but NUL and the slash, the slash's neighbours often. */
const byte = fc.oneof(fc.constantFrom(0x2e, 0x30, 0xaf, 0xff), fc.integer({ min: 0x30, max: 255 }));
const name = fc.uint8Array({ minLength: 1, maxLength: NAME_MAX });
const legal = fc
  .tuple(name, byte)
  .map(([bytes, instead]) => bytes.map((each) => (each === 0 || each === 0x2f ? instead : each)));

function scan(name: Qstr, path: Uint8Array, at: number): number {
  const view = new DataView(path.buffer);
  const end = qstrScan(name, view, at);
  return end < 0 ? qstrScanOn(name, view, at) : end;
}

test("a component scanned in a path is the same name as its bytes, wherever it stands", (t) => {
  fc.assert(
    fc.property(legal, fc.integer({ min: 0, max: 9 }), fc.uint8Array({ maxLength: 9 }), (bytes, at, rest) => {
      const path = new Uint8Array([
        ...new Uint8Array(at),
        ...bytes,
        0x2f,
        ...rest,
        ...new Uint8Array(SCAN_AHEAD),
      ]);
      const scanned = new Qstr();
      // What a longer name left behind does not matter.
      scanned.words.fill(-1);
      const end = scan(scanned, path, at);
      const taken = qstrOf(bytes);
      const words = nameWords(bytes.length);
      return (
        end === at + bytes.length &&
        scanned.length === bytes.length &&
        scanned.hash === taken.hash &&
        scanned.word0 === taken.word0 &&
        scanned.word1 === taken.word1 &&
        scanned.words.subarray(2, words).join() === taken.words.subarray(2, words).join() &&
        qstrBytes(scanned).join() === bytes.join()
      );
    }),
  );
  t.pass();
});

test("a name that is too long says so and no more", (t) => {
  const scanned = new Qstr();
  for (const length of [NAME_MAX + 1, NAME_MAX + 2, 4000]) {
    const path = new Uint8Array(length + 8).fill(0x61);
    path[length + 1] = 0x2f;
    t.is(scan(scanned, path, 1), length + 1);
    t.is(scanned.length, length);
  }
});

test("names of every length are found, and their neighbours are not", (t) => {
  bootMachine();
  for (let length = 1; length <= NAME_MAX; length++) {
    const path = `/${"n".repeat(length)}`;
    t.is(makeNode(AT_FDCWD, path, S_IFREG | 0o644, 0), 0, `${length}`);
    t.is(pathLookup(AT_FDCWD, path), 0, `${length}`);
    t.is(pathLookup(AT_FDCWD, `${path.slice(0, -1)}m`), -ENOENT, `${length}`);
    t.is(pathLookup(AT_FDCWD, `${path}n`), length === NAME_MAX ? -ENAMETOOLONG : -ENOENT, `${length}`);
    if (length % 2 === 0) t.is(unlinkPath(AT_FDCWD, path.slice(0, -1)), 0);
  }
});
