/** Telling a parent that its child changed: SIGCHLD, and the wake-up of wait4. */
import type { Ref } from "../../rcu/index.ts";
import { wakeUp } from "../sched/waitqueue.ts";
import { initGroup } from "../task/pid.ts";
import { Cred, Group, Task } from "../task/task.ts";
import {
  CLD_CONTINUED,
  CLD_DUMPED,
  CLD_EXITED,
  CLD_KILLED,
  CLD_STOPPED,
  SA_NOCLDSTOP,
  SA_NOCLDWAIT,
  SIG_IGN,
  SIGCHLD,
  SIGCONT,
} from "../uapi/signal.ts";
import { infoChild, type SigInfo } from "./pending.ts";
import { sendInfo } from "./send.ts";
import { actionFlags, handlerOf } from "./sighand.ts";

/** Clock ticks (100 per second) of nanoseconds: how siginfo and times(2) count. */
export const toTicks = (ns: number): number => Math.floor(ns / 10_000_000);

function childInfo(group: Ref<"group">, signo: number, code: number, status: number): SigInfo {
  const leader = Group.leader.load(group);
  const cred = Task.cred.access(leader);
  const uid = cred === 0 ? 0 : Cred.uid.get(cred);
  const [utime, stime] = [toTicks(Group.utime.get(group)), toTicks(Group.stime.get(group))];
  return infoChild(signo, code, Group.tgid.get(group), uid, status, utime, stime);
}

/**
 * The group died with this wait status. True when nobody will wait for it: the parent ignores SIGCHLD, or is the kernel.
 * The task list lock is held.
 */
export function notifyExit(group: Ref<"group">, status: number): boolean {
  const parent = Group.parent.load(group) as Ref<"group">;
  if (parent === initGroup()) return true;
  const signo = Group.exitSignal.load(group);
  let autoreap = false;
  if (signo !== 0) {
    const sighand = Group.sighand.load(parent);
    if (signo === SIGCHLD)
      autoreap =
        handlerOf(sighand, SIGCHLD) === SIG_IGN || (actionFlags(sighand, SIGCHLD) & SA_NOCLDWAIT) !== 0;
    const code = (status & 0x7f) === 0 ? CLD_EXITED : (status & 0x80) !== 0 ? CLD_DUMPED : CLD_KILLED;
    const value = (status & 0x7f) === 0 ? (status >> 8) & 0xff : status & 0x7f;
    if (!autoreap || handlerOf(sighand, SIGCHLD) !== SIG_IGN)
      sendInfo(Group.leader.load(parent), childInfo(group, signo, code, value), true);
  }
  wakeUp(Group.childWait.at(parent), 0);
  return autoreap;
}

/** The group stopped (signo: why) or was continued (SIGCONT). Its own lock may be held: locks go from child to parent. */
export function notifyStopOrContinue(group: Ref<"group">, signo: number): void {
  const parent = Group.parent.load(group);
  if (parent === 0 || parent === initGroup()) return;
  if ((actionFlags(Group.sighand.load(parent), SIGCHLD) & SA_NOCLDSTOP) === 0) {
    const code = signo === SIGCONT ? CLD_CONTINUED : CLD_STOPPED;
    sendInfo(Group.leader.load(parent), childInfo(group, SIGCHLD, code, signo), true);
  }
  wakeUp(Group.childWait.at(parent), 0);
}
