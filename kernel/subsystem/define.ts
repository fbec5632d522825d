/**
 * What a subsystem is: one literal, the default export of a module that the host and every CPU load.
 *
 *   export default defineSubsystem({
 *     name: "greeter",
 *     tables: { greeted: table.counter() },
 *     proc: { read: (context) => `${context.tables.greeted.value} greeted\n` },
 *     hooks: { taskExec: (context) => void context.tables.greeted.add() },
 *   });
 *
 * Callbacks get the context first. They run on the CPU where the thing happens, must not wait, and may not keep the views
 * they are given.
 */
import type { SubsystemContext } from "./context.ts";
import type { SharedMemory } from "./memory.ts";
import { wrongShape } from "./shape.ts";
import type { Opened, Options, Tables } from "./table.ts";
import type { CallView, MountView, OpenFile, TaskView } from "./view.ts";

/** The literal types of defaults, widened: 100 may become any number. */
export type Given<O extends Options> = {
  readonly [K in keyof O]: O[K] extends number ? number : O[K] extends boolean ? boolean : string;
};

/** The context of a subsystem with these tables and options, for functions outside of its literal. */
export type ContextOf<
  T extends Tables = Record<never, never>,
  O extends Options = Record<never, never>,
> = SubsystemContext<Opened<T>, Given<O>>;

/** A system call as syscalls/syscall.ts makes them with `syscall({ ... })`. */
export interface CallLiteral {
  readonly nr: number;
  readonly name: string;
  readonly args: readonly unknown[];
}

/** A character device /dev/NAME. Calls return a value >= 0 or -errno; -EAGAIN waits until `context.wake(NAME)`. */
export interface Device<C> {
  /** Permission bits, default 0o600. */
  readonly mode?: number;
  /** -errno refuses. */
  open?(context: C, file: OpenFile): number | undefined;
  /** At most `size` bytes; empty is the end of file. */
  read?(context: C, file: OpenFile, size: number): Uint8Array | string | number;
  /**
   * The number of bytes taken. A write of more than 1 MiB arrives in parts: `file.left` is what comes behind this one;
   * taking fewer bytes, or an error, ends the write there.
   */
  write?(context: C, file: OpenFile, bytes: Uint8Array): number;
  /** POLL* mask that holds now; default: always readable and writable. */
  poll?(context: C, file: OpenFile): number;
  /** `argument` is what the program passed, usually an address: copyFromUser, copyToUser. */
  ioctl?(context: C, file: OpenFile, command: number, argument: number): number;
  /**
   * Its size in bytes, for a device with positions: pread, pwrite and lseek work on it, `file.position` says where a read
   * or write is, and neither may wait or take a mutex.
   */
  size?(context: C, file: OpenFile): number;
  /** What mmap(2) shows: a `table.memory`; or -errno. */
  mmap?(context: C, file: OpenFile): SharedMemory | number;
  /** Once, when the last descriptor is gone: free what `file.state` refers to. */
  release?(context: C, file: OpenFile): void;
}

/** A file in /proc or /sys/kernel. */
export interface VirtualFile<C> {
  /** Permission bits; default 0o444, with `write` 0o644. */
  readonly mode?: number;
  /** The whole content, made when somebody reads from the start; or -errno. */
  read?(context: C): string | Uint8Array | number;
  /**
   * One write(2), whole: -errno refuses it. `position` is where the file's offset stands: not 0 for what continues another
   * write, as when a program copies a long file here in parts.
   */
  write?(context: C, text: string, position: number): number | undefined;
  /** poll(2) says "readable" when `context.notify(path)` was called after the last read. */
  readonly pollable?: boolean;
}

export interface Hooks<C> {
  /** A task was made, by `parent` or by the host; it has not run yet. */
  taskCreate?(context: C, task: TaskView, parent: TaskView | null): void;
  /** The task begins to run another program. */
  taskExec?(context: C, task: TaskView): void;
  /** The task ends. */
  taskExit?(context: C, task: TaskView): void;
  /** Before a system call, once for each call however often it blocks; -errno denies it. */
  syscallEnter?(context: C, task: TaskView, call: CallView): number | undefined;
  /** After it. Not for calls that do not come back: exit, a fatal signal. */
  syscallExit?(context: C, task: TaskView, call: CallView, result: number): void;
  /** The task begins to run on this CPU. */
  contextSwitch?(context: C, task: TaskView): void;
  /** One or more grace periods have ended since the last time; on one CPU only. */
  gracePeriod?(context: C): void;
  /** mount(2) has mounted something. */
  mount?(context: C, mount: MountView): void;
  /** The CPU holds no reference into tables. Often: keep it short. */
  safePoint?(context: C): void;
}

export type { Options };

export interface SubsystemLiteral<T extends Tables, O extends Options> {
  /** Letters, digits, "-" and "_": the name in /proc, /sys/kernel and the kernel log. */
  readonly name: string;
  readonly tables?: T;
  /** With their defaults; what `?name=value` may set. The default's type is the option's. */
  readonly options?: O;
  /** On the booting thread, before any CPU runs. Throwing refuses the boot. */
  init?(context: SubsystemContext<Opened<T>, Given<O>>, options: Given<O>): void;
  /** On the host, after the last CPU stopped: give back what is in the tables. The tables themselves go by themselves. */
  exit?(context: SubsystemContext<Opened<T>, Given<O>>): void;
  /** Literals added to the system-call table: numbers 448 to 510. A function is called once on every CPU. */
  readonly syscalls?:
    | readonly CallLiteral[]
    | ((context: SubsystemContext<Opened<T>, Given<O>>) => readonly CallLiteral[]);
  /** /dev nodes by name. */
  readonly devices?: Readonly<Record<string, Device<SubsystemContext<Opened<T>, Given<O>>>>>;
  /** /proc/NAME. */
  readonly proc?: VirtualFile<SubsystemContext<Opened<T>, Given<O>>>;
  /** /sys/kernel/NAME/FILE, beside `state` and `faults`, which every subsystem has. */
  readonly sys?: Readonly<Record<string, VirtualFile<SubsystemContext<Opened<T>, Given<O>>>>>;
  readonly hooks?: Hooks<SubsystemContext<Opened<T>, Given<O>>>;
  /** What context.callRcu(NAME, arg) runs after a grace period, on any CPU or the host. */
  readonly reclaimers?: Readonly<
    Record<string, (context: SubsystemContext<Opened<T>, Given<O>>, arg: number) => void>
  >;
  /** What context.queueRelease(NAME, arg) runs at the next safe point, in the current task's context. */
  readonly releasers?: Readonly<
    Record<
      string,
      (context: SubsystemContext<Opened<T>, Given<O>>, arg: number, task: TaskView | null) => void
    >
  >;
  /** Shown by `sternix run --stats` and `machine.reports()`, on the host when the programs have ended. */
  report?(context: SubsystemContext<Opened<T>, Given<O>>): string;
  /** A call is denied with EPERM when syscallEnter throws, and it is never switched off for throwing. Default: allowed. */
  readonly failClosed?: boolean;
}

/** A subsystem whose types nobody needs to know: what defineSubsystem returns. */
export interface Subsystem extends SubsystemLiteral<Tables, Options> {
  readonly [SUBSYSTEM]: true;
}
/** Shared by every copy of this module. */
const SUBSYSTEM: unique symbol = Symbol.for("sternix.subsystem") as never;

const NAME = /^[a-z][a-z0-9_-]{0,30}$/i;

/** Throws TypeError for what is wrong in the literal itself: it names the property. */
export function defineSubsystem<
  const T extends Tables = Record<never, never>,
  const O extends Options = Record<never, never>,
>(literal: SubsystemLiteral<T, O>): Subsystem {
  if (typeof literal !== "object" || literal === null)
    throw new TypeError(`defineSubsystem(${String(literal)}): give an object with a name`);
  if (typeof literal.name !== "string" || !NAME.test(literal.name))
    throw new TypeError(
      `subsystem name ${JSON.stringify(literal.name)}: give up to 31 letters, digits, "-" and "_", a letter first`,
    );
  const wrong = wrongShape(literal as unknown as Record<string, unknown>);
  if (wrong !== null) throw new TypeError(`subsystem ${literal.name}: ${wrong}`);
  for (const name of Object.keys(literal.devices ?? {}))
    if (!NAME.test(name)) throw new TypeError(`subsystem ${literal.name}: a device cannot be named ${name}`);
  for (const name of Object.keys(literal.sys ?? {}))
    if (!NAME.test(name) || name === "state" || name === "faults")
      throw new TypeError(`subsystem ${literal.name}: a file in /sys/kernel cannot be named ${name}`);
  return Object.freeze({ ...literal, [SUBSYSTEM]: true as const }) as unknown as Subsystem;
}

export const isSubsystem = (value: unknown): value is Subsystem =>
  typeof value === "object" && value !== null && (value as Partial<Subsystem>)[SUBSYSTEM] === true;

/** The options that a subsystem runs with: defaults, overridden by text. Throws TypeError for unknown names and bad values. */
export function parseOptions(
  subsystem: Subsystem,
  given: Readonly<Record<string, string | number | boolean>>,
): Options {
  const defaults = subsystem.options ?? {};
  const result: Record<string, string | number | boolean> = { ...defaults };
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(defaults, name)) {
      const known = Object.keys(defaults).join(", ");
      throw new TypeError(`there is no option ${name}${known === "" ? "" : `; there are ${known}`}`);
    }
    result[name] = parseOption(name, typeof defaults[name], value);
  }
  return result;
}

function parseOption(
  name: string,
  type: string,
  value: string | number | boolean,
): string | number | boolean {
  const text = String(value);
  if (type === "string") return text;
  if (type === "number" && text.trim() !== "" && Number.isFinite(Number(text))) return Number(text);
  if (type === "boolean" && /^(|1|0|true|false|yes|no)$/.test(text)) return !/^(0|false|no)$/.test(text);
  throw new TypeError(`option ${name}=${text} is not a ${type}`);
}
