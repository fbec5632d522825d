/** File calls as tests write them: paths as text, errors as negative numbers, descriptors of the current task. */
import { makeDirectory, makeSymlink, removeDirectory, unlinkPath } from "../../../kernel/fs/dir.ts";
import { allocFd, closeFd, fget } from "../../../kernel/fs/fdtable.ts";
import { inodeType } from "../../../kernel/fs/inode.ts";
import { LOOKUP_FOLLOW, nd, pathLookup } from "../../../kernel/fs/namei.ts";
import { vfsOpen } from "../../../kernel/fs/open.ts";
import { filePread, filePwrite, fileRead, fileWrite } from "../../../kernel/fs/read-write.ts";
import { readDirectory } from "../../../kernel/fs/readdir.ts";
import { UserIo } from "../../../kernel/mm/iov.ts";
import { current } from "../../../kernel/sched/current.ts";
import { Task } from "../../../kernel/task/task.ts";
import { AT_FDCWD } from "../../../kernel/uapi/fcntl.ts";
import type { Ref } from "../../../rcu/index.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const io = new UserIo();

const files = (): Ref<"files"> => Task.files.access(current()) as Ref<"files">;

export function open(path: string, flags = 0, mode = 0o644): number {
  const file = vfsOpen(AT_FDCWD, path, flags, mode);
  return file < 0 ? file : allocFd(files(), file as Ref<"file">, flags);
}
export const close = (fd: number): number => closeFd(files(), fd);
export const fileOf = (fd: number): Ref<"file"> => fget(files(), fd) as Ref<"file">;

export function write(fd: number, text: string | Uint8Array): number {
  io.setKernel(typeof text === "string" ? encoder.encode(text) : text);
  return fileWrite(fileOf(fd), io);
}
export function read(fd: number, count = 65536): string | number {
  const bytes = new Uint8Array(count);
  io.setKernel(bytes);
  const got = fileRead(fileOf(fd), io);
  return got < 0 ? got : decoder.decode(bytes.subarray(0, got));
}
export function pread(fd: number, count: number, pos: number): Uint8Array | number {
  const bytes = new Uint8Array(count);
  io.setKernel(bytes);
  const got = filePread(fileOf(fd), io, pos);
  return got < 0 ? got : bytes.subarray(0, got);
}
export function pwrite(fd: number, bytes: Uint8Array, pos: number): number {
  io.setKernel(bytes);
  return filePwrite(fileOf(fd), io, pos);
}

export const mkdir = (path: string, mode = 0o755): number => makeDirectory(AT_FDCWD, path, mode);
export const symlink = (target: string, path: string): number =>
  makeSymlink(encoder.encode(target), AT_FDCWD, path);
export const unlink = (path: string): number => unlinkPath(AT_FDCWD, path);
export const rmdir = (path: string): number => removeDirectory(AT_FDCWD, path);

/** 0 when the path resolves, or -errno. */
export const lookup = (path: string, flags = LOOKUP_FOLLOW): number => pathLookup(AT_FDCWD, path, flags);
/** File type of what the path leads to, or -errno. */
export function typeOf(path: string, flags = LOOKUP_FOLLOW): number {
  const error = lookup(path, flags);
  return error < 0 ? error : inodeType(nd.inode);
}

/** Writes a file anew. */
export function put(path: string, text: string, mode = 0o644): number {
  const fd = open(path, 0o1101, mode); // O_CREAT | O_TRUNC | O_WRONLY
  if (fd < 0) return fd;
  const result = write(fd, text);
  close(fd);
  return result;
}
/** Text of a file, or -errno. */
export function get(path: string): string | number {
  const fd = open(path);
  if (fd < 0) return fd;
  const text = read(fd, 1 << 20);
  close(fd);
  return text;
}
/** Names in a directory, without the dots, sorted. */
export function list(path: string, bufferBytes = 4096): string[] {
  const fd = open(path, 0o200000);
  if (fd < 0) throw new Error(`${path}: ${fd}`);
  const names: string[] = [];
  const buffer = new Uint8Array(bufferBytes);
  const view = new DataView(buffer.buffer);
  for (;;) {
    const filled = readDirectory(fileOf(fd), buffer);
    if (filled < 0) throw new Error(`getdents: ${filled}`);
    if (filled === 0) break;
    for (let at = 0; at < filled; at += view.getUint16(at + 16, true)) {
      const end = buffer.indexOf(0, at + 19);
      names.push(decoder.decode(buffer.subarray(at + 19, end)));
    }
  }
  close(fd);
  return names.filter((name) => name !== "." && name !== "..").sort();
}
