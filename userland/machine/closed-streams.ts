/**
 * Whether this process was started with a standard stream closed (`<&-`, `>&-`), which its guests then see as well. Node hides that:
 * it opens /dev/null for reading and writing in its place (on Linux, where /proc tells). Others who have that have it from a parent
 * that has the same, or are children of programs that start theirs so when they want no output: Node itself, and Python's
 * subprocess.DEVNULL. So a closed output is believed only of a shell's child, and of one whose parent has the stream closed too.
 */
import { readFileSync, readlinkSync } from "node:fs";

const O_ACCMODE = 3;
const O_RDWR = 2;
const SHELL = /^(ba|da|z|k|mk|a|fi|tc|c)?sh$|^busybox$/;

/** Whether descriptor `fd` of a process is /dev/null for reading and writing. Throws where that cannot be seen. */
function nullForBoth(pid: number | "self", fd: number): boolean {
  if (readlinkSync(`/proc/${pid}/fd/${fd}`) !== "/dev/null") return false;
  const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8"))?.[1] ?? "0";
  return (Number.parseInt(flags, 8) & O_ACCMODE) === O_RDWR;
}

export function wasClosed(fd: 0 | 1 | 2): boolean {
  let parent: string;
  try {
    if (!nullForBoth("self", fd)) return false;
    parent = readFileSync(`/proc/${process.ppid}/comm`, "utf8").trimEnd();
  } catch {
    return false;
  }
  if (fd === 0 ? parent.startsWith("python") : !SHELL.test(parent))
    return closedIn(process.ppid, fd) === true;
  try {
    return !nullForBoth(process.ppid, fd);
  } catch {
    return true; // Of somebody else's process, or one whose stream is closed too, nothing is seen.
  }
}

/** Whether a process has no such descriptor; null where that cannot be seen. */
function closedIn(pid: number, fd: number): boolean | null {
  try {
    readlinkSync(`/proc/${pid}/fd/${fd}`);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? true : null;
  }
}
