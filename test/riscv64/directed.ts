/** A harness with a few instructions in it, and every directed case in every mode of the engine. */

import test from "ava";
import { ACCESS } from "../../kernel/usermode.ts";
import type { EngineOptions } from "../../userland/riscv64/engine.ts";
import { i, r, s as store } from "./fuzz-encode.ts";
import { Harness } from "./harness.ts";

export { addi, b, ECALL, FENCE_I, i, ld, r, sd } from "./fuzz-encode.ts";

export const CODE = 0x1_0000;
export const DATA = 0x2_0000;
export const RX = ACCESS.READ | ACCESS.EXEC;
export const RW = ACCESS.READ | ACCESS.WRITE;

export const A0 = 10;
export const A1 = 11;
export const A2 = 12;
export const A3 = 13;

export const lw = (rd: number, rs1: number, imm: number): number => i(0x03, 2, rd, rs1, imm);
export const s = (f3: number, rs2: number, rs1: number, imm: number): number =>
  store(0x23, f3, rs1, rs2, imm);
export const amo = (f5: number, f3: number, rd: number, rs1: number, rs2: number): number =>
  r(0x2f, f3, f5 << 2, rd, rs1, rs2);
export const EBREAK = 0x100073;
export const RET = 0x8067;

const MODES = [
  ["interpreter", Number.POSITIVE_INFINITY],
  ["translator", 0],
  ["careful translator", -1],
] as const;

/** What a mode of `both` means to the engine. */
export const optionsOf = (threshold: number): EngineOptions => ({
  threshold: Math.max(threshold, 0),
  lean: threshold >= 0,
});

export function machine(threshold: number, words: number[], setup: (h: Harness) => void = () => {}): Harness {
  const h = new Harness(optionsOf(threshold), 1 << 20);
  h.map(CODE, 4096, RX);
  h.map(DATA, 8192, RW);
  h.poke(CODE, new Uint8Array(new Int32Array(words).buffer));
  h.pc = CODE;
  setup(h);
  return h;
}

/** The test in every mode. */
export function both(
  title: string,
  check: (t: import("ava").ExecutionContext, threshold: number) => void,
): void {
  for (const [mode, threshold] of MODES) test(`${title} (${mode})`, (t) => check(t, threshold));
}
