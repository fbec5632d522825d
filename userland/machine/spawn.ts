/** Starting a process: the program is found, its streams are made and led to where they belong. */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { STDIO_CLOSED, STDIO_CONSOLE, STDIO_NULL, type Stdio } from "../../kernel/drivers/stdio.ts";
import { fput } from "../../kernel/fs/file.ts";
import { LOOKUP_DIRECTORY, LOOKUP_FOLLOW, pathLookup } from "../../kernel/fs/namei.ts";
import { type HostPipe, hostPipe } from "../../kernel/machine/host-pipe.ts";
import type { Machine as KernelMachine } from "../../kernel/machine/machine.ts";
import type { Process } from "../../kernel/machine/processes.ts";
import { ENOMEM, ENOTDIR } from "../../kernel/uapi/errno.ts";
import { AT_FDCWD } from "../../kernel/uapi/fcntl.ts";
import { shortened } from "./check-options.ts";
import { wasClosed } from "./closed-streams.ts";
import { findProgram } from "./host-program.ts";
import type { OwnInput } from "./inherit.ts";
import { codedTypeError, GuestProcess, numberOf, type Streams } from "./process.ts";
import { SpawnError } from "./spawn-error.ts";
import {
  argvOf,
  checkIds,
  checkSpawnOptions,
  DEFAULT_ENV,
  environmentOf,
  type Input,
  type Output,
  type SpawnOptions,
  stopSignal,
} from "./spawn-options.ts";
import { type Enter, InputPipe, OutputPipe } from "./streams.ts";

/** Throws SpawnError, and TypeError or RangeError for options that make no sense. */
export function startGuest(
  kernel: KernelMachine,
  ownInput: OwnInput,
  program: string | URL,
  options: SpawnOptions,
): GuestProcess {
  if (!(typeof program === "string" || program instanceof URL))
    throw codedTypeError("ERR_SPAWN_OPTION", "spawn: the program is a guest path or a file: URL");
  if (program instanceof URL && !isFile(program))
    throw codedTypeError(
      "ERR_SPAWN_OPTION",
      `spawn: ${shortened(program.href)} is no file: URL of this machine`,
    );
  checkSpawnOptions(options);
  const { env = DEFAULT_ENV, cwd = "/", stdio } = options;
  const { stdin = stdio ?? "ignore", stdout = stdio ?? "pipe", stderr = stdio ?? "pipe" } = options;
  const name = typeof program === "string" ? program : fileURLToPath(program);
  const argv = argvOf(options, typeof program === "string" ? program : basename(name));
  const environment = environmentOf(env);
  checkIds(options);
  const stop = stopSignal(options);
  const killSignal = numberOf(options.killSignal ?? "SIGKILL");
  const found = findProgram(kernel, program, env.PATH ?? DEFAULT_ENV.PATH);
  checkFolder(kernel, cwd);
  const made = makeStreams((work) => kernel.run(work), name, stdin, stdout, stderr);
  let started: Process;
  try {
    started = kernel.spawn({
      ...found,
      argv,
      env: environment,
      cwd,
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...(options.gid === undefined ? {} : { gid: options.gid }),
      tty: stdin === "inherit",
      stdio: made.stdio,
    });
  } catch (error) {
    for (const pipe of [made.stdin, made.stdout, made.stderr]) pipe?.finish(); // The host's ends.
    throw error;
  }
  if (stdin === "inherit") {
    ownInput.attach();
    const detach = () => ownInput.detach();
    void started.exited.then(detach, detach);
  }
  const streams = { ...made, delivered: connect(made, stdin, stdout, stderr) };
  return new GuestProcess(kernel, name, started, streams, stop, killSignal);
}

/** Whether the URL names a path of this machine: without a host, without a NUL. */
function isFile(url: URL): boolean {
  try {
    return !fileURLToPath(url).includes("\0");
  } catch {
    return false;
  }
}

function checkFolder(kernel: KernelMachine, cwd: string): void {
  const error = kernel.run(() => pathLookup(AT_FDCWD, cwd, LOOKUP_FOLLOW | LOOKUP_DIRECTORY));
  if (error === 0) return;
  const reason = error === -ENOTDIR ? "is not a folder of the guest" : "there is no such folder in the guest";
  const hint = existsSync(cwd) ? " (this machine's are there when they are mounted)" : "";
  throw new SpawnError(cwd, -error, `${reason}${hint}`, "chdir");
}

type Pipes = Omit<Streams, "delivered">;

/** Throws SpawnError without memory. */
function makeStreams(
  enter: Enter,
  name: string,
  stdin: Input,
  stdout: Output,
  stderr: Output,
): Pipes & { readonly stdio: readonly Stdio[] } {
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
  /** Null for what needs no pipe. */
  const plain = (end: Input | Output): boolean => {
    if (end !== "ignore" && end !== "inherit") return false;
    if (end === "ignore") stdio.push(STDIO_NULL);
    else stdio.push(wasClosed(stdio.length as 0 | 1 | 2) ? STDIO_CLOSED : STDIO_CONSOLE);
    return true;
  };
  const output = (to: Output) => (plain(to) ? null : new OutputPipe(enter, pipe(false)));
  const input = plain(stdin) ? null : new InputPipe(enter, pipe(true));
  return { stdin: input, stdout: output(stdout), stderr: output(stderr), stdio };
}

/**
 * Leads the pipes to the streams that were given. Their errors are the streams' owners': the process sees a closed pipe. Settled
 * when all output has arrived.
 */
function connect(streams: Pipes, stdin: Input, stdout: Output, stderr: Output): Promise<unknown> {
  if (streams.stdin !== null && stdin !== "pipe") {
    const source = readableOf(stdin as Exclude<Input, string>);
    source.pipeTo(streams.stdin.stream).catch(() => {});
  }
  const delivered: Promise<void>[] = [];
  for (const [pipe, target] of [
    [streams.stdout, stdout],
    [streams.stderr, stderr],
  ] as const) {
    if (pipe === null || typeof target === "string") continue;
    pipe.taken = true;
    // A program ends; the stream that it wrote to is its owner's to end.
    const web = target instanceof Writable ? (Writable.toWeb(target) as WritableStream<Uint8Array>) : target;
    delivered.push(pipe.stream.pipeTo(web, { preventClose: true }).catch(() => {}));
  }
  return Promise.all(delivered);
}

function readableOf(input: Exclude<Input, string>): ReadableStream<Uint8Array> {
  if (input instanceof Readable) return Readable.toWeb(input) as ReadableStream<Uint8Array>;
  if (input instanceof ReadableStream) return input;
  const bytes = input instanceof Uint8Array ? input : Buffer.from(input.text);
  return new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();
}
