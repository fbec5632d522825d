/**
 * The user mode of TypeScript programs: what the riscv64 engine is for machine code, this is for generators.
 *
 * A program has a register file like every task, so the kernel needs to know nothing about it: calls pass their number in
 * a7 and arguments in a0 to a5, signals arrive as a pc that stands for a handler, clone copies the registers. The pc says
 * where a task is:
 *
 *   START            the task begins, or begins anew after `forkOn`: load its module
 *   ECALL            a call is to be made, or to be made again after it blocked
 *   ECALL + 4        the call is over, its result in a0: resume the generator
 *   HANDLER + 4 * n  signal n is to be handled: run its generator, then rt_sigreturn
 *
 * Which module and which generator belong to a task, the kernel keeps in its heap (kernel/task/program.ts): a path, and a token
 * that no other task of the machine has. Nothing that a guest can write selects code here: not the stack, and not the
 * registers either, which the kernel saves in its heap while a handler runs. A task that begins is pinned to its CPU,
 * since a generator lives in one worker; to get to another CPU a task has to begin anew (`forkOn`).
 */
import type { ProgramRequest } from "../../kernel/exec/exec.ts";
import {
  EXIT,
  type ProgramHost,
  USER_REGS,
  type UserMode,
  type UserModeHost,
  xAt,
} from "../../kernel/usermode.ts";
import { Gate } from "./gate.ts";
import { loadProgram } from "./load.ts";
import { TaskMemory } from "./memory.ts";
import type { Call, Entries, Steps } from "./program.ts";
import { type Body, type SignalHandler, SysError, syscallNumber } from "./sys/calls.ts";
import { Sys } from "./sys.ts";

/** First pc of a program, as the kernel's exec sets it. */
export const PROGRAM_START = 0x1000;
const ECALL = 0x2000;
const HANDLER = 0x3000;
const SIGNALS = 65;

const A0 = 10;
const A7 = 17;

/** A generator that runs, and what its end means. */
interface Frame {
  readonly steps: Steps<number>;
  readonly end: "exit_group" | "exit" | "rt_sigreturn";
  started: boolean;
}

interface TaskRecord {
  readonly token: number;
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
  readonly start: ProgramRequest;
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

const NO_ORIGIN: Origin = { start: { path: "", entry: null, argv: [], env: [] }, entries: {} };
/** The call that a generator yields when its task begins anew: it is not made, and the generator never resumed. */
const BEGIN_ANEW: Call = { nr: -1, args: [] };

export function createProgramMode(host: UserModeHost, programs: ProgramHost): UserMode {
  const buffer = host.memory.buffer as unknown as SharedArrayBuffer;
  const words = new Int32Array(buffer);
  const gate = new Gate(host);
  const memory = new TaskMemory(host, gate);
  const byToken = new Map<number, TaskRecord>();
  const byRegs = new Map<number, TaskRecord>();
  const announced = new Map<number, Announced>();
  let started = 0;
  let calls = 0;

  const getReg = (regs: number, n: number): number => {
    const at = (regs + xAt(n)) / 4;
    return words[at + 1]! * 4294967296 + (words[at]! >>> 0);
  };
  const setReg = (regs: number, n: number, value: number): void => {
    const at = (regs + xAt(n)) / 4;
    const high = Math.floor(value / 4294967296);
    words[at] = value - high * 4294967296;
    words[at + 1] = high;
  };
  const getPc = (regs: number): number => words[(regs + USER_REGS.PC) / 4]! >>> 0;
  const setPc = (regs: number, pc: number): void => {
    words[(regs + USER_REGS.PC) / 4] = pc;
    words[(regs + USER_REGS.PC) / 4 + 1] = 0;
  };

  function newRecord(
    token: number,
    regs: number,
    from: Pick<Announced, "handlers" | "origin" | "scratchBase">,
  ): TaskRecord {
    const { handlers } = from;
    const hooks = {
      announceChild(body: Body, sharesMemory: boolean) {
        const child = programs.newToken();
        announced.set(child, {
          body,
          sharesMemory,
          handlers: sharesMemory ? handlers : new Map(handlers),
          origin: record.origin,
          scratchBase: sharesMemory ? 0 : sys.scratchBase,
        });
        programs.announce(child);
        return child;
      },
      forgetChild(child: number) {
        announced.delete(child);
        programs.announce(0);
      },
      handlerAddress(signo: number, handler: SignalHandler) {
        handlers.set(signo, handler);
        return HANDLER + 4 * signo;
      },
      hasEntry: (name: string) => Object.hasOwn(record.origin.entries, name),
      moveTo: (cpu: number, entry: string, args: readonly string[]) => move(record, cpu, entry, args),
    };
    const sys = new Sys(memory, hooks, from.scratchBase);
    const record: TaskRecord = { token, regs, sys, frames: [], handlers, origin: from.origin };
    // The slot's former task is gone: it was killed, or became another program.
    const former = byRegs.get(regs);
    if (former !== undefined) byToken.delete(former.token);
    byToken.set(token, record);
    byRegs.set(regs, record);
    started++;
    return record;
  }

  /** The record of the current task; makes one for a task that is new here. Null: its generator is gone. */
  function recordOf(regs: number): TaskRecord | null {
    const token = programs.token();
    if (token === 0) {
      if (getPc(regs) !== PROGRAM_START) return null;
      const start = JSON.parse(programs.begin()) as ProgramRequest;
      const fresh = programs.newToken();
      programs.setToken(fresh);
      const record = newRecord(fresh, regs, { handlers: new Map(), origin: NO_ORIGIN, scratchBase: 0 });
      record.frames.push({ steps: load(record, start), end: "exit_group", started: false });
      return record;
    }
    const record = byToken.get(token);
    if (record !== undefined) return record.regs === regs ? record : null;
    const child = announced.get(token);
    if (child === undefined) return null;
    announced.delete(token);
    const made = newRecord(token, regs, child);
    const end = child.sharesMemory ? "exit" : "exit_group";
    made.frames.push({ steps: guarded(made.sys, () => child.body(made.sys)), end, started: false });
    return made;
  }

  /** Loads the program's module and runs its main function, or the entry that `forkOn` asked for. */
  function* load(record: TaskRecord, start: ProgramRequest): Steps<number> {
    const { sys } = record;
    const found = loadProgram(start.path);
    if (typeof found === "string") {
      yield* sys.writeAll(2, `sternix: ${found}\n`);
      return 126;
    }
    const { main, entries } = found;
    record.origin = { start, entries };
    const run = start.entry === null ? main : entries[start.entry]!;
    return yield* guarded(sys, () => run(sys, start.argv, environment(start.env)));
  }

  /** Begins anew, on another CPU. */
  function* move(record: TaskRecord, cpu: number, entry: string, args: readonly string[]): Steps<number> {
    // Handlers are functions of this CPU.
    for (const signo of record.handlers.keys()) yield* record.sys.sigaction(signo, "default");
    const { start } = record.origin;
    const argv = [...start.argv.slice(0, 1), ...args];
    const error = programs.beginAnew(cpu, JSON.stringify({ ...start, argv, entry }));
    if (error < 0) throw new SysError("forkOn", -error);
    return yield BEGIN_ANEW;
  }

  /** Puts the call into the registers. */
  function prepare(regs: number, nr: number, args: readonly number[]): void {
    setReg(regs, A7, nr);
    for (let i = 0; i < 6; i++) setReg(regs, A0 + i, args[i] ?? 0);
    setPc(regs, ECALL);
  }

  /** False when the task begins anew. */
  function resume(record: TaskRecord, regs: number): boolean {
    const frame = record.frames[record.frames.length - 1]!;
    const value = frame.started ? getReg(regs, A0) : 0;
    frame.started = true;
    const step = gate.run(frame.steps, value);
    if (!step.done) {
      if (step.value !== BEGIN_ANEW) {
        prepare(regs, step.value.nr, step.value.args);
        return true;
      }
      byToken.delete(record.token);
      byRegs.delete(regs);
      setPc(regs, PROGRAM_START);
      return false;
    }
    record.frames.pop();
    prepare(regs, syscallNumber(frame.end), frame.end === "rt_sigreturn" ? [] : [step.value]);
    return true;
  }

  return {
    enter(regs) {
      const record = recordOf(regs);
      if (record === null) return EXIT.LOST;
      if (!record.frames[0]!.started && !resume(record, regs)) return EXIT.PREEMPTED;
      for (;;) {
        const pc = getPc(regs);
        if (pc === ECALL) {
          calls++;
          const reason = host.syscall();
          if (reason !== 0) return reason;
          setPc(regs, ECALL + 4);
        } else if (pc >= HANDLER && pc < HANDLER + 4 * SIGNALS) {
          const handler = record.handlers.get((pc - HANDLER) / 4);
          if (handler === undefined) return EXIT.ILLEGAL;
          const steps = guarded(record.sys, () => handler((pc - HANDLER) / 4) ?? undefined);
          record.frames.push({ steps, end: "rt_sigreturn", started: false });
        } else if (pc !== ECALL + 4) return EXIT.ILLEGAL;
        if (!resume(record, regs)) return EXIT.PREEMPTED;
      }
    },
    // Nothing is cached here: every access asks the kernel.
    tlbFlush() {},
    tlbInvalidate() {},
    setSpace() {},
    stats: () => ({ programs: started, "program calls": calls }),
  };
}

function environment(list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    list.map((text) => {
      const equals = text.indexOf("=");
      return equals < 0 ? [text, ""] : [text.slice(0, equals), text.slice(equals + 1)];
    }),
  );
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
