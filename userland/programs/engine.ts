/**
 * The user mode of TypeScript programs: what the riscv64 engine is for machine code, this is for generators.
 *
 * A program has a register file like every task, so the kernel needs to know nothing about it: calls pass their number in
 * a7 and arguments in a0 to a5, signals arrive as a pc that stands for a handler, clone copies the registers. The pc says
 * where a task is:
 *
 *   START            the kernel just made the task: find its module (AT_EXECFN on the stack, as execve lays it out)
 *   ECALL            a call is to be made, or to be made again after it blocked
 *   ECALL + 4        the call is over, its result in a0: resume the generator
 *   HANDLER + 4 * n  signal n is to be handled: run its generator, then rt_sigreturn
 *   START - 4        sched_setaffinity is to be called; wherever the task is then, it begins there at START
 *
 * Which generator belongs to a task says s0: a number unique on this CPU. A child that the kernel cloned carries its
 * parent's number; what it is to run stands in s1. All tasks of programs are pinned to their CPU by their very first call,
 * since a generator lives in one worker; to get to another CPU a task has to start over (`forkOn`).
 */
import { createRequire } from "node:module";
import { EXIT, USER_REGS, type UserMode, type UserModeHost } from "../../kernel/usermode.ts";
import { TaskMemory } from "./memory.ts";
import { type Call, type Entries, type Program, programOf, type Steps } from "./program.ts";
import { readStart, type Start, writeStart } from "./start.ts";
import { type Body, type SignalHandler, syscallNumber } from "./sys/calls.ts";
import { Sys } from "./sys.ts";

/** First pc of a program, as the kernel's exec sets it. */
export const PROGRAM_START = 0x1000;
const MOVE_ECALL = PROGRAM_START - 4;
const ECALL = 0x2000;
const HANDLER = 0x3000;
const SIGNALS = 65;

const SP = 2;
const S0 = 8;
const S1 = 9;
const A0 = 10;
const A7 = 17;

/** A generator that runs, and what its end means. */
interface Frame {
  readonly steps: Steps<number>;
  readonly end: "exit_group" | "exit" | "rt_sigreturn";
  started: boolean;
}

interface TaskRecord {
  readonly id: number;
  readonly regs: number;
  readonly sys: Sys;
  /** The program, and the signal handlers that interrupted each other above it. */
  readonly frames: Frame[];
  /** By signal number; shared by the threads of a process, copied by fork. */
  readonly handlers: Map<number, SignalHandler>;
  /** What the process was started with; a fork's child has it from its parent. */
  origin: Origin;
}

interface Origin {
  readonly start: Start;
  readonly entries: Entries;
}

/** A child that was cloned, or is about to be, and did not run yet. */
interface Announced {
  readonly body: Body;
  readonly sharesMemory: boolean;
  readonly handlers: Map<number, SignalHandler>;
  readonly origin: Origin;
  readonly scratchBase: number;
}

const NO_ORIGIN: Origin = { start: { argv: [], env: {}, execfn: "", entry: null }, entries: {} };
const SETAFFINITY = syscallNumber("sched_setaffinity");

export function createProgramMode(host: UserModeHost): UserMode {
  const buffer = host.memory.buffer as unknown as SharedArrayBuffer;
  const words = new Int32Array(buffer);
  const memory = new TaskMemory(host);
  const require = createRequire(import.meta.url);
  const byId = new Map<number, TaskRecord>();
  const byRegs = new Map<number, TaskRecord>();
  const announced = new Map<number, Announced>();
  let nextId = 1;
  let started = 0;
  let calls = 0;

  const getReg = (regs: number, n: number): number => {
    const at = (regs + USER_REGS.X + 8 * n) / 4;
    return words[at + 1]! * 4294967296 + (words[at]! >>> 0);
  };
  const setReg = (regs: number, n: number, value: number): void => {
    const at = (regs + USER_REGS.X + 8 * n) / 4;
    const high = Math.floor(value / 4294967296);
    words[at] = value - high * 4294967296;
    words[at + 1] = high;
  };
  const getPc = (regs: number): number => words[(regs + USER_REGS.PC) / 4]! >>> 0;
  const setPc = (regs: number, pc: number): void => {
    words[(regs + USER_REGS.PC) / 4] = pc;
    words[(regs + USER_REGS.PC) / 4 + 1] = 0;
  };

  function newRecord(regs: number, from: Pick<Announced, "handlers" | "origin" | "scratchBase">): TaskRecord {
    const id = nextId++;
    const { handlers } = from;
    const hooks = {
      announceChild(body: Body, sharesMemory: boolean) {
        const token = nextId++;
        announced.set(token, {
          body,
          sharesMemory,
          handlers: sharesMemory ? handlers : new Map(handlers),
          origin: record.origin,
          scratchBase: sharesMemory ? 0 : sys.scratchBase,
        });
        setReg(regs, S1, token);
        return token;
      },
      forgetChild: (token: number) => void announced.delete(token),
      handlerAddress(signo: number, handler: SignalHandler) {
        handlers.set(signo, handler);
        return HANDLER + 4 * signo;
      },
      hasEntry: (name: string) => Object.hasOwn(record.origin.entries, name),
      moveTo: (cpu: number, entry: string, args: readonly string[]) => move(record, cpu, entry, args),
    };
    const sys = new Sys(memory, hooks, from.scratchBase);
    const record: TaskRecord = { id, regs, sys, frames: [], handlers, origin: from.origin };
    // The slot's former task is gone: it was killed, or became another program.
    const former = byRegs.get(regs);
    if (former !== undefined) byId.delete(former.id);
    byId.set(id, record);
    byRegs.set(regs, record);
    setReg(regs, S0, id);
    started++;
    return record;
  }

  /** The record of the task whose register file this is; makes one for a task that is new here. */
  function recordOf(regs: number): TaskRecord | null {
    if (getPc(regs) === PROGRAM_START) {
      const record = newRecord(regs, { handlers: new Map(), origin: NO_ORIGIN, scratchBase: 0 });
      record.frames.push({ steps: load(record, regs), end: "exit_group", started: false });
      return record;
    }
    const record = byId.get(getReg(regs, S0));
    if (record?.regs === regs) return record;
    const token = getReg(regs, S1);
    const child = announced.get(token);
    if (child === undefined) return null;
    announced.delete(token);
    const made = newRecord(regs, child);
    const end = child.sharesMemory ? "exit" : "exit_group";
    made.frames.push({ steps: guarded(made.sys, () => child.body(made.sys)), end, started: false });
    return made;
  }

  /** Finds the program's module and runs its main function, or the entry that `forkOn` asked for. */
  function* load(record: TaskRecord, regs: number): Steps<number> {
    const { sys } = record;
    const sp = getReg(regs, SP);
    // The first call of all, with no safe point before it: nobody can have moved the task meanwhile.
    yield affinityCall(sp, host.cpu);
    const start = readStart(memory, sp);
    const { argv, env, execfn } = start;
    let found: ReturnType<typeof programOf>;
    try {
      found = programOf((require(execfn) as { default?: Program }).default);
    } catch (error) {
      yield* sys.writeAll(2, `sternix: ${execfn}: ${describe(error)}\n`);
      return 126;
    }
    if (found === undefined) {
      yield* sys.writeAll(2, `sternix: ${execfn}: its default export is not program(function* ...)\n`);
      return 126;
    }
    const { main, entries } = found;
    record.origin = { start, entries };
    const run = start.entry === null ? main : entries[start.entry]!;
    return yield* guarded(sys, () => run(sys, argv, env));
  }

  /** The call that pins the task to one CPU; its mask is written below the stack pointer. */
  function affinityCall(sp: number, cpu: number, restart?: number): Call {
    const mask = Math.floor(sp / 16) * 16 - 16;
    const words = new Uint32Array(2);
    words[cpu >> 5] = 1 << (cpu & 31);
    memory.write(mask, new Uint8Array(words.buffer));
    const args = [0, 8, mask, 0, 0, 0];
    return restart === undefined ? { nr: SETAFFINITY, args } : { nr: SETAFFINITY, args, restart };
  }

  /** Lays out a stack as execve would, and begins anew there, on another CPU. */
  function* move(record: TaskRecord, cpu: number, entry: string, args: readonly string[]): Steps<number> {
    // Handlers are functions of this CPU.
    for (const signo of record.handlers.keys()) yield* record.sys.sigaction(signo, "default");
    const { start } = record.origin;
    const argv = [...start.argv.slice(0, 1), ...args];
    const sp = writeStart(memory, getReg(record.regs, SP), { ...start, argv, entry });
    return yield affinityCall(sp, cpu, sp);
  }

  /** Puts the call into the registers. */
  function prepare(regs: number, nr: number, args: readonly number[]): void {
    setReg(regs, A7, nr);
    for (let i = 0; i < 6; i++) setReg(regs, A0 + i, args[i] ?? 0);
    setPc(regs, ECALL);
  }

  function resume(record: TaskRecord, regs: number): void {
    const frame = record.frames[record.frames.length - 1]!;
    const value = frame.started ? getReg(regs, A0) : 0;
    frame.started = true;
    const step = frame.steps.next(value);
    if (!step.done) {
      const { nr, args, restart } = step.value;
      prepare(regs, nr, args);
      if (restart === undefined) return;
      byId.delete(record.id);
      byRegs.delete(regs);
      setReg(regs, SP, restart);
      setPc(regs, MOVE_ECALL);
      return;
    }
    record.frames.pop();
    prepare(regs, syscallNumber(frame.end), frame.end === "rt_sigreturn" ? [] : [step.value]);
  }

  return {
    enter(regs) {
      let record: TaskRecord | null = null;
      for (;;) {
        const pc = getPc(regs);
        if (pc === MOVE_ECALL) {
          calls++;
          const reason = host.syscall();
          if (reason !== 0) return reason;
          setPc(regs, PROGRAM_START);
          record = null;
          continue;
        }
        if (record === null) {
          record = recordOf(regs);
          if (record === null) return EXIT.ILLEGAL;
          if (!record.frames[0]!.started) resume(record, regs);
          continue;
        }
        if (pc >= HANDLER && pc < HANDLER + 4 * SIGNALS) {
          const handler = record.handlers.get((pc - HANDLER) / 4);
          if (handler === undefined) return EXIT.ILLEGAL;
          const steps = guarded(record.sys, () => handler((pc - HANDLER) / 4) ?? undefined);
          record.frames.push({ steps, end: "rt_sigreturn", started: false });
          resume(record, regs);
          continue;
        }
        if (pc === ECALL + 4) {
          resume(record, regs);
          continue;
        }
        if (pc !== ECALL) return EXIT.ILLEGAL;
        calls++;
        const reason = host.syscall();
        if (reason !== 0) return reason;
        setPc(regs, ECALL + 4);
      }
    },
    // Nothing is cached here: every access asks the kernel.
    tlbFlush() {},
    tlbInvalidate() {},
    setSpace() {},
    stats: () => ({ programs: started, "program calls": calls }),
  };
}

/** An exception that a program does not catch ends it as it ends Node: the stack on standard error, status 1. */
function* guarded(sys: Sys, run: () => Steps<unknown> | undefined): Steps<number> {
  try {
    const steps = run();
    const status = steps === undefined ? 0 : yield* steps;
    return typeof status === "number" ? status : 0;
  } catch (error) {
    yield* sys.writeAll(2, `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    yield* sys.exit(1);
    return 1;
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "MODULE_NOT_FOUND" && !error.message.includes("\n")) return "no such module";
  return error.message.split("\n")[0]!;
}
