/** How a program is started, and what can go wrong. */
import type { Readable, Writable } from "node:stream";
import { MachineError } from "../../kernel/machine/boot.ts";
import { ERRNO } from "../../kernel/uapi/errno.ts";

/** Where standard input comes from. */
export type Input =
  /** `process.stdin`, a stream to write to. */
  | "pipe"
  /** Nothing: /dev/null. */
  | "ignore"
  /** All of it. */
  | Uint8Array
  /** All of it, as UTF-8. */
  | { readonly text: string }
  | ReadableStream<Uint8Array>
  | Readable;

/** Where standard output or error goes. */
export type Output =
  /** `process.stdout` or `.stderr`, a stream to read from. The program waits when nobody reads. */
  | "pipe"
  | "ignore"
  /** To this process's own descriptor. */
  | "inherit"
  | WritableStream<Uint8Array>
  | Writable;

export interface SpawnOptions {
  /** Arguments, the program's own name first. Default: only the name. */
  readonly argv?: readonly string[];
  /** The environment. Default: PATH and HOME. */
  readonly env?: Readonly<Record<string, string>>;
  /** Guest folder. Default: `/`. */
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Aborting it kills the process; `exited` then rejects with its reason. */
  readonly signal?: AbortSignal;
  /** Milliseconds after which the process is killed; `exited` then rejects with a TimeoutError (DOMException). */
  readonly timeout?: number;
  /** What `signal` and `timeout` send. Default: "SIGKILL". */
  readonly killSignal?: number | NodeJS.Signals;
  /** Default: "ignore". */
  readonly stdin?: Input;
  /** Default: "pipe". */
  readonly stdout?: Output;
  /** Default: "pipe". */
  readonly stderr?: Output;
}

/** The CPU that ran the process died: the thread was ended, or a subsystem on it did not return. The machine goes on. */
export class CpuLostError extends MachineError {
  override name = "CpuLostError";
  readonly cpu: number;
  readonly pid: number;
  constructor(cpu: number, pid: number, program: string) {
    super(`CPU ${cpu} was lost while it ran pid ${pid} (${program}): the kernel log says why`);
    this.cpu = cpu;
    this.pid = pid;
  }
}

/** A program that cannot be started, or loaded. */
export class SpawnError extends MachineError {
  override name = "SpawnError";
  /** Name of the error as in errno(3): "ENOENT", "EACCES", "ENOEXEC"... */
  readonly code: string;
  readonly errno: number;
  constructor(program: string, errno: number, reason = "") {
    const known = ERRNO.get(errno);
    super(`${program}: ${reason === "" ? (known?.text ?? `errno ${errno}`) : reason}`);
    this.errno = errno;
    this.code = known?.name ?? `E${errno}`;
  }
}
