import test from "ava";
import { Code } from "../../userland/riscv64/wasm/code.ts";
import { ATOMIC, type Integers } from "../../userland/riscv64/wasm/integers.ts";
import { ModuleBuilder } from "../../userland/riscv64/wasm/module.ts";
import {
  type I32,
  type Local,
  signatureOf,
  TYPE,
  type ValueType,
} from "../../userland/riscv64/wasm/types.ts";

/** What a number or BigInt is as an unsigned or signed integer of so many bits. */
const unsigned = (bits: number, value: bigint): bigint => BigInt.asUintN(bits, value);
const signed = (bits: number, value: bigint): bigint => BigInt.asIntN(bits, value);

/** Instructions of both integer types that take two operands, and what they compute from unsigned ones of so many bits. */
const BINARY: Record<string, (bits: number, a: bigint, b: bigint) => bigint | boolean> = {
  eq: (_, a, b) => a === b,
  ne: (_, a, b) => a !== b,
  ltS: (n, a, b) => signed(n, a) < signed(n, b),
  ltU: (_, a, b) => a < b,
  gtS: (n, a, b) => signed(n, a) > signed(n, b),
  gtU: (_, a, b) => a > b,
  leS: (n, a, b) => signed(n, a) <= signed(n, b),
  leU: (_, a, b) => a <= b,
  geS: (n, a, b) => signed(n, a) >= signed(n, b),
  geU: (_, a, b) => a >= b,
  add: (_, a, b) => a + b,
  sub: (_, a, b) => a - b,
  mul: (_, a, b) => a * b,
  divS: (n, a, b) => signed(n, a) / signed(n, b),
  divU: (_, a, b) => a / b,
  remS: (n, a, b) => signed(n, a) % signed(n, b),
  remU: (_, a, b) => a % b,
  and: (_, a, b) => a & b,
  or: (_, a, b) => a | b,
  xor: (_, a, b) => a ^ b,
  shl: (n, a, b) => a << (b % BigInt(n)),
  shrS: (n, a, b) => signed(n, a) >> (b % BigInt(n)),
  shrU: (n, a, b) => a >> (b % BigInt(n)),
  rotl: (n, a, b) => (a << (b % BigInt(n))) | (a >> (BigInt(n) - (b % BigInt(n)))),
  rotr: (n, a, b) => (a >> (b % BigInt(n))) | (a << (BigInt(n) - (b % BigInt(n)))),
};
const FLOAT_BINARY: Record<string, (a: number, b: number) => number | boolean> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  gt: (a, b) => a > b,
  le: (a, b) => a <= b,
  ge: (a, b) => a >= b,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: Math.min,
  max: Math.max,
  copysign: (a, b) => Math.abs(a) * Math.sign(b),
};
const FLOAT_UNARY: Record<string, (a: number) => number> = {
  abs: Math.abs,
  neg: (a) => -a,
  ceil: Math.ceil,
  floor: Math.floor,
  trunc: Math.trunc,
  nearest: (a) => (Math.abs(a % 1) === 0.5 ? 2 * Math.round(a / 2) : Math.round(a)),
  sqrt: Math.sqrt,
};
/** Conversions: the namespace, the method, an operand of its type, the result. */
const CONVERSIONS: readonly [keyof typeof TYPE, string, ValueType, number | bigint, number | bigint][] = [
  ["I32", "wrapI64", TYPE.I64, 0x1_8000_0001n, -0x7fff_ffff],
  ["I32", "reinterpretF32", TYPE.F32, 1.5, 0x3fc00000],
  ["I32", "truncSatF32S", TYPE.F32, -3e9, -(2 ** 31)],
  ["I32", "truncSatF32U", TYPE.F32, 3e9, 3e9 | 0],
  ["I32", "truncSatF64S", TYPE.F64, -1.75, -1],
  ["I32", "truncSatF64U", TYPE.F64, -1.75, 0],
  ["I64", "extendI32S", TYPE.I32, -5, -5n],
  ["I64", "extendI32U", TYPE.I32, -5, 0xffff_fffbn],
  ["I64", "extend32S", TYPE.I64, 0x1_8000_0000n, -(1n << 31n)],
  ["I64", "reinterpretF64", TYPE.F64, -2, signed(64, 0xc000_0000_0000_0000n)],
  ["I64", "truncSatF32S", TYPE.F32, -(2 ** 40), -(1n << 40n)],
  ["I64", "truncSatF32U", TYPE.F32, -(2 ** 40), 0n],
  ["I64", "truncSatF64S", TYPE.F64, 1e300, (1n << 63n) - 1n],
  ["I64", "truncSatF64U", TYPE.F64, 2 ** 63, -(1n << 63n)],
  ["F32", "convertI32S", TYPE.I32, -7, -7],
  ["F32", "convertI32U", TYPE.I32, -1, 2 ** 32],
  ["F32", "convertI64S", TYPE.I64, -7n, -7],
  ["F32", "convertI64U", TYPE.I64, -1n, 2 ** 64],
  ["F32", "demoteF64", TYPE.F64, 0.1, Math.fround(0.1)],
  ["F32", "reinterpretI32", TYPE.I32, 0x3fc00000, 1.5],
  ["F64", "convertI32S", TYPE.I32, -7, -7],
  ["F64", "convertI32U", TYPE.I32, -1, 2 ** 32 - 1],
  ["F64", "convertI64S", TYPE.I64, -7n, -7],
  ["F64", "convertI64U", TYPE.I64, -1n, 2 ** 64],
  ["F64", "promoteF32", TYPE.F32, 1.25, 1.25],
  ["F64", "reinterpretI64", TYPE.I64, 0x4000_0000_0000_0000n, 2],
];

type Method = (...operands: unknown[]) => never;
type Numbers = (...args: (number | bigint)[]) => number | bigint;

const namespace = (c: Code, name: string): Record<string, Method> =>
  c[name.toLowerCase() as "i32"] as unknown as Record<string, Method>;

/** A function of `params` whose body is one method of a namespace. */
function functionOf(name: string, method: string, params: readonly ValueType[], result: ValueType): Numbers {
  const builder = new ModuleBuilder();
  builder.function("f", signatureOf(params, [result]), [], (c, locals) => {
    namespace(c, name)[method]!(...locals.map((local) => c.get(local as Local<I32>)));
  });
  return new WebAssembly.Instance(new WebAssembly.Module(builder.finish())).exports.f as Numbers;
}

for (const [type, bits] of [
  ["I32", 32],
  ["I64", 64],
] as const) {
  test(`${type}: every instruction with two operands computes what it is called`, (t) => {
    const top = 1n << BigInt(bits - 1);
    for (const [name, compute] of Object.entries(BINARY)) {
      for (const [a, b] of [
        [7n, 3n],
        [top + 5n, 9n],
        [unsigned(bits, -7n), 2n],
        [4n, 4n],
        [3n, unsigned(bits, -2n)],
      ] as const) {
        const expected = compute(bits, a, b);
        const result = functionOf(
          type,
          name,
          [TYPE[type], TYPE[type]],
          typeof expected === "boolean" ? TYPE.I32 : TYPE[type],
        );
        const operands = bits === 32 ? [Number(a), Number(b)] : [a, b];
        t.is(
          BigInt(result(...operands)),
          typeof expected === "boolean" ? BigInt(expected) : signed(bits, expected),
          `${name} ${a} ${b}`,
        );
      }
    }
  });
}

for (const type of ["F32", "F64"] as const) {
  test(`${type}: every instruction computes what it is called`, (t) => {
    for (const [a, b] of [
      [2.25, -0.5],
      [-2.5, 3],
      [1.5, 1.5],
    ] as const) {
      for (const [name, compute] of Object.entries(FLOAT_BINARY)) {
        const expected = compute(a, b);
        const result = typeof expected === "boolean" ? TYPE.I32 : TYPE[type];
        const value = functionOf(type, name, [TYPE[type], TYPE[type]], result)(a, b);
        t.is(value, type === "F32" ? Math.fround(Number(expected)) : Number(expected), `${name} ${a} ${b}`);
      }
      for (const [name, compute] of Object.entries(FLOAT_UNARY)) {
        const expected = compute(a);
        const value = functionOf(type, name, [TYPE[type]], TYPE[type])(a);
        t.is(value, type === "F32" ? Math.fround(expected) : expected, `${name} ${a}`);
      }
    }
  });
}

test("every conversion converts", (t) => {
  for (const [type, name, from, operand, expected] of CONVERSIONS)
    t.is(functionOf(type, name, [from], TYPE[type as "I32"])(operand), expected, `${type} ${name}`);
});

const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const table = new WebAssembly.Table({ element: "anyfunc", initial: 1 });
const view = new DataView(memory.buffer);

/** A function without parameters that `write` writes, with the shared memory. */
function withMemory(result: ValueType | undefined, write: (c: Code) => void): () => number | bigint {
  const builder = new ModuleBuilder({ maxPages: 1 });
  builder.function("f", signatureOf([], result === undefined ? [] : [result]), [], write);
  const module = new WebAssembly.Module(builder.finish());
  return new WebAssembly.Instance(module, { e: { m: memory, t: table } }).exports.f as () => number | bigint;
}

test("loads extend as they are called, and stores store so many bytes", (t) => {
  const bits = 0xf1f2_f3f4_f5f6_f7f8n;
  for (const type of ["I32", "I64"] as const) {
    const whole = type === "I32" ? 32 : 64;
    for (const size of [8, 16, 32, 64].filter((n) => n <= whole)) {
      const width = size === whole ? "" : String(size);
      for (const sign of width === "" ? [""] : ["S", "U"]) {
        view.setBigUint64(16, bits, true);
        const load = withMemory(TYPE[type], (c) => {
          namespace(c, type)[`load${width}${sign}`]!(c.i32.const(12), 4);
        });
        const expected = sign === "U" ? unsigned(size, bits) : signed(size, bits);
        t.is(BigInt(load()), signed(whole, expected), `${type} load${width}${sign}`);
      }
      view.setBigUint64(16, 0n, true);
      withMemory(undefined, (c) => {
        namespace(c, type)[`store${width}`]!(c.i32.const(12), type === "I32" ? 0xf5f6_f7f8 | 0 : bits, 4);
      })();
      t.is(view.getBigUint64(16, true), unsigned(size, bits), `${type} store${width}`);
    }
  }
});

test("atomics do their operation at the width of their type", (t) => {
  const operations: [keyof typeof ATOMIC, bigint][] = [
    ["ADD", 18n],
    ["SUB", 6n],
    ["AND", 4n],
    ["OR", 14n],
    ["XOR", 10n],
    ["XCHG", 6n],
  ];
  for (const type of ["I32", "I64"] as const) {
    const int = (c: Code) => namespace(c, type) as unknown as Integers<never, number>;
    for (const [name, after] of operations) {
      view.setBigUint64(24, 12n, true);
      const before = withMemory(TYPE[type], (c) => {
        int(c).atomicRmw(ATOMIC[name], c.i32.const(24), 6);
      })();
      t.is(BigInt(before), 12n);
      t.is(view.getBigUint64(24, true), after, `${type} ${name}`);
    }
    const exchange = withMemory(TYPE[type], (c) => {
      int(c).atomicCmpxchg(c.i32.const(24), int(c).atomicLoad(c.i32.const(24)), -1);
    });
    t.is(BigInt(exchange()), 6n);
    t.is(view.getBigUint64(24, true), type === "I32" ? 0xffff_ffffn : (1n << 64n) - 1n);
  }
});

test("labels mean the block they were made for, however deep the code is that branches", (t) => {
  const builder = new ModuleBuilder();
  builder.function("f", signatureOf([TYPE.I32], [TYPE.I32]), [TYPE.I32], (c, [n], [sum]) => {
    const { i32 } = c;
    c.block((done) => {
      c.loop((again) => {
        c.if(i32.eqz(c.get(n)), () => c.br(done));
        const odd = { values: [1], body: () => c.set(sum, i32.add(c.get(sum), 100)) };
        const even = {
          values: [],
          body: () => {
            c.set(sum, i32.add(c.get(sum), 1));
            c.set(n, i32.sub(c.get(n), 1));
            c.br(again);
          },
        };
        c.switch(() => i32.and(c.get(n), 1), [odd, even], even);
      });
    });
    c.get(sum);
  });
  const f = new WebAssembly.Instance(new WebAssembly.Module(builder.finish())).exports.f as Numbers;
  t.is(f(5), 305);
});

test("constants are encoded in full", (t) => {
  for (const value of [0n, 63n, 64n, -64n, -65n, 2n ** 31n, -(2n ** 31n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)])
    t.is(withMemory(TYPE.I64, (c) => void c.i64.const(value))(), value);
  for (const value of [0, 63, 64, -64, -65, 2 ** 31 - 1, -(2 ** 31)])
    t.is(withMemory(TYPE.I32, (c) => void c.i32.const(value))(), value);
});

test("V8 refuses code whose stack does not balance", (t) => {
  const builder = new ModuleBuilder();
  const code = new Code();
  code.i32.const(1);
  builder.add("f", signatureOf([], []), [], code);
  t.false(WebAssembly.validate(builder.finish()));
});
