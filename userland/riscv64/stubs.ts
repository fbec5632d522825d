import { type Signature, signatureOf, TYPE } from "./wasm/types.ts";

const { I32, I64, F32, F64 } = TYPE;

/** Every piece of generated guest code: (area, regs, pc, depth) -> even next pc, or exit reason * 2 + 1. */
export const UNIT = signatureOf([I32, I32, I32, I32], [I32]);
export type Unit = typeof UNIT;

/** What `find` is asked for. */
export const FIND = {
  /** What there is. */
  KNOWN: 0,
  /** What there is here or on another CPU. */
  PUBLISHED: 1,
  /** A translation, made now if need be. */
  HOT: 2,
  /** Nothing: the units that hold the instruction at pc had better serve its accesses themselves. */
  CAREFUL: 3,
} as const;

/** What generated code may call: wasm stubs and JavaScript functions of this CPU, by name. */
export const STUBS = {
  /** (area, va, bytes) -> host address, 0 when the access is a fault. */
  slowLoad: { params: [I32, I64, I32], results: [I32] },
  /** (area, va, value, bytes) -> host address, 0 when the access is a fault. */
  slowStore: { params: [I32, I64, I64, I32], results: [I32] },
  /** (area, va, bytes) -> host address, 0 when the access is a fault or misaligned. */
  slowAmo: { params: [I32, I64, I32], results: [I32] },
  /** (area, pc, FIND) -> index in the table of units; 0 is the interpreter. */
  find: { params: [I32, I32, I32], results: [I32] },
  /** () -> 0, or what the function has to return. The register file holds a0..a7 and the pc. */
  syscall: { params: [], results: [I32] },
  /** A jump to an address beyond 4 GiB: records the fault. */
  badJump: { params: [I32, I32, I64], results: [I32] },
  /** fence.i: forget code. */
  instructionFence: { params: [], results: [] },
  /** (area, csr number, operation, operand) -> old value, in SCRATCH_RESULT; returns 0 when there is no such CSR. */
  csr: { params: [I32, I32, I32, I64], results: [I32] },
  /** (area, regs, op, rm, a, b, c) -> bits: exact floating point, flags accrued. */
  fpu: { params: [I32, I32, I32, I32, I64, I64, I64], results: [I64] },
  /** (area, regs, rm, operands) -> result: the same for common operations, without JavaScript in common cases. */
  fadd_s: { params: [I32, I32, I32, F32, F32], results: [F32] },
  fadd_d: { params: [I32, I32, I32, F64, F64], results: [F64] },
  fsub_s: { params: [I32, I32, I32, F32, F32], results: [F32] },
  fsub_d: { params: [I32, I32, I32, F64, F64], results: [F64] },
  fmul_s: { params: [I32, I32, I32, F32, F32], results: [F32] },
  fmul_d: { params: [I32, I32, I32, F64, F64], results: [F64] },
  fdiv_s: { params: [I32, I32, I32, F32, F32], results: [F32] },
  fdiv_d: { params: [I32, I32, I32, F64, F64], results: [F64] },
  fsqrt_s: { params: [I32, I32, I32, F32], results: [F32] },
  fsqrt_d: { params: [I32, I32, I32, F64], results: [F64] },
  fmadd_s: { params: [I32, I32, I32, F32, F32, F32], results: [F32] },
  fmadd_d: { params: [I32, I32, I32, F64, F64, F64], results: [F64] },
  /** Upper half of the unsigned product. */
  mulhu: { params: [I64, I64], results: [I64] },
  /** (pc) -> byte address of the predecoded page, 0 when it can't be fetched. */
  codePage: { params: [I32], results: [I32] },
  /** (record, pc) -> record to execute, 0 when it can't be fetched. */
  decode: { params: [I32, I32], results: [I32] },
} as const satisfies Record<string, Signature>;

export type StubName = keyof typeof STUBS;
