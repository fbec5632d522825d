/**
 * Host programs on their way into the guest: a folder of links that is mounted read-only at /usr/bin, so that the guest
 * sees the program and not the folder that it happens to lie in.
 */
import { constants, copyFileSync, linkSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class Staging {
  /** The host folder to mount. */
  readonly folder: string = mkdtempSync(join(tmpdir(), "sternix-bin-"));
  readonly guest: string;
  /** Host path to guest path. */
  readonly #staged = new Map<string, string>();
  readonly #names = new Set<string>();

  constructor(guest: string) {
    this.guest = guest;
  }

  /** Guest path of the program at host path `path`, called `name` where that is still free. */
  stage(path: string, name: string): string {
    const known = this.#staged.get(path);
    if (known !== undefined) return known;
    const place = this.#names.has(name) ? `${this.#staged.size}/${name}` : name;
    this.#names.add(name);
    const target = join(this.folder, place);
    mkdirSync(join(target, ".."), { recursive: true });
    try {
      linkSync(path, target);
    } catch {
      // Another file system, or one without hard links.
      copyFileSync(path, target, constants.COPYFILE_FICLONE);
    }
    const staged = `${this.guest}/${place}`;
    this.#staged.set(path, staged);
    return staged;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
