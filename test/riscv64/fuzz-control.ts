/** Items that pass control: branches, loops that end, jumps, calls, system calls, code that changes. */

import type { Random } from "./fpu-operands.ts";
import type { Instruction, Reference } from "./fuzz-elf.ts";
import * as rv from "./fuzz-encode.ts";
import { free, type Make, type Place, S0, S1, several, source, target } from "./fuzz-registers.ts";

export const ahead = (g: Random, place: Place): number => Math.min(place.last, place.index + 1 + g.below(7));
export const back = (g: Random, place: Place): number => Math.max(place.first, place.index - g.below(9));

export const BRANCHES = [0, 1, 4, 5, 6, 7];
export const branch = (f3: number, rs1: number, rs2: number, to: number): Reference => ({
  to,
  bytes: 4,
  encode: (offset) => rv.b(f3, rs1, rs2, offset),
});
export const jump = (rd: number, to: number): Reference => ({
  to,
  bytes: 4,
  encode: (offset) => rv.jal(rd, offset),
});

export const shortBranch = (f3: number, q: number, to: number): Reference => ({
  to,
  bytes: 2,
  encode: (offset) => rv.c.branch(f3, q, offset),
  reach: 256,
  long: branch(f3 - 6, 8 + q, 0, to),
});
export const shortJump = (to: number): Reference => ({
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

export const forward: Make = (g, place) => {
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
export const loop: Make = (g, place) => {
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

export const callFunction: Make = (g, place) => {
  if (place.functions.length === 0) return [rv.c.mv(free(g), free(g))];
  const to = g.pick(place.functions);
  if (g.below(2) === 0) return [jump(1, to)];
  const t = free(g);
  return [...la(t, to), g.below(2) === 0 ? rv.c.jalr(t) : rv.jalr(1, t, 0)];
};

/** Writes some bytes of the scratch buffer, or asks for a system call that does not exist. */
export const systemCall: Make = (g) => {
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
export const modifyCode: Make = (g) => {
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

export const fence: Make = (g) => [g.pick([rv.FENCE, 0x8330000f, rv.NOP, 1])];
