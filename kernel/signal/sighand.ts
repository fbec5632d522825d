/** Signal handlers of a process: shared by its threads, and with CLONE_SIGHAND. */
import { atomic, kfreeRcu, type Ref, spinlock, struct, tryAlloc, words } from "../../rcu/index.ts";
import { Group, Task } from "../task/task.ts";
import { NSIG, SA_RESETHAND, SIG_DFL, SIG_IGN, SIGCONT, SIGKILL, SIGSTOP } from "../uapi/signal.ts";
import { DEFAULT_IGNORED, sigBit } from "./sigset.ts";

/** Words of one action: handler (2), flags, unused, mask (2). */
const ACTION_WORDS = 6;

export const Sighand = struct("sighand", {
  refcount: atomic(),
  /** Innermost: makes an action one thing, whichever of the groups that share the handlers looks at it. */
  lock: spinlock(70),
  /** Under the lock; the handler alone may be looked at without it, as a hint. */
  actions: words((NSIG + 1) * ACTION_WORDS),
});

/** struct sigaction as the kernel sees it. */
export interface Action {
  /** SIG_DFL, SIG_IGN or an address. */
  handler: number;
  flags: number;
  maskLow: number;
  maskHigh: number;
}

/** Default actions for all signals; 0 when the heap is full. */
export function newSighand(): Ref<"sighand"> | 0 {
  const sighand = tryAlloc(Sighand);
  if (sighand !== 0) Sighand.refcount.init(sighand, 1);
  return sighand;
}

export function copySighand(from: Ref<"sighand">): Ref<"sighand"> | 0 {
  const sighand = newSighand();
  if (sighand !== 0) Sighand.actions.copy(from, sighand);
  return sighand;
}

export function sighandGet(sighand: Ref<"sighand">): Ref<"sighand"> {
  Sighand.refcount.add(sighand, 1);
  return sighand;
}

export function sighandPut(sighand: Ref<"sighand">): void {
  if (Sighand.refcount.decAndTest(sighand)) kfreeRcu(Sighand, sighand);
}

export const sighandOf = (task: Ref<"task">): Ref<"sighand"> => Group.sighand.load(Task.group.get(task));

export function handlerOf(sighand: Ref<"sighand">, signo: number): number {
  const at = signo * ACTION_WORDS;
  return (Sighand.actions.get(sighand, at) >>> 0) + Sighand.actions.get(sighand, at + 1) * 4294967296;
}
export const actionFlags = (sighand: Ref<"sighand">, signo: number): number =>
  Sighand.actions.get(sighand, signo * ACTION_WORDS + 2);

/** One action, as one sigaction(2) set it. */
export function getAction(sighand: Ref<"sighand">, signo: number): Action {
  Sighand.lock.lock(sighand);
  const action = readAction(sighand, signo);
  Sighand.lock.unlock(sighand);
  return action;
}

export function setAction(sighand: Ref<"sighand">, signo: number, action: Action): void {
  Sighand.lock.lock(sighand);
  writeAction(sighand, signo, action);
  Sighand.lock.unlock(sighand);
}

/**
 * The action that a delivery goes by: another thread may set a new one at once. SA_RESETHAND gives the signal its
 * default back in the same step, so that only one delivery finds the handler.
 */
export function takeAction(sighand: Ref<"sighand">, signo: number): Action {
  Sighand.lock.lock(sighand);
  const action = readAction(sighand, signo);
  if ((action.flags & SA_RESETHAND) !== 0 && action.handler !== SIG_IGN)
    writeAction(sighand, signo, { ...action, handler: SIG_DFL });
  Sighand.lock.unlock(sighand);
  return action;
}

function readAction(sighand: Ref<"sighand">, signo: number): Action {
  const at = signo * ACTION_WORDS;
  return {
    handler: handlerOf(sighand, signo),
    flags: Sighand.actions.get(sighand, at + 2),
    maskLow: Sighand.actions.get(sighand, at + 4),
    maskHigh: Sighand.actions.get(sighand, at + 5),
  };
}

function writeAction(sighand: Ref<"sighand">, signo: number, action: Action): void {
  const at = signo * ACTION_WORDS;
  Sighand.actions.set(sighand, at, action.handler | 0);
  Sighand.actions.set(sighand, at + 1, Math.floor(action.handler / 4294967296) | 0);
  Sighand.actions.set(sighand, at + 2, action.flags);
  Sighand.actions.set(sighand, at + 4, action.maskLow & ~(sigBit(SIGKILL) | sigBit(SIGSTOP)));
  Sighand.actions.set(sighand, at + 5, action.maskHigh);
}

/** Whether the signal would do nothing: ignored, or default and ignored by default. SIGCONT always does something. */
export function isIgnored(sighand: Ref<"sighand">, signo: number): boolean {
  const handler = handlerOf(sighand, signo);
  if (handler === SIG_IGN) return true;
  if (handler !== SIG_DFL || signo === SIGCONT) return false;
  return signo <= 32 && (DEFAULT_IGNORED & sigBit(signo)) !== 0;
}

/** execve: what was caught becomes default, what was ignored stays ignored. */
export function flushHandlers(sighand: Ref<"sighand">): void {
  for (let signo = 1; signo <= NSIG; signo++) {
    const handler = handlerOf(sighand, signo) === SIG_IGN ? SIG_IGN : SIG_DFL;
    setAction(sighand, signo, { handler, flags: 0, maskLow: 0, maskHigh: 0 });
  }
}
