/**
 * What hooks see of tasks, calls, files and mounts: one object per CPU and kind, filled for each callback. A subsystem that
 * keeps one finds another task in it the next time.
 */
import type { Ref } from "../../rcu/index.ts";
import { dentryInode } from "../fs/dcache.ts";
import { pathFrom } from "../fs/dpath.ts";
import { File } from "../fs/file.ts";
import { inodeType } from "../fs/inode.ts";
import { Mount, rootMount } from "../fs/mount.ts";
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
import { strncpyFromUser } from "../mm/uaccess.ts";
import { credOf } from "../task/cred.ts";
import { commText } from "../task/exec.ts";
import { Cred, Task } from "../task/task.ts";
import { AT_FDCWD, O_NONBLOCK } from "../uapi/fcntl.ts";
import { S_IFLNK } from "../uapi/stat.ts";
import { asKernel } from "./place.ts";

export class TaskView {
  /** The task itself, for tables and for functions of the kernel. */
  ref = 0 as Ref<"task">;
  /** Thread id. */
  get tid(): number {
    return Task.pid.get(this.ref);
  }
  /** Process id. */
  get pid(): number {
    return Task.tgid.get(this.ref);
  }
  get uid(): number {
    return Cred.uid.get(credOf(this.ref));
  }
  get euid(): number {
    return Cred.euid.get(credOf(this.ref));
  }
  get gid(): number {
    return Cred.gid.get(credOf(this.ref));
  }
  /** The program's name, up to 15 characters. */
  get comm(): string {
    return commText(this.ref);
  }
  /** Monotonic nanoseconds at which it was made: with tid, an identity that is never used again. */
  get startTime(): number {
    return Task.startTime.get(this.ref);
  }
  /** Wait status, in taskExit. */
  get exitStatus(): number {
    return Task.exitCode.get(this.ref);
  }
}

/** Where in a call's arguments paths stand: argument numbers, `dirfd` -1 for the working directory. */
export interface PathArgument {
  readonly path: number;
  readonly dirfd: number;
}

const PATH_MAX = 4096;
const LINKS_MAX = 40;
const decoder = new TextDecoder();

export class CallView {
  nr = 0;
  name = "";
  /** Decoded as the call's handler gets them. */
  args: readonly number[] = [];
  pathArguments: readonly PathArgument[] = [];

  /** The text that argument `index` points to; null when it cannot be read. */
  string(index: number): string | null {
    const bytes = asKernel(() => strncpyFromUser(this.args[index] ?? 0, PATH_MAX));
    return typeof bytes === "number" ? null : decoder.decode(bytes);
  }

  /**
   * Absolute paths of everything that the call names: symbolic links, "..", working and root directory resolved as the call
   * itself will. Of a symbolic link in the last place, both the link and where it leads. Paths that lead nowhere
   * are left out: the call fails by itself.
   *
   * Another thread can change the text between this look and the call's, as with every filter in front of system calls.
   */
  paths(): string[] {
    return asKernel(() => this.#paths());
  }

  #paths(): string[] {
    const found: string[] = [];
    for (const { path, dirfd } of this.pathArguments) {
      const bytes = strncpyFromUser(this.args[path] ?? 0, PATH_MAX);
      if (typeof bytes !== "number" && bytes.length > 0)
        resolve(dirfd < 0 ? AT_FDCWD : this.args[dirfd]!, bytes, found);
    }
    return found;
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

/** An open device file. */
export class OpenFile {
  ref = 0 as Ref<"file">;
  /** Where this read or write is, on a device with `size`. */
  position = 0;
  /** Bytes of this write that do not fit into `bytes`, and come in a further call. */
  left = 0;
  /** Words that belong to the driver: what it keeps per open file. */
  get state(): number {
    return File.priv.load(this.ref);
  }
  set state(value: number) {
    File.priv.store(this.ref, value);
  }
  get state2(): number {
    return File.priv2.load(this.ref);
  }
  set state2(value: number) {
    File.priv2.store(this.ref, value);
  }
  /** Replaces `state` and returns what it was, for references that are freed by who takes them. */
  exchangeState(value: number): number {
    return File.priv.exchange(this.ref, value);
  }
  /** Opened with, or set to, O_NONBLOCK. */
  get nonblocking(): boolean {
    return (File.flags.load(this.ref) & O_NONBLOCK) !== 0;
  }
}

export interface MountView {
  readonly type: string;
  readonly source: string;
  readonly target: string;
  /** MS_*. */
  readonly flags: number;
}
