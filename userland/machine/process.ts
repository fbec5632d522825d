/** A process of a machine, seen from the host. */
import { basename } from "node:path";
import { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { STDIO_CONSOLE, STDIO_NULL, type Stdio } from "../../kernel/drivers/stdio.ts";
import { fput } from "../../kernel/fs/file.ts";
import { LOOKUP_DIRECTORY, LOOKUP_FOLLOW, pathLookup } from "../../kernel/fs/namei.ts";
import { mountHost } from "../../kernel/fs/vfs.ts";
import { type HostPipe, hostPipe } from "../../kernel/machine/host-pipe.ts";
import type { Machine as KernelMachine } from "../../kernel/machine/machine.ts";
import type { Process } from "../../kernel/machine/processes.ts";
import { ENOENT, ENOMEM } from "../../kernel/uapi/errno.ts";
import { AT_FDCWD } from "../../kernel/uapi/fcntl.ts";
import { signalName, signalNumber } from "../../kernel/uapi/signal.ts";
import type { Ref } from "../../rcu/index.ts";
import { CpuLostError, type Input, type Output, SpawnError, type SpawnOptions } from "./spawn-options.ts";
import { type Enter, InputPipe, OutputPipe } from "./streams.ts";

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

export class GuestProcess {
  readonly pid: number;
  /**
   * Rejects with SpawnError when the program could not be loaded, CpuLostError when a CPU died under it, and with the reason of
   * `signal`, or a TimeoutError, when that ended it.
   */
  readonly exited: Promise<ProcessExit>;
  /** Set when `exited` is settled. */
  ended = false;
  readonly #kernel: KernelMachine;
  readonly #stdin: InputPipe | null;
  readonly #stdout: OutputPipe | null;
  readonly #stderr: OutputPipe | null;

  constructor(
    kernel: KernelMachine,
    name: string,
    started: Process,
    streams: Streams,
    { stop, killSignal = "SIGKILL" }: { stop: AbortSignal | null; killSignal: SpawnOptions["killSignal"] },
  ) {
    this.#kernel = kernel;
    this.#stdin = streams.stdin;
    this.#stdout = streams.stdout;
    this.#stderr = streams.stderr;
    this.pid = started.pid;
    const abort = () => void this.kill(killSignal);
    stop?.addEventListener("abort", abort, { once: true });
    this.exited = started.exited.then((exit) => {
      this.ended = true;
      stop?.removeEventListener("abort", abort);
      stop?.throwIfAborted();
      if (exit.lostCpu !== undefined) throw new CpuLostError(exit.lostCpu, started.pid, name);
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
  get stdout(): ReadableStream<Uint8Array> {
    return there(this.#stdout, "stdout").stream;
  }
  get stderr(): ReadableStream<Uint8Array> {
    return there(this.#stderr, "stderr").stream;
  }

  /** Sends a signal. False when the process is gone. */
  kill(signal: number | NodeJS.Signals = "SIGTERM"): boolean {
    return this.#kernel.kill(this.pid, typeof signal === "number" ? signal : signalNumber(signal));
  }

  /** Reads both outputs to their ends, as UTF-8. Rejects like `exited`. */
  async output(): Promise<ProcessOutput> {
    const read = (pipe: OutputPipe | null) => (pipe === null ? "" : new Response(pipe.stream).text());
    const [stdout, stderr, exit] = await Promise.all([read(this.#stdout), read(this.#stderr), this.exited]);
    return { ...exit, stdout, stderr };
  }

  get #pipes(): (InputPipe | OutputPipe)[] {
    return [this.#stdin, this.#stdout, this.#stderr].filter((pipe) => pipe !== null);
  }
  /** For the machine: whether there is nothing left to pump. */
  get streamsClosed(): boolean {
    return this.#pipes.every((pipe) => pipe.closed);
  }
  /** For the machine: an event happened. */
  pump(): void {
    for (const pipe of this.#pipes) pipe.pump();
  }
  /** For the machine: it ends. */
  finish(): void {
    for (const pipe of this.#pipes) pipe.finish();
  }
}

function there<T>(pipe: T | null, name: string): T {
  if (pipe === null)
    throw new TypeError(`${name} is no pipe of this process: spawn it with { ${name}: "pipe" }`);
  return pipe;
}

interface Streams {
  readonly stdin: InputPipe | null;
  readonly stdout: OutputPipe | null;
  readonly stderr: OutputPipe | null;
}

const DEFAULT_ENV = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/" };
const MODULE = /\.[cm]?[jt]s$/;

/** Starts a program; throws SpawnError. */
export function startGuest(
  kernel: KernelMachine,
  program: string | URL,
  options: SpawnOptions,
): GuestProcess {
  const env = options.env ?? DEFAULT_ENV;
  const cwd = options.cwd ?? "/";
  const name = typeof program === "string" ? program : fileURLToPath(program);
  const found = findProgram(kernel, program, (env as Record<string, string>).PATH ?? DEFAULT_ENV.PATH);
  if (kernel.run(() => pathLookup(AT_FDCWD, cwd, LOOKUP_FOLLOW | LOOKUP_DIRECTORY)) < 0)
    throw new SpawnError(name, ENOENT, `working directory ${cwd}: there is no such folder in the guest`);
  const enter: Enter = (work) => kernel.run(work);
  const ends: HostPipe[] = [];
  const stdio: Stdio[] = [];
  const pipe = (guestReads: boolean): HostPipe => {
    const made = enter(() => hostPipe(guestReads));
    if (typeof made === "number") {
      enter(() => {
        for (const end of ends) fput(end.guest);
      });
      throw new SpawnError(name, ENOMEM);
    }
    ends.push(made);
    stdio.push(made.guest);
    return made;
  };
  const input = (from: Input): InputPipe | null => {
    if (from !== "ignore") return new InputPipe(enter, pipe(true));
    stdio.push(STDIO_NULL);
    return null;
  };
  const output = (to: Output): OutputPipe | null => {
    if (to !== "ignore" && to !== "inherit") return new OutputPipe(enter, pipe(false));
    stdio.push(to === "ignore" ? STDIO_NULL : STDIO_CONSOLE);
    return null;
  };
  const stop = stopSignal(options);
  const { stdin = "ignore", stdout = "pipe", stderr = "pipe" } = options;
  const streams: Streams = { stdin: input(stdin), stdout: output(stdout), stderr: output(stderr) };
  const started = kernel.spawn({
    ...found,
    argv: options.argv ?? [basename(name)],
    env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
    cwd,
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
    tty: false,
    stdio: stdio as readonly (Ref<"file"> | 0 | -1)[],
  });
  connect(streams, stdin, stdout, stderr);
  return new GuestProcess(kernel, name, started, streams, { stop, killSignal: options.killSignal });
}

/** What ends the process early. Throws the reason when it has happened already. */
function stopSignal({ signal, timeout }: SpawnOptions): AbortSignal | null {
  if (timeout !== undefined && !(Number.isInteger(timeout) && timeout >= 0))
    throw new RangeError(`timeout ${timeout}: give a whole number of milliseconds`);
  signal?.throwIfAborted();
  const signals = [
    ...(signal === undefined ? [] : [signal]),
    ...(timeout === undefined ? [] : [AbortSignal.timeout(timeout)]),
  ];
  return signals.length === 0 ? null : AbortSignal.any(signals);
}

/** Leads the pipes to the streams that were given. Their errors are the streams' owners': the process sees a closed pipe. */
function connect(streams: Streams, stdin: Input, stdout: Output, stderr: Output): void {
  if (streams.stdin !== null && stdin !== "pipe") {
    const source = readableOf(stdin as Exclude<Input, "pipe" | "ignore">);
    source.pipeTo(streams.stdin.stream).catch(() => {});
  }
  for (const [pipe, target] of [
    [streams.stdout, stdout],
    [streams.stderr, stderr],
  ] as const) {
    if (pipe === null || typeof target === "string") continue;
    // A program ends; the stream that it wrote to is its owner's to end.
    const own = target instanceof Writable;
    const web = own ? (Writable.toWeb(target) as WritableStream<Uint8Array>) : target;
    pipe.stream.pipeTo(web, { preventClose: true }).catch(() => {});
  }
}

function readableOf(input: Exclude<Input, "pipe" | "ignore">): ReadableStream<Uint8Array> {
  if (input instanceof Readable) return Readable.toWeb(input) as ReadableStream<Uint8Array>;
  if (input instanceof ReadableStream) return input;
  const bytes = input instanceof Uint8Array ? input : Buffer.from((input as { text: string }).text);
  return new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();
}

/** What the kernel is to run: a guest path, or a module of the host. */
function findProgram(
  kernel: KernelMachine,
  program: string | URL,
  searchPath: string,
): { path: string; program?: true } {
  if (program instanceof URL) {
    const path = fileURLToPath(program);
    return MODULE.test(path) ? { path, program: true } : { path: mountProgram(kernel, path) };
  }
  if (program.includes("/")) return { path: program };
  const candidates = searchPath.split(":").map((folder) => `${folder || "."}/${program}`);
  const path = kernel.run(() => candidates.find((one) => pathLookup(AT_FDCWD, one) === 0));
  if (path === undefined)
    throw new SpawnError(program, ENOENT, "there is no such program in the guest's PATH");
  return { path };
}

/** Host programs that a machine shows, by host path. */
const mounted = new WeakMap<KernelMachine, Map<string, string>>();

/** Shows the guest this one file of the host, read-only. */
function mountProgram(kernel: KernelMachine, path: string): string {
  const known = mounted.get(kernel) ?? new Map<string, string>();
  mounted.set(kernel, known);
  const before = known.get(path);
  if (before !== undefined) return before;
  for (let copy = 0; ; copy++) {
    const guest = copy === 0 ? `/usr/bin/${basename(path)}` : `/usr/bin/${copy}/${basename(path)}`;
    if (kernel.run(() => pathLookup(AT_FDCWD, guest)) === 0) continue;
    const error = kernel.run(() => mountHost(path, guest, false));
    if (error < 0) throw new SpawnError(path, -error);
    known.set(path, guest);
    return guest;
  }
}
