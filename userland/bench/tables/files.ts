/** Tables of the file system: descriptors, names, mounts. */
import { Dentry, dAdd, dDrop, dentryInode, dgetLive, dLookup, dput } from "../../../kernel/fs/dcache.ts";
import { makeDirectory, makeNode, unlinkPath } from "../../../kernel/fs/dir.ts";
import { allocFd, fget, filesCreate, replaceFd } from "../../../kernel/fs/fdtable.ts";
import { allocFile, File, FMODE_READ } from "../../../kernel/fs/file.ts";
import { igrab, inodeLock, inodeUnlock } from "../../../kernel/fs/inode.ts";
import { cloneMount, Mount } from "../../../kernel/fs/mount.ts";
import { attachMount, detachMount, lookupMount, rootMount } from "../../../kernel/fs/mount-tree.ts";
import { nd, pathLookup } from "../../../kernel/fs/namei.ts";
import { FOPS } from "../../../kernel/fs/ops.ts";
import { Qstr, qstrScan, qstrScanOn, SCAN_AHEAD } from "../../../kernel/fs/qstr.ts";
import { AT_FDCWD } from "../../../kernel/uapi/fcntl.ts";
import { S_IFREG } from "../../../kernel/uapi/stat.ts";
import { arrayGet, arraySet, type Ref, rcuBarrier, tryAllocArray } from "../../../rcu/index.ts";
import { need } from "../world.ts";
import { cellBytes, type TableBench } from "./table.ts";

const newFile = (): Ref<"file"> => need(allocFile(0, FOPS.NULL, FMODE_READ, 0)) as Ref<"file">;

export const fdTable: TableBench = {
  name: "fd",
  what: "fget; a write is open and dup2",
  sizes: [64, 4096, 65536, 1 << 20],
  integers: true,
  deferredBytes: cellBytes(File),
  build(entries) {
    const files = need(filesCreate());
    for (let fd = 0; fd < entries; fd++)
      if (allocFd(files, newFile(), 0) !== fd) throw new Error("descriptors are not dense");
    return [files];
  },
  open: ([files]) => ({
    read: (fd) => fget(files as Ref<"files">, fd),
    write: (fd) => replaceFd(files as Ref<"files">, fd, newFile(), 0),
  }),
};

const encoder = new TextEncoder();

/** A directory `depth` - 1 levels down, with `entries` files in it. Paths have `depth` components. */
function pathTable(depth: number, negative: boolean): TableBench {
  const folder = (entries: number, levels: number): string =>
    levels === 0 ? "" : `/d${depth}.${entries}${"/lib".repeat(levels - 1)}`;
  const fileName = (entries: number, n: number): string => `${folder(entries, depth - 1)}/f${entries}.${n}`;
  return {
    name: `path${depth}${negative ? "-negative" : ""}`,
    what: `path walk of ${depth} component${depth > 1 ? "s" : ""}${negative ? ", the last not there" : ""}; a write is unlink and create`,
    sizes: [64, 4096, 65536],
    deferredBytes: cellBytes(Dentry),
    build(entries) {
      for (let level = 1; level < depth; level++) {
        const path = folder(entries, level);
        const made = makeDirectory(AT_FDCWD, path, 0o755);
        if (made < 0 && pathLookup(AT_FDCWD, path) < 0) throw new Error(`mkdir ${path}: errno ${-made}`);
      }
      makeFiles(Array.from({ length: entries }, (_, n) => fileName(entries, n)));
      return [];
    },
    open(_built, entries) {
      const files = Array.from({ length: entries }, (_, n) => encoder.encode(fileName(entries, n)));
      const looked = negative ? files.map((_, n) => encoder.encode(`${fileName(entries, n)}-`)) : files;
      return {
        read: (n) => pathLookup(AT_FDCWD, looked[n]!),
        write: (n) => recreate(files[n]!),
      };
    },
  };
}

function makeFiles(paths: readonly string[]): void {
  for (const path of paths) {
    if (pathLookup(AT_FDCWD, path) === 0) continue;
    const made = makeNode(AT_FDCWD, path, S_IFREG | 0o644, 0);
    if (made < 0) throw new Error(`mknod ${path}: errno ${-made}`);
  }
}
function recreate(path: Uint8Array): number {
  unlinkPath(AT_FDCWD, path);
  return makeNode(AT_FDCWD, path, S_IFREG | 0o644, 0);
}

/** The dentry cache by itself: one name in one directory, hashed and looked up. */
export const dentryTable: TableBench = {
  name: "dentry",
  what: "name hash and dLookup; a write drops the dentry and adds it again",
  sizes: [64, 4096, 65536, 1 << 20],
  deferredBytes: cellBytes(Dentry),
  build(entries) {
    makeDirectory(AT_FDCWD, `/dentry${entries}`, 0o755);
    makeFiles(Array.from({ length: entries }, (_, n) => `/dentry${entries}/f${n}`));
    if (pathLookup(AT_FDCWD, `/dentry${entries}`) < 0) throw new Error("no directory for the dentries");
    return [nd.dentry, nd.inode];
  },
  open(built, entries) {
    const [parent, dir] = built as [Ref<"dentry">, Ref<"inode">];
    // All names in one buffer, as a walk has the components of its path; each at n << shift.
    const shift = 32 - Math.clz32(`f${entries}/`.length - 1);
    const names = Array.from({ length: entries }, (_, n) => `f${n}/`.padEnd(1 << shift));
    const text = new DataView(encoder.encode(names.join("") + " ".repeat(SCAN_AHEAD)).buffer);
    const name = new Qstr();
    const take = (n: number): void => {
      if (qstrScan(name, text, n << shift) < 0) qstrScanOn(name, text, n << shift);
    };
    return {
      read: (n) => {
        take(n);
        return dLookup(parent, name);
      },
      write: (n) => {
        take(n);
        const held = inodeLock(dir);
        const old = dLookup(parent, name);
        if (old === 0 || !dgetLive(old)) throw new Error(`f${n} has gone`);
        const inode = dentryInode(old) as Ref<"inode">;
        igrab(inode);
        dDrop(held, old);
        const fresh = need(dAdd(held, parent, inode, name));
        dput(old);
        dput(fresh);
        inodeUnlock(dir);
        return 0;
      },
    };
  },
};

export const pathTables: readonly TableBench[] = [1, 4, 12].flatMap((depth) => [
  pathTable(depth, false),
  pathTable(depth, true),
]);

export const mountTable: TableBench = {
  name: "mount",
  what: "lookupMount; a write is umount and a bind mount",
  sizes: [64, 4096, 65536],
  most: [1 << 18, "each has 1 KiB of counters, one of each CPU: more would fill the heap"],
  deferredBytes: cellBytes(Mount),
  build(entries) {
    const places = need(tryAllocArray(entries));
    const root = rootMount();
    const folder = `/mnt${entries}`;
    makeDirectory(AT_FDCWD, folder, 0o755);
    for (let n = 0; n < entries; n++) {
      // A directory has 65000 links at most.
      const group = `${folder}/${n >> 12}`;
      if ((n & 4095) === 0) makeDirectory(AT_FDCWD, group, 0o755);
      const path = `${group}/${n}`;
      makeDirectory(AT_FDCWD, path, 0o755);
      if (pathLookup(AT_FDCWD, path) < 0) throw new Error(`no directory ${path}`);
      arraySet(places, n, nd.dentry);
      const mount = need(cloneMount(root, Mount.root.get(root)));
      if (attachMount(mount as Ref<"mount">, root, nd.dentry) < 0) throw new Error(`mount on ${path}`);
      // As system calls have it: a table grows again only after a grace period.
      if (n % 64 === 0) rcuBarrier();
    }
    return [places];
  },
  open: ([places]) => {
    const at = (n: number): Ref<"dentry"> => arrayGet(places as Ref<"array">, n) as Ref<"dentry">;
    const root = rootMount();
    return {
      read: (n) => lookupMount(root, at(n)),
      write: (n) => {
        const old = lookupMount(root, at(n));
        if (old !== 0) detachMount(old, 0);
        const fresh = need(cloneMount(root, Mount.root.get(root))) as Ref<"mount">;
        return attachMount(fresh, root, at(n));
      },
    };
  },
};
