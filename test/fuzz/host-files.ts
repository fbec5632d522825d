/** The host's side of a mounted folder: what is in it at first, and a thread that changes it under the guest's hands. */
import {
  chmodSync,
  closeSync,
  constants,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { mutatedElf, randomCode } from "./elf.ts";
import type { Random } from "./random.ts";

const hello = readFileSync(fileURLToPath(new URL("../guest/bin/hello", import.meta.url)));

/** Removes also what the guest took the permissions of. Names are bytes: a guest's need not be UTF-8. */
export function remove(path: string | Buffer): void {
  if (!lstatSync(path).isDirectory()) {
    unlinkSync(path);
    return;
  }
  empty(path);
  rmdirSync(path);
}

/** Removes what is in a folder. */
function empty(path: string | Buffer): void {
  chmodSync(path, 0o755);
  for (const name of readdirSync(path, "buffer")) remove(Buffer.concat([Buffer.from(path), SLASH, name]));
}
const SLASH = Buffer.from("/");

/** To be called while no guest runs. */
export function fillHostFolder(folder: string, random: Random): void {
  // The folder itself is mounted, and stays.
  empty(folder);
  mkdirSync(join(folder, "d"));
  for (const name of ["h0", "h1", "d/h4"])
    writeFileSync(join(folder, name), random.bytes(random.below(9000)));
  for (const name of ["elf0", "elf1"])
    writeFileSync(join(folder, name), mutatedElf(hello, random), { mode: 0o755 });
  writeFileSync(join(folder, "elf2"), randomCode(random), { mode: 0o755 });
}

/** Names in the folder itself: the guest may have made any folder below it a link to anywhere. */
const NAMES = ["h0", "h1", "h2", "h3", "d", "elf0", "new"];

/** One change, as another program of the host may make it at any time. It never follows a link. */
export function swapHostFiles(folder: string, random: Random): void {
  const at = (name: string) => join(folder, name);
  const name = random.pick(NAMES);
  try {
    switch (random.below(6)) {
      case 0:
        renameSync(at(name), at(random.pick(NAMES)));
        break;
      case 1:
        unlinkSync(at(name));
        break;
      case 2:
        symlinkSync(random.pick(["h0", "d", "..", "../outside", "/proc/self/fd/0", name]), at(name));
        break;
      case 3:
        change(
          at(name),
          constants.O_CREAT | random.pick([0, constants.O_TRUNC, constants.O_APPEND]),
          (file) => writeSync(file, random.bytes(random.below(5000))),
        );
        break;
      case 4:
        change(at(name), 0, (file) => ftruncateSync(file, random.below(5000)));
        break;
      default:
        mkdirSync(at(name));
    }
  } catch {
    // Whatever stands in the way of this change, the next one is as good.
  }
}

/** Links lead out of the folder, and this is the host. */
function change(path: string, flags: number, work: (file: number) => void): void {
  const file = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | flags);
  try {
    work(file);
  } finally {
    closeSync(file);
  }
}
