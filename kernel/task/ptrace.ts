/** Who may look into another process: ptrace(2), "Ptrace access mode checking". There is no ptrace(2) here, but /proc/PID/mem. */
import { type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { current } from "../sched/current.ts";
import { CAP_SYS_PTRACE, capable, credOf } from "./cred.ts";
import { Cred, KIND_PROGRAM, Task } from "./task.ts";

/**
 * Whether the current task may read the other's environment and the like. Asked at every access, not only when a file is opened:
 * the other may have run a set-user-ID program since.
 */
export function mayInspect(target: Ref<"task">): boolean {
  const self = current();
  if (self === 0 || Task.group.get(self) === Task.group.get(target)) return true;
  if (capable(self, CAP_SYS_PTRACE)) return true;
  const scope = rcuReadLock();
  const its = Task.cred.deref(scope, target);
  const allowed = its !== 0 && Task.dumpable.get(target) === 1 && covers(credOf(self), its);
  rcuReadUnlock();
  return allowed;
}

/**
 * Whether it may read and write the other's memory. Nobody may that of a TypeScript program, root neither: such a program is code
 * of the host, with more rights than any guest has.
 */
export function mayAccessMemory(target: Ref<"task">): boolean {
  const self = current();
  if (self !== 0 && Task.group.get(self) === Task.group.get(target)) return true;
  return Task.kind.get(target) !== KIND_PROGRAM && mayInspect(target);
}

/** All ids of `its` are those that `mine` acts with, and its capabilities are no more. */
function covers(mine: Ref<"cred">, its: Ref<"cred">): boolean {
  const [uid, gid] = [Cred.fsuid.get(mine), Cred.fsgid.get(mine)];
  if ([Cred.uid, Cred.euid, Cred.suid].some((id) => id.get(its) !== uid)) return false;
  if ([Cred.gid, Cred.egid, Cred.sgid].some((id) => id.get(its) !== gid)) return false;
  return [0, 1].every((word) => (Cred.permitted.get(its, word) & ~Cred.permitted.get(mine, word)) === 0);
}
