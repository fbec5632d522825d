/** A process of a machine, seen from the host. */
import type { Machine as KernelMachine } from "../../kernel/machine/machine.ts";
import type { Process } from "../../kernel/machine/processes.ts";
import { ENOENT } from "../../kernel/uapi/errno.ts";
import { NSIG, signalName, signalNumber } from "../../kernel/uapi/signal.ts";
import { shortened } from "./check-options.ts";
import { CpuLostError, notFound, SpawnError } from "./spawn-error.ts";
import type { InputPipe, OutputPipe } from "./streams.ts";

/** How a process ended. */
export interface ProcessExit {
  /** Exit code; null when a signal killed it. */
  readonly code: number | null;
  /** Name of the signal that killed it, or null. */
  readonly signal: string | null;
}

/** All that a process wrote, and how it ended. */
export interface ProcessOutput extends ProcessExit {
  readonly stdout: string;
  readonly stderr: string;
}

/** A process of a machine: what Machine.spawn returns. */
export class GuestProcess {
  readonly pid: number;
  /**
   * Rejects with SpawnError when the program could not be loaded, CpuLostError when a CPU died under it, and with the reason of
   * `signal`, or a TimeoutError, when that ended it.
   */
  readonly exited: Promise<ProcessExit>;
  /** Set when `exited` is settled. @internal */
  ended = false;
  readonly #kernel: KernelMachine;
  readonly #stdin: InputPipe | null;
  readonly #stdout: OutputPipe | null;
  readonly #stderr: OutputPipe | null;
  /** Settled when all that went to given streams has arrived there. */
  readonly #delivered: Promise<unknown>;

  /** Machine.spawn makes them. @internal */
  constructor(
    kernel: KernelMachine,
    name: string,
    started: Process,
    streams: Streams,
    stop: AbortSignal | null,
    killSignal: number,
  ) {
    this.#kernel = kernel;
    this.#stdin = streams.stdin;
    this.#stdout = streams.stdout;
    this.#stderr = streams.stderr;
    this.#delivered = streams.delivered;
    this.pid = started.pid;
    const abort = () => void this.kill(killSignal);
    stop?.addEventListener("abort", abort, { once: true });
    this.exited = started.exited.then((exit) => {
      this.ended = true;
      stop?.removeEventListener("abort", abort);
      stop?.throwIfAborted();
      if (exit.lostCpu !== undefined) throw new CpuLostError(exit.lostCpu, started.pid, name);
      if (exit.error === ENOENT) throw new SpawnError(name, ENOENT, notFound(name, exit.reason));
      if (exit.error !== 0) throw new SpawnError(name, exit.error, exit.reason);
      return exit.signal === undefined
        ? { code: exit.code ?? 0, signal: null }
        : { code: null, signal: signalName(exit.signal) };
    });
  }

  /** Standard input, with `stdin: "pipe"`. Close it: many programs read to its end. */
  get stdin(): WritableStream<Uint8Array | string> {
    return there(this.#stdin, "stdin").stream;
  }
  /** Standard output, with `stdout: "pipe"`. It ends when every process that has it has closed it. */
  get stdout(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return there(this.#stdout?.taken ? null : this.#stdout, "stdout").stream;
  }
  get stderr(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return there(this.#stderr?.taken ? null : this.#stderr, "stderr").stream;
  }

  /** Sends a signal. False when the process is gone. */
  kill(signal: number | NodeJS.Signals = "SIGTERM"): boolean {
    return this.#kernel.kill(this.pid, numberOf(signal));
  }

  /**
   * Reads both outputs to their ends, as UTF-8; waits until what goes to a given stream has arrived there. Rejects like `exited`.
   */
  async output(): Promise<ProcessOutput> {
    const read = (pipe: OutputPipe | null) =>
      pipe === null || pipe.taken ? "" : new Response(pipe.stream).text();
    const ends = [read(this.#stdout), read(this.#stderr), this.exited, this.#delivered] as const;
    const [stdout, stderr, exit] = await Promise.all(ends);
    return { ...exit, stdout, stderr };
  }

  get #pipes(): (InputPipe | OutputPipe)[] {
    return [this.#stdin, this.#stdout, this.#stderr].filter((pipe) => pipe !== null);
  }
  /** For the machine: whether there is nothing left to pump. @internal */
  get streamsClosed(): boolean {
    return this.#pipes.every((pipe) => pipe.closed);
  }
  /** For the machine: an event happened. @internal */
  pump(): void {
    for (const pipe of this.#pipes) pipe.pump();
  }
  /** For the machine: it ends. @internal */
  finish(): void {
    for (const pipe of this.#pipes) pipe.finish();
  }
}

/** Throws TypeError (`code` "ERR_UNKNOWN_SIGNAL") for what is no signal. 0 is one that only asks whether the process is there. */
export function numberOf(signal: number | NodeJS.Signals): number {
  let number = -1;
  if (typeof signal === "number") number = signal;
  else if (typeof signal === "string") number = signalNumber(signal);
  if (Number.isInteger(number) && number >= 0 && number <= NSIG && (number > 0 || signal === 0))
    return number;
  const what =
    typeof signal === "number" || typeof signal === "string" ? shortened(String(signal)) : "of no kind";
  throw codedTypeError(
    "ERR_UNKNOWN_SIGNAL",
    `signal ${what}: there is no such signal; give a name like "SIGTERM" or a number from 0 to ${NSIG}`,
  );
}

/** A TypeError with `code`, as Node's own have one. */
export const codedTypeError = (code: string, message: string): TypeError =>
  Object.assign(new TypeError(message), { code });

function there<T>(pipe: T | null | undefined, name: string): T {
  if (pipe == null)
    throw codedTypeError(
      "ERR_SPAWN_OPTION",
      `${name} is no pipe of this process: spawn it with { ${name}: "pipe" }`,
    );
  return pipe;
}

/** The pipes of a process: null where it has something else. */
export interface Streams {
  readonly stdin: InputPipe | null;
  readonly stdout: OutputPipe | null;
  readonly stderr: OutputPipe | null;
  readonly delivered: Promise<unknown>;
}
