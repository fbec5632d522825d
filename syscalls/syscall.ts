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
 * The handler gets the current task and one JavaScript number per argument, decoded as the argument says (args.ts), and within
 * the range that the argument states: `syscall` puts the checks in front of the handler.
 * It returns a value >= 0, -errno, or BLOCK after it queued the task: then the call runs again from its start.
 */
import type { Ref } from "../rcu/index.ts";
import { type Arg, inRange, type Range } from "./args.ts";

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
  const ranges = call.args.map((arg) => arg.range);
  // Most calls have no range to check, and keep their handler as it is.
  if (ranges.every((range) => range === undefined)) return call as unknown as Syscall;
  return { ...call, handler: checked(call.handler as unknown as Handler, ranges) } as unknown as Syscall;
}

type Handler = (task: Ref<"task">, ...args: number[]) => number;

/** -errno of the first argument of the call in progress that is out of its range and fails the call; 0 for none. */
let refused = 0;

/** The number that the handler sees. */
function bound(range: Range | undefined, value: number): number {
  if (range === undefined || inRange(range, value)) return value;
  if (refused === 0) refused = range.error;
  return range.instead;
}

/** The handler behind the checks of its arguments. One function per number of arguments: none makes an array. */
function checked(handler: Handler, ranges: readonly (Range | undefined)[]): Handler {
  const [a, b, c, d, e, f] = ranges;
  switch (ranges.length) {
    case 1:
      return (task, p) => {
        refused = 0;
        const first = bound(a, p!);
        return refused !== 0 ? refused : handler(task, first);
      };
    case 2:
      return (task, p, q) => {
        refused = 0;
        const first = bound(a, p!);
        const second = bound(b, q!);
        return refused !== 0 ? refused : handler(task, first, second);
      };
    case 3:
      return (task, p, q, r) => {
        refused = 0;
        const first = bound(a, p!);
        const second = bound(b, q!);
        const third = bound(c, r!);
        return refused !== 0 ? refused : handler(task, first, second, third);
      };
    case 4:
      return (task, p, q, r, s) => {
        refused = 0;
        const first = bound(a, p!);
        const second = bound(b, q!);
        const third = bound(c, r!);
        const fourth = bound(d, s!);
        return refused !== 0 ? refused : handler(task, first, second, third, fourth);
      };
    case 5:
      return (task, p, q, r, s, u) => {
        refused = 0;
        const first = bound(a, p!);
        const second = bound(b, q!);
        const third = bound(c, r!);
        const fourth = bound(d, s!);
        const fifth = bound(e, u!);
        return refused !== 0 ? refused : handler(task, first, second, third, fourth, fifth);
      };
    default:
      return (task, p, q, r, s, u, v) => {
        refused = 0;
        const first = bound(a, p!);
        const second = bound(b, q!);
        const third = bound(c, r!);
        const fourth = bound(d, s!);
        const fifth = bound(e, u!);
        const sixth = bound(f, v!);
        return refused !== 0 ? refused : handler(task, first, second, third, fourth, fifth, sixth);
      };
  }
}
