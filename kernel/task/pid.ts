/**
 * The pid table and the task list.
 *
 * Looking a pid up is one load in a flat table, under RCU: a task stays allocated for a grace period after its pid
 * is gone. Everything that changes the table or the family tree (parents, children, process groups, sessions)
 * holds the task list lock. Lock order: task list -> Group.lock -> wait queue -> run queue.
 */
import {
  arrayGet,
  arrayLength,
  arraySet,
  arrayStore,
  fixed,
  type Held,
  listNode,
  locked,
  type RcuScope,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  tryAllocArray,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { limit, PID_MAX } from "./limits.ts";
import { Group } from "./task.ts";

/** Allocation starts over here after a wrap, as in Linux. */
export const RESERVED_PIDS = 300;

export const TaskList = struct("task_list", {
  lock: spinlock(55),
  /** All groups, through Group.allNode. */
  groups: listNode(),
  nextPid: locked("lock"),
  /** Tasks that exist, zombies included; and tasks ever made. */
  tasks: locked("lock"),
  forks: locked("lock"),
  /** pid -> Ref<"task"> or 0. */
  pids: fixed<Ref<"array">>(),
  /** pid -> number of groups that have it as process group or session. */
  uses: fixed<Ref<"array">>(),
  /** pid -> first member of that process group, or 0; the others follow by Group.pgrpNext. */
  members: fixed<Ref<"array">>(),
});

const taskList = kernelGlobal<Ref<"task_list">>("task list");
const initGroupWord = kernelGlobal<Ref<"group">>("init group");

export type TaskListHeld = Held<"lock">;

export function pidsInit(): void {
  const ref = tryAlloc(TaskList);
  const pids = tryAllocArray(PID_MAX);
  const uses = tryAllocArray(PID_MAX);
  const members = tryAllocArray(PID_MAX);
  if (ref === 0 || pids === 0 || uses === 0 || members === 0) throw new Error("no memory for the pid table");
  TaskList.groups.init(ref);
  TaskList.nextPid.init(ref, 1);
  TaskList.pids.init(ref, pids);
  TaskList.uses.init(ref, uses);
  TaskList.members.init(ref, members);
  taskList.init(ref);
}

export const lockTaskList = (): TaskListHeld => TaskList.lock.lock(taskList.get());
export const unlockTaskList = (): void => TaskList.lock.unlock(taskList.get());
/** Head of the list of all groups, through Group.allNode. */
export const allGroups = (): number => TaskList.groups.at(taskList.get());

/** The kernel's own group, pid 1: parent of what the host spawns, adopts orphans and reaps them. */
export const initGroup = (): Ref<"group"> => initGroupWord.get();
export const setInitGroup = (group: Ref<"group">): void => initGroupWord.init(group);

/** Takes a free pid; 0 when all are in use. The caller publishes a task under it with `attachPid`. */
export function allocPid(held: TaskListHeld): number {
  const list = taskList.get();
  const pids = TaskList.pids.get(list);
  const uses = TaskList.uses.get(list);
  const most = Math.min(PID_MAX, limit("pidMax"));
  let pid = TaskList.nextPid.get(held, list);
  for (let tried = 0; tried < PID_MAX; tried++, pid++) {
    if (pid >= most) pid = RESERVED_PIDS;
    if (arrayGet(pids, pid) !== 0 || arrayGet(uses, pid) !== 0) continue;
    TaskList.nextPid.set(held, list, pid + 1);
    return pid;
  }
  return 0;
}

/** Publishes the task under the pid. */
export function attachPid(held: TaskListHeld, pid: number, task: Ref<"task">): void {
  const list = taskList.get();
  arrayStore(TaskList.pids.get(list), pid, task);
  TaskList.tasks.set(held, list, TaskList.tasks.get(held, list) + 1);
  TaskList.forks.set(held, list, TaskList.forks.get(held, list) + 1);
}

/** Takes the task out: its memory may be freed after a grace period. */
export function detachPid(held: TaskListHeld, pid: number): void {
  const list = taskList.get();
  arrayStore(TaskList.pids.get(list), pid, 0);
  TaskList.tasks.set(held, list, TaskList.tasks.get(held, list) - 1);
}

/** Another task takes over a pid (execve of a thread that is not the leader). */
export function replacePid(_held: TaskListHeld, pid: number, task: Ref<"task">): void {
  arrayStore(TaskList.pids.get(taskList.get()), pid, task);
}

/** The task with this thread id, or 0. Zombies are found. */
export function findTask(_scope: RcuScope, pid: number): Ref<"task"> | 0 {
  const pids = TaskList.pids.get(taskList.get());
  if (pid <= 0 || pid >= arrayLength(pids)) return 0;
  return arrayGet(pids, pid) as Ref<"task"> | 0;
}

/** Smallest pid >= `from` that names a task; 0 when there is none: how /proc walks. */
export function nextPid(_scope: RcuScope, from: number): number {
  const pids = TaskList.pids.get(taskList.get());
  for (let pid = Math.max(from, 1); pid < PID_MAX; pid++) if (arrayGet(pids, pid) !== 0) return pid;
  return 0;
}

/** Tasks that exist now, and tasks made since boot (racy). */
export const nrTasks = (): number => TaskList.tasks.racy(taskList.get());
export const totalForks = (): number => TaskList.forks.racy(taskList.get());

/** The group enters process group `pgrp` and session `session`, leaving those it was in. */
export function setFamily(_held: TaskListHeld, group: Ref<"group">, pgrp: number, session: number): void {
  const uses = TaskList.uses.get(taskList.get());
  const count = (pid: number, change: number): void => {
    if (pid !== 0) arraySet(uses, pid, arrayGet(uses, pid) + change);
  };
  count(pgrp, 1);
  count(session, 1);
  count(Group.pgrp.load(group), -1);
  count(Group.session.load(group), -1);
  if (Group.pgrp.load(group) !== pgrp) {
    leavePgrp(group, Group.pgrp.load(group));
    joinPgrp(group, pgrp);
  }
  Group.pgrp.store(group, pgrp);
  Group.session.store(group, session);
}

function leavePgrp(group: Ref<"group">, pgrp: number): void {
  if (pgrp === 0) return;
  const members = TaskList.members.get(taskList.get());
  const [previous, next] = [Group.pgrpPrevious.get(group), Group.pgrpNext.get(group)];
  if (previous === 0) arraySet(members, pgrp, next);
  else Group.pgrpNext.set(previous, next);
  if (next !== 0) Group.pgrpPrevious.set(next, previous);
}

function joinPgrp(group: Ref<"group">, pgrp: number): void {
  if (pgrp === 0) return;
  const members = TaskList.members.get(taskList.get());
  const first = arrayGet(members, pgrp) as Ref<"group"> | 0;
  Group.pgrpPrevious.set(group, 0);
  Group.pgrpNext.set(group, first);
  if (first !== 0) Group.pgrpPrevious.set(first, group);
  arraySet(members, pgrp, group);
}

/** Visits the members of a process group, zombies among them; false from `visit` ends the walk. The task list lock is held. */
export function forEachMember(pgrp: number, visit: (group: Ref<"group">) => unknown): void {
  if (pgrp <= 0 || pgrp >= PID_MAX) return;
  let group = arrayGet(TaskList.members.get(taskList.get()), pgrp) as Ref<"group"> | 0;
  while (group !== 0) {
    const next = Group.pgrpNext.get(group);
    if (visit(group) === false) return;
    group = next;
  }
}
