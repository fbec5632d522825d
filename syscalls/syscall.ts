/**
 * A system call is one literal: number, name, decoding, strace formatting and handler.
 *
 *   export const dup3 = syscall({
 *     nr: 24,
 *     name: "dup3",
 *     args: [fd, fd, oflags],
 *     returns: fd,
 *     handler(task, oldfd, newfd, flags) { ... },
 *   });
 *
 * The handler gets the current task and one JavaScript number per argument, decoded as the argument says (args.ts).
 * It returns a value >= 0, -errno, or BLOCK after it queued the task: then the call runs again from its start.
 */
import type { Ref } from "../rcu/index.ts";
import type { Arg } from "./args.ts";

type Numbers<A extends readonly Arg[]> = { [K in keyof A]: number };

export interface Syscall<A extends readonly Arg[] = readonly Arg[]> {
  /** Number in a7 (asm-generic numbering, as riscv64 uses). */
  readonly nr: number;
  /** Name as in the man pages, section 2. */
  readonly name: string;
  readonly args: A;
  /** How the result is printed; default: decimal. */
  readonly returns?: Arg;
  /** The handler reads or replaces registers beyond a0..a7: run it with the whole register file in RAM. */
  readonly fullRegs?: boolean;
  /** In one sentence, what is missing compared with Linux. */
  readonly partial?: string;
  handler(task: Ref<"task">, ...args: Numbers<A>): number;
}

export function syscall<const A extends readonly Arg[]>(call: Syscall<A>): Syscall {
  if (call.args.length > 6) throw new Error(`${call.name}: a system call has at most six arguments`);
  return call as unknown as Syscall;
}
