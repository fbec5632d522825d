/** unshare(2): own copies of what clone shared. */
import type { Held, Ref } from "../../rcu/index.ts";
import { unshareFiles } from "../fs/fd-copy.ts";
import { fsFork, fsPut } from "../fs/fsinfo.ts";
import { ENOMEM } from "../uapi/errno.ts";
import { CLONE_FILES, CLONE_FS } from "../uapi/sched.ts";
import { Task } from "./task.ts";

/** The current task replaces its own pointers: no lock. */
const OWNER = 1 as Held;

/** 0, -ENOMEM, or YIELD. */
export function unshareResources(task: Ref<"task">, flags: number): number {
  if ((flags & CLONE_FILES) !== 0) {
    const failed = unshareFiles(task);
    if (failed < 0) return failed;
  }
  if ((flags & CLONE_FS) === 0) return 0;
  const fs = Task.fs.access(task) as Ref<"fsinfo">;
  const own = fsFork(fs);
  if (own === 0) return -ENOMEM;
  Task.fs.assign(OWNER, task, own);
  fsPut(fs);
  return 0;
}
