/**
 * The signal frame of riscv64 Linux: struct rt_sigframe { siginfo_t info; struct ucontext uc; } on the user's stack,
 * where the mcontext is pc, x1..x31, then f0..f31 and fcsr (arch/riscv UAPI headers: sigcontext.h, ucontext.h).
 *
 * The registers of a TypeScript program say which code of the host runs: they are saved in the kernel's heap instead.
 */
import type { Ref } from "../../rcu/index.ts";
import { VDSO_BASE } from "../mm/mm.ts";
import { copyFromUser, copyToUser } from "../mm/uaccess.ts";
import { popProgramFrame, pushProgramFrame } from "../task/program.ts";
import {
  CONTEXT_BYTES,
  clearReservation,
  getReg,
  loadContext,
  saveContext,
  setPc,
  setReg,
  X_A0,
  X_RA,
  X_SP,
} from "../task/registers.ts";
import { KIND_PROGRAM, Task } from "../task/task.ts";
import { EFAULT } from "../uapi/errno.ts";
import { SA_ONSTACK, SIGINFO_BYTES, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK } from "../uapi/signal.ts";
import { INFO_WORDS, type SigInfo } from "./pending.ts";

const UC = SIGINFO_BYTES;
const UC_STACK = UC + 16;
const UC_SIGMASK = UC + 40;
const UC_MCONTEXT = UC + 176;
/** The integer registers, and the union of the floating-point states, whose largest member is the one of Q. */
const FRAME_BYTES = UC_MCONTEXT + 32 * 8 + 528;

const frame = new Uint8Array(FRAME_BYTES);
const view = new DataView(frame.buffer);
const context = frame.subarray(UC_MCONTEXT, UC_MCONTEXT + CONTEXT_BYTES);

/** Whether the stack pointer is on the alternate stack. */
export function onAltStack(task: Ref<"task">, sp: number): boolean {
  if ((Task.altStackFlags.get(task) & SS_AUTODISARM) !== 0) return false;
  const start = Task.altStack.get(task);
  return sp > start && sp <= start + Task.altStackSize.get(task);
}

/** What sigaltstack(2) reports as ss_flags. */
export function altStackStatus(task: Ref<"task">, sp: number): number {
  if (Task.altStackSize.get(task) === 0) return SS_DISABLE;
  return (onAltStack(task, sp) ? SS_ONSTACK : 0) | (Task.altStackFlags.get(task) & SS_AUTODISARM);
}

/**
 * Makes the task's registers enter the handler, with the frame on its stack. `maskLow`, `maskHigh`: the mask to go back to.
 * -EFAULT when the stack cannot hold the frame.
 */
export function setupFrame(
  task: Ref<"task">,
  info: SigInfo,
  handler: number,
  flags: number,
  maskLow: number,
  maskHigh: number,
): number {
  const regs = Task.regs.get(task);
  if (Task.kind.get(task) === KIND_PROGRAM) {
    if (!pushProgramFrame(task, maskLow, maskHigh)) return -EFAULT;
    setReg(regs, X_A0, info[0]!);
    setPc(regs, handler);
    return 0;
  }
  const sp = getReg(regs, X_SP);
  let top = sp;
  const onStack = onAltStack(task, sp);
  if ((flags & SA_ONSTACK) !== 0 && !onStack && Task.altStackSize.get(task) !== 0)
    top = Task.altStack.get(task) + Task.altStackSize.get(task);
  const base = Math.floor((top - FRAME_BYTES) / 16) * 16;
  // On the alternate stack the frame must fit; below its start lies what is not ours.
  if (base < 0 || (onStack && base < Task.altStack.get(task))) return -EFAULT;

  frame.fill(0);
  for (let n = 0; n < INFO_WORDS; n++) view.setInt32(4 * n, info[n]!, true);
  putWide(UC_STACK, Task.altStack.get(task));
  view.setInt32(UC_STACK + 8, Task.altStackFlags.get(task), true);
  putWide(UC_STACK + 16, Task.altStackSize.get(task));
  view.setInt32(UC_SIGMASK, maskLow, true);
  view.setInt32(UC_SIGMASK + 4, maskHigh, true);
  saveContext(regs, context);
  if (copyToUser(base, frame) < 0) return -EFAULT;

  if ((Task.altStackFlags.get(task) & SS_AUTODISARM) !== 0) {
    Task.altStack.set(task, 0);
    Task.altStackSize.set(task, 0);
    Task.altStackFlags.set(task, 0);
  }
  setReg(regs, X_SP, base);
  setReg(regs, X_RA, VDSO_BASE);
  setReg(regs, X_A0, info[0]!);
  setReg(regs, X_A0 + 1, base);
  setReg(regs, X_A0 + 2, base + UC);
  setPc(regs, handler);
  clearReservation(regs);
  return 0;
}

function putWide(offset: number, value: number): void {
  view.setUint32(offset, value >>> 0, true);
  view.setUint32(offset + 4, Math.floor(value / 4294967296), true);
}

/** Results of restoreFrame: the signal mask, and the alternate stack that was in force. */
export const restored = { maskLow: 0, maskHigh: 0, altStack: 0, altStackFlags: 0, altStackSize: 0 };

/** rt_sigreturn: takes the registers back from the frame at sp. -EFAULT when it cannot be read. */
export function restoreFrame(task: Ref<"task">): number {
  const regs = Task.regs.get(task);
  if (Task.kind.get(task) === KIND_PROGRAM) {
    restored.altStack = Task.altStack.get(task);
    restored.altStackFlags = Task.altStackFlags.get(task);
    restored.altStackSize = Task.altStackSize.get(task);
    return popProgramFrame(task, restored) ? 0 : -EFAULT;
  }
  const bytes = copyFromUser(getReg(regs, X_SP), FRAME_BYTES);
  if (bytes === null) return -EFAULT;
  const from = new DataView(bytes.buffer, bytes.byteOffset, FRAME_BYTES);
  loadContext(regs, bytes.subarray(UC_MCONTEXT, UC_MCONTEXT + CONTEXT_BYTES));
  restored.maskLow = from.getInt32(UC_SIGMASK, true);
  restored.maskHigh = from.getInt32(UC_SIGMASK + 4, true);
  restored.altStack = Number(from.getBigUint64(UC_STACK, true));
  restored.altStackFlags = from.getInt32(UC_STACK + 8, true);
  restored.altStackSize = Number(from.getBigUint64(UC_STACK + 16, true));
  return 0;
}
