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
 *
 * Which generator belongs to a task says s0: a number unique on this CPU. A child that the kernel cloned carries its
 * parent's number; what it is to run stands in s1. All tasks of programs are pinned to their CPU, since a generator lives in
 * one worker.
 */
import { createRequire } from "node:module";
import { EXIT, USER_REGS, type UserMode, type UserModeHost } from "../../kernel/usermode.ts";
import { TaskMemory } from "./memory.ts";
import { type Main, mainOf, type Steps } from "./program.ts";
import { type Body, type SignalHandler, Sys, syscallNumber } from "./sys.ts";

/** First pc of a program, as the kernel's exec sets it. */
export const PROGRAM_START = 0x1000;
const ECALL = 0x2000;
const HANDLER = 0x3000;
const SIGNALS = 65;

const SP = 2;
const S0 = 8;
const S1 = 9;
const A0 = 10;
const A7 = 17;
const AT_EXECFN = 31;

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
}

interface Announced {
  readonly body: Body;
  readonly sharesMemory: boolean;
  readonly parent: TaskRecord;
}

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

  function newRecord(regs: number, handlers: Map<number, SignalHandler>): TaskRecord {
    const id = nextId++;
    const sys = new Sys(memory, {
      announceChild(body, sharesMemory) {
        announced.set(id, { body, sharesMemory, parent: record });
        setReg(regs, S1, id);
      },
      handlerAddress(signo, handler) {
        handlers.set(signo, handler);
        return HANDLER + 4 * signo;
      },
    });
    const record: TaskRecord = { id, regs, sys, frames: [], handlers };
    // The slot's former task is gone: it was killed, or became another program.
    const former = byRegs.get(regs);
    if (former !== undefined) {
      byId.delete(former.id);
      announced.delete(former.id);
    }
    byId.set(id, record);
    byRegs.set(regs, record);
    setReg(regs, S0, id);
    started++;
    return record;
  }

  /** The record of the task whose register file this is; makes one for a task that is new here. */
  function recordOf(regs: number): TaskRecord | null {
    if (getPc(regs) === PROGRAM_START) {
      const record = newRecord(regs, new Map());
      record.frames.push({ steps: load(record, regs), end: "exit_group", started: false });
      return record;
    }
    const record = byId.get(getReg(regs, S0));
    if (record === undefined) return null;
    if (record.regs === regs) return record;
    const child = announced.get(getReg(regs, S1));
    if (child === undefined) return null;
    const made = newRecord(regs, child.sharesMemory ? child.parent.handlers : new Map(child.parent.handlers));
    const end = child.sharesMemory ? "exit" : "exit_group";
    made.frames.push({ steps: guarded(made.sys, () => child.body(made.sys)), end, started: false });
    return made;
  }

  /** Finds the program's module and runs its main function. */
  function* load(record: TaskRecord, regs: number): Steps<number> {
    const { sys } = record;
    const { argv, env, execfn } = readStart(memory, getReg(regs, SP));
    yield* pin(sys);
    let main: Main | undefined;
    try {
      main = mainOf((require(execfn) as { default?: unknown }).default);
    } catch (error) {
      yield* sys.writeAll(2, `sternix: ${execfn}: ${describe(error)}\n`);
      return 126;
    }
    if (main === undefined) {
      yield* sys.writeAll(2, `sternix: ${execfn}: its default export is not program(function* ...)\n`);
      return 126;
    }
    const run = main;
    return yield* guarded(sys, () => run(sys, argv, env));
  }

  function* pin(sys: Sys): Steps<void> {
    const mask = yield* sys.mmap(0, 4096, 3, 0x22, -1, 0);
    if (mask < 0) return;
    memory.store(mask + 4 * (host.cpu >> 5), 1 << (host.cpu & 31));
    yield* sys.call("sched_setaffinity", 0, 8, mask);
    yield* sys.munmap(mask, 4096);
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
      prepare(regs, step.value.nr, step.value.args);
      return;
    }
    record.frames.pop();
    prepare(regs, syscallNumber(frame.end), frame.end === "rt_sigreturn" ? [] : [step.value]);
  }

  return {
    enter(regs) {
      const record = recordOf(regs);
      if (record === null) return EXIT.ILLEGAL;
      if (!record.frames[0]!.started) resume(record, regs);
      for (;;) {
        const pc = getPc(regs);
        if (pc >= HANDLER && pc < HANDLER + 4 * SIGNALS) {
          const handler = record.handlers.get((pc - HANDLER) / 4);
          if (handler === undefined) return EXIT.ILLEGAL;
          const steps = guarded(record.sys, () => handler((pc - HANDLER) / 4));
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
function* guarded(sys: Sys, run: () => Steps<unknown>): Steps<number> {
  try {
    const status = yield* run();
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

interface Start {
  readonly argv: string[];
  readonly env: Record<string, string>;
  readonly execfn: string;
}

/** Reads what execve left on the stack: argc, argv, envp, auxv (see the System V ABI, process initialization). */
function readStart(memory: TaskMemory, sp: number): Start {
  const argc = memory.word(sp);
  const argv: string[] = [];
  let at = sp + 8;
  for (let i = 0; i < argc; i++, at += 8) argv.push(memory.string(memory.word(at)));
  at += 8;
  const env: Record<string, string> = {};
  for (let pointer = memory.word(at); pointer !== 0; pointer = memory.word((at += 8))) {
    const text = memory.string(pointer);
    const equals = text.indexOf("=");
    env[equals < 0 ? text : text.slice(0, equals)] = equals < 0 ? "" : text.slice(equals + 1);
  }
  let execfn = "";
  for (at += 8; memory.word(at) !== 0; at += 16) {
    if (memory.word(at) === AT_EXECFN) execfn = memory.string(memory.word(at + 8));
  }
  return { argv, env, execfn };
}
