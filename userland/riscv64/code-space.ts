import { ACCESS, CPU_NEED_RESCHED, type UserModeHost } from "../../kernel/usermode.ts";
import { decode, FIELDS, INSTRUCTIONS, NONE, X } from "./isa/decode.ts";
import {
  CROSS_RECORDS,
  OP_FIRST_INSTRUCTION,
  OP_ILLEGAL,
  OP_PAGE_END,
  PAGE_CACHE,
  PAGE_CACHE_ENTRIES,
  PREDECODE,
  PREDECODED_PAGE_BYTES,
  PREDECODED_PAGES,
  RECORD,
  RECORD_BYTES,
} from "./layout.ts";
import { fAt, fastRoundingMask, X0_SINK, xAt } from "./register-file.ts";

/** Pages that may still be needed between running short and leaving: one jump, or one unit's worth. */
const SPARE_PAGES = 64;

/** A page of code by content: shared by every address space that maps the same bytes anywhere. */
export interface CodePage {
  readonly bytes: Uint8Array;
  /** Byte address of its records. */
  readonly records: number;
}

/** What one code space number means: pages and units seen in it so far. */
export class CodeSpace {
  /** Never reused, so that tags of older spaces can't match. Starts at 1: a zeroed tag matches nothing. */
  readonly id: number;
  readonly pages = new Map<number, CodePage>();
  /** Table index of the unit at a pc; 0 when it is known that there is none for this content. */
  readonly units = new Map<number, number>();

  constructor(id: number) {
    this.id = id;
  }
}

/** Reads, keeps and predecodes the pages of code of one CPU. */
export class CodePages {
  private readonly host: UserModeHost;
  private readonly words: Int32Array;
  private readonly halves: Uint16Array;
  private readonly bytes: Uint8Array;
  private readonly byContent = new Map<number, CodePage[]>();
  private readonly byIndex: CodePage[] = [];
  /** Called when predecoded pages are thrown away: every space has to forget its own. */
  private readonly onReset: () => void;
  /** There is hardly any room left: `reset` is due. */
  full = false;
  predecoded = 0;
  resets = 0;

  constructor(host: UserModeHost, onReset: () => void) {
    this.host = host;
    this.words = new Int32Array(host.memory.buffer);
    this.halves = new Uint16Array(host.memory.buffer);
    this.bytes = new Uint8Array(host.memory.buffer);
    this.onReset = onReset;
  }

  /** The page that holds `va` in the current space; undefined when it can't be fetched (the kernel knows why). */
  page(space: CodeSpace, va: number): CodePage | undefined {
    const vpn = va >>> 12;
    const known = space.pages.get(vpn);
    if (known !== undefined) return known;
    const result = this.host.translate(va, ACCESS.EXEC);
    if (result < 0) return undefined;
    const page = this.intern(result - (result % 2));
    space.pages.set(vpn, page);
    return page;
  }

  /** Makes the interpreter find a page without asking. */
  cache(space: CodeSpace, va: number, page: CodePage): void {
    const vpn = va >>> 12;
    const entry = (this.host.cpuArea + PAGE_CACHE + (vpn & (PAGE_CACHE_ENTRIES - 1)) * 16) / 4;
    this.words[entry + 2] = page.records | 0;
    this.words[entry] = vpn;
    this.words[entry + 1] = space.id;
  }

  private intern(frame: number): CodePage {
    const start = frame / 4;
    let hash = 0;
    for (let i = start; i < start + 1024; i++) hash = (Math.imul(hash, 31) + this.words[i]!) | 0;
    const candidates = this.byContent.get(hash) ?? [];
    for (const page of candidates) {
      if (sameBytes(page.bytes, 0, this.bytes, frame, 4096)) return page;
    }
    if (this.byIndex.length >= PREDECODED_PAGES - SPARE_PAGES) {
      // The interpreter is using records right now: make it leave, and `enter` will start over.
      this.full = true;
      this.words[(this.host.cpuArea + CPU_NEED_RESCHED) / 4] = 1;
      if (this.byIndex.length === PREDECODED_PAGES) throw new Error("riscv64: no room for predecoded code");
    }
    const records = this.host.cpuArea + PREDECODE + this.byIndex.length * PREDECODED_PAGE_BYTES;
    const page = { bytes: this.bytes.slice(frame, frame + 4096), records };
    this.byIndex.push(page);
    if (!this.byContent.has(hash)) this.byContent.set(hash, candidates);
    this.byContent.get(hash)!.push(page);
    for (let i = 0; i < 4; i++) this.halves[(records + (2048 + i) * RECORD_BYTES) / 2] = OP_PAGE_END;
    return page;
  }

  /** Throws all predecoded pages away. Not while the interpreter is running. */
  reset(): void {
    this.full = false;
    this.resets++;
    const start = this.host.cpuArea + PREDECODE;
    this.bytes.fill(0, start, start + this.byIndex.length * PREDECODED_PAGE_BYTES);
    const cache = this.host.cpuArea + PAGE_CACHE;
    this.bytes.fill(0, cache, cache + PAGE_CACHE_ENTRIES * 16);
    this.byIndex.length = 0;
    this.byContent.clear();
    this.onReset();
  }

  /** A halfword of code, or -1. */
  fetch(space: CodeSpace, va: number): number {
    const page = this.page(space, va);
    if (page === undefined) return -1;
    const offset = va & 4094;
    return page.bytes[offset]! | (page.bytes[offset + 1]! << 8);
  }

  /**
   * Fills in the record at address `record` for the instruction at `pc`, and those after it until control may go
   * elsewhere. Returns the record to execute, 0 when the second half is on a page that can't be fetched.
   */
  decode(space: CodeSpace, record: number, pc: number): number {
    const index = Math.floor((record - this.host.cpuArea - PREDECODE) / PREDECODED_PAGE_BYTES);
    const { bytes, records } = this.byIndex[index]!;
    let offset = pc & 4094;
    for (;;) {
      const at = records + (offset / 2) * RECORD_BYTES;
      if (this.halves[at / 2] !== 0) return record | 0;
      const low = bytes[offset]! | (bytes[offset + 1]! << 8);
      if (offset === 4094 && (low & 3) === 3) {
        // Straddles two pages.
        return at === record ? this.decodeCrossing(space, low, pc) : record | 0;
      }
      const word = (low & 3) === 3 ? low | (bytes[offset + 2]! << 16) | (bytes[offset + 3]! << 24) : low;
      const length = this.write(at, word);
      if (length === 0) return record | 0;
      offset += length;
      if (offset >= 4096) return record | 0;
    }
  }

  /** Whether the interpreter has ever come to the instruction at `va`: what it hasn't is not worth translating. */
  reached(space: CodeSpace, va: number): boolean {
    const page = space.pages.get(va >>> 12);
    if (page === undefined) return false;
    // An instruction that straddles two pages leaves no record.
    return (va & 4095) === 4094 || this.halves[(page.records + ((va & 4094) / 2) * RECORD_BYTES) / 2] !== 0;
  }

  private decodeCrossing(space: CodeSpace, low: number, pc: number): number {
    const high = this.fetch(space, (pc + 2) >>> 0);
    if (high < 0) return 0;
    const at = this.host.cpuArea + CROSS_RECORDS;
    this.write(at, low | (high << 16));
    this.halves[(at + 2 * RECORD_BYTES) / 2] = OP_PAGE_END;
    return at | 0;
  }

  /** Writes one record; returns the instruction's length, or 0 when the next one need not follow. */
  private write(at: number, word: number): number {
    const d = decode(word);
    const half = at / 2;
    this.predecoded++;
    this.halves[half + RECORD.LEN / 2] = d.length;
    if (d.index < 0) {
      this.halves[half] = OP_ILLEGAL;
      return 0;
    }
    const fields = FIELDS[d.index]!;
    const place = (file: number, register: number) =>
      file === X || file === NONE ? xAt(register) : fAt(register);
    this.halves[half + RECORD.RD / 2] = fields.rd === X && d.rd === 0 ? X0_SINK : place(fields.rd, d.rd);
    this.halves[half + RECORD.RS1 / 2] = place(fields.rs1, d.rs1);
    this.halves[half + RECORD.RS2 / 2] = place(fields.rs2, d.rs2);
    const packed = fields.rm
      ? place(fields.rs3, d.rs3) | (fastRoundingMask(d.rm) << 16) | (d.rm << 24)
      : d.imm;
    this.words[(at + RECORD.IMM) / 4] = packed;
    this.halves[half] = d.index + OP_FIRST_INSTRUCTION;
    const { flow } = INSTRUCTIONS[d.index]!;
    return flow === "next" || flow === "ecall" ? d.length : 0;
  }
}

/** Whether n bytes are equal. */
export function sameBytes(a: Uint8Array, aStart: number, b: Uint8Array, bStart: number, n: number): boolean {
  for (let i = 0; i < n; i++) if (a[aStart + i] !== b[bStart + i]) return false;
  return true;
}
