/**
 * What /proc consists of: a tree of nodes, code registered by name in every worker. Inodes in the heap hold a node's
 * number, which follows from its path, so workers may load modules in any order.
 *
 *   procFile("uptime", () => `${seconds()}\n`);
 *   procFile("PID/comm", (at) => comm(at.task), { write: ... });
 *
 * "PID" in a path stands for a process and for each thread below PID/task.
 */
import type { Ref } from "../../rcu/index.ts";
import { hashName } from "../../rcu/kernel.ts";
import type { UserIo } from "../mm/iov.ts";
import { S_IFDIR, S_IFLNK, S_IFREG } from "../uapi/stat.ts";

/** Which process and descriptor a node is looked at for: 0 for what belongs to no process. */
export interface ProcAt {
  readonly pid: number;
  readonly task: Ref<"task">;
  readonly fd: number;
}

/** One name of a directory whose entries come and go. `fd` and `pid` are what ProcAt then says. */
export interface ProcEntry {
  readonly name: string;
  readonly node: ProcNode;
  readonly pid: number;
  readonly fd: number;
}

export interface ProcRaw {
  read(at: ProcAt, io: UserIo, pos: number): number;
  write(at: ProcAt, io: UserIo, pos: number): number;
}

/** A part of a file's content: its text, and where the next one begins, or -1 behind the last. */
export interface ProcPiece {
  readonly text: string;
  readonly next: number;
}

export interface ProcNode {
  readonly path: string;
  readonly id: number;
  /** File type and permission bits. */
  readonly mode: number;
  readonly children: Map<string, ProcNode>;
  /** Content of a file, or -errno. */
  generate?: (at: ProcAt) => string | Uint8Array | number;
  /** Content that may be long, in pieces: instead of `generate`. Or -errno. */
  piece?: (at: ProcAt, from: number) => ProcPiece | number;
  /** Content that is read and written in place, at a position: instead of `generate` and `write`. */
  raw?: ProcRaw;
  /** A write of `size` bytes, which are this text, to the file: bytes taken, or -errno. */
  write?: (at: ProcAt, text: string, pos: number, size: number) => number;
  /** Most bytes of one write; default 4096. A longer one is refused (EFBIG) where the node says so, else cut. */
  writeMax?: number;
  /** A number that differs once the content did: poll(2) reports the file readable until it is read again. */
  changes?: () => number;
  /** The wait queue that is woken then. */
  waitQueue?: () => number;
  /** Target of a symbolic link, or -errno. */
  target?: (at: ProcAt) => string | Uint8Array | number;
  /** Where a magic link leads: fills `link` and returns 0; 1 to go by `target`; or -errno. */
  follow?: (at: ProcAt, link: { mount: Ref<"mount">; dentry: Ref<"dentry"> }) => number;
  /** Entries beyond `children`: by name, and all of them from a number on, in order. */
  lookup?: (at: ProcAt, name: string) => ProcEntry | null;
  list?: (at: ProcAt, from: number) => Iterable<{ key: number; entry: ProcEntry }>;
}

const nodes = new Map<number, ProcNode>();

function newNode(path: string, mode: number): ProcNode {
  const id = hashName(`proc/${path}`);
  const other = nodes.get(id);
  if (other !== undefined) throw new Error(`/proc/${path} has the number of /proc/${other.path}`);
  const node: ProcNode = { path, id, mode, children: new Map() };
  nodes.set(id, node);
  return node;
}

export const procRoot = newNode("", S_IFDIR | 0o555);
/** /proc/PID, and /proc/PID/task/TID, which has the same entries but for task/. */
export const pidDir = newNode("PID", S_IFDIR | 0o555);
export const threadDir = newNode("TID", S_IFDIR | 0o555);
/** The root of "devpts". */
export const ptsRoot = newNode("/pts", S_IFDIR | 0o755);
/** The root of the file system "sysfs": paths that begin with "/sys/". */
export const sysRoot = newNode("/sys", S_IFDIR | 0o555);

function attach(parent: ProcNode, name: string, node: ProcNode): void {
  parent.children.set(name, node);
  if (parent === pidDir && name !== "task") threadDir.children.set(name, node);
}

export const procNode = (id: number): ProcNode => nodes.get(id)!;

/** The directory of that path, made with its parents when it is not there yet. */
export function procDir(path: string, mode = 0o555): ProcNode {
  if (path === "") return procRoot;
  if (path === "PID") return pidDir;
  if (path === "/sys") return sysRoot;
  const cut = path.lastIndexOf("/");
  const parent = procDir(cut < 0 ? "" : path.slice(0, cut));
  const name = path.slice(cut + 1);
  let node = parent.children.get(name);
  if (node === undefined) {
    node = newNode(path, S_IFDIR | mode);
    attach(parent, name, node);
  }
  return node;
}

function add(path: string, mode: number): ProcNode {
  const cut = path.lastIndexOf("/");
  const parent = procDir(cut < 0 ? "" : path.slice(0, cut));
  const node = newNode(path, mode);
  attach(parent, path.slice(cut + 1), node);
  return node;
}

export interface ProcFileOptions {
  mode?: number;
  write?: (at: ProcAt, text: string, pos: number, size: number) => number;
  writeMax?: number;
  changes?: () => number;
  waitQueue?: () => number;
}

/** A file whose content is made anew whenever it is read from its start. */
export function procFile(
  path: string,
  generate: (at: ProcAt) => string | Uint8Array | number,
  options: ProcFileOptions = {},
): ProcNode {
  const node = add(path, S_IFREG | (options.mode ?? (options.write === undefined ? 0o444 : 0o644)));
  node.generate = generate;
  if (options.write !== undefined) node.write = options.write;
  if (options.writeMax !== undefined) node.writeMax = options.writeMax;
  if (options.changes !== undefined) node.changes = options.changes;
  if (options.waitQueue !== undefined) node.waitQueue = options.waitQueue;
  return node;
}

/**
 * A file whose content grows with what a program has thousands of: made while it is read, in pieces of about a millisecond. `piece`
 * makes the one that begins at `from`, a number of its own choosing below 2^31, 0 for the first. It is never empty but at the end.
 */
export function procSequence(path: string, piece: (at: ProcAt, from: number) => ProcPiece): void {
  add(path, S_IFREG | 0o444).piece = piece;
}

/** A file that is memory, as /proc/PID/mem: read and written at the position asked for. */
export function procRawFile(path: string, mode: number, raw: ProcRaw): void {
  add(path, S_IFREG | mode).raw = raw;
}

/** A symbolic link; with `follow` a magic one, which leads to an object and not to a path. */
export function procLink(
  path: string,
  target: (at: ProcAt) => string | Uint8Array | number,
  follow?: ProcNode["follow"],
): ProcNode {
  const node = add(path, S_IFLNK | 0o777);
  node.target = target;
  if (follow !== undefined) node.follow = follow;
  return node;
}

/** A node that no directory lists by itself: what `lookup` and `list` hand out. */
export const procHidden = (path: string, mode: number): ProcNode => newNode(path, mode);
