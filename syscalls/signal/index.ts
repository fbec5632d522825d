/** Signals. */
import type { Syscall } from "../syscall.ts";
import * as action from "./action.ts";
import * as kill from "./kill.ts";
import * as mask from "./mask.ts";

export const calls: readonly Syscall[] = [
  action.rtSigaction,
  action.sigaltstack,
  action.rtSigreturn,
  mask.rtSigprocmask,
  mask.rtSigpending,
  mask.rtSigsuspend,
  mask.rtSigtimedwait,
  kill.kill,
  kill.tkill,
  kill.tgkill,
  kill.rtSigqueueinfo,
  kill.rtTgsigqueueinfo,
];
