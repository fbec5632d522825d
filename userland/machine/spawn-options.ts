/** How a program is started. */
import { Readable, Writable } from "node:stream";
import {
  aNumber,
  anArray,
  anObject,
  anything,
  aString,
  type OptionType,
  type OptionTypes,
  optionMistake,
} from "./check-options.ts";
import { MAX_TIMEOUT } from "./machine-options.ts";

/** Where standard input comes from. */
export type Input =
  /** `process.stdin`, a stream to write to. */
  | "pipe"
  /** Nothing: /dev/null. */
  | "ignore"
  /** This process's own standard input; a terminal is handed over while the process lives. */
  | "inherit"
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
  /** Arguments behind the program's own name. */
  readonly args?: readonly string[];
  /** Instead of `args`: all arguments, the program's own name first. Default: only the name. */
  readonly argv?: readonly string[];
  /** The environment, all of it. Default: DEFAULT_ENV. */
  readonly env?: Readonly<Record<string, string | undefined>>;
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
  /** What those of the three below are that are not given. */
  readonly stdio?: "pipe" | "ignore" | "inherit";
  /** Default: "ignore". */
  readonly stdin?: Input;
  /** Default: "pipe". */
  readonly stdout?: Output;
  /** Default: "pipe". */
  readonly stderr?: Output;
}

/** The environment of a program that is given none. */
export const DEFAULT_ENV: Readonly<{ PATH: string; HOME: string }> = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/",
};

const oneOfStreams = (
  words: readonly string[],
  text: string,
  is: (value: object) => boolean,
): OptionType => ({
  text: `${words.map((word) => `"${word}"`).join(", ")} or ${text}`,
  is: (value) =>
    typeof value === "string"
      ? words.includes(value)
      : typeof value === "object" && value !== null && is(value),
});
const WORDS = ["pipe", "ignore", "inherit"];
const anInput = oneOfStreams(
  WORDS,
  "a Uint8Array, { text }, a ReadableStream or a Readable",
  (value) =>
    value instanceof Uint8Array ||
    value instanceof ReadableStream ||
    value instanceof Readable ||
    typeof (value as { text?: unknown }).text === "string",
);
const anOutput = oneOfStreams(
  WORDS,
  "a WritableStream or a Writable",
  (value) => value instanceof WritableStream || value instanceof Writable,
);
const TYPES: OptionTypes<SpawnOptions> = {
  args: anArray('an array of strings, such as ["echo", "hi"]'),
  argv: anArray('an array of strings, such as ["echo", "hi"]'),
  env: anObject,
  cwd: aString,
  uid: aNumber,
  gid: aNumber,
  signal: { text: "an AbortSignal", is: (value) => value instanceof AbortSignal },
  timeout: aNumber,
  killSignal: anything,
  stdio: oneOfStreams(WORDS, "no stream: that is for stdin, stdout and stderr", () => false),
  stdin: anInput,
  stdout: anOutput,
  stderr: anOutput,
};

/** A TypeError or RangeError with `code`, as Node's own have one. */
function optionError(Kind: typeof TypeError | typeof RangeError, message: string): Error {
  return Object.assign(new Kind(message), { code: "ERR_SPAWN_OPTION" });
}

/** Throws TypeError for options that do not exist, or have another type. */
export function checkSpawnOptions(options: SpawnOptions): void {
  const mistake = optionMistake("spawn", options, TYPES);
  if (mistake !== null) throw optionError(TypeError, mistake);
}

/** Throws TypeError for a string that no Linux process can be given. */
function checkText(what: string, text: unknown): asserts text is string {
  if (typeof text !== "string") throw optionError(TypeError, `${what}: is not a string`);
  if (text.includes("\0")) throw optionError(TypeError, `${what}: holds a NUL, which ends a string on Linux`);
}

/** The arguments of a program that is called `name`. */
export function argvOf({ argv, args }: SpawnOptions, name: string): readonly string[] {
  if (argv !== undefined && args !== undefined)
    throw optionError(TypeError, "give argv, which begins with the program's own name, or args, not both");
  const words = argv ?? [name, ...(args ?? [])];
  for (const [n, word] of words.entries()) checkText(`argv[${n}]`, word);
  return words;
}

/** "NAME=value" of each variable. */
export function environmentOf(env: NonNullable<SpawnOptions["env"]>): string[] {
  const words: string[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined) continue;
    if (name === "" || name.includes("="))
      throw optionError(TypeError, `env: ${JSON.stringify(name)} is no name`);
    checkText(`env.${name}`, name);
    checkText(`env.${name}`, value);
    words.push(`${name}=${value}`);
  }
  return words;
}

/** Throws RangeError for what is no user or group. */
export function checkIds(options: SpawnOptions): void {
  for (const what of ["uid", "gid"] as const) {
    const id = options[what] ?? 0;
    if (!(Number.isInteger(id) && id >= 0 && id < 2 ** 32 - 1))
      throw optionError(RangeError, `${what} ${id}: give a whole number from 0 to 4294967294`);
  }
}

/** What ends the process early. Throws the reason when it has happened already. */
export function stopSignal({ signal, timeout }: SpawnOptions): AbortSignal | null {
  if (timeout !== undefined && !(Number.isInteger(timeout) && timeout >= 0 && timeout <= MAX_TIMEOUT))
    throw optionError(
      RangeError,
      `timeout ${timeout}: give a whole number of milliseconds, at most ${MAX_TIMEOUT}`,
    );
  signal?.throwIfAborted();
  const signals = [
    ...(signal === undefined ? [] : [signal]),
    ...(timeout === undefined ? [] : [AbortSignal.timeout(timeout)]),
  ];
  return signals.length === 0 ? null : AbortSignal.any(signals);
}
