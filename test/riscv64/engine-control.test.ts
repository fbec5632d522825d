import test from "ava";
import { ACCESS, EXIT } from "../../kernel/usermode.ts";
import {
  A0,
  A1,
  A2,
  A3,
  addi,
  b,
  both,
  CODE,
  EBREAK,
  ECALL,
  FENCE_I,
  i,
  ld,
  machine,
  optionsOf,
  RET,
  RW,
  RX,
  r,
  s,
  sd,
} from "./directed.ts";
import { Harness } from "./harness.ts";

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
      const h = new Harness(optionsOf(threshold), 1 << 20);
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
