/** What a system call names: absolute paths, for subsystems that judge calls by them. */
import type { Ref } from "../../rcu/index.ts";
import { BINPRM_BUF_SIZE } from "../exec/binfmt.ts";
import { elfInterpreter } from "../exec/load-elf.ts";
import { openExec } from "../exec/open.ts";
import { scriptInterpreter } from "../exec/script.ts";
import { dentryInode } from "../fs/dcache.ts";
import { pathFrom } from "../fs/dpath.ts";
import { fput } from "../fs/file.ts";
import { inodeType } from "../fs/inode.ts";
import { Mount } from "../fs/mount.ts";
import { rootMount } from "../fs/mount-tree.ts";
import {
  followLast,
  LAST_NORM,
  LOOKUP_FOLLOW,
  lastName,
  lookupLast,
  lookupParent,
  nd,
  pathLookup,
} from "../fs/namei.ts";
import { kernelRead } from "../fs/read-write.ts";
import { copyFromUser, strncpyFromUser } from "../mm/uaccess.ts";
import { AT_FDCWD } from "../uapi/fcntl.ts";
import { AF_UNIX } from "../uapi/socket.ts";
import { S_IFLNK } from "../uapi/stat.ts";

/** Where in a call's arguments a path stands. */
export interface PathArgument {
  /** Number of the argument that points to it. */
  readonly path: number;
  /** The argument with the directory that it starts from; -1: the working directory. */
  readonly dirfd: number;
  /** It points to a sockaddr, whose length argument `length` is; or to a msghdr ("message"), or argument `messages` mmsghdrs. */
  readonly address?: { readonly length: number } | { readonly messages: number } | "message";
  /** It is a path only when argument `arg` has one of these bits. */
  readonly onlyWith?: { readonly arg: number; readonly bits: number };
}

const PATH_MAX = 4096;
const LINKS_MAX = 40;
/** Interpreters of interpreters: Linux goes no further. */
const SCRIPTS_MAX = 5;
const SOCKADDR_MAX = 110;
const decoder = new TextDecoder();

export function resolvePaths(
  call: string,
  args: readonly number[],
  where: readonly PathArgument[],
): string[] {
  const found: string[] = [];
  for (const argument of where) {
    const { path, dirfd, address, onlyWith } = argument;
    if (onlyWith !== undefined && (args[onlyWith.arg]! & onlyWith.bits) === 0) continue;
    const at = args[path] ?? 0;
    const from = dirfd < 0 ? AT_FDCWD : args[dirfd]!;
    for (const bytes of texts(args, at, address)) {
      if (typeof bytes === "number" || bytes.length === 0) continue;
      resolve(from, bytes, found);
      if (call.startsWith("execve")) interpreters(from, bytes, found);
    }
  }
  return found;
}

const MMSGHDR = 64;
const MESSAGES_MAX = 1024;

function texts(
  args: readonly number[],
  at: number,
  address: PathArgument["address"],
): (Uint8Array | number)[] {
  if (address === undefined) return [strncpyFromUser(at, PATH_MAX)];
  if (address === "message") return [messagePath(at)];
  if ("length" in address) return [socketPath(at, args[address.length]!)];
  const count = Math.min(args[address.messages]!, MESSAGES_MAX);
  return Array.from({ length: count }, (_, n) => messagePath(at + n * MMSGHDR));
}

/** The path in a unix socket's address; -1 when it has none (unnamed, abstract, another family). */
function socketPath(at: number, length: number): Uint8Array | number {
  if (at <= 0 || length <= 2) return -1;
  const bytes = copyFromUser(at, Math.min(length, SOCKADDR_MAX));
  if (bytes === null || bytes[0]! + bytes[1]! * 256 !== AF_UNIX || bytes[2] === 0) return -1;
  const end = bytes.indexOf(0, 2);
  return bytes.subarray(2, end < 0 ? bytes.length : end);
}

/** struct msghdr { void *msg_name; socklen_t msg_namelen; ... } */
function messagePath(at: number): Uint8Array | number {
  const head = at === 0 ? null : copyFromUser(at, 12);
  if (head === null) return -1;
  const view = new DataView(head.buffer);
  return socketPath(Number(view.getBigUint64(0, true)), view.getUint32(8, true));
}

/** What the kernel opens itself to run the program. */
function interpreters(dirfd: number, path: Uint8Array, found: string[]): void {
  let from = dirfd;
  let next: Uint8Array | null = path;
  for (let depth = 0; next !== null && depth <= SCRIPTS_MAX; depth++) {
    const file = openExec(from, next, 0);
    if (file < 0) return;
    const header = new Uint8Array(BINPRM_BUF_SIZE);
    const read = kernelRead(file as Ref<"file">, header, 0);
    const script = scriptInterpreter(header.subarray(0, Math.max(0, read)));
    next = script === null ? elfInterpreter(file as Ref<"file">) : script.interpreter;
    fput(file as Ref<"file">);
    from = AT_FDCWD;
    if (next !== null) resolve(from, next, found);
    if (script === null) return;
  }
}

/** From the machine's root, not the task's: chroot(2) changes no rule. What was unmounted under a process's feet has none. */
function absolute(mount: Ref<"mount">, dentry: Ref<"dentry">): string {
  const root = rootMount();
  const path = pathFrom(mount, dentry, root, Mount.root.get(root));
  return path === null ? "(unreachable)" : decoder.decode(path);
}

function resolve(dirfd: number, path: Uint8Array, found: string[]): void {
  if (lookupParent(dirfd, path) < 0) return;
  for (let link = 0; link < LINKS_MAX && nd.lastType === LAST_NORM; link++) {
    const folder = absolute(nd.mount, nd.dentry);
    found.push(`${folder === "/" ? "" : folder}/${decoder.decode(lastName())}`);
    const dentry = lookupLast();
    const inode = dentry > 0 ? dentryInode(dentry as Ref<"dentry">) : 0;
    if (inode === 0 || inodeType(inode) !== S_IFLNK) return;
    if (followLast(dentry as Ref<"dentry">) < 0) return;
  }
  if (pathLookup(dirfd, path, LOOKUP_FOLLOW) === 0 && nd.dentry !== 0)
    found.push(absolute(nd.mount, nd.dentry));
}
