/** execve(2), execveat(2). */
import { execve as exec } from "../kernel/exec/exec.ts";
import { copyFromUser, strncpyFromUser } from "../kernel/mm/uaccess.ts";
import { NO_RETURN } from "../kernel/sched/block.ts";
import { E2BIG, EFAULT, EINVAL, ENAMETOOLONG } from "../kernel/uapi/errno.ts";
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW } from "../kernel/uapi/fcntl.ts";
import type { Ref } from "../rcu/index.ts";
import { dirfd, flagSet, path, stringCount, strings } from "./args.ts";
import { type Syscall, syscall } from "./syscall.ts";

const PATH_MAX = 4096;
const MAX_ARG_STRLEN = 131072;
const MAX_ARG_STRINGS = 0x7fffff;
const AT_FDCWD = -100;

/** A NULL-terminated array of strings in user memory; NULL itself is an empty one. Strings or -errno. */
function userStrings(address: number): Uint8Array[] | number {
  const result: Uint8Array[] = [];
  if (address === 0) return result;
  for (let at = address; ; at += 8) {
    const word = copyFromUser(at, 8);
    if (word === null) return -EFAULT;
    const view = new DataView(word.buffer);
    const low = view.getUint32(0, true);
    const high = view.getUint32(4, true);
    if (low === 0 && high === 0) return result;
    if (high !== 0) return -EFAULT;
    const text = strncpyFromUser(low, MAX_ARG_STRLEN);
    if (typeof text === "number") return text === -ENAMETOOLONG ? -E2BIG : text;
    result.push(text);
    if (result.length > MAX_ARG_STRINGS) return -E2BIG;
  }
}

function run(task: Ref<"task">, at: number, name: number, argv: number, envp: number, flags: number): number {
  const file = strncpyFromUser(name, PATH_MAX);
  if (typeof file === "number") return file;
  const args = userStrings(argv);
  if (typeof args === "number") return args;
  const env = userStrings(envp);
  if (typeof env === "number") return env;
  const result = exec(task, file, args, env, at, flags);
  return result === 0 ? NO_RETURN : result;
}

/** execve(2): the process runs another program. Returns only on error. */
export const execve = syscall({
  nr: 221,
  name: "execve",
  args: [path, strings, stringCount],
  fullRegs: true,
  handler: (task, name, argv, envp) => run(task, AT_FDCWD, name, argv, envp, 0),
});

/** execveat(2). */
export const execveat = syscall({
  nr: 281,
  name: "execveat",
  args: [dirfd, path, strings, stringCount, flagSet({ AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW })],
  fullRegs: true,
  handler(task, at, name, argv, envp, flags) {
    if ((flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) !== 0) return -EINVAL;
    return run(task, at, name, argv, envp, flags);
  },
});

export const calls: readonly Syscall[] = [execve, execveat];
