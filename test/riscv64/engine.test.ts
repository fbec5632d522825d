import test from "ava";
import { ACCESS, EXIT, USER_REGS } from "../../kernel/usermode.ts";
import { disassemble } from "../../userland/riscv64/isa/disassemble.ts";
import { Harness } from "./harness.ts";

const CODE = 0x1_0000;
const DATA = 0x2_0000;
const RX = ACCESS.READ | ACCESS.EXEC;
const RW = ACCESS.READ | ACCESS.WRITE;

const A0 = 10;
const A1 = 11;
const A2 = 12;
const A3 = 13;

const i = (op: number, f3: number, rd: number, rs1: number, imm: number) =>
  ((imm & 0xfff) << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | op;
const r = (op: number, f3: number, f7: number, rd: number, rs1: number, rs2: number) =>
  (f7 << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | op;
const s = (f3: number, rs2: number, rs1: number, imm: number) =>
  (((imm >> 5) & 127) << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | ((imm & 31) << 7) | 0x23;
const b = (f3: number, rs1: number, rs2: number, imm: number) =>
  (((imm >> 12) & 1) << 31) |
  (((imm >> 5) & 63) << 25) |
  (rs2 << 20) |
  (rs1 << 15) |
  (f3 << 12) |
  (((imm >> 1) & 15) << 8) |
  (((imm >> 11) & 1) << 7) |
  0x63;
const addi = (rd: number, rs1: number, imm: number) => i(0x13, 0, rd, rs1, imm);
const ld = (rd: number, rs1: number, imm: number) => i(0x03, 3, rd, rs1, imm);
const lw = (rd: number, rs1: number, imm: number) => i(0x03, 2, rd, rs1, imm);
const sd = (rs2: number, rs1: number, imm: number) => s(3, rs2, rs1, imm);
const amo = (f5: number, f3: number, rd: number, rs1: number, rs2: number) =>
  r(0x2f, f3, f5 << 2, rd, rs1, rs2);
const EBREAK = 0x100073;
const ECALL = 0x73;
const FENCE_I = 0x100f;
const RET = 0x8067;

const MODES = [
  ["interpreter", Number.POSITIVE_INFINITY],
  ["translator", 0],
] as const;

function machine(threshold: number, words: number[], setup: (h: Harness) => void = () => {}): Harness {
  const h = new Harness({ threshold }, 1 << 20);
  h.map(CODE, 4096, RX);
  h.map(DATA, 8192, RW);
  h.poke(CODE, new Uint8Array(new Int32Array(words).buffer));
  h.pc = CODE;
  setup(h);
  return h;
}

/** The test in both modes. */
function both(title: string, check: (t: import("ava").ExecutionContext, threshold: number) => void): void {
  for (const [mode, threshold] of MODES) test(`${title} (${mode})`, (t) => check(t, threshold));
}

both("division by zero and overflow give the architected values", (t, threshold) => {
  const cases: [f7f3: number, a: bigint, b: bigint, want: bigint][] = [
    [4, 7n, 0n, -1n],
    [4, -(2n ** 63n), -1n, -(2n ** 63n)],
    [5, 7n, 0n, -1n],
    [6, 7n, 0n, 7n],
    [6, -(2n ** 63n), -1n, 0n],
    [7, 7n, 0n, 7n],
    [4, -7n, 2n, -3n],
    [6, -7n, 2n, -1n],
    [1, -1n, -1n, 0n],
    [2, -1n, -1n, -1n],
    [3, -1n, -1n, -2n],
  ];
  for (const [f3, a, c, want] of cases) {
    const h = machine(threshold, [r(0x33, f3, 1, A0, A1, A2), EBREAK]);
    h.setX(A1, a);
    h.setX(A2, c);
    t.is(h.run(), EXIT.BREAKPOINT);
    t.is(h.x(A0), want);
    t.is(h.pc, CODE + 4);
  }
  const h = machine(threshold, [r(0x3b, 4, 1, A0, A1, A2), r(0x3b, 6, 1, A3, A1, A2), EBREAK]);
  h.setX(A1, -(2n ** 31n));
  h.setX(A2, -1n);
  h.run();
  t.is(h.x(A0), -(2n ** 31n));
  t.is(h.x(A3), 0n);
});

both("misaligned accesses work, also across a page", (t, threshold) => {
  for (const at of [DATA + 3, DATA + 4093]) {
    const h = machine(threshold, [sd(A2, A1, 0), ld(A0, A1, 0), EBREAK]);
    h.setX(A1, at);
    h.setX(A2, 0x1122334455667788n);
    t.is(h.run(), EXIT.BREAKPOINT);
    t.is(h.x(A0), 0x1122334455667788n);
    t.is(h.bytes[h.at(at + 7)], 0x11);
  }
});

both("a store that crosses into an unmapped page faults precisely and changes nothing", (t, threshold) => {
  const h = machine(threshold, [addi(A0, 0, 1), sd(A2, A1, 0), addi(A0, 0, 2), EBREAK]);
  h.setX(A1, DATA + 8192 - 4);
  h.setX(A2, -1n);
  t.is(h.run(), EXIT.FAULT);
  t.is(h.pc, CODE + 4);
  t.is(h.x(A0), 1n);
  t.is(h.fault?.va, BigInt(DATA + 8192));
  t.is(h.fault?.access, ACCESS.WRITE);
  t.is(h.view.getInt32(h.at(DATA + 8188), true), 0);
});

both("an address above 4 GiB is a bad address and aliases nothing", (t, threshold) => {
  for (const high of [1n << 32n, -(1n << 63n), 1n << 40n]) {
    const h = machine(threshold, [ld(A0, A2, 0), ld(A0, A1, 8), EBREAK]);
    h.setX(A2, DATA);
    h.setX(A1, BigInt(DATA) + high);
    t.is(h.run(), EXIT.FAULT);
    t.is(h.pc, CODE + 4);
    t.is(h.fault?.va, BigInt.asUintN(64, BigInt(DATA) + high + 8n));
  }
});

both("wrapping around the ends of the address space is caught after the base was checked", (t, threshold) => {
  const h = machine(threshold, [ld(A0, A1, 0), ld(A0, A1, -8), EBREAK], (m) => m.map(0, 4096, RW));
  h.map(0xffff_f000, 4096, RW);
  h.setX(A1, 0);
  t.is(h.run(), EXIT.FAULT);
  t.is(h.pc, CODE + 4);
  t.is(h.fault?.va, 2n ** 64n - 8n);
});

both("a jump to a bad address faults at the target", (t, threshold) => {
  for (const target of [0x7000_0000n, 1n << 45n]) {
    const h = machine(threshold, [i(0x67, 0, 1, A1, 0), EBREAK]);
    h.setX(A1, target);
    t.is(h.run(), EXIT.FAULT);
    t.is(h.view.getBigUint64(h.regs + USER_REGS.PC, true), target);
    t.is(h.x(1), BigInt(CODE + 4));
    t.is(h.fault?.access, ACCESS.EXEC);
  }
});

both("illegal instructions stop precisely", (t, threshold) => {
  for (const word of [0, -1, 0x0000_0073 | (0x7ff << 20) | (2 << 12), 0x53 | (5 << 12)]) {
    const h = machine(threshold, [addi(A0, 0, 5), word, EBREAK]);
    t.is(h.run(), EXIT.ILLEGAL, disassemble(word));
    t.is(h.pc, CODE + 4);
    t.is(h.x(A0), 5n);
  }
});

both("sc succeeds only after lr of the same address, and once", (t, threshold) => {
  const words = [amo(2, 3, A0, A1, 0), amo(3, 3, A2, A1, A3), amo(3, 3, A3, A1, A3), EBREAK];
  const h = machine(threshold, words);
  h.setX(A1, DATA);
  h.setX(A3, 9);
  h.view.setBigInt64(h.at(DATA), 5n, true);
  h.run();
  t.deepEqual([h.x(A0), h.x(A2), h.x(A3)], [5n, 0n, 1n]);
  t.is(h.view.getBigInt64(h.at(DATA), true), 9n);
});

both("sc fails when the value has changed since lr", (t, threshold) => {
  const h = machine(threshold, [amo(2, 2, A0, A1, 0), s(2, A2, A1, 0), amo(3, 2, A3, A1, A2), EBREAK]);
  h.setX(A1, DATA);
  h.setX(A2, 7);
  h.run();
  t.is(h.x(A3), 1n);
});

both("atomic read-modify-writes return the old value and store the new one", (t, threshold) => {
  const cases: [f5: number, old: number, operand: number, want: number][] = [
    [0, 5, 7, 12],
    [1, 5, 7, 7],
    [4, 5, 7, 2],
    [8, 5, 8, 13],
    [12, 5, 4, 4],
    [16, -5, 4, -5],
    [20, -5, 4, 4],
    [24, -5, 4, 4],
    [28, -5, 4, -5],
  ];
  for (const [f5, old, operand, want] of cases) {
    for (const f3 of [2, 3]) {
      const h = machine(threshold, [amo(f5, f3, A0, A1, A2), EBREAK]);
      h.setX(A1, DATA + 8);
      h.setX(A2, operand);
      h.view.setBigInt64(h.at(DATA + 8), BigInt(old), true);
      h.run();
      t.is(h.x(A0), BigInt(old));
      t.is(h.view.getInt32(h.at(DATA + 8), true), want);
    }
  }
});

both("a misaligned atomic is a fault", (t, threshold) => {
  const h = machine(threshold, [amo(0, 2, A0, A1, A2), EBREAK]);
  h.setX(A1, DATA + 2);
  t.is(h.run(), EXIT.FAULT);
  t.is(h.pc, CODE);
});

both("code that was changed runs after fence.i", (t, threshold) => {
  // Calls a function that returns 1, patches it to return 2, fences, calls it again.
  const f = 0x3_0000;
  const words = [
    i(0x67, 0, 1, A1, 0),
    addi(A3, A0, 0),
    s(2, A2, A1, 0),
    FENCE_I,
    i(0x67, 0, 1, A1, 0),
    EBREAK,
  ];
  const h = machine(threshold, words);
  h.map(f, 4096, RX | ACCESS.WRITE);
  h.poke(f, new Uint8Array(new Int32Array([addi(A0, 0, 1), RET]).buffer));
  h.setX(A1, f);
  h.setX(A2, addi(A0, 0, 2));
  t.is(h.run(), EXIT.BREAKPOINT);
  t.is(h.x(A3), 1n);
  t.is(h.x(A0), 2n);
});

both("a code space that comes back means the same code, another one is looked at anew", (t, threshold) => {
  const h = machine(threshold, [addi(A0, 0, 1), EBREAK]);
  const go = () => {
    h.pc = CODE;
    h.run();
    return h.x(A0);
  };
  t.is(go(), 1n);
  const first = h.pages.get(CODE / 4096)!;
  h.pages.delete(CODE / 4096);
  h.map(CODE, 4096, RX);
  h.poke(CODE, new Uint8Array(new Int32Array([addi(A0, 0, 2), EBREAK]).buffer));
  h.engine.tlbFlush();
  h.engine.setSpace(77);
  t.is(go(), 2n);
  h.pages.set(CODE / 4096, first);
  h.engine.tlbFlush();
  h.engine.setSpace(1);
  t.is(go(), 1n);
  // A third number with the first contents.
  h.engine.setSpace(78);
  t.is(go(), 1n);
});

both(
  "an instruction that straddles two pages runs, and faults at its own pc without the second",
  (t, threshold) => {
    const half = addi(A0, 0, 42);
    for (const mapped of [true, false]) {
      const h = new Harness({ threshold }, 1 << 20);
      h.map(CODE, mapped ? 8192 : 4096, RX);
      const code = new Uint8Array(new Int32Array([half, EBREAK]).buffer);
      h.poke(CODE + 4092, new Uint8Array([0x01, 0x00])); // c.nop
      h.poke(CODE + 4094, mapped ? code : code.subarray(0, 2));
      h.pc = CODE + 4092;
      t.is(h.run(), mapped ? EXIT.BREAKPOINT : EXIT.FAULT);
      t.is(h.pc, mapped ? CODE + 4098 : CODE + 4094);
      if (mapped) t.is(h.x(A0), 42n);
    }
  },
);

both("an endless loop leaves with PREEMPTED when the kernel wants the CPU", (t, threshold) => {
  for (const words of [[0x6f], [b(0, 0, 0, 0)], [i(0x67, 0, 0, A1, 0)], [0x6f | (1 << 7)]]) {
    const h = machine(threshold, words);
    h.setX(A1, CODE);
    h.view.setInt32(h.cpuArea, 1, true);
    t.is(h.engine.enter(h.regs), EXIT.PREEMPTED);
    t.is(h.pc, CODE);
  }
});

both("after a system call only a0 is read back, and LEAVE touches nothing", (t, threshold) => {
  const words = [addi(17, 0, 173), addi(A1, 0, 11), ECALL, addi(A2, A0, 1), addi(17, 0, 93), ECALL, EBREAK];
  const h = machine(threshold, words);
  t.is(h.run(), EXIT.LEAVE);
  t.is(h.x(A2), 2n);
  t.is(h.x(A1), 11n);
  t.is(h.pc, CODE + 20);
  t.is(h.status, 1);
});

both("recursion deeper than the wasm stack unwinds and goes on", (t, threshold) => {
  // f(n): n === 0 ? 0 : f(n - 1) + 1, with n = 20000.
  const words = [
    addi(1, 0, 0),
    0x008000ef, // jal ra, +8 (f)
    EBREAK,
    addi(2, 2, -16), // f:
    sd(1, 2, 0),
    b(0, A0, 0, 16),
    addi(A0, A0, -1),
    0xff1ff0ef | 0, // jal ra, -16 (f)
    addi(A0, A0, 1),
    ld(1, 2, 0),
    addi(2, 2, 16),
    RET,
  ];
  const h = machine(threshold, words);
  h.map(0x10_0000, 0x60000, RW);
  h.setX(2, 0x10_0000 + 0x60000);
  h.setX(A0, 20000);
  t.is(h.run(), EXIT.BREAKPOINT);
  t.is(h.x(A0), 20000n);
  t.is(h.x(2), BigInt(0x10_0000 + 0x60000));
});

both("fcsr, its parts and the counters can be read; counters can't be written", (t, threshold) => {
  const csr = (f3: number, rd: number, rs1: number, number: number) =>
    (number << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | 0x73;
  const h = machine(threshold, [csr(1, A0, A1, 3), csr(2, A2, 0, 2), csr(2, A3, 0, 1), EBREAK]);
  h.fcsr = 0x05;
  h.setX(A1, 0xfff);
  t.is(h.run(), EXIT.BREAKPOINT);
  t.deepEqual([h.x(A0), h.x(A2), h.x(A3)], [5n, 7n, 31n]);
  const clock = machine(threshold, [csr(2, A0, 0, 0xc01), csr(2, A2, 0, 0xc01), csr(1, 0, A0, 0xc01)]);
  t.is(clock.run(), EXIT.ILLEGAL);
  t.is(clock.pc, CODE + 8);
  t.true(clock.x(A2) >= clock.x(A0) && clock.x(A0) > 0n);
});

both("x0 stays 0", (t, threshold) => {
  const h = machine(threshold, [addi(0, 0, 5), lw(0, A1, 0), amo(0, 2, 0, A1, A1), addi(A0, 0, 0), EBREAK]);
  h.setX(A1, DATA);
  h.run();
  t.is(h.x(A0), 0n);
  t.is(h.x(0), 0n);
  t.is(h.view.getInt32(h.at(DATA), true), DATA);
});

both("irreducible control flow is right", (t, threshold) => {
  // Two blocks that jump to each other, each entered from outside.
  const words = [
    b(1, A1, 0, 12), // to B when a1 != 0
    addi(A0, A0, 1), // A:
    b(0, A0, A2, 20), // out when a0 == a2
    addi(A0, A0, 2), // B:
    b(4, A0, A2, -12), // to A while a0 < a2
    EBREAK,
    EBREAK,
    EBREAK,
  ];
  for (const [start, want] of [
    [0n, 10n],
    [1n, 11n],
  ] as const) {
    const h = machine(threshold, words);
    h.setX(A1, start);
    h.setX(A2, want);
    t.is(h.run(), EXIT.BREAKPOINT);
    t.true(h.x(A0) >= want);
  }
});

both("loads see the frame that a store through another register has moved the page to", (t, threshold) => {
  // As copy-on-write does: the page is read at one frame until the first store gives it another.
  const h = machine(threshold, [ld(A0, A1, 0), sd(A2, A3, 8), ld(A2, A1, 8), ld(A0, A1, 16), EBREAK]);
  h.view.setBigInt64(h.at(DATA + 16), 77n, true);
  const page = h.pages.get(DATA / 4096)!;
  const old = page.frame;
  const moved = h.at(DATA + 4096);
  page.access = ACCESS.READ;
  h.translate = (va, access) => {
    const entry = h.pages.get(Math.floor(va / 4096))!;
    if (access === ACCESS.WRITE && entry === page && page.frame === old) {
      h.bytes.copyWithin(moved, old, old + 4096);
      h.bytes.fill(0xee, old, old + 4096);
      page.frame = moved;
      page.access = RW;
      h.engine.tlbInvalidate(DATA, DATA + 4096);
    }
    return Harness.prototype.translate.call(h, va, access);
  };
  // Once with the store elsewhere: then the page is known, and the second run starts with it.
  const elsewhere = 0x3_0000;
  h.map(elsewhere, 4096, RW);
  for (const target of [elsewhere, DATA]) {
    h.pc = CODE;
    h.setX(A1, DATA);
    h.setX(A3, target);
    h.setX(A2, 5);
    t.is(h.run(), EXIT.BREAKPOINT);
    t.is(h.x(A2), target === DATA ? 5n : 0n);
    t.is(h.x(A0), 77n);
  }
});

both("memory that is unmapped between two visits faults at the second", (t, threshold) => {
  const h = machine(threshold, [ld(A0, A1, 0), ld(A2, A1, 8), EBREAK]);
  h.setX(A1, DATA);
  t.is(h.run(), EXIT.BREAKPOINT);
  h.unmap(DATA, 4096);
  h.pc = CODE;
  t.is(h.run(), EXIT.FAULT);
  t.is(h.pc, CODE);
  t.is(h.fault?.va, BigInt(DATA));
});

test("what the interpreter has made hot goes on in a translation, with the same result", (t) => {
  // Sums 1..n in a loop that calls a function.
  const words = [
    0x010000ef, // jal ra, +16 (f)
    addi(A1, A1, -1),
    b(1, A1, 0, -8),
    EBREAK,
    r(0x33, 0, 0, A0, A0, A1), // f:
    RET,
  ];
  const h = machine(50, words);
  h.setX(A1, 10000);
  t.is(h.run(), EXIT.BREAKPOINT);
  t.is(h.x(A0), 50005000n);
  t.true(h.engine.stats().translated! > 0);
});
