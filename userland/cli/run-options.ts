/**
 * `sternix run [options] PROGRAM [ARGS...]`: options end at PROGRAM, everything behind it belongs to the guest.
 * citty's own parser knows neither repeated options nor that end, hence this strict one.
 */
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { MAX_TIMEOUT, type MachineOptions } from "../machine/machine-options.ts";
import { MAX_CPUS, MAX_MEMORY, MIN_MEMORY } from "../machine/size.ts";
import { Failure } from "./failure.ts";

/** `--strace` and `--stats`: absent, to standard error, or to a file. */
export type Output = { readonly file: string | null } | null;

export interface RunOptions {
  /** What Machine.boot takes. Host paths are absolute. */
  readonly machine: MachineOptions;
  readonly env: Readonly<Record<string, string>>;
  /** Guest working directory. */
  readonly cwd: string;
  readonly strace: Output;
  readonly stats: Output;
  readonly program: string;
  readonly args: readonly string[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Mount = NonNullable<MachineOptions["mounts"]>[number];
type Draft = Mutable<Omit<RunOptions, "machine" | "env">> & {
  machine: Mutable<MachineOptions> & { mounts: Mount[]; subsystems: string[] };
  env: Record<string, string>;
};

interface Option {
  /** `required`: `--name VALUE` or `--name=VALUE`; `optional`: only `--name=VALUE` carries one. */
  readonly value: "required" | "optional" | "none";
  set(draft: Draft, value: string | null): void;
}

const OPTIONS: Readonly<Record<string, Option>> = {
  cpus: { value: "required", set: (draft, value) => (draft.machine.cpus = parseCpus(value!)) },
  root: { value: "required", set: (draft, value) => (draft.machine.root = hostFolder("--root", value!)) },
  mount: { value: "required", set: (draft, value) => draft.machine.mounts.push(parseMount(value!)) },
  env: {
    value: "required",
    set: (draft, value) => {
      const [name, text] = parseEnv(value!);
      draft.env[name] = text;
    },
  },
  cwd: { value: "required", set: (draft, value) => (draft.cwd = guestPath("--cwd", value!)) },
  memory: { value: "required", set: (draft, value) => (draft.machine.memory = parseMemory(value!)) },
  strace: { value: "optional", set: (draft, value) => (draft.strace = parseOutput("--strace", value)) },
  subsystem: { value: "required", set: (draft, value) => draft.machine.subsystems.push(value!) },
  "subsystem-timeout": {
    value: "required",
    set: (draft, value) => (draft.machine.subsystemTimeout = parseTimeout("--subsystem-timeout", value!)),
  },
  debug: { value: "none", set: (draft) => (draft.machine.debug = true) },
  stats: { value: "optional", set: (draft, value) => (draft.stats = parseOutput("--stats", value)) },
};

/** Throws Failure for what the user got wrong. */
export function parseRunOptions(argv: readonly string[]): RunOptions {
  const draft: Draft = {
    machine: { cpus: 2, mounts: [], subsystems: [] },
    env: {},
    cwd: "/",
    strace: null,
    stats: null,
    program: "",
    args: [],
  };
  let index = 0;
  for (; index < argv.length; index++) {
    const word = argv[index]!;
    if (word === "--") {
      index++;
      break;
    }
    if (!word.startsWith("-") || word === "-") break;
    const [, name, inline] = /^--([a-z-]+)(?:=(.*))?$/s.exec(word) ?? [];
    const option = name === undefined ? undefined : Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
    if (option === undefined) throw new Failure(`unknown option ${word}; see \`sternix run --help\``);
    let value = inline ?? null;
    if (option.value === "required" && value === null) {
      value = argv[++index] ?? null;
      if (value === null) throw new Failure(`--${name} needs a value; see \`sternix run --help\``);
    }
    if (option.value === "none" && value !== null) throw new Failure(`--${name} takes no value`);
    option.set(draft, value);
  }
  const program = argv[index];
  if (program === undefined || program === "") {
    throw new Failure("no program given; usage: sternix run [options] PROGRAM [ARGS...]");
  }
  draft.program = program;
  draft.args = argv.slice(index + 1);
  return draft;
}

function parseCpus(text: string): number {
  const cpus = Number(text);
  if (!/^\d+$/.test(text) || cpus < 1 || cpus > MAX_CPUS) {
    throw new Failure(`--cpus ${text}: give a number from 1 to ${MAX_CPUS}`);
  }
  return cpus;
}

/** `512M`, `2G`, `65536K` or bytes. */
export function parseMemory(text: string): number {
  const match = /^(\d+)([KMG]?)(?:i?B)?$/i.exec(text);
  if (match === null) throw new Failure(`--memory ${text}: give a size such as 512M or 2G`);
  const unit = { "": 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 }[match[2]!.toUpperCase()]!;
  const bytes = Number(match[1]) * unit;
  if (bytes < MIN_MEMORY) throw new Failure(`--memory ${text}: too little, a machine needs at least 16M`);
  if (bytes > MAX_MEMORY) throw new Failure(`--memory ${text}: too much, a machine has at most 4G`);
  return Math.floor(bytes / 65536) * 65536;
}

function parseMount(text: string): Mount {
  const match = /^(.+?):(\/[^:]*)(?::(rw|ro))?$/s.exec(text);
  if (match === null)
    throw new Failure(`--mount ${text}: give HOST:GUEST or HOST:GUEST:rw, GUEST an absolute path`);
  const [, host, guest, access] = match;
  return {
    host: hostPath(`--mount ${text}`, host!),
    guest: guestPath("--mount", guest!),
    writable: access === "rw",
  };
}

/** Milliseconds. */
function parseTimeout(option: string, text: string): number {
  const ms = Number(text);
  if (!/^\d+$/.test(text) || ms < 1 || ms > MAX_TIMEOUT)
    throw new Failure(`${option} ${text}: give milliseconds, 1 to ${MAX_TIMEOUT}`);
  return ms;
}

function parseEnv(text: string): [string, string] {
  const equals = text.indexOf("=");
  if (equals < 1) throw new Failure(`--env ${text}: give NAME=VALUE`);
  return [text.slice(0, equals), text.slice(equals + 1)];
}

function parseOutput(option: string, value: string | null): Output {
  if (value === "") throw new Failure(`${option}=: give a file name, or ${option} alone for standard error`);
  return { file: value === null ? null : resolve(value) };
}

function guestPath(option: string, path: string): string {
  if (!path.startsWith("/")) throw new Failure(`${option} ${path}: give an absolute path inside the guest`);
  if (path.includes("\0")) throw new Failure(`${option}: a path holds no NUL`);
  return path;
}

/** A folder or a single file of this machine. */
function hostPath(option: string, path: string): string {
  const full = resolve(path);
  const stat = statSync(full, { throwIfNoEntry: false });
  if (stat === undefined) throw new Failure(`${option}: there is no file or folder ${path} on this machine`);
  if (!stat.isDirectory() && !stat.isFile())
    throw new Failure(`${option}: ${path} is neither a folder nor a file`);
  return full;
}

function hostFolder(option: string, path: string): string {
  const full = resolve(path);
  const stat = statSync(full, { throwIfNoEntry: false });
  if (stat === undefined) throw new Failure(`${option} ${path}: there is no such folder on this machine`);
  if (!stat.isDirectory()) throw new Failure(`${option} ${path}: is not a folder`);
  return full;
}
