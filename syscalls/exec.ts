/** execve(2), execveat(2). */
import { execve as exec } from "../kernel/exec/exec.ts";
import { userArgs } from "../kernel/exec/strings.ts";
import { strncpyFromUser } from "../kernel/mm/uaccess.ts";
import { NO_RETURN } from "../kernel/sched/block.ts";
import { rlimit } from "../kernel/task/rlimit.ts";
import { EINVAL } from "../kernel/uapi/errno.ts";
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW } from "../kernel/uapi/fcntl.ts";
import { RLIMIT_STACK } from "../kernel/uapi/resource.ts";
import type { Ref } from "../rcu/index.ts";
import { dirfd, flagSet, path, stringCount, strings } from "./args.ts";
import { type Syscall, syscall } from "./syscall.ts";

const PATH_MAX = 4096;
const AT_FDCWD = -100;

function run(task: Ref<"task">, at: number, name: number, argv: number, envp: number, flags: number): number {
  const file = strncpyFromUser(name, PATH_MAX);
  if (typeof file === "number") return file;
  const args = userArgs(argv, envp, rlimit(task, RLIMIT_STACK));
  if (typeof args === "number") return args;
  const result = exec(task, file, args.argv, args.envp, at, flags);
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
