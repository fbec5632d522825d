/**
 * Items that fault, and the signal handler that makes the program survive: it writes the machine context of the faulting
 * instruction (every register must be as if nothing later had run, and nothing of the instruction itself) and skips it.
 */

import { la } from "./fuzz-control.ts";
import {
  DATA_BASE,
  DATA_BYTES,
  type Instruction,
  type Item,
  READ_ONLY_BASE,
  READ_ONLY_BYTES,
} from "./fuzz-elf.ts";
import * as rv from "./fuzz-encode.ts";
import { access } from "./fuzz-memory.ts";
import { free, type Make, S0, source, target } from "./fuzz-registers.ts";

/** struct sigcontext of riscv64 Linux as far as it is compared: pc, x1..x31, f0..f31, fcsr. */
export const CONTEXT_BYTES = 516;
/** Offset of the sigcontext in struct ucontext. */
const CONTEXT = 176;

const SIGNALS = [4, 5, 7, 11]; // SIGILL, SIGTRAP, SIGBUS, SIGSEGV
const SA_SIGINFO_ONSTACK = 0x0800_0004;
/** In the zeroes behind the data: struct sigaction and stack_t, then the stack itself. */
const ACTION = DATA_BASE + DATA_BYTES;
const STACK = ACTION + 0x100;
const STACK_BYTES = 0x3000;

const li = (rd: number, value: number): number[] => [
  rv.lui(rd, rv.hi20(value)),
  rv.addi(rd, rd, rv.lo12(value)),
];

/** Instructions that install the handler at item `to`; they use any registers. */
export function installHandler(to: number): Instruction[] {
  const code: Instruction[] = [
    ...li(8, ACTION),
    ...la(5, to),
    rv.sd(5, 8, 0),
    ...li(5, SA_SIGINFO_ONSTACK),
    rv.sd(5, 8, 8),
  ];
  code.push(...li(5, STACK), rv.sd(5, 8, 32), ...li(5, STACK_BYTES), rv.sd(5, 8, 48));
  code.push(rv.addi(10, 8, 32), rv.addi(11, 0, 0), rv.addi(17, 0, 132), rv.ECALL);
  for (const signal of SIGNALS) {
    code.push(
      rv.addi(10, 0, signal),
      rv.addi(11, 8, 0),
      rv.addi(12, 0, 0),
      rv.addi(13, 0, 8),
      rv.addi(17, 0, 134),
      rv.ECALL,
    );
  }
  return code;
}

/** The handler: a2 is the ucontext. */
export function handler(): Item {
  const code = [
    rv.addi(18, 12, CONTEXT),
    rv.addi(10, 0, 1),
    rv.addi(11, 18, 0),
    rv.addi(12, 0, CONTEXT_BYTES),
    rv.addi(17, 0, 64),
    rv.ECALL,
    rv.ld(5, 18, 0),
    rv.lui(6, 0x10), // CODE_BASE
    rv.b(6, 5, 6, 40), // pc below it: a jump to nowhere
    rv.lui(6, rv.hi20(DATA_BASE)),
    rv.b(7, 5, 6, 32), // or beyond the code
    rv.i(0x03, 4, 6, 5, 0), // lbu
    rv.andi(6, 6, 3),
    rv.addi(6, 6, -3),
    rv.i(0x13, 3, 6, 6, 1), // 1 for 4 bytes, 0 for 2
    rv.slli(6, 6, 1),
    rv.add(5, 5, 6),
    rv.addi(5, 5, 2),
    rv.jal(0, 8), // over the next
    rv.ld(5, 18, 8), // nowhere: continue at ra
    rv.sd(5, 18, 0),
    rv.addi(17, 0, 139),
    rv.ECALL,
  ];
  // Both branches to the reload of ra.
  code[8] = rv.b(6, 5, 6, (19 - 8) * 4);
  code[10] = rv.b(7, 5, 6, (19 - 10) * 4);
  return { code, fixed: true, what: "handler" };
}

const ILLEGAL = [
  0x0000, // defined illegal
  0x0004, // c.addi4spn with 0
  0x2001, // c.addiw x0
  0x4002, // c.lwsp x0
  0x6081, // c.lui with 0
  0x8002, // c.jr x0
  0x9002, // c.ebreak
  0x00100073, // ebreak
  0xffffffff,
  0x0000000b, // custom-0
  0xfe000033, // OP with a funct7 that is not defined
  0xc0001073, // write to cycle
  0x99902573, // no such CSR
  0x00005053, // fadd.s with rounding mode 5
  0x02006053, // fadd.d with rounding mode 6
  0x30200073, // mret
];

/** A few instructions of which one faults. */
export const faulting: Make = (g) => {
  const t = free(g);
  switch (g.below(11)) {
    case 0:
      return [access(g, 0, g.below(4096) - 2048)];
    case 1:
      return [...li(t, READ_ONLY_BASE), access(g, t, g.below(2048))];
    case 2: // straddling into the read-only page: nothing may be stored
      return [...li(t, READ_ONLY_BASE), access(g, t, -1 - g.below(8)), rv.ld(free(g), t, -8)];
    case 3: // straddling into nothing
      return [...li(t, READ_ONLY_BASE + READ_ONLY_BYTES), access(g, t, 4 - g.below(12))];
    case 4: {
      // An alias of the data 4 GiB higher is not the data, whichever access meets it first.
      const high = [rv.addi(t, 0, 1 + g.below(3)), rv.slli(t, t, 32 + g.below(4)), rv.add(t, t, S0)];
      const skip = rv.b(g.below(2), source(g), source(g), 8);
      const rest = Array.from({ length: 1 + g.below(2) }, () => access(g, t, g.below(256)));
      return [...high, skip, access(g, t, g.below(256)), ...rest];
    }
    case 8:
    case 9: {
      // A run of accesses through one base that walks over the edge: into the read-only page, into nothing, and back.
      const edge = g.pick([READ_ONLY_BASE, READ_ONLY_BASE + READ_ONLY_BYTES]);
      const span = g.pick([32, 128, 1024]);
      const run = Array.from({ length: 3 + g.below(6) }, () => access(g, t, g.below(2 * span) - span));
      return [...li(t, edge + 8 * (g.below(5) - 2)), ...run];
    }
    case 5:
      return [g.pick(ILLEGAL)];
    case 6: {
      const fmt = g.below(2);
      const op = g.pick([0x00, 0x04, 0x08, 0x0c]) | fmt;
      return [
        rv.csr(5, 0, 5 + g.below(3), 2),
        rv.r(0x53, 7, op, g.below(32), g.below(32), g.below(32)),
        rv.csr(5, 0, g.below(5), 2),
      ];
    }
    case 7: {
      const high = g.below(2) === 0 ? [rv.slli(t, t, 8 + g.below(4))] : [];
      if (g.below(3) === 0) return [rv.jalr(1, S0, 0)];
      return [
        rv.lui(t, 0x50000 + g.below(64)),
        ...high,
        g.below(2) === 0 ? rv.c.jalr(t) : rv.jalr(1, t, g.below(64)),
      ];
    }
    default: {
      const size = g.below(2);
      const skew = size === 0 ? g.pick([1, 2, 3, 5, 6, 7]) : 1 + g.below(7);
      const f5 = g.pick([0, 1, 4, 8, 12, 16, 20, 24, 28]);
      return [
        rv.andi(t, source(g), 0x7f8),
        rv.add(t, t, S0),
        rv.addi(t, t, skew),
        rv.r(0x2f, 2 + size, f5 << 2, target(g), t, source(g)),
      ];
    }
  }
};
