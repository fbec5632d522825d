/**
 * What hooks see of tasks, calls, files and mounts: one object per CPU and kind, filled for each callback. A subsystem that
 * keeps one finds another task in it the next time.
 */
import type { Ref } from "../../rcu/index.ts";
import { File } from "../fs/file.ts";
import { strncpyFromUser } from "../mm/uaccess.ts";
import { credOf } from "../task/cred.ts";
import { commText } from "../task/exec.ts";
import { Cred, Task } from "../task/task.ts";
import { O_NONBLOCK } from "../uapi/fcntl.ts";
import { type PathArgument, resolvePaths } from "./call-paths.ts";
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

const PATH_MAX = 4096;
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
   * itself will. Of a symbolic link in the last place, both the link and where it leads; of execve, also what interprets the
   * program (scripts, dynamic linking); of socket calls, the name of a unix socket. Paths that lead nowhere are left out: the
   * call fails by itself. What is named by a descriptor alone is not among them.
   *
   * The call reads the same text, and addresses of sockets, when it runs: what another thread writes there meanwhile comes too
   * late (mm/seen.ts). Where a path leads can change in between, by renaming for example.
   */
  paths(): string[] {
    return asKernel(() => resolvePaths(this.name, this.args, this.pathArguments));
  }
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
