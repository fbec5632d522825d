import test from "ava";
import { fastFpuExports } from "../../userland/riscv64/fpu/fast-module.ts";
import { fusedMultiplyAdd, hasFusedMultiplyAdd } from "../../userland/riscv64/fpu/fused.ts";
import { exactOp, FP_OP, takeFpFlags } from "../../userland/riscv64/fpu/softfloat.ts";
import { OP_COUNT, OP_NAMES, operands, Random } from "./fpu-operands.ts";

const cell = new BigInt64Array(1);
const f64 = new Float64Array(cell.buffer);
const f32 = new Float32Array(cell.buffer);
const i32 = new Int32Array(cell.buffer);

type Format = "s" | "d" | "x";

function toArgument(kind: Format, register: bigint): number | bigint {
  cell[0] = register;
  if (kind === "x") return cell[0]!;
  return kind === "d" ? f64[0]! : i32[1] === -1 ? f32[0]! : Number.NaN;
}

function toRegister(kind: Format, value: number | bigint): bigint {
  if (typeof value === "bigint") return value;
  if (kind === "d") f64[0] = value;
  else f32[0] = value;
  if (kind === "s") i32[1] = -1;
  return cell[0]!;
}

/** Formats of a function's source and destination, from its mnemonic. */
function formats(name: string): [source: Format, destination: Format] {
  const [base, first, second] = name.split("_");
  if (base !== "fcvt") return [first as Format, first as Format];
  const integer = (part: string): Format => (part === "s" || part === "d" ? part : "x");
  return [integer(second!), integer(first!)];
}

const { fpu: byNumber, ...fpu } = fastFpuExports();
const CASES = 4000;

for (const name of Object.keys(fpu)) {
  test(`${name} is exact, flags included, wherever it gives an answer`, (t) => {
    const op = FP_OP[name.toUpperCase() as keyof typeof FP_OP];
    const [source, destination] = formats(name);
    const random = new Random(op + 7);
    const arity = name.startsWith("fmadd") ? 3 : /^(fsqrt|fcvt)/.test(name) ? 1 : 2;
    let answered = 0;
    for (let i = 0; i < CASES; i++) {
      const registers = operands(random, op);
      const args = registers.slice(0, arity).map((register) => toArgument(source, register));
      const rm = destination === "x" ? random.below(5) : 0;
      if (destination === "x") args.push(rm);
      const [value, flags] = fpu[name]!(...args);
      if (flags === -1) continue;
      answered++;
      const expected = exactOp(op, ...registers, rm);
      const expectedFlags = takeFpFlags();
      if (toRegister(destination, value) !== expected || flags !== expectedFlags) {
        t.fail(`${name}(${registers.map((r) => r.toString(16))}) rm ${rm}: ${value}/${flags}`);
        return;
      }
    }
    t.true(answered > CASES / 4, `only ${answered} of ${CASES} answered`);
  });
}

test("the function that takes operation numbers is exact wherever it gives an answer", (t) => {
  const random = new Random(99);
  const answered = new Set<number>();
  for (let i = 0; i < 60_000; i++) {
    const op = random.below(OP_COUNT);
    const rm = random.below(5);
    const [a, b, c] = operands(random, op);
    const [result, flags] = byNumber!(
      op,
      rm,
      BigInt.asIntN(64, a),
      BigInt.asIntN(64, b),
      BigInt.asIntN(64, c),
    );
    if (flags === -1) continue;
    answered.add(op);
    const expected = exactOp(op, a, b, c, rm);
    const expectedFlags = takeFpFlags();
    if (result !== expected || flags !== expectedFlags) {
      t.fail(`${OP_NAMES[op]}(${[a, b, c].map((r) => r.toString(16))}) rm ${rm}: ${result}/${flags}`);
      return;
    }
  }
  // All but minimum, maximum, sign injection, comparison, classification and what is always exact.
  t.is(answered.size, OP_COUNT - 21);
});

test("ordinary numbers never need the slow path", (t) => {
  const slow = Object.keys(fpu).filter((name) => {
    const [source, destination] = formats(name);
    const args = source === "x" ? [12345n] : [1234.5, 0.375, -77.25].slice(0, fpu[name]!.length);
    if (destination === "x") args[1] = 1;
    return fpu[name]!(...args)[1] === -1;
  });
  t.deepEqual(slow, []);
});

test("where the machine's fused multiply-add is used, it is exact", (t) => {
  if (!hasFusedMultiplyAdd()) {
    t.pass("this machine has none");
    return;
  }
  const { d, s } = fusedMultiplyAdd()!;
  const random = new Random(3);
  for (let i = 0; i < 20_000; i++) {
    for (const [width, op, compute] of [
      ["d", FP_OP.FMADD_D, d],
      ["s", FP_OP.FMADD_S, s],
    ] as const) {
      const registers = operands(random, op);
      const [x, y, z] = registers.map((register) => toArgument(width, register) as number);
      const result = compute(x!, y!, z!);
      if (Number.isNaN(result)) continue;
      const expected = exactOp(op, ...registers, 0);
      takeFpFlags();
      if (toRegister(width, result) !== expected) t.fail(`fmadd.${width} ${x} ${y} ${z}: ${result}`);
    }
  }
  t.pass();
});
