/** How a machine is booted. */
import { fstatSync, type Stats, statSync, writeSync } from "node:fs";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { MachineError } from "../../kernel/machine/error.ts";
import type { MachineOptions as KernelOptions } from "../../kernel/machine/machine.ts";
import type { SubsystemSpec } from "../subsystem-modules.ts";
import {
  aBoolean,
  aFunction,
  aNumber,
  anArray,
  anObject,
  anything,
  aString,
  type OptionTypes,
  optionMistake,
  shortened,
} from "./check-options.ts";
import { defaultMemory, MAX_CPUS } from "./size.ts";

export interface MachineOptions {
  /** CPUs, each a worker thread. Default: as many as this computer has, at most 4. */
  readonly cpus?: number;
  /** Bytes of guest memory, taken only when touched. Default: 2 GiB. */
  readonly memory?: number;
  /** Bytes of the kernel's heap, taken only when touched. Default: 1 GiB. */
  readonly heap?: number;
  /** Host folder that is the guest's `/`, read-only. Default: an empty tmpfs with the usual folders. */
  readonly root?: string;
  /** Whether the guest may change `root`. */
  readonly rootWritable?: boolean;
  /** Host folders that the guest sees, read-only unless `writable`. */
  readonly mounts?: readonly { readonly host: string; readonly guest: string; readonly writable?: boolean }[];
  /** Modules whose default export is defineSubsystem(...); "kvcache", "sysstat" and "syscall-policy" come with Sternix. */
  readonly subsystems?: readonly SubsystemSpec[];
  /**
   * How long a callback of a subsystem may run, in milliseconds, until it is ended: on a CPU by restarting that. Loading its
   * module as well, which has 3 seconds at least. Default: 10 000.
   */
  readonly subsystemTimeout?: number;
  /** Checks the kernel's heap: freed objects are overwritten, and what is written to them afterwards is reported. Slower. */
  readonly debug?: boolean;
  /** A host descriptor that gets a line for each system call, as strace(1) prints it: 2, or what `fs.openSync` returned. */
  readonly strace?: number;
  /** Gets each line of the kernel log. Default: standard error. */
  readonly log?: (line: string) => void;
}

/** What a timer can wait. */
export const MAX_TIMEOUT = 2 ** 31 - 1;

const TYPES: OptionTypes<MachineOptions> = {
  cpus: aNumber,
  memory: aNumber,
  heap: aNumber,
  root: aString,
  rootWritable: aBoolean,
  mounts: anArray("an array of { host, guest, writable }"),
  subsystems: anArray("an array of subsystems"),
  subsystemTimeout: aNumber,
  debug: aBoolean,
  strace: aNumber,
  log: aFunction,
};
const MOUNT_TYPES: OptionTypes<NonNullable<MachineOptions["mounts"]>[number]> = {
  host: aString,
  guest: aString,
  writable: aBoolean,
};

const optionError = (message: string) => new MachineError(message, { code: "ERR_MACHINE_OPTION" });

function refuse(mistake: string | null): void {
  if (mistake !== null) throw optionError(mistake);
}

type SubsystemParts = Extract<SubsystemSpec, { readonly options?: unknown }>;
const SUBSYSTEM_TYPES: OptionTypes<SubsystemParts> = { module: anything, options: anObject };

/** Throws MachineError for options that do not exist, or have another type. */
export function checkMachineOptions(options: MachineOptions): void {
  refuse(optionMistake("Machine.boot", options, TYPES));
  for (const [n, mount] of (options.mounts ?? []).entries()) {
    const what = `Machine.boot, mounts[${n}]`;
    refuse(optionMistake(what, mount, MOUNT_TYPES));
    for (const name of ["host", "guest"] as const)
      if (mount[name] === undefined) refuse(`${what}: ${name} is missing`);
    if (mount.host.includes("\0")) refuse(`${what}: host: a path holds no NUL`);
  }
  for (const [n, spec] of (options.subsystems ?? []).entries())
    checkSubsystem(spec, `Machine.boot, subsystems[${n}]`);
}

/** The options that are the kernel's, checked, with their defaults. Throws MachineError. */
export function kernelOptions(options: MachineOptions) {
  const { cpus = Math.min(4, availableParallelism()), subsystemTimeout, strace } = options;
  if (!(Number.isInteger(cpus) && cpus >= 1 && cpus <= MAX_CPUS))
    throw optionError(`${cpus} CPUs: a machine has 1 to ${MAX_CPUS}`);
  const timed =
    subsystemTimeout === undefined || (Number.isInteger(subsystemTimeout) && subsystemTimeout >= 1);
  if (!timed || (subsystemTimeout ?? 0) > MAX_TIMEOUT)
    throw optionError(`subsystemTimeout ${subsystemTimeout}: give milliseconds, 1 to ${MAX_TIMEOUT}`);
  if (strace !== undefined) checkDescriptor(strace);
  return {
    cpus,
    memory: options.memory ?? defaultMemory(cpus),
    root: options.root === undefined ? null : rootFolder(options.root),
    mounts: (options.mounts ?? []).map(({ host, guest, ...mount }) => {
      if (!guest.startsWith("/"))
        throw optionError(`mount ${host} on ${guest}: give an absolute path inside the guest`);
      if (guest.includes("\0")) throw optionError(`mount ${host} on ${guest}: a path holds no NUL`);
      return { ...mount, guest, host: resolve(host) };
    }),
    ...pick(options, "heap", "rootWritable", "debug", "subsystemTimeout", "strace"),
  };
}

/** Throws MachineError for what no lines can be written to. */
function checkDescriptor(fd: number): void {
  const give = "give 2, or what fs.openSync returned for writing";
  if (!(Number.isInteger(fd) && fd >= 0 && fd <= MAX_TIMEOUT))
    throw optionError(`strace ${fd}: is no descriptor; ${give}`);
  let stat: Stats;
  try {
    stat = fstatSync(fd);
  } catch {
    throw optionError(`strace ${fd}: there is no such open descriptor`);
  }
  if (!(stat.isFile() || stat.isFIFO() || stat.isCharacterDevice() || stat.isSocket()))
    throw optionError(`strace ${fd}: is neither a file nor a pipe, a terminal or a socket; ${give}`);
  try {
    writeSync(fd, new Uint8Array(0));
  } catch {
    throw optionError(`strace ${fd}: is not open for writing; ${give}`);
  }
}

/** Throws MachineError for a subsystem that is neither a name nor names a module. */
function checkSubsystem(spec: unknown, what: string): void {
  const isModule = (value: unknown) => (typeof value === "string" && value !== "") || value instanceof URL;
  if (isModule(spec)) return;
  const text = "a name, a path, a URL, or { module, options }";
  if (!anObject.is(spec)) refuse(`${what}: is not ${text}`);
  refuse(optionMistake<SubsystemParts>(what, spec, SUBSYSTEM_TYPES));
  const { module, options = {} } = spec as SubsystemParts;
  if (!isModule(module)) refuse(`${what}: module is not ${text.replace(/,? or .*/, "")}`);
  for (const [name, value] of Object.entries(options))
    if (!["string", "number", "boolean"].includes(typeof value))
      refuse(`${what}: option ${name} is not a string, a number, true or false`);
}

function rootFolder(root: string): string {
  if (root.includes("\0")) throw optionError("root: a path holds no NUL");
  let stat: Stats | undefined;
  try {
    stat = statSync(root, { throwIfNoEntry: false });
  } catch (error) {
    throw optionError(
      `root ${shortened(root)}: cannot be looked at (${(error as NodeJS.ErrnoException).code})`,
    );
  }
  if (stat?.isDirectory()) return resolve(root);
  throw optionError(
    `root ${root}: ${stat === undefined ? "there is no such folder" : "is not a folder"} on this machine`,
  );
}

/** The given properties that are there: optional ones must not become undefined. */
function pick<K extends keyof MachineOptions & keyof KernelOptions>(
  options: MachineOptions,
  ...names: K[]
): Partial<Pick<KernelOptions, K>> {
  return Object.fromEntries(
    names.filter((name) => options[name] !== undefined).map((name) => [name, options[name]]),
  ) as never;
}
