/** Tables of processes: pids, credentials, signal handlers. */

import { handlerOf, Sighand, setAction, sighandOf } from "../../../kernel/signal/sighand.ts";
import { CAP_KILL, capable, commitCred } from "../../../kernel/task/cred.ts";
import { PID_MAX } from "../../../kernel/task/limits.ts";
import { attachPid, detachPid, findTask, lockTaskList, unlockTaskList } from "../../../kernel/task/pid.ts";
import { Cred, Group, Task } from "../../../kernel/task/task.ts";
import {
  arrayGet,
  arraySet,
  kfreeRcu,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  tryAlloc,
  tryAllocArray,
} from "../../../rcu/index.ts";
import { need, newTask } from "../world.ts";
import { cellBytes, type TableBench } from "./table.ts";

/** Pids 1 to `entries` have tasks. The table is one for the world: larger sizes extend smaller ones. */
export const pidTable: TableBench = {
  name: "pid",
  what: "findTask; a write replaces the task (exit and fork)",
  sizes: [64, 4096, 32767],
  most: [PID_MAX - 1, "pids end there"],
  integers: true,
  deferredBytes: cellBytes(Task),
  build(entries) {
    const held = lockTaskList();
    for (let pid = 1; pid <= entries; pid++)
      if (findTask(rcuReadLock(), pid) === 0) attachPid(held, pid, need(tryAlloc(Task)));
    for (let pid = 1; pid <= entries; pid++) rcuReadUnlock();
    unlockTaskList();
    return [];
  },
  open: () => ({
    read: (n) => {
      const task = findTask(rcuReadLock(), n + 1);
      rcuReadUnlock();
      return task;
    },
    write: (n) => {
      const fresh = need(tryAlloc(Task));
      const held = lockTaskList();
      const old = findTask(rcuReadLock(), n + 1);
      rcuReadUnlock();
      if (old !== 0) detachPid(held, n + 1);
      attachPid(held, n + 1, fresh);
      unlockTaskList();
      if (old !== 0) kfreeRcu(Task, old);
      return 0;
    },
  }),
};

const MOST_PROCESSES = [1 << 18, "processes with all they have would fill the heap"] as const;

/** An array of processes, each with a group, credentials and handlers of its own. */
function processes(entries: number): readonly number[] {
  const tasks = need(tryAllocArray(entries));
  for (let n = 0; n < entries; n++) arraySet(tasks, n, newTask(need(tryAlloc(Group))));
  return [tasks];
}
const taskAt = (tasks: Ref<"array">, n: number): Ref<"task"> => arrayGet(tasks, n) as Ref<"task">;

export const credentials: TableBench = {
  name: "cred",
  what: "capable; a write publishes a copy (setuid)",
  sizes: [64, 4096, 65536],
  most: MOST_PROCESSES,
  deferredBytes: cellBytes(Cred),
  build: processes,
  open: ([tasks]) => ({
    read: (n) => {
      rcuReadLock();
      const may = capable(taskAt(tasks as Ref<"array">, n), CAP_KILL);
      rcuReadUnlock();
      return may ? 1 : 0;
    },
    write: (n) => need(commitCred(taskAt(tasks as Ref<"array">, n), {}) + 1),
  }),
};

const SIGNAL = 10;

export const signalHandlers: TableBench = {
  name: "sighand",
  what: "handler of a signal; a write sets it (rt_sigaction)",
  sizes: [64, 4096, 65536],
  most: MOST_PROCESSES,
  deferredBytes: cellBytes(Sighand),
  build: processes,
  open: ([tasks]) => ({
    read: (n) => {
      rcuReadLock();
      const handler = handlerOf(sighandOf(taskAt(tasks as Ref<"array">, n)), SIGNAL);
      rcuReadUnlock();
      return handler;
    },
    write: (n) => {
      const group = Task.group.get(taskAt(tasks as Ref<"array">, n));
      Group.lock.lock(group);
      setAction(Group.sighand.load(group), SIGNAL, { handler: n + 4096, flags: 0, maskLow: 0, maskHigh: 0 });
      Group.lock.unlock(group);
      return 0;
    },
  }),
};
