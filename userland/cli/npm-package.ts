/**
 * `npm:PACKAGE[@VERSION]/PATH`: a file of an npm package, fetched with the user's own npm (so that their registry,
 * proxy and credentials settings hold), integrity-checked, unpacked, and cached for good.
 *
 * The integrity comes from the nearest package-lock.json when that lists the package at this version, and else from
 * what npm says about the package. Unpacking refuses names that lead out of the package.
 */
import { execFile } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, normalize, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { createGunzip } from "node:zlib";
import { unpackTar } from "modern-tar/fs";
import { cacheFolder } from "./cache-folder.ts";
import { Failure, STATUS } from "./failure.ts";

export interface NpmProgram {
  readonly name: string;
  /** A version or range; null: what the lock file says, or the latest. */
  readonly version: string | null;
  /** Path inside the package. */
  readonly path: string;
}

const PREFIX = "npm:";
export const isNpmProgram = (program: string): boolean => program.startsWith(PREFIX);

export function parseNpmProgram(program: string): NpmProgram {
  const match = /^npm:((?:@[\w.~-]+\/)?[\w.~-]+)(?:@([^/\s]+))?\/(.+)$/.exec(program);
  if (match === null) throw new Failure(`${program}: give npm:PACKAGE/PATH or npm:PACKAGE@VERSION/PATH`);
  const [, name, version, path] = match;
  const inside = normalize(path!);
  if (inside.startsWith("..") || inside.startsWith("/"))
    throw new Failure(`${program}: the path leads out of the package`);
  return { name: name!, version: version ?? null, path: inside };
}

interface Locked {
  readonly version: string;
  readonly integrity: string;
}

/** What a version may look like (semver), so that it can be part of a folder's name. */
const VERSION = /^\d+\.\d+\.\d+(?:[-+][\w.+-]+)?$/;

/** What the nearest package-lock.json above `from` says about a package. */
export function lockedPackage(name: string, from: string): Locked | null {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    const file = join(folder, "package-lock.json");
    if (existsSync(file)) {
      const entry = readJson(file)?.packages?.[`node_modules/${name}`];
      if (!entry?.version || !entry.integrity) return null;
      if (!VERSION.test(entry.version))
        throw new Failure(`${file}: ${JSON.stringify(entry.version)} is not a version of ${name}`);
      return { version: entry.version, integrity: String(entry.integrity) };
    }
    if (folder === dirname(folder)) return null;
  }
}

function readJson(file: string) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new Failure(`${file}: cannot be read as JSON: ${(error as Error).message}`);
  }
}

/** Runs npm and returns its standard output; tests hand in another one. */
export type RunNpm = (args: readonly string[], cwd: string) => Promise<string>;

const run = promisify(execFile);
const userNpm: RunNpm = async (args, cwd) => {
  const { stdout } = await run("npm", [...args], {
    cwd,
    maxBuffer: 64 * 1024 * 1024,
    shell: process.platform === "win32",
  });
  return stdout;
};

export interface FetchOptions {
  readonly cache?: string;
  /** Where to look for a package-lock.json. */
  readonly from?: string;
  readonly npm?: RunNpm;
  readonly progress?: (text: string) => void;
}

/** Host path of the program's file. Offline when the version is known (given, or locked) and cached. */
export async function fetchNpmProgram(program: NpmProgram, options: FetchOptions = {}): Promise<string> {
  const cache = options.cache ?? cacheFolder();
  const npm = options.npm ?? userNpm;
  const from = options.from ?? process.cwd();
  const locked = lockedPackage(program.name, from);
  const pinned =
    locked !== null && (program.version === null || program.version === locked.version) ? locked : null;
  const wanted = pinned?.version ?? program.version;

  let folder = wanted === null ? null : packageFolder(cache, program.name, wanted, pinned?.integrity ?? null);
  if (folder === null || !existsSync(folder)) {
    options.progress?.(`fetching ${program.name}${wanted === null ? "" : `@${wanted}`} with npm`);
    folder = await download(program, wanted, pinned?.integrity ?? null, cache, npm);
  }
  const file = join(folder, program.path);
  if (!existsSync(file)) {
    throw new Failure(`npm:${program.name}/${program.path}: the package has no such file`, STATUS.NOT_FOUND);
  }
  return file;
}

/** A pinned integrity is part of the name: what was unpacked under another hash is never used for it. */
function packageFolder(cache: string, name: string, version: string, integrity: string | null): string {
  const suffix =
    integrity === null ? "" : `-${createHash("sha256").update(integrity).digest("hex").slice(0, 12)}`;
  return join(cache, "npm", `${name.replace("/", "+")}@${version}${suffix}`);
}

async function download(
  program: NpmProgram,
  version: string | null,
  integrity: string | null,
  cache: string,
  npm: RunNpm,
): Promise<string> {
  const spec = version === null ? program.name : `${program.name}@${version}`;
  const scratch = mkdtempSync(join(tmpdir(), "sternix-npm-"));
  try {
    const packed = await pack(spec, scratch, npm);
    const tarball = await readFile(join(scratch, packed.filename));
    checkIntegrity(spec, tarball, integrity ?? packed.integrity);
    const folder = packageFolder(cache, program.name, packed.version, integrity);
    if (!existsSync(folder)) await unpack(spec, tarball, folder);
    return folder;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

interface Packed {
  readonly filename: string;
  readonly version: string;
  readonly integrity: string;
}

async function pack(spec: string, cwd: string, npm: RunNpm): Promise<Packed> {
  let output: string;
  try {
    output = await npm(["pack", spec, "--json", "--loglevel=error", "--ignore-scripts"], cwd);
  } catch (error) {
    const { stderr, code } = error as { stderr?: string; code?: string };
    if (code === "ENOENT") throw new Failure(`npm:${spec}: fetching a package needs npm on the PATH`);
    const reason =
      /npm (?:error|ERR!) (?!code )(.+)/.exec(stderr ?? "")?.[1] ??
      String((error as Error).message).split("\n")[0];
    const missing = /E404|ETARGET|404 Not Found/.test(stderr ?? "");
    throw new Failure(
      `npm:${spec}: npm could not fetch it: ${reason}`,
      missing ? STATUS.NOT_FOUND : STATUS.FAILED,
    );
  }
  let entry: Packed | undefined;
  try {
    [entry] = JSON.parse(output) as Packed[];
  } catch {
    throw new Failure(`npm:${spec}: npm pack reported no JSON; is the npm on the PATH older than 7?`);
  }
  if (!entry?.filename || !entry.integrity) throw new Failure(`npm:${spec}: npm pack reported no tarball`);
  if (!VERSION.test(entry.version))
    throw new Failure(`npm:${spec}: npm reported the version ${entry.version}`);
  // Older npm writes `@scope/name-1.0.0.tgz` here although the file is called `scope-name-1.0.0.tgz`.
  return { ...entry, filename: basename(entry.filename.replace(/^@/, "").replace("/", "-")) };
}

function checkIntegrity(spec: string, tarball: Buffer, integrity: string): void {
  const known = integrity.split(/\s+/).map((item) => /^(sha512|sha384|sha256)-(.+)$/.exec(item));
  const strongest = known.find((item) => item !== null);
  if (!strongest) throw new Failure(`npm:${spec}: no integrity that can be checked (${integrity})`);
  const actual = createHash(strongest[1]!).update(tarball).digest("base64");
  if (actual !== strongest[2])
    throw new Failure(`npm:${spec}: the package does not have the integrity it should have`);
}

async function unpack(spec: string, tarball: Buffer, folder: string): Promise<void> {
  try {
    mkdirSync(dirname(folder), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Failure(
      `npm:${spec}: the cache folder ${dirname(folder)} cannot be made (${(error as NodeJS.ErrnoException).code}): ` +
        "set XDG_CACHE_HOME to a folder that can be written",
    );
  }
  const partial = `${folder}.${randomUUID()}`;
  try {
    await pipeline(Readable.from([tarball]), createGunzip(), unpackTar(partial, { strip: 1 }));
    renameSync(partial, folder);
  } catch (error) {
    // Another process may have unpacked the same package meanwhile: then its folder is as good.
    if (!existsSync(folder))
      throw new Failure(`npm:${spec}: the package cannot be unpacked: ${(error as Error).message}`);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}
