/**
 * Units that engines of other CPUs have made. Each CPU has a log in its area that only its engine writes and every other one
 * reads: an entry is complete before the log's length says that it is there. The log outlives the engine when a CPU is
 * replaced. V8 compiles equal modules of one process once, so a unit that is taken from here costs neither a translation
 * nor, mostly, a compilation.
 */

import type { UserModeHost } from "../../kernel/usermode.ts";
import { atomicLoad, atomicStore } from "../../rcu/index.ts";
import { UNIT_LOG, UNIT_LOG_BYTES } from "./layout.ts";

/** A unit as another CPU left it. Offsets count in bytes of RAM. */
export interface PublishedUnit {
  readonly pc: number;
  readonly lean: boolean;
  readonly ranges: ReadonlyArray<readonly [number, number]>;
  /** The code of all ranges in a row. */
  readonly code: number;
  readonly wasm: number;
  readonly wasmBytes: number;
}

/** Words of an entry before its ranges: its bytes, pc, lean, number of ranges, bytes of code, bytes of wasm. */
const HEADER = 6;

export class PublishedUnits {
  private readonly words: Int32Array<SharedArrayBuffer>;
  private readonly bytes: Uint8Array<SharedArrayBuffer>;
  /** Byte addresses of the logs, the own one first. */
  private readonly own: number;
  private readonly others: readonly number[];
  /** How far each of the others is read. */
  private readonly read: number[];
  private readonly byPc = new Map<number, PublishedUnit[]>();
  /** Units that there was no room for. */
  refused = 0;

  constructor(host: UserModeHost) {
    const buffer = host.memory.buffer as unknown as SharedArrayBuffer;
    this.words = new Int32Array(buffer);
    this.bytes = new Uint8Array(buffer);
    this.own = host.cpuArea + UNIT_LOG;
    this.others = host.cpuAreas.filter((area) => area !== host.cpuArea).map((area) => area + UNIT_LOG);
    this.read = this.others.map(() => 0);
  }

  publish(
    pc: number,
    lean: boolean,
    ranges: ReadonlyArray<readonly [number, number]>,
    code: Uint8Array,
    wasm: Uint8Array,
  ): void {
    if (this.others.length === 0) return;
    const length = atomicLoad(this.words, this.own / 4);
    const header = (HEADER + 2 * ranges.length) * 4;
    const total = (header + code.length + wasm.length + 7) & -8;
    if (8 + length + total > UNIT_LOG_BYTES) {
      this.refused++;
      return;
    }
    const at = this.own + 8 + length;
    this.words.set(
      [total, pc, lean ? 1 : 0, ranges.length, code.length, wasm.length, ...ranges.flat()],
      at / 4,
    );
    this.bytes.set(code, at + header);
    this.bytes.set(wasm, at + header + code.length);
    atomicStore(this.words, this.own / 4, length + total);
  }

  /** What other CPUs have made of the code at `pc`, whatever code that was. */
  at(pc: number): readonly PublishedUnit[] {
    for (let n = 0; n < this.others.length; n++) {
      const length = atomicLoad(this.words, this.others[n]! / 4);
      while (this.read[n]! < length) this.read[n]! += this.readEntry(this.others[n]! + 8 + this.read[n]!);
    }
    return this.byPc.get(pc) ?? [];
  }

  private readEntry(at: number): number {
    const word = (n: number) => this.words[at / 4 + n]!;
    const ranges = Array.from(
      { length: word(3) },
      (_, n) => [word(HEADER + 2 * n) >>> 0, word(HEADER + 2 * n + 1) >>> 0] as const,
    );
    const code = at + (HEADER + 2 * ranges.length) * 4;
    const pc = word(1) >>> 0;
    const unit = { pc, lean: word(2) === 1, ranges, code, wasm: code + word(4), wasmBytes: word(5) };
    const units = this.byPc.get(pc);
    if (units === undefined) this.byPc.set(pc, [unit]);
    else units.push(unit);
    return word(0);
  }
}
