import test from "ava";
import { ACCESS, CPU_AREA_KEPT, EXIT } from "../../kernel/usermode.ts";
import { A0, addi, CODE, EBREAK } from "./directed.ts";
import { Harness } from "./harness.ts";

const EAGER = { threshold: 0 };

/** A machine of two CPUs with a program that leaves `result` in a0. */
function machine(result: number): Harness {
  const h = new Harness(EAGER, 1 << 20, 2);
  h.map(CODE, 4096, ACCESS.READ | ACCESS.EXEC);
  poke(h, result);
  return h;
}

function poke(h: Harness, result: number): void {
  h.poke(CODE, new Uint8Array(new Int32Array([addi(A0, 0, result), EBREAK]).buffer));
}

function run(h: Harness): bigint {
  h.pc = CODE;
  if (h.run() !== EXIT.BREAKPOINT) throw new Error("the program did not end");
  return h.x(A0);
}

test("a unit made on one CPU is taken over by another", (t) => {
  const h = machine(42);
  t.is(run(h), 42n);
  h.engine = h.newEngine(1, EAGER);
  t.is(run(h), 42n);
  const { translated, adopted } = h.engine.stats();
  t.deepEqual([translated, adopted], [0, 1]);
});

test("a unit is not taken over for other code at the same place", (t) => {
  const h = machine(42);
  run(h);
  poke(h, 43);
  h.engine = h.newEngine(1, EAGER);
  t.is(run(h), 43n);
  const { translated, adopted } = h.engine.stats();
  t.deepEqual([translated, adopted], [1, 0]);
});

test("units outlive the engine that made them, and its successor adds to them", (t) => {
  const h = machine(42);
  run(h);
  const other = h.newEngine(1, EAGER);
  // What the kernel does when a CPU died.
  h.bytes.fill(0, h.cpuArea, h.cpuArea + CPU_AREA_KEPT.START);
  poke(h, 43);
  h.engine = h.newEngine(0, EAGER);
  t.is(run(h), 43n);
  h.engine = other;
  t.is(run(h), 43n);
  poke(h, 42);
  h.instructionFence();
  t.is(run(h), 42n);
  t.is(h.engine.stats().adopted, 2);
});
