/**
 * A script: what the guest program `fuzz` (test/guest/src/fuzz.c) executes. Programs of operations, of which the first runs in the
 * main process and the others in children and threads that clone(2) makes; and the contents of the memory that arguments point to.
 *
 * A value is a string: a number ("0x1f"), "r5" (what the call with slot 5 returned), "m0x21000010" (the int at that address), "tid",
 * "pid" or "ppid". So a script is JSON, and reads like C.
 */

export type Value = string;

export type Op =
  /** `child`: the program that a child of this call runs. */
  | { op: "call"; name: string; nr: number; args: Value[]; slot: number; child?: number }
  | { op: "store"; at: Value; value: Value; bytes: 1 | 4 | 8 }
  /** Stores both values in turn, `count` times: what a thread does to memory that another one passes to a call. */
  | { op: "flip"; at: Value; values: [Value, Value]; bytes: 1 | 4 | 8; count: number }
  /** Repeats the `length` operations behind it. */
  | { op: "repeat"; length: number; count: number };

/** Memory contents at an address, as hexadecimal digits. */
export interface Chunk {
  readonly at: number;
  readonly hex: string;
}

export interface Script {
  readonly seed: number;
  readonly uid: number;
  readonly programs: readonly (readonly Op[])[];
  readonly data: readonly Chunk[];
}

/** Where the guest program puts its areas; nothing is mapped behind each of them. */
export const DATA = 0x21000000;
export const DATA_BYTES = 0x80000;
export const SHARED = 0x22000000;
export const SHARED_BYTES = 0x10000;
export const STACKS = 0x24000000;
export const SLOTS = 4096;
export const PROGRAMS = 16;

const HEADER = 4 * (4 + PROGRAMS);
const OP = 16 + 6 * 16;
const KIND = { end: 0, call: 1, store: 2, flip: 3, repeat: 4 } as const;
const VALUE: Readonly<Record<string, number>> = { tid: 3, pid: 4, ppid: 5 };
const NOTHING: Value = "0x0";

/** The bytes that the guest program reads. */
export function encode(script: Script): Uint8Array {
  const end = script.data.reduce((most, { at, hex }) => Math.max(most, at + hex.length / 2 - DATA), 0);
  const dataBytes = (end + 15) & ~15;
  const opsAt = HEADER + dataBytes;
  // An operation of zeroes ends each program.
  const ops = script.programs.flatMap((program) => [...program, null]);
  const bytes = new Uint8Array(opsAt + ops.length * OP);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, script.uid, true);
  view.setUint32(4, script.programs.length, true);
  let start = 0;
  script.programs.forEach((program, n) => {
    view.setUint32(8 + 4 * n, start, true);
    start += program.length + 1;
  });
  // A program that is not there ends at once.
  for (let n = script.programs.length; n < PROGRAMS; n++) view.setUint32(8 + 4 * n, start - 1, true);
  view.setUint32(8 + 4 * PROGRAMS, dataBytes, true);
  view.setUint32(12 + 4 * PROGRAMS, opsAt, true);
  for (const { at, hex } of script.data) bytes.set(Buffer.from(hex, "hex"), HEADER + at - DATA);
  ops.forEach((op, n) => {
    if (op !== null) encodeOp(view, opsAt + n * OP, op);
  });
  return bytes;
}

function encodeOp(view: DataView, at: number, op: Op): void {
  const head = (nr: number, count: number, slot: number, values: readonly Value[]) => {
    [KIND[op.op], nr, count, slot].forEach((word, n) => void view.setUint32(at + 4 * n, word, true));
    for (let n = 0; n < 6; n++) {
      const [kind, value] = encodeValue(values[n] ?? NOTHING);
      view.setBigUint64(at + 16 + 16 * n, BigInt(kind), true);
      view.setBigUint64(at + 24 + 16 * n, BigInt.asUintN(64, value), true);
    }
  };
  switch (op.op) {
    case "call":
      head(op.nr, op.child ?? PROGRAMS - 1, op.slot, op.args);
      break;
    case "store":
      head(op.bytes, 0, 0, [op.at, op.value]);
      break;
    case "flip":
      head(op.bytes, op.count, 0, [op.at, ...op.values]);
      break;
    case "repeat":
      head(op.length, op.count, 0, []);
  }
}

function encodeValue(value: Value): [number, bigint] {
  const kind = VALUE[value];
  if (kind !== undefined) return [kind, 0n];
  if (value.startsWith("r")) return [1, BigInt(value.slice(1))];
  if (value.startsWith("m")) return [2, BigInt(value.slice(1))];
  return [0, BigInt(value)];
}

/** A script as a list of calls that a reader can turn into C. */
export function show(script: Script): string {
  const lines = [`// seed ${script.seed}, uid ${script.uid}`];
  for (const { at, hex } of usedData(script)) lines.push(`memory[0x${at.toString(16)}] = ${clip(hex)};`);
  script.programs.forEach((program, n) => {
    if (program.length === 0) return;
    lines.push(n === 0 ? "main:" : `child ${n}:`);
    for (const op of program) lines.push(`  ${showOp(op)}`);
  });
  return lines.join("\n");
}

const clip = (hex: string): string =>
  hex.length > 512 ? `${hex.slice(0, 512)}... (${hex.length / 2} bytes)` : hex;

function showOp(op: Op): string {
  switch (op.op) {
    case "call": {
      const child = op.child === undefined ? "" : ` // the child runs "child ${op.child}"`;
      return `r${op.slot} = ${op.name}(${op.args.join(", ")});${child}`;
    }
    case "store":
      return `*(u${8 * op.bytes} *)${op.at} = ${op.value};`;
    case "flip":
      return `${op.count} times: *(u${8 * op.bytes} *)${op.at} = ${op.values.join(", then ")};`;
    case "repeat":
      return `${op.count} times the next ${op.length}:`;
  }
}

/** The chunks of memory that anything left in the script can lead to: by an argument, or by a pointer in such a chunk. */
export function usedData(script: Script): Chunk[] {
  const inside = (chunk: Chunk, address: number) =>
    address >= chunk.at && address < chunk.at + Math.max(1, chunk.hex.length / 2);
  const wanted: number[] = [];
  const want = (value: Value) => {
    const number = Number(value.startsWith("m") ? value.slice(1) : value);
    if (number >= DATA && number < DATA + DATA_BYTES) wanted.push(number);
  };
  for (const op of script.programs.flat()) {
    if (op.op === "call") op.args.forEach(want);
    else if (op.op !== "repeat") [op.at, ...(op.op === "flip" ? op.values : [op.value])].forEach(want);
  }
  const used = new Set<Chunk>();
  for (let address = wanted.pop(); address !== undefined; address = wanted.pop()) {
    for (const chunk of script.data) {
      if (used.has(chunk) || !inside(chunk, address)) continue;
      used.add(chunk);
      const bytes = Buffer.from(chunk.hex, "hex");
      for (let at = 0; at + 8 <= bytes.length; at += 8) want(`0x${bytes.readBigUInt64LE(at).toString(16)}`);
    }
  }
  return script.data.filter((chunk) => used.has(chunk));
}
