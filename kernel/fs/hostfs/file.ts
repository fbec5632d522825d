/**
 * Contents of host files: read through the page cache that all CPUs share, written to the host at once with the cached
 * pages kept true. Pages that a shared mapping made dirty are written back by msync, fsync and the last close.
 */
import fs from "node:fs";
import { freeString, type Held, type Ref, stringBytes, tryAllocString } from "../../../rcu/index.ts";
import type { UserIo } from "../../mm/iov.ts";
import { Mapping, MOPS, registerMappingOps } from "../../mm/mapping.ts";
import { mappingInvalidate, mappingPage, writebackError, writebackPart } from "../../mm/pagecache.ts";
import { PAGE_SIZE, ram } from "../../mm/ram.ts";
import { defineLater, LATER_FLUSH, laterByTask } from "../../sched/later.ts";
import { partAlso, partDone, yieldWhole } from "../../sched/yield.ts";
import {
  DT_BLK,
  DT_CHR,
  DT_DIR,
  DT_FIFO,
  DT_LNK,
  DT_REG,
  DT_SOCK,
  DT_UNKNOWN,
  modeToType,
} from "../../uapi/dirent.ts";
import { EACCES, ENOMEM, ESTALE } from "../../uapi/errno.ts";
import { S_IFREG } from "../../uapi/stat.ts";
import { dropSetId, writeLimit } from "../attr.ts";
import { dentryChildFrom, dentryInode, dentryName, dentryNextChild } from "../dcache.ts";
import { File, FMODE_WRITE, fileGet, fput } from "../file.ts";
import { CTIME, Inode, inodeLock, inodeTouch, inodeType, inodeUnlock, MTIME } from "../inode.ts";
import { type DirEmit, FOPS, registerFileOps } from "../ops.ts";
import { Qstr, qstrSet } from "../qstr.ts";
import { emitDots, seekDirectory } from "../readdir.ts";
import { pageCacheRead, setWriteEnd, writePosition } from "../regular.ts";
import { readDescriptor, refreshHost, writeDescriptor } from "./descriptor.ts";
import { hostCall } from "./host.ts";
import { directoryPath, OPENS, WROTE } from "./inode.ts";

type I = Ref<"inode">;
type F = Ref<"file">;

const hostOf = (mapping: Ref<"mapping">): I => Mapping.host.get(mapping) as I;

function readPages(mapping: Ref<"mapping">, index: number, frame: number, count: number): number {
  const inode = hostOf(mapping);
  const length = count * PAGE_SIZE;
  let filled = 0;
  // What lies beyond the end needs no question to the host: writing a new file page by page asks nothing.
  if (index * PAGE_SIZE < Inode.size.racy(inode)) {
    const fd = readDescriptor(inode);
    if (fd < 0) return fd;
    while (filled < length) {
      const got = hostCall(() =>
        fs.readSync(fd, ram.u8, frame + filled, length - filled, index * PAGE_SIZE + filled),
      );
      if (got < 0) return got;
      if (got === 0) break;
      filled += got;
    }
  }
  ram.u8.fill(0, frame + filled, frame + length);
  return count;
}

registerMappingOps(MOPS.HOSTFS, {
  readPage(mapping, index, frame) {
    const result = readPages(mapping, index, frame, 1);
    return Math.min(result, 0);
  },
  readPages,
  writePage(mapping, index, frame) {
    const inode = hostOf(mapping);
    const length = Math.min(PAGE_SIZE, Inode.size.racy(inode) - index * PAGE_SIZE);
    if (length <= 0) return 0;
    const fd = writeDescriptor(inode);
    if (fd < 0) return fd;
    Inode.priv.set(inode, WROTE, 1);
    return writeAll(fd, ram.u8, frame, length, index * PAGE_SIZE);
  },
  size: (mapping) => Inode.size.racy(hostOf(mapping)),
});

/** Writes all of it: 0 or -errno. */
function writeAll(fd: number, bytes: Uint8Array, from: number, length: number, pos: number): number {
  let done = 0;
  while (done < length) {
    const put = hostCall(() => fs.writeSync(fd, bytes, from + done, length - done, pos + done));
    if (put < 0) return put;
    done += put;
  }
  return 0;
}

function hostOpen(inode: I, file: F): number {
  // Devices, FIFOs and sockets of the host stay closed, whatever their permissions.
  if (inodeType(inode) !== S_IFREG) return -EACCES;
  const fd = (File.mode.get(file) & FMODE_WRITE) !== 0 ? writeDescriptor(inode) : readDescriptor(inode);
  if (fd === -ESTALE) Inode.checked.set(inode, 0);
  if (fd < 0) return fd;
  Inode.priv.add(inode, OPENS, 1);
  return 0;
}

function hostRead(file: F, io: UserIo, pos: number): number {
  const inode = File.inode.get(file);
  // Near the end: the host may have appended since.
  if (pos + io.remaining > Inode.size.racy(inode)) refreshHost(inode);
  return pageCacheRead(file, io, pos);
}

const BOUNCE_BYTES = 1 << 16;
const PART_BYTES = 1 << 20;
let bounce: Uint8Array | null = null;

function hostWrite(file: F, io: UserIo, pos: number): number {
  const inode = File.inode.get(file);
  const writable = writeDescriptor(inode);
  if (writable < 0) return writable;
  bounce ??= new Uint8Array(BOUNCE_BYTES);
  let done = 0;
  let at = pos;
  while (io.remaining > 0) {
    // User memory is read before the lock is taken: it may be a mapping of this very file.
    const got = io.copyFrom(bounce, 0, Math.min(BOUNCE_BYTES, io.remaining));
    if (got < 0) return done > 0 ? done : got;
    const held = inodeLock(inode);
    at = writePosition(held, file, io, at);
    const length = writeLimit(at, got, io.done > got);
    const result = length < 0 ? length : writeLocked(held, inode, bounce, length, at);
    inodeUnlock(inode);
    if (result < 0) return done > 0 ? done : result;
    done += length;
    at += length;
    setWriteEnd(at);
    if (length < got) break;
  }
  return done;
}

function writeLocked(held: Held<"lock">, inode: I, bytes: Uint8Array, length: number, pos: number): number {
  const mapping = Inode.mapping.get(inode) as Ref<"mapping">;
  // The pages are there before the host is written: a read in progress cannot bring back what was there before.
  const first = Math.floor(pos / PAGE_SIZE);
  const last = Math.floor((pos + length - 1) / PAGE_SIZE);
  let cached = true;
  for (let index = first; index <= last && cached; index++) cached = mappingPage(mapping, index, true) >= 0;
  Inode.priv.set(inode, WROTE, 1);
  // Asked for only now: bringing pages in may have asked for others since (opener.ts).
  const fd = writeDescriptor(inode);
  const error = fd < 0 ? fd : writeAll(fd, bytes, 0, length, pos);
  if (error < 0 || !cached) mappingInvalidate(mapping, first, last + 1);
  else {
    let done = 0;
    while (done < length) {
      const offset = (pos + done) % PAGE_SIZE;
      const count = Math.min(PAGE_SIZE - offset, length - done);
      const frame = mappingPage(mapping, Math.floor((pos + done) / PAGE_SIZE), true);
      if (frame > 0) ram.u8.set(bytes.subarray(done, done + count), frame + offset);
      done += count;
    }
  }
  if (error < 0) return error;
  if (pos + length > Inode.size.get(held, inode)) Inode.size.set(held, inode, pos + length);
  dropSetId(inode);
  inodeTouch(inode, (1 << MTIME) | (1 << CTIME));
  return length;
}

/** Writes what shared mappings changed, in parts; the first error is kept for the end. 0, -errno or YIELD. */
function writeBack(mapping: Ref<"mapping">): number {
  const from = partDone();
  let error = from === 0 ? 0 : partAlso();
  for (let at = from; ; ) {
    at = writebackPart(mapping, at, Infinity);
    error ||= writebackError;
    if (at === Infinity) return error;
    const stop = yieldWhole(at, error);
    if (stop !== 0) return stop;
  }
}

function hostSync(file: F, dataOnly: boolean): number {
  const inode = File.inode.get(file);
  const mapping = Inode.mapping.get(inode);
  const error = mapping === 0 ? 0 : writeBack(mapping);
  if (error < 0) return error;
  // Any descriptor of the file will do.
  const fd = (File.mode.get(file) & FMODE_WRITE) !== 0 ? writeDescriptor(inode) : readDescriptor(inode);
  if (fd < 0) return fd;
  const result = hostCall(() => (dataOnly ? fs.fdatasyncSync(fd) : fs.fsyncSync(fd)));
  return typeof result === "number" ? result : 0;
}

/** At the close of a descriptor, which cannot be done twice: what one part does not do follows when the call is over, and its errors are lost. */
function hostFlush(file: F): number {
  const mapping = Inode.mapping.get(File.inode.get(file));
  if (mapping === 0 || Mapping.nrDirty.load(mapping) === 0) return 0;
  if (writebackPart(mapping, 0, Infinity) !== Infinity) laterByTask(LATER_FLUSH, fileGet(file));
  return writebackError;
}
defineLater(LATER_FLUSH, (file, at) => {
  const mapping = Inode.mapping.get(File.inode.get(file as F)) as Ref<"mapping">;
  const next = writebackPart(mapping, at, Infinity);
  if (next !== Infinity) return next;
  fput(file as F);
  return 0;
});

registerFileOps(FOPS.HOSTFS, {
  seekable: true,
  part: PART_BYTES,
  open: hostOpen,
  read: hostRead,
  write: hostWrite,
  fsync: hostSync,
  flush: hostFlush,
  release: (file) => void Inode.priv.add(File.inode.get(file), OPENS, -1),
});

// Directories: the listing is taken when reading starts and kept with the open file, so positions stay true.

const typeOf = (entry: fs.Dirent<Buffer>): number =>
  entry.isFile()
    ? DT_REG
    : entry.isDirectory()
      ? DT_DIR
      : entry.isSymbolicLink()
        ? DT_LNK
        : entry.isFIFO()
          ? DT_FIFO
          : entry.isSocket()
            ? DT_SOCK
            : entry.isCharacterDevice()
              ? DT_CHR
              : entry.isBlockDevice()
                ? DT_BLK
                : DT_UNKNOWN;

/** Places that the machine made in this directory to mount on (ensureMountpoint); the host does not have them. */
function madePlaces(file: F): { type: number; name: Uint8Array }[] {
  const dir = File.dentry.get(file) as Ref<"dentry">;
  const places: { type: number; name: Uint8Array }[] = [];
  for (let child = dentryChildFrom(dir, 0); child !== 0; child = dentryNextChild(dir, child)) {
    const inode = dentryInode(child) as I;
    places.push({ type: modeToType(Inode.mode.peek(inode)), name: dentryName(child) });
  }
  return places;
}

/** Listing as one string: type byte, length byte, name; again and again. */
function takeListing(file: F): Ref<"string"> | number {
  const path = directoryPath(File.inode.get(file));
  if (typeof path === "number") return path;
  const found = hostCall(() => fs.readdirSync(path, { withFileTypes: true, encoding: "buffer" }));
  if (typeof found === "number") return found;
  const entries = [
    ...found.map((entry) => ({ type: typeOf(entry), name: entry.name as Uint8Array })),
    ...madePlaces(file),
  ];
  let total = 0;
  for (const entry of entries) total += 2 + entry.name.length;
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const entry of entries) {
    bytes[at] = entry.type;
    bytes[at + 1] = entry.name.length;
    bytes.set(entry.name, at + 2);
    at += 2 + entry.name.length;
  }
  const text = tryAllocString(bytes);
  return text === 0 ? -ENOMEM : text;
}

function dropListing(file: F): void {
  const listing = File.priv.exchange(file, 0) as Ref<"string"> | 0;
  if (listing !== 0) freeString(listing);
}

const entry = new Qstr();

/** Called with the file's posLock held. */
function iterateHost(file: F, pos: number, emit: DirEmit): number {
  if (!emitDots(file, pos, emit)) return 0;
  if (pos <= 2) dropListing(file);
  if (File.priv.peek(file) === 0) {
    const taken = takeListing(file);
    if (taken < 0) return taken;
    File.priv.store(file, taken);
  }
  const bytes = stringBytes(File.priv.peek(file) as Ref<"string">);
  // Positions are 2 + offset in the listing.
  let at = Math.max(0, pos - 2);
  while (at + 2 <= bytes.length) {
    const end = at + 2 + bytes[at + 1]!;
    const name = bytes.subarray(at + 2, end);
    // The host says no inode number here; any but 0 does (readdir(3) skips 0).
    if (!emit(name, (qstrSet(entry, name).hash >>> 0) + 1, bytes[at]!, 2 + end)) break;
    at = end;
  }
  return 0;
}

registerFileOps(FOPS.HOSTFS_DIR, {
  seekable: true,
  /** What cannot be listed cannot be opened: many programs take an error of getdents(2) for the end. */
  open(inode) {
    const path = directoryPath(inode);
    return typeof path === "number" ? path : 0;
  },
  iterate: iterateHost,
  lseek: seekDirectory,
  fsync: () => 0,
  release: dropListing,
});
