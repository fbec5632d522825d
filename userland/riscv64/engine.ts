import { ACCESS, EXIT, type UserMode, type UserModeHost } from "../../kernel/usermode.ts";
import { CodePages, CodeSpace } from "./code-space.ts";
import { fastFpuExports } from "./fpu/fast-module.ts";
import { fpOp, takeFpFlags } from "./fpu/softfloat.ts";
import {
  JUMP_CACHE,
  JUMP_CACHE_ENTRIES,
  SCRATCH_A,
  SCRATCH_B,
  SCRATCH_C,
  SCRATCH_RESULT,
  SPACE_TAG,
} from "./layout.ts";
import { FFLAGS_MASK, FRM_SHIFT, RegisterFile } from "./register-file.ts";
import { interpreterModule, MAX_PAGES, runtimeModule, THRESHOLD } from "./start-modules.ts";
import { FIND } from "./stubs.ts";
import { Tlb } from "./tlb.ts";
import { Units } from "./units.ts";

/** Code spaces remembered; the least recently named one is forgotten first. */
const MAX_SPACES = 256;

/** Nanoseconds for as many side exits as their counter holds (4096) to be too many: some 100 ns each, it is a twelfth of the time. */
const OFTEN = 5_000_000n;
/** Places remembered for that. */
const MAX_LEFT_OFTEN = 4096;

/** What only tests change. */
export interface EngineOptions {
  /** Arrivals before translation, up to 65535: 0 translates at once, Infinity never. */
  readonly threshold?: number;
  /** Whether units are lean at first (default), or never. */
  readonly lean?: boolean;
}

/** Runs riscv64 (RV64GC, Zba) user code of one CPU: cold code in an interpreter, hot code as WebAssembly. */
export function createRiscvEngine(host: UserModeHost, options: EngineOptions = {}): UserMode {
  return new RiscvEngine(host, options);
}

class RiscvEngine implements UserMode {
  private readonly host: UserModeHost;
  private readonly area: number;
  private readonly words: Int32Array;
  private readonly longs: BigInt64Array;
  private readonly hot: number;

  private readonly tlb: Tlb;
  private readonly code: CodePages;
  private readonly spaces = new Map<number, CodeSpace>();
  private space: CodeSpace;
  private spaceNumber = 0;
  private nextSpaceId = 1;

  private readonly units: Units;
  private readonly run: (area: number, regs: number) => number;
  private readonly registers: RegisterFile;
  /** When side exits for the instruction at a pc last filled their counter. */
  private readonly leftOften = new Map<number, bigint>();

  private readonly counts = { enters: 0, lookups: 0 };

  constructor(host: UserModeHost, options: EngineOptions) {
    this.host = host;
    this.area = host.cpuArea;
    const buffer = host.memory.buffer;
    this.words = new Int32Array(buffer);
    this.longs = new BigInt64Array(buffer);
    this.registers = new RegisterFile(host.memory);
    const threshold = options.threshold ?? THRESHOLD;
    this.hot = threshold === Number.POSITIVE_INFINITY ? 0x2_0000 : threshold;
    this.tlb = new Tlb(host);
    this.code = new CodePages(host, () => {
      for (const space of this.spaces.values()) space.pages.clear();
    });
    this.units = new Units(host, this.code, {
      eager: this.hot <= 1,
      lean: options.lean ?? true,
      maxPages: MAX_PAGES,
      onForget: () => this.forgetUnits(),
    });
    this.space = new CodeSpace(0);
    this.setSpace(0);

    const { tlb } = this;
    const native: Record<string, WebAssembly.ExportValue> = {
      m: host.memory,
      t: this.units.table,
      load: (low: number, high: number, size: number) => tlb.load(low, high, size),
      store: (low: number, high: number, size: number) => tlb.store(low, high, size),
      amo: (low: number, high: number, size: number) => tlb.amo(low, high, size),
      find: (_area: number, pc: number, what: number) =>
        what === FIND.CAREFUL ? this.makeCareful(pc >>> 0) : this.find(pc >>> 0, what),
      fpuOperation: (op: number, rm: number) => this.floatingPoint(op, rm),
      csrOperation: (csr: number, operation: number) => this.csr(csr, operation),
      syscall: () => this.syscall(),
      badJump: (_area: number, _regs: number, target: bigint) => this.badJump(target),
      instructionFence: () => this.instructionFence(),
      codePage: (pc: number) => this.codePage(pc >>> 0),
      decode: (record: number, pc: number) => this.code.decode(this.space, record >>> 0, pc >>> 0),
    };
    for (const [name, fn] of Object.entries(fastFpuExports())) native[`fast_${name}`] = fn;
    const runtime = new WebAssembly.Instance(runtimeModule(), { e: native });
    this.units.environment = { ...native, ...runtime.exports };
    this.run = runtime.exports.run as (area: number, regs: number) => number;
    const interpreter = new WebAssembly.Instance(interpreterModule(this.hot), { e: this.units.environment });
    this.units.table.set(0, interpreter.exports.f as () => void);
  }

  enter(regs: number): number {
    this.counts.enters++;
    this.registers.at = regs;
    if (this.code.full) this.code.reset();
    const { pc } = this.registers;
    if (pc > 0xffff_ffffn) {
      this.host.badAddress(pc, ACCESS.EXEC);
      return EXIT.FAULT;
    }
    if ((pc & 1n) !== 0n) this.registers.pc = pc & ~1n;
    return this.run(this.area, regs) >> 1;
  }

  tlbFlush(): void {
    this.tlb.flush();
  }

  tlbInvalidate(start: number, end: number): void {
    this.tlb.invalidate(start, end);
  }

  setSpace(number: number): void {
    let space = this.spaces.get(number);
    if (space === undefined) {
      space = new CodeSpace(this.nextSpaceId++);
      if (this.spaces.size === MAX_SPACES) this.spaces.delete(this.spaces.keys().next().value!);
    } else this.spaces.delete(number);
    this.spaces.set(number, space);
    this.space = space;
    this.spaceNumber = number;
    this.words[(this.area + SPACE_TAG) / 4 + 1] = space.id;
  }

  stats(): Record<string, number> {
    return {
      ...this.units.stats(),
      ...this.counts,
      predecoded: this.code.predecoded,
      predecodeResets: this.code.resets,
      tlbMisses: this.tlb.misses,
      pageCrossings: this.tlb.crossings,
      codeSpaces: this.spaces.size,
    };
  }

  /** Table index of the unit at pc, 0 for the interpreter. */
  private find(pc: number, what: number): number {
    this.counts.lookups++;
    let index = this.space.units.get(pc) ?? this.units.known(this.space, pc);
    if (index === 0 && what !== FIND.KNOWN) index = this.units.adopt(this.space, pc);
    if (index === 0 && what === FIND.HOT) index = this.units.translate(this.space, pc);
    this.enterUnit(pc, index);
    return index;
  }

  /** From now on `pc` means the unit at `index` in the current space. */
  private enterUnit(pc: number, index: number): void {
    this.space.units.set(pc, index);
    const entry = (this.area + JUMP_CACHE + ((pc >>> 1) & (JUMP_CACHE_ENTRIES - 1)) * 16) / 4;
    this.words[entry + 2] = index;
    this.words[entry] = pc;
    this.words[entry + 1] = this.space.id;
  }

  /**
   * Units were left thousands of times for the instruction at `pc`. What matters is how soon: a loop over an array that leaves once in a
   * page is still better off than with a form that serves each access by itself.
   */
  private makeCareful(pc: number): number {
    const now = this.host.time();
    const before = this.leftOften.get(pc);
    if (this.leftOften.size === MAX_LEFT_OFTEN) this.leftOften.clear();
    this.leftOften.set(pc, now);
    if (before === undefined || now - before > OFTEN) return 0;
    this.leftOften.delete(pc);
    for (const [entry, index] of this.units.makeCareful(this.space, pc)) this.enterUnit(entry, index);
    return 0;
  }

  private forgetUnits(): void {
    for (const space of this.spaces.values()) space.units.clear();
    const start = (this.area + JUMP_CACHE) / 4;
    this.words.fill(0, start, start + JUMP_CACHE_ENTRIES * 4);
  }

  private syscall(): number {
    const space = this.space;
    const reason = this.host.syscall();
    if (reason !== 0) return reason * 2 + 1;
    // The code may have changed under the unit that made this call: leave it and all its callers.
    if (this.space !== space) return (this.registers.pc32 + 4) | 0;
    return 0;
  }

  private instructionFence(): void {
    this.spaces.delete(this.spaceNumber);
    this.setSpace(this.spaceNumber);
    this.host.instructionFence();
  }

  private badJump(target: bigint): number {
    this.registers.pc = target;
    this.host.badAddress(BigInt.asUintN(64, target), ACCESS.EXEC);
    return EXIT.FAULT * 2 + 1;
  }

  private codePage(pc: number): number {
    const page = this.code.page(this.space, pc);
    if (page === undefined) return 0;
    this.code.cache(this.space, pc, page);
    return page.records | 0;
  }

  private floatingPoint(op: number, rm: number): void {
    const scratch = this.area / 8;
    this.longs[scratch + SCRATCH_RESULT / 8] = fpOp(
      op,
      this.longs[scratch + SCRATCH_A / 8]!,
      this.longs[scratch + SCRATCH_B / 8]!,
      this.longs[scratch + SCRATCH_C / 8]!,
      rm,
    );
    this.registers.fcsr |= takeFpFlags();
  }

  /**
   * Zicsr. `csr` is the number with the rs1 field above it, `operation` is funct3, the register operand is in scratch.
   * Returns 1 and leaves the old value in scratch, or 0 when the instruction is illegal.
   */
  private csr(csr: number, operation: number): number {
    const number = csr & 0xfff;
    const field = (csr >> 12) & 31;
    const old = this.readCsr(number);
    if (old === undefined) return 0;
    const scratch = this.area / 8;
    const operand = operation < 4 ? this.longs[scratch + SCRATCH_A / 8]! : BigInt(field);
    if ((operation & 3) === 1 || field !== 0) {
      if (number > 3) return 0; // the counters are read-only
      const kind = operation & 3;
      const value = kind === 1 ? operand : kind === 2 ? old | operand : old & ~operand;
      this.writeCsr(number, Number(value & 0xffn));
    }
    this.longs[scratch + SCRATCH_RESULT / 8] = old;
    return 1;
  }

  private readCsr(number: number): bigint | undefined {
    const fcsr = this.registers.fcsr & 0xff;
    switch (number) {
      case 1: // fflags
        return BigInt(fcsr & FFLAGS_MASK);
      case 2: // frm
        return BigInt(fcsr >> FRM_SHIFT);
      case 3: // fcsr
        return BigInt(fcsr);
      case 0xc00: // cycle, time and instret all tell the time
      case 0xc01:
      case 0xc02:
        return BigInt.asIntN(64, this.host.time());
      default:
        return undefined;
    }
  }

  private writeCsr(number: number, value: number): void {
    const { registers } = this;
    const { fcsr } = registers;
    if (number === 1) registers.fcsr = (fcsr & ~FFLAGS_MASK & 0xff) | (value & FFLAGS_MASK);
    else if (number === 2) registers.fcsr = (fcsr & FFLAGS_MASK) | ((value & 7) << FRM_SHIFT);
    else registers.fcsr = value & 0xff;
  }
}
