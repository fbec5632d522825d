/** Pid 1: the kernel's own process. It never runs; it is the parent of what the host starts, and adopts orphans. */

import { listAddTail } from "../../rcu/index.ts";
import { newCred } from "../task/cred.ts";
import { setComm } from "../task/exec.ts";
import { newProcess } from "../task/fork.ts";
import {
  allGroups,
  allocPid,
  attachPid,
  lockTaskList,
  setFamily,
  setInitGroup,
  unlockTaskList,
} from "../task/pid.ts";
import { Group, KIND_RISCV64, TASK_SLEEPING, Task } from "../task/task.ts";

export function initGroupInit(): void {
  const cred = newCred(0, 0);
  const task = cred === 0 ? 0 : newProcess(KIND_RISCV64, cred);
  if (task === 0) throw new Error("no memory for the first process");
  const group = Task.group.get(task);
  const list = lockTaskList();
  const held = Group.lock.lock(group);
  const pid = allocPid(list);
  Task.pid.set(task, pid);
  Task.tgid.init(task, pid);
  Task.state.store(task, TASK_SLEEPING);
  Group.tgid.init(group, pid);
  Group.leader.init(group, task);
  Group.alive.init(group, 1);
  Group.running.init(group, 1);
  setFamily(list, group, pid, pid);
  listAddTail(held, Group.threads.at(group), Task.threadNode.at(task));
  listAddTail(list, allGroups(), Group.allNode.at(group));
  attachPid(list, pid, task);
  Group.lock.unlock(group);
  unlockTaskList();
  setComm(task, new TextEncoder().encode("sternix"));
  setInitGroup(group);
}
