/** Items of the integer instructions, their compressed forms, and pairs that belong together. */

import { BRANCHES } from "./fuzz-control.ts";
import * as rv from "./fuzz-encode.ts";
import { FREE_Q, free, freg, imm12, type Make, S0, several, source, target } from "./fuzz-registers.ts";

export const OP: readonly (readonly [f3: number, f7: number])[] = [
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
export const OP32: readonly [number, number][] = [
  [0, 0],
  [0, 32],
  [1, 0],
  [5, 0],
  [5, 32],
];

export const integer: Make = (g) => {
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

export const multiply: Make = (g) =>
  g.below(3) === 0
    ? [rv.r(0x3b, g.pick([0, 4, 5, 6, 7]), 1, target(g), source(g), source(g))]
    : [rv.r(0x33, g.below(8), 1, target(g), source(g), source(g))];

/** Zba: alone, and as compilers index arrays with it. */
export const address: Make = (g) => {
  const rd = target(g);
  switch (g.below(4)) {
    case 0:
      return [rv.shiftAdd(g.pick([1, 2, 3]), rd, source(g), source(g))];
    case 1:
      return [rv.shiftAddUw(g.pick([0, 1, 2, 3]), rd, source(g), source(g))];
    case 2:
      return [rv.slliUw(rd, source(g), g.below(64))];
    default: {
      const at = free(g);
      const index = g.below(2) === 0 ? rv.shiftAdd(3, at, at, S0) : rv.shiftAddUw(3, at, at, S0);
      return [rv.andi(at, source(g), 63), index, rv.i(0x03, g.below(7), rd, at, 8 * g.below(16))];
    }
  }
};

export const compressed: Make = (g) => {
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

/**
 * Pairs that compilers like to emit and translators like to fuse, here also with the registers and constants that make fusing
 * wrong; now and then a branch goes into the middle.
 */
export const idiom: Make = (g) => {
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
