/** Just enough of the WebAssembly binary format to write fast.ts: expressions are arrays of bytes, joined by functions. */

export type Code = readonly number[];

export const I32 = 0x7f;
export const I64 = 0x7e;
export const F32 = 0x7d;
export const F64 = 0x7c;

function unsigned(n: number): number[] {
  const bytes: number[] = [];
  for (; n >= 0x80; n >>>= 7) bytes.push((n & 0x7f) | 0x80);
  bytes.push(n);
  return bytes;
}

/** Signed LEB128 of an integer below 2^63 in magnitude. */
function signed(n: bigint): number[] {
  const bytes: number[] = [];
  for (;;) {
    const low = Number(n & 0x7fn);
    n >>= 7n;
    if ((n === 0n && low < 0x40) || (n === -1n && low >= 0x40)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

const opcode =
  (code: number) =>
  (...operands: Code[]): Code => [...operands.flat(), code];

export const i32 = {
  const: (n: number): Code => [0x41, ...signed(BigInt(n))],
  eqz: opcode(0x45),
  eq: opcode(0x46),
  and: opcode(0x71),
  or: opcode(0x72),
  wrap: opcode(0xa7),
  reinterpret: opcode(0xbc),
};

export const i64 = {
  const: (n: bigint): Code => [0x42, ...signed(n)],
  eqz: opcode(0x50),
  ne: opcode(0x52),
  add: opcode(0x7c),
  eq: opcode(0x51),
  and: opcode(0x83),
  or: opcode(0x84),
  shrS: opcode(0x87),
  extend32: opcode(0xc4),
  reinterpret: opcode(0xbd),
  ofI32: opcode(0xac),
  ofU32: opcode(0xad),
  truncS64: (x: Code): Code => [...x, 0xfc, 6],
  truncU64: (x: Code): Code => [...x, 0xfc, 7],
};

/** Instructions of one float type: the two sets are laid out alike. */
function floatOps(compare: number, arithmetic: number, constant: (x: number) => Code) {
  return {
    const: constant,
    eq: opcode(compare),
    ne: opcode(compare + 1),
    lt: opcode(compare + 2),
    gt: opcode(compare + 3),
    le: opcode(compare + 4),
    ge: opcode(compare + 5),
    abs: opcode(arithmetic),
    ceil: opcode(arithmetic + 2),
    floor: opcode(arithmetic + 3),
    trunc: opcode(arithmetic + 4),
    nearest: opcode(arithmetic + 5),
    sqrt: opcode(arithmetic + 6),
    add: opcode(arithmetic + 7),
    sub: opcode(arithmetic + 8),
    mul: opcode(arithmetic + 9),
    div: opcode(arithmetic + 10),
    copysign: opcode(arithmetic + 13),
  };
}

const bytesOf = (view: ArrayBufferView): number[] => [...new Uint8Array(view.buffer as ArrayBuffer)];

export const f32 = {
  ...floatOps(0x5b, 0x8b, (x) => [0x43, ...bytesOf(new Float32Array([x]))]),
  neg: opcode(0x8c),
  reinterpret: opcode(0xbe),
  demote: opcode(0xb6),
  ofI64: opcode(0xb4),
  ofU64: opcode(0xb5),
};

export const f64 = {
  ...floatOps(0x61, 0x99, (x) => [0x44, ...bytesOf(new Float64Array([x]))]),
  neg: opcode(0x9a),
  promote: opcode(0xbb),
  ofI64: opcode(0xb9),
  ofU64: opcode(0xba),
  reinterpret: opcode(0xbf),
};

export const get = (local: number): Code => [0x20, ...unsigned(local)];
export const set = (local: number, value: Code): Code => [...value, 0x21, ...unsigned(local)];
export const tee = (local: number, value: Code): Code => [...value, 0x22, ...unsigned(local)];
export const call = (fn: number, ...args: Code[]): Code => [...args.flat(), 0x10, ...unsigned(fn)];
export const ret = (...values: Code[]): Code => [...values.flat(), 0x0f];
export const when = (condition: Code, ...then: Code[]): Code => [
  ...condition,
  0x04,
  0x40,
  ...then.flat(),
  0x0b,
];
/** condition ? a : b, of `type`. */
export const choose = (type: number, condition: Code, a: Code, b: Code): Code => [
  ...condition,
  0x04,
  type,
  ...a,
  0x05,
  ...b,
  0x0b,
];

/** Runs `cases[selector]`, each of which returns; falls through when the selector has none. */
export function select(selector: Code, cases: readonly (Code | undefined)[]): Code {
  const present = cases.filter((code) => code !== undefined);
  let next = 0;
  const labels = cases.map((code) => (code === undefined ? present.length : next++));
  return [
    ...Array(present.length + 1)
      .fill([0x02, 0x40])
      .flat(),
    ...selector,
    0x0e,
    ...unsigned(labels.length),
    ...labels.flatMap(unsigned),
    ...unsigned(present.length),
    0x0b,
    ...present.flatMap((code) => [...code, 0x0b]),
  ];
}

export interface Fn {
  /** Exported under this name; "" keeps it internal. */
  name: string;
  params: readonly number[];
  results: readonly number[];
  locals: readonly number[];
  body: Code;
}

const vector = (items: readonly (readonly number[])[]): number[] => [
  ...unsigned(items.length),
  ...items.flat(),
];
const section = (id: number, body: readonly number[]): number[] => [id, ...unsigned(body.length), ...body];

/** A module of these functions, numbered as in the array; no imports, no memory. */
export function assemble(fns: readonly Fn[]): Uint8Array<ArrayBuffer> {
  const exported = fns.flatMap((fn, i) => {
    const name = [...new TextEncoder().encode(fn.name)];
    return fn.name === "" ? [] : [[...unsigned(name.length), ...name, 0, ...unsigned(i)]];
  });
  const bodies = fns.map((fn) => {
    const code = [...vector(fn.locals.map((type) => [1, type])), ...fn.body, 0x0b];
    return [...unsigned(code.length), ...code];
  });
  const bytes = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  bytes.push(
    ...section(
      1,
      vector(
        fns.map((fn) => [0x60, ...vector(fn.params.map((t) => [t])), ...vector(fn.results.map((t) => [t]))]),
      ),
    ),
  );
  bytes.push(...section(3, vector(fns.map((_, i) => unsigned(i)))));
  bytes.push(...section(7, vector(exported)));
  bytes.push(...section(10, vector(bodies)));
  return Uint8Array.from(bytes);
}
