/**
 * What else a JavaScript program could keep shared integers in. sharedmap and lmdb are devDependencies: they are
 * skipped with a line where they are not installed.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Operations } from "../loop.ts";

export const PEERS = ["private Map", "sharedmap", "lmdb"] as const;
export type Peer = (typeof PEERS)[number];

/** What threads need to open the same map. Can be posted. */
export type PeerHandle =
  | { readonly peer: "private Map" }
  | { readonly peer: "sharedmap"; readonly map: object }
  | { readonly peer: "lmdb"; readonly path: string };

interface SharedMap {
  get(key: string): string | undefined;
  set(key: string, value: number): void;
}
interface SharedMapClass {
  new (size: number, keyBytes: number, valueBytes: number): SharedMap;
  readonly prototype: SharedMap;
}
interface Lmdb {
  get(key: number): number | undefined;
  put(key: number, value: number): unknown;
  putSync(key: number, value: number): unknown;
  transactionSync(work: () => void): void;
  close(): Promise<void>;
}

const require = createRequire(import.meta.url);

/** The package, or null when it is not installed or does not load here. */
function load<T>(name: string): T | null {
  try {
    return require(name) as T;
  } catch {
    return null;
  }
}

/** Version of an installed package; null for what is none. */
export function packageVersion(name: string): string | null {
  try {
    // Not through `require`: packages need not export their package.json.
    for (let folder = dirname(require.resolve(name)); folder !== dirname(folder); folder = dirname(folder)) {
      const file = join(folder, "package.json");
      if (!existsSync(file)) continue;
      const found = JSON.parse(readFileSync(file, "utf8"));
      if (found.name === name) return found.version;
    }
  } catch {
    // Not installed.
  }
  return null;
}

/** Keys of sharedmap are strings of at most this many characters. */
const KEY_CHARACTERS = 8;

function openLmdb(path: string): Lmdb {
  const { open } = load<{ open(options: object): Lmdb }>("lmdb")!;
  return open({ path, noSync: true, keyEncoding: "uint32", encoding: "ordered-binary" });
}

/** Fills one; null when the package is absent. `close` frees what is outside this process. */
export function buildPeer(
  peer: Peer,
  entries: number,
): { handle: PeerHandle; close(): Promise<void> } | null {
  const nothing = async (): Promise<void> => {};
  if (peer === "private Map") return { handle: { peer }, close: nothing };
  if (peer === "sharedmap") {
    const SharedMap = load<SharedMapClass>("sharedmap");
    if (SharedMap === null) return null;
    // Twice the room: at its best, as its documentation has it below 95 % full.
    const map = new SharedMap(entries * 2, KEY_CHARACTERS, KEY_CHARACTERS);
    for (let key = 0; key < entries; key++) map.set(String(key), key + 1);
    return { handle: { peer, map }, close: nothing };
  }
  if (load("lmdb") === null) return null;
  const path = mkdtempSync(join(tmpdir(), "sternix-bench-lmdb-"));
  const db = openLmdb(join(path, "db"));
  db.transactionSync(() => {
    for (let key = 0; key < entries; key++) db.put(key, key + 1);
  });
  const close = async (): Promise<void> => {
    await db.close();
    rmSync(path, { recursive: true, force: true });
  };
  return { handle: { peer, path: join(path, "db") }, close };
}

/** On each thread. */
export function openPeer(handle: PeerHandle, entries: number): Operations {
  switch (handle.peer) {
    case "private Map": {
      const map = new Map<number, number>();
      for (let key = 0; key < entries; key++) map.set(key, key + 1);
      return {
        read: (key) => map.get(key)!,
        write: (key) => {
          map.delete(key);
          map.set(key, key + 1);
          return 0;
        },
      };
    }
    case "sharedmap": {
      const { prototype } = load<SharedMapClass>("sharedmap")!;
      const map = Object.setPrototypeOf(handle.map, prototype) as SharedMap;
      // The text of a key is made beforehand: only the map is measured.
      const keys = Array.from({ length: entries }, (_, key) => String(key));
      return {
        read: (key) => (map.get(keys[key]!) as unknown as number) | 0,
        write: (key) => {
          map.set(keys[key]!, key + 1);
          return 0;
        },
      };
    }
    case "lmdb": {
      const db = openLmdb(handle.path);
      return {
        read: (key) => db.get(key)!,
        write: (key) => {
          db.putSync(key, key + 1);
          return 0;
        },
      };
    }
  }
}
