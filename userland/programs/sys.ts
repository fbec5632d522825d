/**
 * System calls for TypeScript programs. Names and arguments are those of the man pages (section 2); a result is a
 * value >= 0 or -errno. Calls that fill a structure return it as an object, or -errno. `sys.ok(...)` around a call
 * throws a SysError instead.
 *
 * One Sys belongs to one task. `fork`, `thread` and `spawn` give the child its own.
 */
import { TaskCalls } from "./sys/tasks.ts";

export { type Body, type SignalHandler, type Succeeded, SysError } from "./sys/calls.ts";
export type { EpollEvent, PollFd } from "./sys/events.ts";
export type { DirEntry, Stat } from "./sys/files.ts";
export type { Waited } from "./sys/tasks.ts";

/** All of them; what belongs to which man page is said in the files of sys/. */
export class Sys extends TaskCalls {}
