/** Whether there may be another task: what the machine may have, and what RLIMIT_NPROC leaves a user. */
import { type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { RLIMIT_NPROC } from "../uapi/resource.ts";
import { CAP_SYS_ADMIN, CAP_SYS_RESOURCE, capable, credOf } from "./cred.ts";
import { limit, PID_MAX } from "./limits.ts";
import { findTask, nextPid, nrTasks } from "./pid.ts";
import { rlimit } from "./rlimit.ts";
import { Cred, Group, Task } from "./task.ts";

/** Whether a task may not start another one now. */
export const tooManyTasks = (parent: Ref<"task">): boolean => machineIsFull(parent) || userIsFull(parent);

/** A session of no more tasks than this gets on when the machine is full: it gets an eighth more. */
const FEW_TASKS = 32;

/**
 * The machine has all the tasks that it may have. Beside a bomb a small session can still start a few; and since every process of a bomb
 * can make itself a session, the second half of what is left is for those that the host started and that have few descendants.
 */
function machineIsFull(parent: Ref<"task">): boolean {
  const most = Math.min(PID_MAX - 1, limit("threadsMax"));
  const tasks = nrTasks();
  if (tasks < most) return false;
  if (tasks >= Math.min(PID_MAX - 1, most + (most >> 3))) return true;
  const few = (which: typeof Group.session | typeof Group.origin): boolean => {
    const own = which.load(Task.group.get(parent));
    return !moreTasks(FEW_TASKS, (task) => which.load(Task.group.get(task)) === own);
  };
  return !few(Group.session) || (tasks >= most + (most >> 4) && !few(Group.origin));
}

/** RLIMIT_NPROC: tasks of the caller's real user. Those who may exceed it (root, CAP_SYS_RESOURCE, CAP_SYS_ADMIN) do. */
function userIsFull(parent: Ref<"task">): boolean {
  const most = rlimit(parent, RLIMIT_NPROC);
  if (nrTasks() <= most) return false;
  const uid = Cred.uid.get(credOf(parent));
  if (uid === 0 || capable(parent, CAP_SYS_RESOURCE) || capable(parent, CAP_SYS_ADMIN)) return false;
  return moreTasks(most - 1, (task) => {
    const cred = Task.cred.access(task);
    return cred !== 0 && Cred.uid.get(cred) === uid;
  });
}

/** Whether more than so many tasks count: no more of them are looked at than that takes. */
function moreTasks(most: number, counts: (task: Ref<"task">) => boolean): boolean {
  const scope = rcuReadLock();
  let count = 0;
  for (let pid = nextPid(scope, 1); pid !== 0 && count <= most; pid = nextPid(scope, pid + 1)) {
    const task = findTask(scope, pid);
    if (task !== 0 && counts(task)) count++;
  }
  rcuReadUnlock();
  return count > most;
}
