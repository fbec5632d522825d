import test from "ava";
import { ACCESS, EXIT, USER_REGS } from "../../kernel/usermode.ts";
import { disassemble } from "../../userland/riscv64/isa/disassemble.ts";
import {
  A0,
  A1,
  A2,
  A3,
  addi,
  amo,
  b,
  both,
  CODE,
  DATA,
  EBREAK,
  i,
  ld,
  lw,
  machine,
  RW,
  r,
  s,
  sd,
} from "./directed.ts";
import { Harness } from "./harness.ts";

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

both("a misaligned atomic is a fault of its own kind", (t, threshold) => {
  const h = machine(threshold, [amo(0, 2, A0, A1, A2), EBREAK]);
  h.setX(A1, DATA + 2);
  t.is(h.run(), EXIT.FAULT);
  t.is(h.pc, CODE);
  t.deepEqual(h.fault, { va: BigInt(DATA + 2), access: "misaligned" });
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

/** A loop whose accesses the TLB never serves, on a clock that moves by `tick` nanoseconds each time it is read. */
function unservedLoop(tick: bigint): Harness {
  const words = [ld(A0, A1, 0), r(0x33, 0, 0, A2, A2, A0), addi(A3, A3, -1), b(1, A3, 0, -12), EBREAK];
  const h = machine(0, words);
  let now = 0n;
  h.time = () => (now += tick);
  h.setX(A1, DATA + 3);
  h.setX(A3, 20_000);
  h.poke(DATA, Uint8Array.from([9, 9, 9, 5, 0, 0, 0, 0, 0, 0, 0, 9]));
  return h;
}

test("a unit that is left often for one instruction is translated anew, and stays right", (t) => {
  const h = unservedLoop(1_000_000n);
  t.is(h.run(), EXIT.BREAKPOINT);
  t.is(h.x(A2), 100_000n);
  t.true(h.engine.stats().careful! > 0);
});

test("a unit that is left now and then stays as it is, however long it runs", (t) => {
  const h = unservedLoop(1_000_000_000n);
  t.is(h.run(), EXIT.BREAKPOINT);
  t.is(h.x(A2), 100_000n);
  t.is(h.engine.stats().careful, 0);
});
