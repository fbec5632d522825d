import type { UserModeHost } from "../../kernel/usermode.ts";
import { type CodePages, type CodeSpace, sameBytes } from "./code-space.ts";
import { PublishedUnits } from "./published.ts";
import { FIRST_PC } from "./translate/emitter.ts";
import { translate } from "./translate/unit.ts";

/** A live module costs about 18 KB: at this many units everything is forgotten and translated anew as needed. */
const MAX_UNITS = 16384;

type Ranges = ReadonlyArray<readonly [number, number]>;

/** A translated unit and the code that it is a translation of. */
interface Unit {
  readonly index: number;
  readonly lean: boolean;
  readonly ranges: Ranges;
  /** The bytes of all ranges in a row. */
  readonly bytes: Uint8Array;
}

/** How units are made. */
export interface UnitOptions {
  /** Translates at first sight: there is no telling then which code is reached. */
  readonly eager: boolean;
  /** Whether units are lean at first. */
  readonly lean: boolean;
  /** Maximum of the memory that units import, in 64 KiB pages. */
  readonly maxPages: number;
  /** Called before all units are forgotten. */
  readonly onForget: () => void;
}

/** The translated units of one CPU by content: a unit is good in every code space that has the same code where it was made from. */
export class Units {
  /** Entry 0 is the interpreter. */
  readonly table = new WebAssembly.Table({ element: "anyfunc", initial: 1024 });
  /** What units import. */
  environment: Record<string, WebAssembly.ExportValue> = {};
  private next = 1;
  private readonly byPc = new Map<number, Unit[]>();
  private readonly code: CodePages;
  private readonly options: UnitOptions;
  private readonly ram: Uint8Array;
  private readonly published: PublishedUnits;
  private time = 0;
  readonly counts = {
    translated: 0,
    adopted: 0,
    careful: 0,
    wasmBytes: 0,
    translatedInstructions: 0,
    unitResets: 0,
  };

  constructor(host: UserModeHost, code: CodePages, options: UnitOptions) {
    this.code = code;
    this.options = options;
    this.ram = new Uint8Array(host.memory.buffer);
    this.published = new PublishedUnits(host);
  }

  stats(): Record<string, number> {
    return {
      ...this.counts,
      unitsNotPublished: this.published.refused,
      translateMicroseconds: Math.round(this.time * 1000),
    };
  }

  /** Table index of a unit at pc that was made in any space and is good in this one; 0 when there is none. */
  known(space: CodeSpace, pc: number): number {
    for (const unit of this.byPc.get(pc) ?? []) {
      if (this.sameCode(space, unit.ranges, unit.bytes, 0)) return unit.index;
    }
    return 0;
  }

  /** The same for what other CPUs have made. */
  adopt(space: CodeSpace, pc: number): number {
    for (const { lean, ranges, code, wasm, wasmBytes } of this.published.at(pc)) {
      if ((lean && !this.options.lean) || !this.sameCode(space, ranges, this.ram, code)) continue;
      this.counts.adopted++;
      return this.add(space, pc, lean, ranges, this.ram.slice(wasm, wasm + wasmBytes));
    }
    return 0;
  }

  /** Translates what is at pc: its index, 0 when there is nothing to be read. */
  translate(space: CodeSpace, pc: number, lean = this.options.lean): number {
    const started = performance.now();
    const translation = translate(
      pc,
      (va) => (va < FIRST_PC ? -1 : this.code.fetch(space, va)),
      this.options.eager ? () => true : (va) => this.code.reached(space, va),
      this.options.maxPages,
      lean,
    );
    if (translation === undefined) return 0;
    const { ranges, bytes, instructions } = translation;
    const index = this.add(space, pc, lean, ranges, bytes);
    this.published.publish(pc, lean, ranges, this.bytesOf(space, ranges), bytes);
    this.counts.translated++;
    this.counts.wasmBytes += bytes.length;
    this.counts.translatedInstructions += instructions;
    this.time += performance.now() - started;
    return index;
  }

  /**
   * Units of this space left too often for the instruction at `pc`: they get a form that serves its accesses itself. Returns
   * [entry, index] of each.
   */
  makeCareful(space: CodeSpace, pc: number): [number, number][] {
    const changed: [number, number][] = [];
    for (const [entry, units] of this.byPc) {
      const index = space.units.get(entry);
      const at = units.findIndex(
        (unit) =>
          unit.lean && unit.index === index && unit.ranges.some(([start, end]) => pc >= start && pc < end),
      );
      if (at < 0) continue;
      units.splice(at, 1); // Other spaces may go on with it: it is right.
      this.counts.careful++;
      changed.push([entry, this.translate(space, entry, false)]);
    }
    return changed;
  }

  /** Compiles a unit and keeps it. Returns its index. */
  private add(
    space: CodeSpace,
    pc: number,
    lean: boolean,
    ranges: Ranges,
    wasm: Uint8Array<ArrayBuffer>,
  ): number {
    if (this.next >= MAX_UNITS) this.forget();
    const instance = new WebAssembly.Instance(new WebAssembly.Module(wasm), { e: this.environment });
    if (this.next === this.table.length) this.table.grow(this.table.length);
    const index = this.next++;
    this.table.set(index, instance.exports.f as () => void);
    const unit = { index, lean, ranges, bytes: this.bytesOf(space, ranges) };
    const units = this.byPc.get(pc);
    if (units === undefined) this.byPc.set(pc, [unit]);
    else units.push(unit);
    return index;
  }

  /** Too many modules: start over. Frames of old units that are still active keep their code alive. */
  private forget(): void {
    this.counts.unitResets++;
    this.options.onForget();
    for (let i = 1; i < this.next; i++) this.table.set(i, this.table.get(0));
    this.next = 1;
    this.byPc.clear();
  }

  /** Whether the code of a space is what `bytes` has from `at` on. */
  private sameCode(space: CodeSpace, ranges: Ranges, bytes: Uint8Array, at: number): boolean {
    let done = at;
    for (const [start, end] of ranges) {
      for (let va = start; va < end; ) {
        const page = this.code.page(space, va);
        if (page === undefined) return false;
        const part = pagePart(va, end);
        if (!sameBytes(bytes, done, page.bytes, va & 4095, part)) return false;
        done += part;
        va += part;
      }
    }
    return true;
  }

  private bytesOf(space: CodeSpace, ranges: Ranges): Uint8Array {
    const parts: Uint8Array[] = [];
    for (const [start, end] of ranges) {
      for (let va = start; va < end; ) {
        const part = pagePart(va, end);
        const { bytes } = this.code.page(space, va)!;
        parts.push(bytes.subarray(va & 4095, (va & 4095) + part));
        va += part;
      }
    }
    return new Uint8Array(Buffer.concat(parts));
  }
}

/** Bytes of [va, end) that are on va's page. */
function pagePart(va: number, end: number): number {
  return Math.min(end - va, 4096 - (va & 4095));
}
