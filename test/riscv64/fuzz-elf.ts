/** Links the fuzzer's items into a static riscv64 ELF: segments for code (writable, it modifies itself), data and constants. */

/** An instruction that names another item; `encode` gets the distance from itself to that item's start. */
export interface Reference {
  to: number;
  bytes: 2 | 4;
  encode(offset: number): number;
  /** Distances that `encode` can express; the 4-byte replacement is used beyond. */
  reach?: number;
  long?: Reference;
}

export type Instruction = number | Reference;

/** A few instructions that belong together; the shrinker drops whole items. */
export interface Item {
  code: Instruction[];
  /** Must stay: prologue, epilogue, function entry and exit. */
  fixed: boolean;
  what: string;
}

export const CODE_BASE = 0x10000;
export const DATA_BASE = 0x40000;
export const DATA_BYTES = 0x4000;
/** Zeroes behind the data that nothing dumps, for a signal stack; then a read-only page, then nothing. */
export const ZERO_BYTES = 0x6000;
export const READ_ONLY_BASE = DATA_BASE + DATA_BYTES + ZERO_BYTES;
export const READ_ONLY_BYTES = 0x1000;

const SEGMENTS = 3;
const HEADER = 64 + SEGMENTS * 56;

const sizeOf = (instruction: Instruction): number =>
  typeof instruction === "number" ? ((instruction & 3) === 3 ? 4 : 2) : instruction.bytes;

/** Lays the kept items out, replacing short references that do not reach; returns the code. */
function link(items: readonly Item[], kept: (index: number) => boolean): Uint8Array {
  const code = items.map((item, n) => (item.fixed || kept(n) ? [...item.code] : []));
  for (;;) {
    const starts: number[] = [];
    let end = 0;
    for (const list of code) {
      starts.push(end);
      for (const instruction of list) end += sizeOf(instruction);
    }
    const out = new DataView(new ArrayBuffer(end));
    let at = 0;
    let grown = false;
    for (const list of code) {
      list.forEach((instruction, k) => {
        const bytes = sizeOf(instruction);
        let word: number;
        if (typeof instruction === "number") {
          word = instruction;
        } else {
          const offset = starts[instruction.to]! - at;
          if (
            instruction.long !== undefined &&
            (offset >= instruction.reach! || offset < -instruction.reach!)
          ) {
            list[k] = instruction.long;
            grown = true;
          }
          word = instruction.encode(offset);
        }
        if (bytes === 2) out.setUint16(at, word & 0xffff, true);
        else {
          out.setUint16(at, word & 0xffff, true);
          out.setUint16(at + 2, word >>> 16, true);
        }
        at += bytes;
      });
    }
    if (!grown) return new Uint8Array(out.buffer);
  }
}

/** The executable: entry at item 0. Items that `kept` refuses are left out, unless they are fixed. */
export function writeElf(
  items: readonly Item[],
  data: Uint8Array,
  kept: (index: number) => boolean = () => true,
): Uint8Array {
  const code = link(items, kept);
  if (CODE_BASE + HEADER + code.length > DATA_BASE) throw new Error("program too long");
  const dataOffset = (HEADER + code.length + 0xfff) & ~0xfff;
  const file = new Uint8Array(dataOffset + data.length + READ_ONLY_BYTES);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, 243, true); // EM_RISCV
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(CODE_BASE + HEADER), true);
  view.setBigUint64(32, 64n, true); // program headers
  view.setUint32(48, 5, true); // RVC, double-float ABI
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, SEGMENTS, true);
  const header = (n: number, flags: number, offset: number, address: number, bytes: number, zeroes = 0) => {
    const at = 64 + n * 56;
    view.setUint32(at, 1, true); // PT_LOAD
    view.setUint32(at + 4, flags, true);
    view.setBigUint64(at + 8, BigInt(offset), true);
    view.setBigUint64(at + 16, BigInt(address), true);
    view.setBigUint64(at + 24, BigInt(address), true);
    view.setBigUint64(at + 32, BigInt(bytes), true);
    view.setBigUint64(at + 40, BigInt(bytes + zeroes), true);
    view.setBigUint64(at + 48, 0x1000n, true);
  };
  header(0, 7, 0, CODE_BASE, HEADER + code.length);
  header(1, 6, dataOffset, DATA_BASE, data.length, ZERO_BYTES);
  header(2, 4, dataOffset + data.length, READ_ONLY_BASE, READ_ONLY_BYTES);
  file.set(code, HEADER);
  file.set(data, dataOffset);
  file.set(data.subarray(data.length - READ_ONLY_BYTES), dataOffset + data.length);
  return file;
}
