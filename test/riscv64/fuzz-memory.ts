/** Items of loads, stores and atomics, aligned or not, across pages, overlapping. */

import type { Random } from "./fpu-operands.ts";
import type { Instruction } from "./fuzz-elf.ts";
import * as rv from "./fuzz-encode.ts";
import {
  address,
  free,
  freg,
  fregOf,
  imm12,
  type Make,
  S0,
  several,
  source,
  target,
} from "./fuzz-registers.ts";

export const memory: Make = (g) => {
  const code: Instruction[] = [];
  // Mostly aligned, as compilers do; often enough not.
  const size = g.below(4);
  const [base, imm] = address(g, code, g.below(3) === 0 ? 1 : 1 << size);
  if (g.below(2) === 0) code.push(rv.s(0x23, size, base, source(g), imm));
  else code.push(rv.i(0x03, g.below(2) === 0 && size < 3 ? size + 4 : size, target(g), base, imm));
  return code;
};

export const floatMemory: Make = (g) => {
  const code: Instruction[] = [];
  const fmt = g.below(2);
  const [base, imm] = address(g, code, g.below(4) === 0 ? 1 : 4 << fmt);
  if (g.below(3) === 0) code.push(rv.s(0x27, 2 + fmt, base, fregOf(g, fmt), imm));
  else if (g.below(2) === 0) code.push(rv.i(0x07, 2 + fmt, fregOf(g, fmt), base, imm));
  // Where the initial data has whole registers of that format.
  else code.push(rv.fld(fregOf(g, fmt), S0, (imm & -16) + 8 * fmt));
  return code;
};

/** Stores, then loads that overlap it in another size. */
export const overlap: Make = (g) => {
  const code: Instruction[] = [];
  const [base, imm] = address(g, code);
  const at = Math.max(-2040, Math.min(2030, imm));
  code.push(rv.s(0x23, g.below(4), base, source(g), at));
  for (let n = 1 + g.below(3); n > 0; n--) {
    const load = g.below(7);
    const offset = at + g.below(9) - 4;
    if (g.below(4) === 0) code.push(rv.i(0x07, 3, freg(g), base, offset));
    else {
      const rd = free(g);
      code.push(rv.i(0x03, load, rd, base, offset));
      if (rd === base) return code;
    }
  }
  return code;
};

/** One load or store of any kind at imm(base). */
export function access(g: Random, base: number, imm: number): Instruction {
  switch (g.below(6)) {
    case 0:
    case 1: {
      const rd = target(g);
      return rv.i(0x03, g.below(7), rd === base ? 0 : rd, base, imm);
    }
    case 2:
    case 3:
      return rv.s(0x23, g.below(4), base, source(g), imm);
    case 4:
      return rv.i(0x07, 2 + g.below(2), freg(g), base, imm);
    default:
      return rv.s(0x27, 2 + g.below(2), base, freg(g), imm);
  }
}

/** Several accesses through one base, as to a struct or a stack frame, on both sides of a page boundary; the base may move. */
export const group: Make = (g) => {
  const [t] = several(g, 1) as [number];
  const near = g.below(2) === 0;
  const code: Instruction[] = near
    ? [rv.addi(t, S0, g.below(96) - 48)]
    : [rv.andi(t, source(g), g.pick([0x7ff, 0x7f8])), rv.add(t, t, S0)];
  const span = g.pick([32, 64, 256, 4000]);
  for (let n = 2 + g.below(8); n > 0; n--) {
    const imm = Math.trunc((g.below(span) - span / 2) & (g.below(3) === 0 ? -1 : -8));
    code.push(access(g, t, imm));
    if (g.below(8) === 0) code.push(rv.addi(t, t, g.below(64) - 32));
    if (g.below(12) === 0) code.push(rv.b(g.below(2), source(g), source(g), 4));
  }
  return code;
};

export const atomic: Make = (g) => {
  const [t] = several(g, 1) as [number];
  const size = 2 + g.below(2);
  const code: Instruction[] = [rv.andi(t, source(g), 0x7f8), rv.add(t, t, S0)];
  const order = g.below(4);
  const f5 = g.pick([0, 1, 4, 8, 12, 16, 20, 24, 28, 2, 2, 3]);
  if (f5 === 2) {
    // Load-reserved, a little arithmetic, store-conditional to the same place or, failing, to another.
    const [value, result] = several(g, 4).filter((n) => n !== t) as [number, number];
    code.push(rv.r(0x2f, size, (2 << 2) | order, value, t, 0), rv.addi(value, value, imm12(g)));
    if (g.below(4) === 0) code.push(rv.addi(t, t, 8));
    code.push(rv.r(0x2f, size, (3 << 2) | order, result, t, value));
    return code;
  }
  code.push(rv.r(0x2f, size, (f5 << 2) | order, target(g), t, source(g)));
  return code;
};
