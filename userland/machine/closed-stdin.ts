/**
 * Whether this process was started with standard input closed (`<&-`), which its guests then see as well. Node hides that: it opens
 * /dev/null for reading and writing in its place (on Linux, where /proc tells). Others who have that for standard input have it from
 * a parent that has the same, or are children of Python, whose subprocess.DEVNULL looks alike.
 */
import { readFileSync, readlinkSync } from "node:fs";

const O_ACCMODE = 3;
const O_RDWR = 2;

/** Whether descriptor 0 of a process is /dev/null for reading and writing. Throws where that cannot be seen. */
function nullForBoth(pid: number | "self"): boolean {
  if (readlinkSync(`/proc/${pid}/fd/0`) !== "/dev/null") return false;
  const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/0`, "utf8"))?.[1] ?? "0";
  return (Number.parseInt(flags, 8) & O_ACCMODE) === O_RDWR;
}

export function stdinWasClosed(): boolean {
  try {
    if (!nullForBoth("self") || readFileSync(`/proc/${process.ppid}/comm`, "utf8").startsWith("python"))
      return false;
  } catch {
    return false;
  }
  try {
    return !nullForBoth(process.ppid);
  } catch {
    return true; // Of somebody else's process, or one whose input is closed too, nothing is seen.
  }
}
