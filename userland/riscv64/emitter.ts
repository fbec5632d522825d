import { USER_REGS } from "../../kernel/usermode.ts";
import { TLB_INDEX, TLB_LOAD, TLB_STORE } from "./layout.ts";
import type { StubName } from "./stubs.ts";
import type { Code } from "./wasm/code.ts";
import { CTL, F32, F64, I32, I64, TYPE } from "./wasm/opcodes.ts";

/** An operand field of an instruction. */
export type Source = "rs1" | "rs2" | "rs3";

// Locals that every generated function has: its four parameters, then scratch.
export const AREA = 0;
export const REGS = 1;
export const PC = 2;
export const DEPTH = 3;
export const T0 = 4;
export const T1 = 5;
/** Host address of the access in progress. */
export const HOST = 6;
/** Result of the function: an even next pc, or exit reason * 2 + 1. */
export const CODE = 7;
/** Virtual address of the access in progress. */
export const VA = 8;
export const Q0 = 9;
export const Q1 = 10;
export const Q2 = 11;
export const D0 = 12;
export const D1 = 13;
export const D2 = 14;
export const S0 = 15;
export const S1 = 16;
export const S2 = 17;
export const FIRST_FREE_LOCAL = 18;

/** Declaration of the scratch locals above, to follow the four i32 parameters. */
export const SCRATCH_LOCALS: ReadonlyArray<readonly [number, number]> = [
  [4, TYPE.I32],
  [4, TYPE.I64],
  [3, TYPE.F64],
  [3, TYPE.F32],
];

/** What an access is for: it selects the TLB and the slow path. */
export type Access = "load" | "store" | "amo";

const BOX = -0x1_0000_0000;

/**
 * What the table of semantics emits code through. The interpreter's emitter finds operands by the fields of a
 * predecoded record, the translator's has them as constants and locals; everything else is the same code.
 */
export abstract class Emitter {
  abstract readonly c: Code;
  /** One body serves every operand: operand fields are not known when the code is made. */
  abstract readonly interpreted: boolean;

  /** Pushes an integer register as i64. */
  abstract x(source: Source): void;
  /** Stores the i64 that `value` pushes into rd. `value` always runs at run time: it may have side effects. */
  abstract rd(value: () => void): void;
  /** Pushes the immediate as i64. */
  abstract imm(): void;
  /** Pushes a floating-point register's 64 bits as f64. */
  abstract f(source: Source): void;
  /** Stores the f64 that `value` pushes into frd. */
  abstract fd(value: () => void): void;
  /** Pushes the pc of this instruction, or of the next one, as i64. */
  abstract pc(): void;
  abstract nextPc(): void;
  /** Leaves with an EXIT reason, the pc on this instruction. */
  abstract leave(reason: number): void;
  /** Leaves because the kernel found this instruction's access to be a fault. */
  abstract fault(): void;
  /** Returns from the function with the i32 on the stack; everything is spilled on the way. */
  abstract exit(): void;
  /** Returns with the i32 on the stack without touching the register file: the kernel has changed it. */
  abstract exitUntouched(): void;
  /** Writes to the register file what the kernel may look at during a syscall, and re-reads a0 after it. */
  abstract spillForSyscall(): void;
  abstract reloadAfterSyscall(): void;
  /** The rounding mode field when it is known now. */
  abstract staticRm(): number | undefined;
  /** Pushes the rounding mode field (i32). */
  abstract rm(): void;
  /** Pushes an i32 that is 1 when rounding is to nearest even and NX is already set in fflags. */
  abstract fastRounding(): void;
  /** Function index of an imported stub. */
  abstract stub(name: StubName): number;
  /** Whether the upper half of a base register needs no check; remembers that it is about to be checked. */
  abstract baseChecked(source: Source): boolean;

  call(name: StubName): void {
    this.c.call(this.stub(name));
  }

  /** Pushes the low 32 bits of a register. */
  w(source: Source): void {
    this.x(source);
    this.c.op(I32.WRAP_I64);
  }

  /** Stores the sign-extended i32 that `value` pushes into rd. */
  rdW(value: () => void): void {
    this.rd(() => {
      value();
      this.c.op(I64.EXTEND_I32_S);
    });
  }

  /** Pushes a floating-point register's bits as i64. */
  bits(source: Source): void {
    this.f(source);
    this.c.op(I64.REINTERPRET_F64);
  }

  /** Pushes a single: the canonical NaN when the register is not NaN-boxed. */
  s(source: Source): void {
    const c = this.c;
    this.bits(source);
    c.tee(Q0);
    c.op(I32.WRAP_I64);
    c.i32(0x7fc00000);
    c.get(Q0);
    c.i64(32);
    c.op(I64.SHR_S);
    c.i64(-1);
    c.op(I64.EQ, CTL.SELECT, F32.REINTERPRET_I32);
  }

  /** NaN-boxes the f32 that `value` pushes into frd. */
  sd(value: () => void): void {
    this.fd(() => {
      value();
      this.c.op(I32.REINTERPRET_F32);
      this.box();
    });
  }

  /** i32 bits of a single to the f64 that holds it. */
  box(): void {
    this.c.op(I64.EXTEND_I32_U);
    this.c.i64(BOX);
    this.c.op(I64.OR, F64.REINTERPRET_I64);
  }

  /** ORs constant flags into fflags. */
  raise(flags: number): void {
    const c = this.c;
    c.get(REGS);
    c.get(REGS);
    c.memory(I32.LOAD, USER_REGS.FCSR);
    c.i32(flags);
    c.op(I32.OR);
    c.memory(I32.STORE, USER_REGS.FCSR);
  }

  storePc(): void {
    this.c.get(REGS);
    this.pc();
    this.c.memory(I64.STORE, USER_REGS.PC);
  }

  /** Pushes rs1 + imm. */
  effectiveAddress(): void {
    this.x("rs1");
    this.imm();
    this.c.op(I64.ADD);
  }

  /**
   * Pushes the host address (i32) of the access at rs1 + imm (rs1 alone for amo), through the TLB; leaves with a fault when there
   * is none. For a store that crosses a page the slow path stores `value` itself and returns a place to be ignored.
   * Returns the static offset that the access has to add.
   */
  hostAddress(access: Access, log2: number, value?: () => void): number {
    const c = this.c;
    if (access === "amo") this.x("rs1");
    else this.effectiveAddress();
    c.set(VA);
    const checked = this.baseChecked("rs1");
    const ok = c.block();
    const slow = c.block();
    if (!checked) this.checkUpperHalf(slow);
    c.get(VA);
    c.op(I32.WRAP_I64);
    c.tee(HOST);
    c.i32(10);
    c.op(I32.ROTR);
    c.i32(TLB_INDEX | (((1 << log2) - 1) << 22) | 0);
    c.op(I32.AND);
    this.addEntryAt(access !== "load", slow);
    c.br(ok);
    c.end(); // slow
    this.slowAccess(access, log2, value);
    c.end();
    c.get(HOST);
    return 0;
  }

  /** Branches when VA is not below 4 GiB. */
  protected checkUpperHalf(slow: number): void {
    const c = this.c;
    c.get(VA);
    c.i64(32);
    c.op(I64.SHR_U, I32.WRAP_I64);
    c.unlikely();
    c.brIf(slow);
  }

  /** HOST += the TLB entry whose byte index is on the stack; branches when it is invalid. */
  private addEntryAt(write: boolean, slow: number): void {
    const c = this.c;
    c.get(AREA);
    c.op(I32.ADD);
    c.memory(I32.LOAD, write ? TLB_STORE : TLB_LOAD);
    c.tee(T0);
    c.op(I32.EQZ);
    c.unlikely();
    c.brIf(slow);
    c.get(HOST);
    c.get(T0);
    c.op(I32.ADD);
    c.set(HOST);
  }

  /** HOST = what the stub for this access at VA returns; leaves when it is a fault. */
  protected slowAccess(access: Access, log2: number, value?: () => void): void {
    const c = this.c;
    c.get(AREA);
    c.get(VA);
    if (access === "store") value!();
    c.i32(1 << log2);
    this.call(access === "load" ? "slowLoad" : access === "store" ? "slowStore" : "slowAmo");
    c.tee(HOST);
    c.op(I32.EQZ);
    c.unlikely();
    c.if();
    this.fault();
    c.end();
  }
}
