/** How the fuzzer chooses registers, constants and addresses. */

import type { Random } from "./fpu-operands.ts";
import type { Instruction } from "./fuzz-elf.ts";
import * as rv from "./fuzz-encode.ts";

/** sp, gp, s0 and s1 have a purpose: top of the scratch buffer, link stack, its middle, and fuel for backward branches. */
export const SP = 2;
export const GP = 3;
export const S0 = 8;
export const S1 = 9;
export const FREE = Array.from({ length: 32 }, (_, n) => n).filter(
  (n) => n !== 0 && ![SP, GP, S0, S1].includes(n),
);
/** Free registers that compressed instructions can name, as 0..7 for x8..x15. */
export const FREE_Q = [2, 3, 4, 5, 6, 7];

/** What an item may refer to: its own index, and the first and last item of its routine. */
export interface Place {
  index: number;
  first: number;
  last: number;
  /** Entries of functions that may be called from here. */
  functions: number[];
}

export type Make = (g: Random, place: Place) => Instruction[];

export const free = (g: Random): number => g.pick(FREE);
export const source = (g: Random): number => (g.below(8) === 0 ? g.pick([0, SP, S0, S1]) : free(g));
export const target = (g: Random): number => (g.below(24) === 0 ? 0 : free(g));
export const freg = (g: Random): number => g.below(32);
/** Mostly singles (0) live in even registers and doubles (1) in odd ones: mixed up, nearly all results would be NaN. */
export const fregOf = (g: Random, fmt: number): number =>
  g.below(8) === 0 ? freg(g) : g.below(16) * 2 + fmt;
export const imm12 = (g: Random): number =>
  g.below(3) === 0 ? g.pick([0, 1, -1, 2047, -2048, 31, 32, 63]) : g.below(4096) - 2048;
export const rm = (g: Random): number => g.pick([7, 7, 7, 7, 7, 7, 0, 0, 1, 1, 2, 3, 4]);
/** Distinct free registers. */
export function several(g: Random, count: number): number[] {
  const chosen: number[] = [];
  while (chosen.length < count) {
    const n = free(g);
    if (!chosen.includes(n)) chosen.push(n);
  }
  return chosen;
}

/** A base register and offsets around it: s0 is on a page boundary, so small negative offsets cross it. */
export function address(g: Random, code: Instruction[], align = 1): [base: number, imm: number] {
  const near = g.below(3) === 0 ? g.below(24) - 16 : imm12(g);
  switch (g.below(4)) {
    case 0: {
      const [t] = several(g, 1);
      code.push(rv.andi(t!, source(g), g.pick([0x7ff, 0x7f8, 0x7fe, 0xff])), rv.add(t!, t!, S0));
      return [t!, Math.max(-2048, near & -align)];
    }
    case 1:
      return [SP, near & -align];
    default:
      return [S0, near & -align];
  }
}
