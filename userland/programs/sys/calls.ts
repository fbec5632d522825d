/** What every system call of a TypeScript program goes through: numbers, buffers in the task's memory, errors. */
import { ERRNO } from "../../../kernel/uapi/errno.ts";
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../../../kernel/uapi/mman.ts";
import { syscalls } from "../../../syscalls/table.ts";
import type { TaskMemory } from "../memory.ts";
import type { Call, Steps } from "../program.ts";
import { SCRATCH_BYTES, Scratch } from "../scratch.ts";
import type { Sys } from "../sys.ts";

const numbers = new Map(syscalls.map((call) => [call.name, call.nr]));
const names = new Map(syscalls.map((call) => [call.nr, call.name]));

/** Number of a system call by its name. */
export function syscallNumber(name: string): number {
  const nr = numbers.get(name);
  if (nr === undefined) throw new Error(`there is no system call named ${name}`);
  return nr;
}

/** A system call that `Sys.ok` was not willing to see fail. */
export class SysError extends Error {
  override name = "SysError";
  /** The positive error number: 2. */
  readonly errno: number;
  /** Its name: "ENOENT". */
  readonly code: string;
  /** The call as the kernel names it: "openat". */
  readonly syscall: string;

  /** By name: a program may import another copy of this package than the one that runs it. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof Error && value.name === "SysError";
  }

  constructor(syscall: string, errno: number) {
    const known = ERRNO.get(errno);
    super(`${syscall}: ${known?.text ?? "unknown error"} (${known?.name ?? errno})`);
    this.errno = errno;
    this.code = known?.name ?? String(errno);
    this.syscall = syscall;
  }
}

/** What is left of a result when it is no error: `Stat | number` becomes `Stat`, `number` stays. */
export type Succeeded<T> = [Exclude<T, number>] extends [never] ? number : Exclude<T, number>;

export type Body = (sys: Sys) => Steps<number | undefined> | Steps<void>;
/** Runs when the signal is delivered; a generator when it makes system calls itself. */
export type SignalHandler = (signo: number) => Steps<void> | void;

/** What the engine keeps for a Sys: the ways a program reaches beyond its own generator. */
export interface TaskHooks {
  /** Registers what the task that is about to be cloned runs; the kernel copies the number along in a register. */
  announceChild(body: Body, sharesMemory: boolean): number;
  /** The clone failed: nobody will ask for that number. */
  forgetChild(token: number): void;
  /** Makes a function callable by the kernel as a signal handler; returns the address that stands for it. */
  handlerAddress(signo: number, handler: SignalHandler): number;
  /** Whether the program has an entry of that name. */
  hasEntry(name: string): boolean;
  /** Starts this task over, on another CPU, in one of the program's entries. Does not return. */
  moveTo(cpu: number, entry: string, args: readonly string[]): Steps<number>;
}

const RESULT_MIN = -4095;

export abstract class Calls {
  /** This task's memory: what mmap returns is an address in here. */
  readonly memory: TaskMemory;
  protected readonly hooks: TaskHooks;
  readonly #scratch: Scratch;
  readonly #call: Call = { nr: 0, args: [0, 0, 0, 0, 0, 0] };
  /** The call whose result came last. */
  #last = 0;

  /** `scratchBase`: the parent's buffers, of which a forked child has a copy; 0: none yet. */
  constructor(memory: TaskMemory, hooks: TaskHooks, scratchBase = 0) {
    this.memory = memory;
    this.hooks = hooks;
    this.#scratch = new Scratch(memory);
    this.#scratch.base = scratchBase;
  }

  get scratchBase(): number {
    return this.#scratch.base;
  }

  /** Any system call, by name (a subsystem's: by number), with arguments as the kernel takes them. */
  *call(name: string | number, ...args: readonly number[]): Steps<number> {
    const call = this.#call;
    const nr = typeof name === "number" ? name : syscallNumber(name);
    call.nr = nr;
    for (let i = 0; i < 6; i++) call.args[i] = args[i] ?? 0;
    const result = yield call;
    this.#last = nr;
    return result;
  }

  /**
   * The result of a call that has to succeed: `const fd = yield* sys.ok(sys.open("/etc/motd"))`.
   * Throws SysError otherwise.
   */
  *ok<T>(steps: Steps<T>): Steps<Succeeded<T>> {
    const result = yield* steps;
    if (typeof result === "number" && result < 0 && result >= RESULT_MIN)
      throw new SysError(names.get(this.#last) ?? "call", -result);
    return result as Succeeded<T>;
  }

  /** Runs `work` with scratch memory that is given back afterwards, whatever happens. */
  protected *withScratch<T>(work: (scratch: Scratch) => Steps<T>): Steps<T> {
    const scratch = this.#scratch;
    if (scratch.base === 0) {
      const flags = MAP_PRIVATE | MAP_ANONYMOUS;
      const base = yield* this.call("mmap", 0, SCRATCH_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
      if (base < 0) throw new SysError("mmap", -base);
      scratch.base = base;
    }
    const mark = scratch.mark();
    try {
      return yield* work(scratch);
    } finally {
      scratch.release(mark);
    }
  }
}

/** struct timespec of so many milliseconds. */
export const timespecWords = (ms: number): number[] => [Math.floor(ms / 1000), Math.round((ms % 1000) * 1e6)];
