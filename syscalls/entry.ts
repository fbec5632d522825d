/**
 * From `ecall` to handler: the one door into the kernel.
 *
 * The table is an array indexed by number. It holds functions that decode the registers of their call, so that a call costs an
 * indexed load, a switch per argument and two calls of fixed arity, or one when it has no arguments.
 */
import { ram } from "../kernel/mm/ram.ts";
import { beginSeen, endSeen, forgetSeen, keepSeen, recallSeen } from "../kernel/mm/seen.ts";
import { signed64, unsigned64 } from "../kernel/mm/uaccess.ts";
import { BLOCK, isBlock, NO_RETURN } from "../kernel/sched/block.ts";
import type { PathArgument } from "../kernel/subsystem/call-paths.ts";
import { hooks as kernelHooks } from "../kernel/subsystem/hooks.ts";
import type { CallHooks } from "../kernel/subsystem/install.ts";
import { NR_SYSCALLS, SyscallCounts, type SyscallEntry } from "../kernel/syscall-entry.ts";
import { A0_WORD, A7_WORD } from "../kernel/task/registers.ts";
import { waitForMemory } from "../kernel/task/shortage.ts";
import { Task } from "../kernel/task/task.ts";
import { ENOMEM, ENOSYS } from "../kernel/uapi/errno.ts";
import { noteUnknownCall } from "../kernel/unknown-calls.ts";
import type { Ref } from "../rcu/index.ts";
import { DECODE, dirfd, path } from "./args.ts";
import type { Syscall } from "./syscall.ts";

/** Called around each system call when the machine is traced. */
export interface CallTracer {
  enter(task: Ref<"task">, call: Syscall, args: readonly number[]): void;
  leave(task: Ref<"task">, call: Syscall, args: readonly number[], result: number): void;
  /** A number without a call: reported once per number. */
  unknown(task: Ref<"task">, nr: number, args: readonly number[]): void;
}

/** Where the paths of a call stand among its arguments: a path comes behind the directory that it starts from, if it has one. */
function pathArguments(call: Syscall): PathArgument[] {
  return call.args.flatMap((arg, index): PathArgument[] => {
    if (arg.names !== undefined) return [{ path: index, dirfd: -1, ...arg.names }];
    return arg === path
      ? [{ path: index, dirfd: index > 0 && call.args[index - 1] === dirfd ? index - 1 : -1 }]
      : [];
  });
}

export interface EntryOptions {
  readonly calls: readonly Syscall[];
  /** Counters of this CPU. */
  readonly counts: Ref<"syscall_counts">;
  readonly tracer?: CallTracer | undefined;
  /** What subsystems want to know of calls. Absent: the entry function does not even ask. */
  readonly hooks?: CallHooks | undefined;
}

type Handler = (
  task: Ref<"task">,
  a?: number,
  b?: number,
  c?: number,
  d?: number,
  e?: number,
  f?: number,
) => number;

/** Reads the arguments from the register file, where a0 is at `word`, and calls the handler. */
type Runner = (task: Ref<"task">, word: number) => number;

/** One function per number of arguments, which knows how each is decoded. A handler without arguments is called as it is. */
function runner(call: Syscall): Runner {
  const handler = call.handler as unknown as Handler;
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = call.args.map((arg) => arg.decode);
  switch (call.args.length) {
    case 0:
      return handler;
    case 1:
      return (task, word) => handler(task, readArg(a, word));
    case 2:
      return (task, word) => handler(task, readArg(a, word), readArg(b, word + 2));
    case 3:
      return (task, word) => handler(task, readArg(a, word), readArg(b, word + 2), readArg(c, word + 4));
    case 4:
      return (task, word) =>
        handler(task, readArg(a, word), readArg(b, word + 2), readArg(c, word + 4), readArg(d, word + 6));
    case 5:
      return (task, word) =>
        handler(
          task,
          readArg(a, word),
          readArg(b, word + 2),
          readArg(c, word + 4),
          readArg(d, word + 6),
          readArg(e, word + 8),
        );
    default:
      return (task, word) =>
        handler(
          task,
          readArg(a, word),
          readArg(b, word + 2),
          readArg(c, word + 4),
          readArg(d, word + 6),
          readArg(e, word + 8),
          readArg(f, word + 10),
        );
  }
}

export function createSyscallEntry(options: EntryOptions): SyscallEntry {
  const runners = new Array<Runner | null>(NR_SYSCALLS).fill(null);
  const table = new Array<Syscall | null>(NR_SYSCALLS).fill(null);
  for (const call of options.calls) {
    if (!Number.isInteger(call.nr) || call.nr < 0 || call.nr >= NR_SYSCALLS - 1)
      throw new Error(`${call.name}: number ${call.nr} is not between 0 and ${NR_SYSCALLS - 2}`);
    if (table[call.nr] !== null)
      throw new Error(`system call ${call.nr} is ${table[call.nr]!.name} and ${call.name}`);
    table[call.nr] = call;
    runners[call.nr] = runner(call);
  }
  const { counts, tracer } = options;

  function decodeArgs(call: Syscall, regs: number): number[] {
    const word = regs / 4 + A0_WORD;
    return call.args.map((arg, index) => readArg(arg.decode, word + 2 * index));
  }

  /** `denied`: -errno with which a subsystem answers in the handler's place. */
  function traced(task: Ref<"task">, nr: number, regs: number, denied = 0): number {
    const call = table[nr]!;
    const args = decodeArgs(call, regs);
    tracer!.enter(task, call, args);
    const result = denied < 0 ? denied : settle(task, (call.handler as unknown as Handler)(task, ...args));
    tracer!.leave(task, call, args, result);
    return result;
  }

  function unknown(task: Ref<"task">, regs: number): number {
    const word = regs / 4 + A0_WORD;
    const nr = readArg(DECODE.ULONG, regs / 4 + A7_WORD);
    const args = [0, 2, 4, 6, 8, 10].map((offset) => readArg(DECODE.LONG, word + offset));
    noteUnknownCall(nr, args);
    tracer?.unknown(task, nr, args);
    return -ENOSYS;
  }

  function call(task: Ref<"task">, regs: number): number {
    const nr = callNumber(regs);
    SyscallCounts.count.increment(counts, nr);
    const run = runners[nr]!;
    if (run === null) return unknown(task, regs);
    if (tracer !== undefined) return traced(task, nr, regs);
    return run(task, regs / 4 + A0_WORD);
  }

  /** In place of `call` on machines whose subsystems listen: they are asked once per call, however often it blocks. */
  function hookedCall(hooks: CallHooks): typeof call {
    const hooked = table.map((one) =>
      one === null ? null : { nr: one.nr, name: one.name, pathArguments: pathArguments(one) },
    );
    kernelHooks.callInterrupted = (task, result) => {
      const regs = Task.regs.get(task);
      const nr = ram.i32[regs / 4 + A7_WORD]!;
      hooks.exit(task, hooked[nr]!, decodeArgs(table[nr]!, regs), result);
    };
    return (task, regs) => {
      const nr = callNumber(regs);
      const run = runners[nr]!;
      if (run === null) return call(task, regs);
      SyscallCounts.count.increment(counts, nr);
      // The call may overwrite its own registers (execve), so they are read first.
      const args = decodeArgs(table[nr]!, regs);
      let result = 0;
      try {
        if (Task.restarting.get(task) === 0 || !recallSeen(task)) {
          beginSeen();
          result = hooks.enter(task, hooked[nr]!, args);
          endSeen();
        }
        // The call reads what they saw, though another thread may have changed it since.
        if (tracer !== undefined) result = traced(task, nr, regs, result);
        else if (result === 0) result = settle(task, run(task, regs / 4 + A0_WORD));
        if (isBlock(result)) keepSeen(task);
      } finally {
        forgetSeen();
      }
      if (result > BLOCK || result === NO_RETURN)
        hooks.exit(task, hooked[nr]!, args, result === NO_RETURN ? 0 : result);
      return result;
    };
  }

  return {
    call: options.hooks === undefined ? call : hookedCall(options.hooks),
    needsFullRegs(nr) {
      return table[nr]?.fullRegs === true;
    },
    nameOf: (nr) => table[nr]?.name ?? `call ${nr}`,
  };
}

/** For those that are told of results: whether this is one, or the call will run again when memory has come back. */
function settle(task: Ref<"task">, result: number): number {
  return result === -ENOMEM ? waitForMemory(task) || result : result;
}

/** Index of the call in a7. Of numbers beyond the table, in all 64 bits, it is that of the last place, which stays empty. */
function callNumber(regs: number): number {
  const word = regs / 4 + A7_WORD;
  const number = ram.i32[word]!;
  return number >>> 0 < NR_SYSCALLS && ram.i32[word + 1] === 0 ? number : NR_SYSCALLS - 1;
}

/** Reads one register pair of the register file as its argument type says. */
function readArg(kind: number, word: number): number {
  const low = ram.i32[word]!;
  switch (kind) {
    case DECODE.INT:
      return low;
    case DECODE.UINT:
      return low >>> 0;
    case DECODE.LONG: {
      const high = ram.i32[word + 1]!;
      return high === low >> 31 ? low : signed64(low, high);
    }
    case DECODE.WORD: {
      const high = ram.i32[word + 1]!;
      if (high === -1 && low < 0) return low;
      const upper = high === 0 ? 0 : high & 0x1fffff || 0x100000;
      return upper * 4294967296 + (low >>> 0);
    }
    default: {
      const high = ram.i32[word + 1]!;
      return high === 0 ? low >>> 0 : unsigned64(low, high);
    }
  }
}
