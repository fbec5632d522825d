/** A random program from a seed: it ends, survives its own faults, and writes its whole state to file descriptor 1. */

import { FP_OP } from "../../userland/riscv64/fpu/ops.ts";
import { operands, Random } from "./fpu-operands.ts";
import { jump } from "./fuzz-control.ts";
import { DATA_BASE, DATA_BYTES, type Instruction, type Item } from "./fuzz-elf.ts";
import * as rv from "./fuzz-encode.ts";
import { faulting, handler, installHandler } from "./fuzz-faults.ts";
import { KINDS } from "./fuzz-items.ts";
import { GP, type Make, S0, S1, SP } from "./fuzz-registers.ts";

/** Data segment: the dump (x, f, fcsr), which holds the initial values before; the link stack; scratch around s0 and sp. */
const X_SLOTS = 0;
const F_SLOTS = 256;
const FCSR_SLOT = 512;
const LINK_STACK = 0x800;
const SCRATCH = 0x2000;
const SCRATCH_TOP = 0x2f00;

/** gp stands on the link stack; slots are reached below it. */
const slot = (offset: number): number => offset - LINK_STACK;

export interface Program {
  items: Item[];
  data: Uint8Array;
}

const ALL_KINDS: Record<string, Make> = { ...KINDS, faulting };

/** How often each kind of item appears in a program of a profile. */
const PROFILES: Record<string, Record<string, number>> = {
  mixed: {
    integer: 12,
    multiply: 4,
    address: 3,
    memory: 10,
    floatMemory: 5,
    overlap: 3,
    group: 5,
    floatArithmetic: 12,
    floatConvert: 6,
    floatCsr: 3,
    atomic: 4,
    compressed: 12,
    idiom: 8,
    forward: 8,
    loop: 3,
    callFunction: 3,
    systemCall: 1,
    modifyCode: 0.3,
    fence: 0.5,
  },
  integers: {
    integer: 25,
    multiply: 12,
    address: 12,
    compressed: 15,
    idiom: 25,
    forward: 8,
    loop: 3,
    memory: 5,
  },
  floats: {
    floatArithmetic: 40,
    floatConvert: 15,
    floatCsr: 6,
    floatMemory: 15,
    integer: 5,
    forward: 3,
    loop: 2,
  },
  memories: {
    memory: 30,
    address: 5,
    overlap: 15,
    group: 25,
    floatMemory: 10,
    atomic: 15,
    compressed: 15,
    idiom: 8,
    integer: 5,
    forward: 4,
    loop: 3,
  },
  faults: {
    faulting: 15,
    group: 6,
    integer: 8,
    memory: 8,
    floatMemory: 4,
    floatArithmetic: 6,
    floatCsr: 2,
    compressed: 8,
    forward: 4,
    loop: 2,
    callFunction: 4,
    atomic: 2,
  },
  control: {
    forward: 30,
    loop: 10,
    callFunction: 15,
    integer: 10,
    compressed: 10,
    idiom: 10,
    modifyCode: 1,
    systemCall: 1,
  },
};

function choose(g: Random, weights: Record<string, number>): string {
  let at = (g.u32() / 2 ** 32) * Object.values(weights).reduce((sum, w) => sum + w, 0);
  for (const [kind, weight] of Object.entries(weights)) if ((at -= weight) < 0) return kind;
  return "fence";
}

/** One routine's body: `count` items, the first at index `first`. */
function body(
  g: Random,
  weights: Record<string, number>,
  first: number,
  count: number,
  functions: number[],
): Item[] {
  return Array.from({ length: count }, (_, n) => {
    const what = choose(g, weights);
    const place = { index: first + n, first, last: first + count, functions };
    return { code: ALL_KINDS[what]!(g, place), fixed: false, what };
  });
}

const INTERESTING = [
  0n,
  1n,
  -1n,
  1n << 63n,
  (1n << 63n) - 1n,
  1n << 31n,
  -(1n << 31n),
  0xffff_ffffn,
  0x80n,
  0xff80n,
];

/** A word for `address`: where it is a float it is a single at even words, a double at odd ones. */
function word(g: Random, address: number): bigint {
  switch (g.below(6)) {
    case 0:
      return g.pick(INTERESTING);
    case 1:
      return BigInt(g.below(512) - 256);
    case 2:
      return g.u64() >> BigInt(g.below(64));
    case 3:
    case 4:
      return operands(g, (address & 8) === 0 ? FP_OP.FADD_S : FP_OP.FADD_D)[0];
    default:
      return g.u64();
  }
}

function initialData(g: Random, fuel: number): Uint8Array {
  const data = new Uint8Array(DATA_BYTES);
  const view = new DataView(data.buffer);
  for (let at = 0; at < DATA_BYTES; at += 8) view.setBigUint64(at, BigInt.asUintN(64, word(g, at)), true);
  view.setBigUint64(X_SLOTS + S1 * 8, BigInt(fuel), true);
  for (let n = 0; n < 32; n++) {
    const [bits] = operands(g, (n & 1) === 0 ? FP_OP.FADD_S : FP_OP.FADD_D);
    view.setBigUint64(F_SLOTS + n * 8, bits, true);
  }
  view.setBigUint64(
    FCSR_SLOT,
    BigInt((g.pick([0, 0, 0, 1, 2, 3, 4]) << 5) | g.pick([0, 0, 1, g.below(32)])),
    true,
  );
  return data;
}

/** `handlerItem`: index of the signal handler, undefined when the program does not fault. */
function prologue(handlerItem: number | undefined): Item {
  const at = DATA_BASE + LINK_STACK;
  const code: Instruction[] = [
    ...(handlerItem === undefined ? [] : installHandler(handlerItem)),
    rv.lui(GP, rv.hi20(at)),
    rv.addi(GP, GP, rv.lo12(at)),
    rv.ld(5, GP, slot(FCSR_SLOT)),
    rv.csr(1, 0, 5, 3),
  ];
  for (let n = 0; n < 32; n++) code.push(rv.fld(n, GP, slot(F_SLOTS + n * 8)));
  for (let n = 1; n < 32; n++) if (![SP, GP, S0].includes(n)) code.push(rv.ld(n, GP, slot(X_SLOTS + n * 8)));
  code.push(rv.lui(S0, rv.hi20(DATA_BASE + SCRATCH)), rv.addi(S0, S0, rv.lo12(DATA_BASE + SCRATCH)));
  code.push(rv.lui(SP, rv.hi20(DATA_BASE + SCRATCH_TOP)), rv.addi(SP, SP, rv.lo12(DATA_BASE + SCRATCH_TOP)));
  return { code, fixed: true, what: "prologue" };
}

function epilogue(): Item {
  const code: number[] = [];
  for (let n = 0; n < 32; n++) code.push(rv.sd(n, GP, slot(X_SLOTS + n * 8)));
  for (let n = 0; n < 32; n++) code.push(rv.fsd(n, GP, slot(F_SLOTS + n * 8)));
  code.push(rv.csr(2, 10, 0, 3), rv.sd(10, GP, slot(FCSR_SLOT)));
  code.push(rv.addi(10, 0, 1), rv.lui(11, rv.hi20(DATA_BASE)), rv.lui(12, rv.hi20(DATA_BYTES)));
  code.push(rv.addi(17, 0, 64), rv.ECALL, rv.addi(10, 0, 0), rv.addi(17, 0, 93), rv.ECALL);
  return { code, fixed: true, what: "epilogue" };
}

/** The end of function `n`: now and then it calls itself, as long as fuel and link stack last, or ends in a jump to a later one. */
function leave(g: Random, entries: number[], n: number): Instruction[] {
  const code: Instruction[] = [];
  if (g.below(3) === 0) {
    const again = jump(1, entries[n]!);
    const limit = DATA_BASE + 0x1000 - 64;
    code.push(
      rv.addi(S1, S1, -1),
      rv.b(5, 0, S1, 20),
      rv.lui(5, rv.hi20(limit)),
      rv.addi(5, 5, rv.lo12(limit)),
    );
    code.push(rv.b(7, GP, 5, 8), again);
  }
  code.push(rv.addi(GP, GP, -8), rv.ld(1, GP, 0));
  if (n + 1 < entries.length && g.below(4) === 0) code.push(jump(0, entries[n + 1]!));
  else code.push(rv.c.jr(1));
  return code;
}

/** The program of `seed`. */
export function generate(seed: number): Program {
  const g = new Random(seed);
  const weights = PROFILES[g.pick(["mixed", "mixed", ...Object.keys(PROFILES)])]!;
  // Some programs loop long over little code (what gets translated), some run much code once.
  const hot = g.below(4) === 0;
  const faults = weights.faulting !== undefined;
  const mainCount = hot ? 6 + g.below(24) : 30 + g.below(370);
  const fuel = hot && !faults ? 1000 + g.below(4000) : 20 + g.below(300);
  const counts = Array.from(
    { length: weights.callFunction === undefined ? 0 : 1 + g.below(4) },
    () => 3 + g.below(hot ? 8 : 30),
  );

  // Order: prologue, main, epilogue, then per function entry, body, exit.
  const entries: number[] = [];
  let next = 1 + mainCount + 1;
  for (const count of counts) {
    entries.push(next);
    next += count + 2;
  }
  const items = [prologue(faults ? next : undefined), ...body(g, weights, 1, mainCount, entries), epilogue()];
  counts.forEach((count, n) => {
    // A function calls later ones only, and seldom: the depth is bounded and so is the work.
    const callees = g.below(2) === 0 ? entries.slice(n + 1) : [];
    items.push({ code: [rv.sd(1, GP, 0), rv.addi(GP, GP, 8)], fixed: true, what: "enter" });
    items.push(...body(g, weights, entries[n]! + 1, count, callees));
    items.push({ code: leave(g, entries, n), fixed: true, what: "leave" });
  });
  if (faults) items.push(handler());
  return { items, data: initialData(g, fuel) };
}
