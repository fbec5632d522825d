import { TLB_INDEX, TLB_LOAD, TLB_STORE } from "./layout.ts";
import { AREA, HOST, Q0, REGS, T0, VA } from "./locals.ts";
import { accrue, storePc } from "./register-file.ts";
import type { STUBS, StubName } from "./stubs.ts";
import type { Code, Label } from "./wasm/code.ts";
import {
  type F32,
  type F64,
  type Func,
  type I32,
  type I64,
  type Operands,
  PUSHED,
  type Result,
} from "./wasm/types.ts";

/** An operand field of an instruction. */
export type Source = "rs1" | "rs2" | "rs3";

/** What an access is for: it selects the TLB and the slow path. */
export type Access = "load" | "store" | "amo";

/** The upper half of a register that holds a single. */
export const BOX = -0x1_0000_0000;

/**
 * What the table of semantics emits code through. The interpreter's emitter finds operands by the fields of a
 * predecoded record, the translator's has them as constants and locals; everything else is the same code.
 */
export abstract class Emitter {
  readonly c: Code;
  readonly i32: Code["i32"];
  readonly i64: Code["i64"];
  readonly f32: Code["f32"];
  readonly f64: Code["f64"];
  /** One body serves every operand: operand fields are not known when the code is made. */
  abstract readonly interpreted: boolean;
  /** Whether the machine that will run the code has a fused multiply-add. */
  readonly hasFused: boolean;

  constructor(code: Code, hasFused: boolean) {
    this.c = code;
    this.hasFused = hasFused;
    this.i32 = code.i32;
    this.i64 = code.i64;
    this.f32 = code.f32;
    this.f64 = code.f64;
  }

  /** An integer register. */
  abstract x(source: Source): I64;
  /** What is written before the value of rd or frd, and what stores the value. */
  protected abstract beginRd(): void;
  protected abstract endRd(value: I64): void;
  protected abstract endFd(value: F64): void;
  /** The immediate. */
  abstract imm(): I64;
  /** A floating-point register's 64 bits. */
  abstract f(source: Source): F64;
  /** The pc of this instruction, or of the next one. */
  abstract pc(): I64;
  abstract nextPc(): I64;
  /** Leaves with an EXIT reason, the pc on this instruction. */
  abstract leave(reason: number): void;
  /** Leaves because the kernel found this instruction's access to be a fault. */
  abstract fault(): void;
  /** Returns `result` from the function; everything is spilled on the way. */
  abstract exit(result: I32): void;
  /** Writes to the register file what the kernel may look at during a syscall, and re-reads a0 after it. */
  abstract spillForSyscall(): void;
  abstract reloadAfterSyscall(): void;
  /** The rounding mode field when it is known now. */
  abstract staticRm(): number | undefined;
  /** The rounding mode field. */
  abstract rm(): I32;
  /** 1 when rounding is to nearest even and NX is already set in fflags. */
  abstract fastRounding(): I32;
  /** Function index of an imported stub. */
  abstract stub<K extends StubName>(name: K): Func<(typeof STUBS)[K]>;
  /** Whether the upper half of a base register needs no check; remembers that it is about to be checked. */
  abstract baseChecked(source: Source): boolean;

  call<K extends StubName>(name: K, ...operands: Operands<(typeof STUBS)[K]>): Result<(typeof STUBS)[K]>;
  call(name: StubName): never {
    return this.c.callIndex(this.stub(name));
  }

  /** The low 32 bits of a register. */
  w(source: Source): I32 {
    return this.i32.wrapI64(this.x(source));
  }

  // Rows pass functions that take the emitter, so that nothing is allocated for each instruction that is translated.

  /** rd = `value`, which always runs at run time: it may have side effects. */
  rd(value: (e: Emitter) => I64): void {
    this.beginRd();
    this.endRd(value(this));
  }

  /** rd = the sign-extended `value`. */
  rdW(value: (e: Emitter) => I32): void {
    this.beginRd();
    this.endRd(this.i64.extendI32S(value(this)));
  }

  /** frd = `value`. */
  fd(value: (e: Emitter) => F64): void {
    this.beginRd();
    this.endFd(value(this));
  }

  /** A floating-point register's bits. */
  bits(source: Source): I64 {
    return this.i64.reinterpretF64(this.f(source));
  }

  /** A single: the canonical NaN when the register is not NaN-boxed. */
  s(source: Source): F32 {
    const { c, i32, i64, f32 } = this;
    return f32.reinterpretI32(
      i32.select(
        i32.wrapI64(c.tee(Q0, this.bits(source))),
        i32.const(0x7fc00000),
        i64.eq(i64.shrS(c.get(Q0), 32), -1),
      ),
    );
  }

  /** The f64 that holds the bits of a single. */
  box(bits: I32): F64 {
    return this.f64.reinterpretI64(this.i64.or(this.i64.extendI32U(bits), BOX));
  }

  /** ORs constant flags into fflags. */
  raise(flags: number): void {
    accrue(this.c, REGS, () => this.i32.const(flags));
  }

  storePc(): void {
    storePc(this.c, () => this.pc());
  }

  /** rs1 + imm. */
  effectiveAddress(): I64 {
    return this.i64.add(this.x("rs1"), this.imm());
  }

  /** What `read` reads from the host address and offset of the access at rs1 + imm, of 1 << `log2` bytes. Leaves when it is a fault. */
  load<T>(log2: number, read: (e: Emitter, at: I32, offset: number) => T): T {
    const offset = this.hostAddress("load", log2);
    return read(this, PUSHED, offset);
  }

  /**
   * Has `write` store the low 1 << `log2` bytes of `value` at rs1 + imm; leaves when it is a fault. Both write the value: if the access
   * crosses a page, the slow path stores it, and what `write` writes to is a place to be ignored.
   */
  store(
    log2: number,
    value: (e: Emitter) => I64,
    write: (e: Emitter, at: I32, offset: number) => void,
  ): void {
    const offset = this.hostAddress("store", log2, value);
    write(this, PUSHED, offset);
  }

  /** The host address of the access of an atomic instruction, at rs1; also in HOST, and the virtual one in VA. Leaves when it is a fault. */
  atomicAddress(log2: number): I32 {
    this.hostAddress("amo", log2);
    return PUSHED;
  }

  /** Pushes the host address of an access, through the TLB. Returns the static offset that the access has to add. */
  protected hostAddress(access: Access, log2: number, value?: (e: Emitter) => I64): number {
    const { c, i32 } = this;
    c.set(VA, access === "amo" ? this.x("rs1") : this.effectiveAddress());
    const checked = this.baseChecked("rs1");
    c.block((ok) => {
      c.block((slow) => {
        if (!checked) this.checkUpperHalf(slow);
        const index = () =>
          i32.and(i32.rotr(c.tee(HOST, i32.wrapI64(c.get(VA))), 10), TLB_INDEX | (((1 << log2) - 1) << 22));
        const table = access === "load" ? TLB_LOAD : TLB_STORE;
        c.brIf(slow, c.unlikely(i32.eqz(c.tee(T0, i32.load(i32.add(index(), c.get(AREA)), table)))));
        c.set(HOST, i32.add(c.get(HOST), c.get(T0)));
        c.br(ok);
      });
      this.slowAccess(access, log2, value);
    });
    c.get(HOST);
    return 0;
  }

  /** Branches when VA is not below 4 GiB. */
  private checkUpperHalf(slow: Label): void {
    const { c, i32, i64 } = this;
    c.brIf(slow, c.unlikely(i32.wrapI64(i64.shrU(c.get(VA), 32))));
  }

  /** HOST = what the stub for this access at VA returns; leaves when it is a fault. */
  private slowAccess(access: Access, log2: number, value?: (e: Emitter) => I64): void {
    const { c, i32 } = this;
    const bytes = 1 << log2;
    const address = () => {
      if (access === "load") return this.call("slowLoad", c.get(AREA), c.get(VA), i32.const(bytes));
      if (access === "amo") return this.call("slowAmo", c.get(AREA), c.get(VA), i32.const(bytes));
      return this.call("slowStore", c.get(AREA), c.get(VA), value!(this), i32.const(bytes));
    };
    c.if(c.unlikely(i32.eqz(c.tee(HOST, address()))), () => this.fault());
  }
}
