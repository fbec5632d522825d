/** The fuzzer's building blocks: each returns a few random instructions that cannot fault or run away. */

import type { Random } from "./fpu-operands.ts";
import type { Instruction, Reference } from "./fuzz-elf.ts";
import * as rv from "./fuzz-encode.ts";

/** sp, gp, s0 and s1 have a purpose: top of the scratch buffer, link stack, its middle, and fuel for backward branches. */
export const SP = 2;
export const GP = 3;
export const S0 = 8;
export const S1 = 9;
const FREE = Array.from({ length: 32 }, (_, n) => n).filter((n) => n !== 0 && ![SP, GP, S0, S1].includes(n));
/** Free registers that compressed instructions can name, as 0..7 for x8..x15. */
const FREE_Q = [2, 3, 4, 5, 6, 7];

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
const freg = (g: Random): number => g.below(32);
/** Mostly singles (0) live in even registers and doubles (1) in odd ones: mixed up, nearly all results would be NaN. */
const fregOf = (g: Random, fmt: number): number => (g.below(8) === 0 ? freg(g) : g.below(16) * 2 + fmt);
const imm12 = (g: Random): number =>
  g.below(3) === 0 ? g.pick([0, 1, -1, 2047, -2048, 31, 32, 63]) : g.below(4096) - 2048;
const rm = (g: Random): number => g.pick([7, 7, 7, 7, 7, 7, 0, 0, 1, 1, 2, 3, 4]);
/** Distinct free registers. */
function several(g: Random, count: number): number[] {
  const chosen: number[] = [];
  while (chosen.length < count) {
    const n = free(g);
    if (!chosen.includes(n)) chosen.push(n);
  }
  return chosen;
}

const OP: readonly (readonly [f3: number, f7: number])[] = [
  [0, 0],
  [1, 0],
  [2, 0],
  [3, 0],
  [4, 0],
  [5, 0],
  [6, 0],
  [7, 0],
  [0, 32],
  [5, 32],
];
const OP32: readonly [number, number][] = [
  [0, 0],
  [0, 32],
  [1, 0],
  [5, 0],
  [5, 32],
];

const integer: Make = (g) => {
  const rd = target(g);
  switch (g.below(8)) {
    case 0:
    case 1: {
      const [f3, f7] = g.pick(OP);
      return [rv.r(0x33, f3, f7, rd, source(g), source(g))];
    }
    case 2: {
      const [f3, f7] = g.pick(OP32);
      return [rv.r(0x3b, f3, f7, rd, source(g), source(g))];
    }
    case 3:
      return [rv.i(0x13, g.pick([0, 2, 3, 4, 6, 7]), rd, source(g), imm12(g))];
    case 4:
      return [rv.i(0x1b, 0, rd, source(g), imm12(g))];
    case 5: {
      const arithmetic = g.below(2) << 10;
      return [
        g.below(2) === 0
          ? rv.i(0x13, 1, rd, source(g), g.below(64))
          : rv.i(0x13, 5, rd, source(g), g.below(64) | arithmetic),
      ];
    }
    case 6: {
      const arithmetic = g.below(2) << 10;
      return [
        g.below(2) === 0
          ? rv.i(0x1b, 1, rd, source(g), g.below(32))
          : rv.i(0x1b, 5, rd, source(g), g.below(32) | arithmetic),
      ];
    }
    default:
      return [g.below(2) === 0 ? rv.lui(rd, g.u32()) : rv.auipc(rd, g.u32())];
  }
};

const multiply: Make = (g) =>
  g.below(3) === 0
    ? [rv.r(0x3b, g.pick([0, 4, 5, 6, 7]), 1, target(g), source(g), source(g))]
    : [rv.r(0x33, g.below(8), 1, target(g), source(g), source(g))];

/** A base register and offsets around it: s0 is on a page boundary, so small negative offsets cross it. */
function address(g: Random, code: Instruction[], align = 1): [base: number, imm: number] {
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

const memory: Make = (g) => {
  const code: Instruction[] = [];
  // Mostly aligned, as compilers do; often enough not.
  const size = g.below(4);
  const [base, imm] = address(g, code, g.below(3) === 0 ? 1 : 1 << size);
  if (g.below(2) === 0) code.push(rv.s(0x23, size, base, source(g), imm));
  else code.push(rv.i(0x03, g.below(2) === 0 && size < 3 ? size + 4 : size, target(g), base, imm));
  return code;
};

const floatMemory: Make = (g) => {
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
const overlap: Make = (g) => {
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

const floatArithmetic: Make = (g) => {
  const fmt = g.below(2);
  const rd = fregOf(g, fmt);
  const [a, b] = [fregOf(g, fmt), fregOf(g, fmt)];
  switch (g.below(12)) {
    case 0:
    case 1:
      return [rv.r(0x53, rm(g), 0x00 | fmt, rd, a, b)];
    case 2:
      return [rv.r(0x53, rm(g), 0x04 | fmt, rd, a, b)];
    case 3:
    case 4:
      return [rv.r(0x53, rm(g), 0x08 | fmt, rd, a, b)];
    case 5:
      return [rv.r(0x53, rm(g), 0x0c | fmt, rd, a, b)];
    case 6:
      return [rv.r(0x53, rm(g), 0x2c | fmt, rd, a, 0)];
    case 7:
    case 8:
      return [rv.r(g.pick([0x43, 0x47, 0x4b, 0x4f]), rm(g), (fregOf(g, fmt) << 2) | fmt, rd, a, b)];
    case 9:
      return [rv.r(0x53, g.below(3), 0x10 | fmt, rd, a, b)];
    case 10:
      return [rv.r(0x53, g.below(2), 0x14 | fmt, rd, a, b)];
    default:
      return [rv.r(0x53, g.below(3), 0x50 | fmt, target(g), a, b)];
  }
};

const floatConvert: Make = (g) => {
  const fmt = g.below(2);
  switch (g.below(8)) {
    case 0:
    case 1:
      return [rv.r(0x53, g.pick([1, 1, rm(g)]), 0x60 | fmt, target(g), fregOf(g, fmt), g.below(4))];
    case 2:
      return [rv.r(0x53, rm(g), 0x68 | fmt, fregOf(g, fmt), source(g), g.below(4))];
    case 3:
      return [rv.r(0x53, rm(g), 0x20 | fmt, fregOf(g, fmt), fregOf(g, 1 - fmt), 1 - fmt)];
    case 4:
      return [rv.r(0x53, 0, 0x70 | fmt, target(g), fregOf(g, fmt), 0)];
    case 5:
    case 6:
      return [rv.r(0x53, 0, 0x78 | fmt, fregOf(g, fmt), source(g), 0)];
    default:
      return [rv.r(0x53, 1, 0x70 | fmt, target(g), fregOf(g, fmt), 0)];
  }
};

const FFLAGS = 1;
const FRM = 2;
const FCSR = 3;

/** Reads and writes of fcsr and its parts; frm only ever gets modes that exist. */
const floatCsr: Make = (g) => {
  const rd = target(g);
  switch (g.below(8)) {
    case 0:
      return [rv.csr(1, rd, source(g), FFLAGS)];
    case 1:
      return [rv.csr(g.pick([2, 3]), rd, source(g), FFLAGS)];
    case 2:
      return [rv.csr(g.pick([5, 6, 7]), rd, g.below(32), FFLAGS)];
    case 3:
      return [rv.csr(5, rd, g.below(5), FRM)];
    case 4:
      return [rv.csr(2, rd, 0, g.pick([FFLAGS, FRM, FCSR]))];
    case 5: {
      // 0x9f: only rounding modes 0 and 4 remain.
      const t = free(g);
      return [rv.andi(t, source(g), 0x9f), rv.csr(1, rd, t, FCSR)];
    }
    case 6:
      return [rv.csr(5, rd, 0, FFLAGS)];
    default:
      return [rv.csr(7, rd, g.below(32), FCSR)];
  }
};

const atomic: Make = (g) => {
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

const compressed: Make = (g) => {
  const q = g.pick(FREE_Q);
  const q2 = g.below(8);
  const rd = free(g);
  const small = g.below(64) - 32;
  switch (g.below(22)) {
    case 0:
      return [rv.c.addi4spn(q, (1 + g.below(255)) * 4)];
    case 1:
      return [rv.c.mem4(2, q, 0, g.below(32) * 4)];
    case 2:
      return [rv.c.mem8(3, q, 0, g.below(32) * 8)];
    case 3:
      return [rv.c.mem8(1, q2, 0, g.below(32) * 8)];
    case 4:
      return [rv.c.mem4(6, q2, 0, g.below(32) * 4)];
    case 5:
      return [rv.c.mem8(7, q2, 0, g.below(32) * 8)];
    case 6:
      return [rv.c.mem8(5, q2, 0, g.below(32) * 8)];
    case 7:
      return [rv.c.imm6(0, rd, small || 1)];
    case 8:
      return [rv.c.imm6(1, rd, small)];
    case 9:
      return [rv.c.imm6(2, rd, small)];
    case 10:
      return [rv.c.imm6(3, rd, small || 1)];
    case 11:
      return [rv.c.alu6(g.below(2), q, 1 + g.below(63))];
    case 12:
      return [rv.c.alu6(2, q, small)];
    case 13:
    case 14:
      return [rv.c.alu(g.below(6), q, q2)];
    case 15:
      return [rv.c.slli(rd, 1 + g.below(63))];
    case 16:
      return [rv.c.lwsp(rd, g.below(64) * 4)];
    case 17:
      return [
        g.below(2) === 0 ? rv.c.load8sp(3, rd, g.below(64) * 8) : rv.c.load8sp(1, freg(g), g.below(64) * 8),
      ];
    case 18:
      return [
        g.below(2) === 0
          ? rv.c.store8sp(7, source(g), g.below(64) * 8)
          : rv.c.store8sp(5, freg(g), g.below(64) * 8),
      ];
    case 19:
      return [rv.c.swsp(source(g), g.below(64) * 4)];
    case 20: {
      const imm = (1 + g.below(6)) * 16;
      return [rv.c.addi16sp(-imm), rv.c.load8sp(3, rd, 8), rv.c.addi16sp(imm)];
    }
    default:
      return [g.below(2) === 0 ? rv.c.mv(rd, free(g)) : rv.c.add(rd, free(g))];
  }
};

const ahead = (g: Random, place: Place): number => Math.min(place.last, place.index + 1 + g.below(7));
const back = (g: Random, place: Place): number => Math.max(place.first, place.index - g.below(9));

const BRANCHES = [0, 1, 4, 5, 6, 7];
const branch = (f3: number, rs1: number, rs2: number, to: number): Reference => ({
  to,
  bytes: 4,
  encode: (offset) => rv.b(f3, rs1, rs2, offset),
});
export const jump = (rd: number, to: number): Reference => ({
  to,
  bytes: 4,
  encode: (offset) => rv.jal(rd, offset),
});

const shortBranch = (f3: number, q: number, to: number): Reference => ({
  to,
  bytes: 2,
  encode: (offset) => rv.c.branch(f3, q, offset),
  reach: 256,
  long: branch(f3 - 6, 8 + q, 0, to),
});
const shortJump = (to: number): Reference => ({
  to,
  bytes: 2,
  encode: rv.c.j,
  reach: 2048,
  long: jump(0, to),
});

/** rd = address of item `to`: auipc and addi. */
export const la = (rd: number, to: number): Instruction[] => [
  { to, bytes: 4, encode: (offset) => rv.auipc(rd, rv.hi20(offset)) },
  { to, bytes: 4, encode: (offset) => rv.addi(rd, rd, rv.lo12(offset + 4)) },
];

const forward: Make = (g, place) => {
  const to = ahead(g, place);
  switch (g.below(8)) {
    case 0:
      return [shortBranch(6 + g.below(2), g.below(8), to)];
    case 1:
      return [g.below(2) === 0 ? shortJump(to) : jump(g.below(2) === 0 ? 0 : free(g), to)];
    case 2: {
      const t = free(g);
      // The lowest bit of a jump's target is ignored.
      return [...la(t, to), g.below(2) === 0 ? rv.c.jr(t) : rv.jalr(target(g), t, g.below(2))];
    }
    case 3: {
      const [t, other, mask] = several(g, 3) as [number, number, number];
      return [
        rv.andi(mask, source(g), 1),
        rv.r(0x33, 0, 32, mask, 0, mask),
        ...la(t, to),
        ...la(other, ahead(g, place)),
        rv.r(0x33, 0, 32, other, other, t),
        rv.r(0x33, 7, 0, other, other, mask),
        rv.add(t, t, other),
        rv.jalr(0, t, 0),
      ];
    }
    default:
      return [branch(g.pick(BRANCHES), source(g), source(g), to)];
  }
};

/** A backward branch that costs one unit of fuel and is not taken without. */
const loop: Make = (g, place) => {
  const to = back(g, place);
  const burn = g.below(2) === 0 ? rv.addi(S1, S1, -1) : rv.c.imm6(0, S1, -1);
  switch (g.below(3)) {
    case 0:
      return [burn, branch(4, 0, S1, to)];
    case 1:
      return [burn, branch(5, 0, S1, place.index + 1), branch(g.pick(BRANCHES), source(g), source(g), to)];
    default:
      return [branch(5, 0, S1, place.index + 1), burn, shortJump(to)];
  }
};

const callFunction: Make = (g, place) => {
  if (place.functions.length === 0) return [rv.c.mv(free(g), free(g))];
  const to = g.pick(place.functions);
  if (g.below(2) === 0) return [jump(1, to)];
  const t = free(g);
  return [...la(t, to), g.below(2) === 0 ? rv.c.jalr(t) : rv.jalr(1, t, 0)];
};

/** Writes some bytes of the scratch buffer, or asks for a system call that does not exist. */
const systemCall: Make = (g) => {
  if (g.below(3) === 0) return [rv.lui(17, 2), rv.ECALL];
  return [
    rv.addi(10, 0, 1),
    rv.addi(11, S0, g.below(1024)),
    rv.addi(12, 0, 1 + g.below(40)),
    rv.addi(17, 0, 64),
    rv.ECALL,
  ];
};

/** Rewrites the immediate of the addi that follows, from a register. */
const modifyCode: Make = (g) => {
  const [word, t] = several(g, 2) as [number, number];
  const rd = free(g);
  const patched = rv.addi(rd, rd, 0);
  return [
    rv.andi(word, source(g), 0x3ff),
    rv.slli(word, word, 20),
    rv.lui(t, rv.hi20(patched)),
    rv.addi(t, t, rv.lo12(patched)),
    rv.add(word, word, t),
    rv.auipc(t, 0),
    rv.sw(word, t, 12),
    rv.FENCE_I,
    patched,
  ];
};

/**
 * Pairs that compilers like to emit and translators like to fuse, here also with the registers and constants that make fusing
 * wrong; now and then a branch goes into the middle.
 */
const idiom: Make = (g) => {
  const [rd, other] = several(g, 2) as [number, number];
  // Mostly the pair belongs together.
  const link = g.below(5) === 0 ? other : rd;
  const end = g.below(4) === 0 ? other : rd;
  const [a, b] = [source(g), source(g)];
  let pair: number[];
  switch (g.below(12)) {
    case 0:
      pair = [
        rv.lui(rd, g.u32()),
        g.below(2) === 0 ? rv.addi(end, link, imm12(g)) : rv.i(0x1b, 0, end, link, imm12(g)),
      ];
      break;
    case 1:
      pair = [rv.auipc(rd, g.u32()), rv.addi(end, link, imm12(g))];
      break;
    case 2: // zero extension, bit fields
      pair = [
        rv.slli(rd, a, g.pick([32, 48, 56, 33, 1])),
        rv.i(0x13, 5, end, link, g.pick([32, 48, 56, 31, 1])),
      ];
      break;
    case 3: // sign extension
      pair = [rv.slli(rd, a, g.pick([32, 48, 56])), rv.i(0x13, 5, end, link, g.pick([32, 48, 56]) | 0x400)];
      break;
    case 4: // index into an array
      pair = [
        rv.andi(rd, a, 63),
        rv.slli(rd, rd, 3),
        rv.add(rd, rd, S0),
        rv.i(0x03, g.below(7), end, rd, 8 * g.below(16)),
      ];
      break;
    case 5: {
      const signed = g.pick([1, 2, 3]);
      pair = [rv.r(0x33, signed, 1, rd, a, b), rv.r(0x33, 0, 1, end, a, b)];
      break;
    }
    case 6: {
      const kind = g.pick([0, 1]);
      pair = [rv.r(0x33, 4 + kind, 1, rd, a, b), rv.r(0x33, 6 + kind, 1, end, a, b)];
      break;
    }
    case 7:
      pair = [rv.r(0x33, g.pick([2, 3]), 0, rd, a, b), rv.i(0x13, 3, end, link, 1)];
      break;
    case 8: // a comparison and a branch on it
      pair = [
        rv.i(0x13, g.pick([2, 3]), rd, a, imm12(g)),
        rv.b(g.below(2), link, 0, 8),
        rv.addi(end, end, 1),
      ];
      break;
    case 9: // two loads or two stores side by side
      pair = [rv.sd(a, S0, 16), rv.sd(b, S0, 24), rv.ld(rd, S0, 16), rv.ld(end, S0, 24)];
      break;
    case 10: // a value built in three steps
      pair = [
        rv.lui(rd, g.u32()),
        rv.i(0x1b, 0, rd, rd, imm12(g)),
        rv.slli(rd, link, 12),
        rv.addi(end, rd, imm12(g)),
      ];
      break;
    default: // mask by shifting the sign down
      pair = [rv.i(0x13, 5, rd, a, 63 | 0x400), rv.r(0x33, 7, 0, end, link, b)];
  }
  // The first instruction may be skipped (none of the addresses above depends on it alone).
  const safe = pair.every((word) => (word & 0x7f) !== 0x03);
  return safe && g.below(4) === 0 ? [rv.b(g.pick(BRANCHES), a, b, 8), ...pair] : pair;
};

const fence: Make = (g) => [g.pick([rv.FENCE, 0x8330000f, rv.NOP, 1])];

export const KINDS: Record<string, Make> = {
  integer,
  multiply,
  memory,
  floatMemory,
  overlap,
  floatArithmetic,
  floatConvert,
  floatCsr,
  atomic,
  compressed,
  forward,
  loop,
  callFunction,
  systemCall,
  modifyCode,
  idiom,
  fence,
};
