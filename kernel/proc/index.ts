/** Loads every part of /proc: import it once in each worker, then mount the file system "proc". */
import "./pid.ts";
import "./pid-mem.ts";
import "./pid-stat.ts";
import "./fd.ts";
import "./system.ts";
import "./sys.ts";
import "./sysfs.ts";
import "./devpts.ts";
import "./inode.ts";

export { type ProcAt, type ProcFileOptions, type ProcNode, procDir, procFile, procLink } from "./node.ts";
