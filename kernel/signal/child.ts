/** Telling a parent that its child died: SIGCHLD, and the wake-up of wait4. */
import type { Ref } from "../../rcu/index.ts";
import { wakeUp } from "../sched/waitqueue.ts";
import { initGroup } from "../task/pid.ts";
import { Group } from "../task/task.ts";
import { CLD_EXITED, CLD_KILLED, SA_NOCLDWAIT, SIG_IGN, SIGCHLD } from "../uapi/signal.ts";
import { childInfo, sendInfo } from "./post.ts";
import { actionFlags, handlerOf } from "./sighand.ts";

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
    const code = (status & 0x7f) === 0 ? CLD_EXITED : CLD_KILLED;
    const value = (status & 0x7f) === 0 ? (status >> 8) & 0xff : status & 0x7f;
    if (!autoreap || handlerOf(sighand, SIGCHLD) !== SIG_IGN)
      sendInfo(Group.leader.load(parent), childInfo(group, signo, code, value), true);
  }
  wakeUp(Group.childWait.at(parent), 0);
  return autoreap;
}

export { notifyStopOrContinue, toTicks } from "./post.ts";
