/** rt_sigaction(2), sigaltstack(2), rt_sigreturn(2). */
import { copyFromUser, copyToUser } from "../../kernel/mm/uaccess.ts";
import { NO_RETURN } from "../../kernel/sched/block.ts";
import { altStackStatus, onAltStack, restored, restoreFrame } from "../../kernel/signal/frame.ts";
import { setMask } from "../../kernel/signal/mask.ts";
import { flushPending } from "../../kernel/signal/pending.ts";
import { forceFault, forEachThread } from "../../kernel/signal/send.ts";
import { getAction, isIgnored, setAction } from "../../kernel/signal/sighand.ts";
import { sigBit } from "../../kernel/signal/sigset.ts";
import { getReg, X_SP } from "../../kernel/task/registers.ts";
import { Group, Task } from "../../kernel/task/task.ts";
import { EFAULT, EINVAL, ENOMEM, EPERM } from "../../kernel/uapi/errno.ts";
import {
  MINSIGSTKSZ,
  SI_KERNEL,
  SIGKILL,
  SIGSEGV,
  SIGSTOP,
  SS_AUTODISARM,
  SS_DISABLE,
  SS_ONSTACK,
} from "../../kernel/uapi/signal.ts";
import type { Ref } from "../../rcu/index.ts";
import { ptr, signal, size } from "../args.ts";
import { syscall } from "../syscall.ts";

/** struct sigaction of riscv64: handler 8, flags 8, mask 8; no restorer. */
const SIGACTION_BYTES = 24;
export const SIGSET_BYTES = 8;

export const rtSigaction = syscall({
  nr: 134,
  name: "rt_sigaction",
  args: [signal, ptr, ptr, size],
  handler(task, signo, act, old, bytes) {
    if (bytes !== SIGSET_BYTES) return -EINVAL;
    const raw = act === 0 ? null : copyFromUser(act, SIGACTION_BYTES);
    if (act !== 0 && raw === null) return -EFAULT;
    if (signo < 1 || (act !== 0 && (signo === SIGKILL || signo === SIGSTOP))) return -EINVAL;
    const group = Task.group.get(task);
    const sighand = Group.sighand.load(group);
    const held = Group.lock.lock(group);
    const before = getAction(sighand, signo);
    if (raw !== null) {
      const view = new DataView(raw.buffer, raw.byteOffset, SIGACTION_BYTES);
      setAction(sighand, signo, {
        handler: view.getUint32(0, true) + view.getUint32(4, true) * 4294967296,
        flags: view.getInt32(8, true),
        maskLow: view.getInt32(16, true),
        maskHigh: view.getInt32(20, true),
      });
      // POSIX: what is ignored now is not pending any more.
      if (isIgnored(sighand, signo)) {
        const [low, high] = signo <= 32 ? [sigBit(signo), 0] : [0, sigBit(signo)];
        flushPending(held, Group, group, low, high);
        forEachThread(held, group, (thread) => flushPending(held, Task, thread, low, high));
      }
    }
    Group.lock.unlock(group);
    if (old === 0) return 0;
    const out = new DataView(new ArrayBuffer(SIGACTION_BYTES));
    out.setBigUint64(0, BigInt(before.handler), true);
    out.setUint32(8, before.flags >>> 0, true);
    out.setInt32(16, before.maskLow, true);
    out.setInt32(20, before.maskHigh, true);
    return copyToUser(old, new Uint8Array(out.buffer)) < 0 ? -EFAULT : 0;
  },
});

const STACK_BYTES = 24;

export const sigaltstack = syscall({
  nr: 132,
  name: "sigaltstack",
  args: [ptr, ptr],
  fullRegs: true,
  handler(task, next, old) {
    const sp = getReg(Task.regs.get(task), X_SP);
    const raw = next === 0 ? null : copyFromUser(next, STACK_BYTES);
    if (next !== 0 && raw === null) return -EFAULT;
    const before = new DataView(new ArrayBuffer(STACK_BYTES));
    before.setBigUint64(0, BigInt(Task.altStack.get(task)), true);
    before.setInt32(8, altStackStatus(task, sp), true);
    before.setBigUint64(16, BigInt(Task.altStackSize.get(task)), true);
    if (raw !== null) {
      const view = new DataView(raw.buffer, raw.byteOffset, STACK_BYTES);
      const failed = setAltStack(
        task,
        sp,
        Number(view.getBigUint64(0, true)),
        view.getInt32(8, true),
        Number(view.getBigUint64(16, true)),
      );
      if (failed < 0) return failed;
    }
    if (old === 0) return 0;
    return copyToUser(old, new Uint8Array(before.buffer)) < 0 ? -EFAULT : 0;
  },
});

function setAltStack(task: Ref<"task">, sp: number, start: number, flags: number, bytes: number): number {
  if (onAltStack(task, sp)) return -EPERM;
  const mode = flags & ~SS_AUTODISARM;
  if (mode !== SS_DISABLE && mode !== SS_ONSTACK && mode !== 0) return -EINVAL;
  // Nothing changes: then the size may be what it is.
  const [oldStart, oldBytes] = [Task.altStack.get(task), Task.altStackSize.get(task)];
  if (start === oldStart && bytes === oldBytes && flags === Task.altStackFlags.get(task)) return 0;
  if (mode === SS_DISABLE) {
    Task.altStack.set(task, 0);
    Task.altStackSize.set(task, 0);
  } else {
    if (bytes < MINSIGSTKSZ) return -ENOMEM;
    Task.altStack.set(task, start);
    Task.altStackSize.set(task, bytes);
  }
  Task.altStackFlags.set(task, flags);
  return 0;
}

export const rtSigreturn = syscall({
  nr: 139,
  name: "rt_sigreturn",
  args: [],
  fullRegs: true,
  handler(task) {
    if (restoreFrame(task) < 0) {
      forceFault(task, SIGSEGV, SI_KERNEL, 0);
      return NO_RETURN;
    }
    setMask(task, restored.maskLow, restored.maskHigh);
    const regs = Task.regs.get(task);
    // Errors are ignored, as in Linux: the stack that was saved may be gone.
    const { altStack, altStackFlags, altStackSize } = restored;
    setAltStack(task, getReg(regs, X_SP), altStack, altStackFlags & ~SS_ONSTACK, altStackSize);
    return NO_RETURN;
  },
});
