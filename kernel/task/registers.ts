/**
 * The registers of a task, in RAM. `regs` is the byte address of its register file (Task.regs), whose layout is USER_REGS of
 * usermode.ts: the engine reads and writes it too. No lock: they belong to the CPU that runs the task, or is making it.
 */
import { ram } from "../mm/ram.ts";
import { USER_REGS, xAt } from "../usermode.ts";

/** Integer registers by the names of the calling convention. */
export const X_RA = 1;
export const X_SP = 2;
export const X_TP = 4;
/** The first of a0..a5: arguments of a system call; its result. */
export const X_A0 = 10;
/** The number of a system call. */
export const X_A7 = 17;

/** Bytes of an ecall instruction: it has no compressed form. */
export const ECALL_BYTES = 4;

/** Words from the start of a register file to a0 and a7. */
export const A0_WORD: number = xAt(X_A0) / 4;
export const A7_WORD: number = xAt(X_A7) / 4;

/** Reads a register as an unsigned number; exact below 2^53. */
export function getReg(regs: number, x: number): number {
  return getWide(regs + xAt(x));
}
/** Writes a non-negative number below 2^53, or a negative one sign-extended. */
export function setReg(regs: number, x: number, value: number): void {
  setWide(regs + xAt(x), value);
}
export const getPc = (regs: number): number => getWide(regs + USER_REGS.PC);
export const setPc = (regs: number, value: number): void => setWide(regs + USER_REGS.PC, value);

function getWide(address: number): number {
  return ram.u32[address / 4]! + ram.u32[address / 4 + 1]! * 4294967296;
}

function setWide(address: number, value: number): void {
  ram.i32[address / 4] = value | 0;
  ram.i32[address / 4 + 1] = Math.floor(value / 4294967296) | 0;
}

/** An sc fails unless a new lr comes before it. */
export function clearReservation(regs: number): void {
  ram.i32[(regs + USER_REGS.RESERVATION) / 4] = -1;
}

/** The registers of a program that starts. */
export function resetRegisters(regs: number, entry: number, sp: number): void {
  ram.u8.fill(0, regs, regs + USER_REGS.BYTES);
  clearReservation(regs);
  setPc(regs, entry);
  setReg(regs, X_SP, sp);
}

/** A clone starts with the registers of its parent, but not with its reservation. */
export function copyRegisters(to: number, from: number): void {
  ram.u8.copyWithin(to, from, from + USER_REGS.BYTES);
  clearReservation(to);
}

/** struct sigcontext of riscv64 up to the state of D (arch/riscv UAPI sigcontext.h, ptrace.h): pc, x1..x31, f0..f31, fcsr. */
const CONTEXT_F = 32 * 8;
const F_BYTES = 32 * 8 + 4;
export const CONTEXT_BYTES: number = CONTEXT_F + F_BYTES;

/** Writes the registers to `context` as a signal frame has them. */
export function saveContext(regs: number, context: Uint8Array): void {
  context.set(ram.u8.subarray(regs + USER_REGS.PC, regs + USER_REGS.PC + 8));
  context.set(ram.u8.subarray(regs + xAt(1), regs + xAt(32)), 8);
  context.set(ram.u8.subarray(regs + USER_REGS.F, regs + USER_REGS.F + F_BYTES), CONTEXT_F);
}

/** Takes the registers back from there. Of fcsr only frm and fflags exist, and a program counter is even. */
export function loadContext(regs: number, context: Uint8Array): void {
  ram.u8.set(context.subarray(0, 8), regs + USER_REGS.PC);
  ram.u8.set(context.subarray(8, CONTEXT_F), regs + xAt(1));
  ram.u8.set(context.subarray(CONTEXT_F, CONTEXT_BYTES), regs + USER_REGS.F);
  ram.i32[(regs + USER_REGS.FCSR) / 4] &= 0xff;
  ram.i32[(regs + USER_REGS.PC) / 4] &= ~1;
  clearReservation(regs);
}
