/** Items of F, D and their control and status register. */

import * as rv from "./fuzz-encode.ts";
import { free, fregOf, type Make, rm, source, target } from "./fuzz-registers.ts";

export const floatArithmetic: Make = (g) => {
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

export const floatConvert: Make = (g) => {
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

export const FFLAGS = 1;
export const FRM = 2;
export const FCSR = 3;

/** Reads and writes of fcsr and its parts; frm only ever gets modes that exist. */
export const floatCsr: Make = (g) => {
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
