/** tmpfs against a model: random sequences of calls, the same on both, every answer and the final tree compared. */
import test from "ava";
import fc from "fast-check";
import { truncateInode } from "../../../kernel/fs/attr.ts";
import { Dentry } from "../../../kernel/fs/dcache.ts";
import { makeLink } from "../../../kernel/fs/dir.ts";
import { DName } from "../../../kernel/fs/dname.ts";
import { fallocateFile } from "../../../kernel/fs/fallocate.ts";
import { File } from "../../../kernel/fs/file.ts";
import { Inode } from "../../../kernel/fs/inode.ts";
import { nd } from "../../../kernel/fs/namei.ts";
import { fileSeek } from "../../../kernel/fs/read-write.ts";
import { renamePath } from "../../../kernel/fs/rename.ts";
import { freeFrames } from "../../../kernel/mm/frame.ts";
import {
  EEXIST,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ENOTEMPTY,
  ENXIO,
  EPERM,
} from "../../../kernel/uapi/errno.ts";
import { AT_FDCWD, O_CREAT, O_RDWR, SEEK_DATA, SEEK_HOLE } from "../../../kernel/uapi/fcntl.ts";
import { liveObjects } from "../../../rcu/index.ts";
import { close, fileOf, get, list, lookup, mkdir, open, pread, put, pwrite, rmdir, unlink } from "./calls.ts";
import { bootMachine, settle } from "./machine.ts";

const { task } = bootMachine();

interface ModelFile {
  data: Uint8Array;
  nlink: number;
}
type ModelNode = ModelFile | Map<string, ModelNode>;

const isDir = (node: ModelNode | undefined): node is Map<string, ModelNode> => node instanceof Map;

/** The same calls on plain JavaScript objects. */
class Model {
  readonly root = new Map<string, ModelNode>();

  /** Directory that holds the last name, or -errno. */
  parent(path: string): [Map<string, ModelNode>, string] | number {
    const names = path.split("/").slice(1);
    const last = names.pop()!;
    let dir = this.root;
    for (const name of names) {
      const next = dir.get(name);
      if (next === undefined) return -ENOENT;
      if (!isDir(next)) return -ENOTDIR;
      dir = next;
    }
    return [dir, last];
  }
  node(path: string): ModelNode | number {
    const at = this.parent(path);
    return typeof at === "number" ? at : (at[0].get(at[1]) ?? -ENOENT);
  }
  write(path: string, pos: number, bytes: Uint8Array): number {
    const at = this.parent(path);
    if (typeof at === "number") return at;
    let file = at[0].get(at[1]);
    if (isDir(file)) return -EISDIR;
    if (file === undefined) at[0].set(at[1], (file = { data: new Uint8Array(0), nlink: 1 }));
    if (bytes.length === 0) return 0;
    if (file.data.length < pos + bytes.length) this.resize(file, pos + bytes.length);
    file.data.set(bytes, pos);
    return bytes.length;
  }
  resize(file: ModelFile, size: number): void {
    const grown = new Uint8Array(size);
    grown.set(file.data.subarray(0, size));
    file.data = grown;
  }
  mkdir(path: string): number {
    const at = this.parent(path);
    if (typeof at === "number") return at;
    if (at[0].has(at[1])) return -EEXIST;
    at[0].set(at[1], new Map());
    return 0;
  }
  unlink(path: string): number {
    const at = this.parent(path);
    if (typeof at === "number") return at;
    const node = at[0].get(at[1]);
    if (node === undefined) return -ENOENT;
    if (isDir(node)) return -EISDIR;
    node.nlink--;
    at[0].delete(at[1]);
    return 0;
  }
  rmdir(path: string): number {
    const at = this.parent(path);
    if (typeof at === "number") return at;
    const node = at[0].get(at[1]);
    if (node === undefined) return -ENOENT;
    if (!isDir(node)) return -ENOTDIR;
    if (node.size !== 0) return -ENOTEMPTY;
    at[0].delete(at[1]);
    return 0;
  }
  link(from: string, to: string): number {
    const node = this.node(from);
    if (typeof node === "number") return node;
    const at = this.parent(to);
    if (typeof at === "number") return at;
    if (at[0].has(at[1])) return -EEXIST;
    if (isDir(node)) return -EPERM;
    node.nlink++;
    at[0].set(at[1], node);
    return 0;
  }
  rename(from: string, to: string): number {
    const [a, b] = [this.parent(from), this.parent(to)];
    if (typeof a === "number") return a;
    if (typeof b === "number") return b;
    const [node, target] = [a[0].get(a[1]), b[0].get(b[1])];
    if (node === undefined) return -ENOENT;
    if (node === target) return 0;
    if (isDir(node) && `${to}/`.startsWith(`${from}/`)) return -EINVAL;
    if (target !== undefined && `${from}/`.startsWith(`${to}/`)) return -ENOTEMPTY;
    if (target !== undefined) {
      if (isDir(node) && !isDir(target)) return -ENOTDIR;
      if (!isDir(node) && isDir(target)) return -EISDIR;
      if (isDir(target) && target.size !== 0) return -ENOTEMPTY;
      if (!isDir(target)) target.nlink--;
    }
    a[0].delete(a[1]);
    b[0].set(b[1], node);
    return 0;
  }
}

const BASE = "/model";
const inBase = (path: string): string => BASE + path;

/** The calls on the kernel. */
const kernel = {
  write(path: string, pos: number, bytes: Uint8Array): number {
    const fd = open(inBase(path), O_CREAT | O_RDWR);
    if (fd < 0) return fd;
    const result = pwrite(fd, bytes, pos);
    close(fd);
    return result;
  },
  truncate(path: string, size: number): number {
    const error = lookup(inBase(path));
    return error < 0 ? error : truncateInode(nd.inode, size);
  },
  link(from: string, to: string): number {
    const error = lookup(inBase(from));
    return error < 0 ? error : makeLink(nd.inode, nd.mount, AT_FDCWD, inBase(to));
  },
  punch(path: string, pos: number, length: number): number {
    const fd = open(inBase(path), O_RDWR);
    if (fd < 0) return fd;
    const result = fallocateFile(fileOf(fd), 3, pos, length);
    close(fd);
    return result;
  },
  allocate(path: string, keep: boolean, pos: number, length: number): number {
    const fd = open(inBase(path), O_RDWR);
    if (fd < 0) return fd;
    const result = fallocateFile(fileOf(fd), keep ? 1 : 0, pos, length);
    close(fd);
    return result;
  },
};

const name = fc.constantFrom("a", "b", "c");
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => `/${names.join("/")}`);
const offset = fc.oneof(fc.nat(100), fc.nat(20_000), fc.constantFrom(4095, 4096, 8192));
const data = fc.oneof(
  fc.uint8Array({ maxLength: 50 }),
  fc.nat(9000).map((n) => new Uint8Array(n).fill(7)),
);
const command = fc.oneof(
  fc.record({ op: fc.constant("write" as const), path, pos: offset, data }),
  fc.record({ op: fc.constant("truncate" as const), path, size: offset }),
  fc.record({
    op: fc.constant("punch" as const),
    path,
    pos: offset,
    length: fc.integer({ min: 1, max: 9000 }),
  }),
  fc.record({
    op: fc.constant("allocate" as const),
    path,
    keep: fc.boolean(),
    pos: offset,
    length: fc.integer({ min: 1, max: 9000 }),
  }),
  fc.record({ op: fc.constant("mkdir" as const), path }),
  fc.record({ op: fc.constant("unlink" as const), path }),
  fc.record({ op: fc.constant("rmdir" as const), path }),
  fc.record({ op: fc.constant("link" as const), path, to: path }),
  fc.record({ op: fc.constant("rename" as const), path, to: path }),
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

/** Runs a command on both: [kernel's answer, model's answer]. */
function run(model: Model, c: Command): [number, number] {
  switch (c.op) {
    case "write":
      return [kernel.write(c.path, c.pos, c.data), model.write(c.path, c.pos, c.data)];
    case "allocate": {
      const node = model.node(c.path);
      const answer = kernel.allocate(c.path, c.keep, c.pos, c.length);
      if (typeof node === "number") return [answer, node];
      if (isDir(node)) return [answer, -EISDIR];
      if (!c.keep && c.pos + c.length > node.data.length) model.resize(node, c.pos + c.length);
      return [answer, 0];
    }
    case "truncate": {
      const node = model.node(c.path);
      if (typeof node === "number" || isDir(node))
        return [kernel.truncate(c.path, c.size), typeof node === "number" ? node : -EISDIR];
      model.resize(node, c.size);
      return [kernel.truncate(c.path, c.size), 0];
    }
    case "punch": {
      const node = model.node(c.path);
      if (typeof node === "number" || isDir(node))
        return [kernel.punch(c.path, c.pos, c.length), typeof node === "number" ? node : -EISDIR];
      node.data.fill(0, Math.min(c.pos, node.data.length), Math.min(c.pos + c.length, node.data.length));
      return [kernel.punch(c.path, c.pos, c.length), 0];
    }
    case "mkdir":
      return [mkdir(inBase(c.path)), model.mkdir(c.path)];
    case "unlink":
      return [unlink(inBase(c.path)), model.unlink(c.path)];
    case "rmdir":
      return [rmdir(inBase(c.path)), model.rmdir(c.path)];
    case "link":
      return [kernel.link(c.path, c.to), model.link(c.path, c.to)];
    case "rename":
      return [renamePath(AT_FDCWD, inBase(c.path), AT_FDCWD, inBase(c.to), 0), model.rename(c.path, c.to)];
  }
}

/** Compares a directory of the kernel with the model's. */
function compare(
  t: { deepEqual: (a: unknown, b: unknown, message?: string) => unknown },
  at: string,
  node: Map<string, ModelNode>,
): void {
  t.deepEqual(list(at), [...node.keys()].sort(), at);
  for (const [entry, child] of node) {
    const full = `${at}/${entry}`;
    if (isDir(child)) {
      compare(t, full, child);
      continue;
    }
    const fd = open(full);
    const bytes = pread(fd, 40_000, 0) as Uint8Array;
    const inode = File.inode.get(fileOf(fd));
    t.deepEqual([Inode.size.racy(inode), Inode.nlink.load(inode)], [child.data.length, child.nlink], full);
    if (Buffer.compare(bytes, child.data) !== 0) t.deepEqual([...bytes], [...child.data], full);
    close(fd);
  }
}

function removeTree(at: string, node: Map<string, ModelNode>): void {
  for (const [entry, child] of node) {
    if (!isDir(child)) unlink(`${at}/${entry}`);
    else {
      removeTree(`${at}/${entry}`, child);
      rmdir(`${at}/${entry}`);
    }
  }
}

test.serial(
  "any sequence of calls answers as the model does, and leaves the same tree and no memory behind",
  (t) => {
    mkdir(BASE);
    settle(task);
    const before = [Inode, Dentry, DName, File].map((type) => liveObjects(type));
    const frames = freeFrames();
    fc.assert(
      fc.property(fc.array(command, { minLength: 1, maxLength: 40 }), (commands) => {
        const model = new Model();
        for (const c of commands) {
          const [got, expected] = run(model, c);
          t.is(got, expected, JSON.stringify({ ...c, data: undefined }));
        }
        compare(t, BASE, model.root);
        removeTree(BASE, model.root);
        settle(task);
      }),
      { numRuns: 150 },
    );
    settle(task);
    t.deepEqual(
      [Inode, Dentry, DName, File].map((type) => liveObjects(type)),
      before,
    );
    t.is(freeFrames(), frames);
  },
);

test.serial("O_APPEND writes at the end whatever the position says", (t) => {
  put("/log", "one ");
  const fd = open("/log", 0o2001);
  t.is(fileSeek(fileOf(fd), 0, 0), 0);
  pwrite(fd, new TextEncoder().encode("two "), 0);
  pwrite(fd, new TextEncoder().encode("three"), 1);
  close(fd);
  t.is(get("/log"), "one two three");
});

test.serial("SEEK_DATA and SEEK_HOLE find the written pages", (t) => {
  const fd = open("/sparse", O_CREAT | O_RDWR);
  pwrite(fd, new Uint8Array([1]), 5 * 4096);
  const file = fileOf(fd);
  t.is(fileSeek(file, 0, SEEK_DATA), 5 * 4096);
  t.is(fileSeek(file, 0, SEEK_HOLE), 0);
  t.is(fileSeek(file, 5 * 4096, SEEK_HOLE), 5 * 4096 + 1);
  t.is(fileSeek(file, 5 * 4096 + 1, SEEK_DATA), -ENXIO);
  // Page by page this would take hours.
  pwrite(fd, new Uint8Array([1]), 2 ** 42);
  t.is(fileSeek(file, 6 * 4096, SEEK_DATA), 2 ** 42);
  close(fd);
});

test.serial(
  "ENOSPC when half of memory is used up; what was written stays readable, and comes back when the file goes",
  (t) => {
    const fd = open("/big", O_CREAT | O_RDWR);
    const chunk = new Uint8Array(1 << 20).fill(5);
    let written = 0;
    let result = 0;
    while ((result = pwrite(fd, chunk, written)) > 0) written += result;
    t.is(result, -ENOSPC);
    t.true(written > 15 << 20 && written <= 16 << 20, `${written} bytes of 32 MiB`);
    t.deepEqual(pread(fd, 4, written - 4), new Uint8Array([5, 5, 5, 5]));
    close(fd);
    t.is(put("/small", "x"), -ENOSPC);
    unlink("/big");
    settle(task);
    t.is(put("/small", "x"), 1);
  },
);
