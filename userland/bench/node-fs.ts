/** The same file operations through node:fs on the host's tmpfs, and through memfs: what a JavaScript program uses today. */
import { createRequire } from "node:module";

/** What both offer, as far as it is used here. */
type Fs = Pick<
  typeof import("node:fs"),
  "openSync" | "closeSync" | "statSync" | "readSync" | "writeSync" | "mkdirSync" | "writeFileSync"
>;

/** The part of memfs that is used; null when it is not installed. */
export function loadMemfs(): Fs | null {
  try {
    return (createRequire(import.meta.url)("memfs") as { fs: Fs }).fs;
  } catch {
    return null;
  }
}

/** Does `n` rounds of a file operation under `dir`. */
export type Rounds = (n: number) => void;

export function fsOperations(fs: Fs, dir: string): Readonly<Record<string, Rounds>> {
  fs.mkdirSync(`${dir}/d/d/d/d/d/d`, { recursive: true });
  const deep = `${dir}/d/d/d/d/d/d/f`;
  const plain = `${dir}/f`;
  for (const path of [deep, plain]) fs.writeFileSync(path, "");
  const inOut =
    (size: number): Rounds =>
    (n) => {
      const fd = fs.openSync(plain, "r+");
      const block = new Uint8Array(size);
      for (; n > 0; n--) {
        fs.writeSync(fd, block, 0, size, 0);
        fs.readSync(fd, block, 0, size, 0);
      }
      fs.closeSync(fd);
    };
  const stat =
    (path: string): Rounds =>
    (n) => {
      for (; n > 0; n--) fs.statSync(path);
    };
  return {
    file1: inOut(1),
    file64k: inOut(65536),
    open: (n) => {
      for (; n > 0; n--) fs.closeSync(fs.openSync(plain, "r"));
    },
    stat1: stat("/"),
    stat8: stat(deep),
  };
}
