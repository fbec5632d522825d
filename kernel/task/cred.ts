/** Credentials: immutable objects that a task points to; a change publishes a copy (credentials(7)). */
import {
  arrayCopy,
  arrayGet,
  arrayLength,
  freeArray,
  type Held,
  kfreeArrayRcu,
  kfreeRcu,
  type Ref,
  tryAlloc,
} from "../../rcu/index.ts";
import { tryAllocTable } from "../mm/heap.ts";
import { ENOMEM } from "../uapi/errno.ts";
import { Cred, TASK_KEEP_CAPS, Task } from "./task.ts";
import { userGet, userOf, userPut } from "./user.ts";

/** The current task's credentials change only by the task itself, which needs no lock. */
const OWNER = 1 as Held;

/** Capability numbers that the kernel asks for. */
export const CAP_CHOWN = 0;
export const CAP_DAC_OVERRIDE = 1;
export const CAP_FOWNER = 3;
export const CAP_FSETID = 4;
export const CAP_KILL = 5;
export const CAP_SETGID = 6;
export const CAP_SETUID = 7;
export const CAP_SETPCAP = 8;
export const CAP_NET_ADMIN = 12;
export const CAP_SYS_PTRACE = 19;
export const CAP_SYS_ADMIN = 21;
export const CAP_SYS_NICE = 23;
export const CAP_SYS_RESOURCE = 24;
export const CAP_SYS_TIME = 25;
/** Words 0 and 1 of a full set: capabilities 0 to 40. */
const CAP_FULL = [-1, 0x1ff] as const;

/** Credentials of a user; root gets every capability. 0 when the heap is full. */
export function newCred(uid: number, gid: number): Ref<"cred"> | 0 {
  const cred = tryAlloc(Cred);
  if (cred === 0) return 0;
  Cred.refcount.init(cred, 1);
  Cred.user.init(cred, userOf(uid));
  for (const field of [Cred.uid, Cred.euid, Cred.suid, Cred.fsuid]) field.init(cred, uid);
  for (const field of [Cred.gid, Cred.egid, Cred.sgid, Cred.fsgid]) field.init(cred, gid);
  for (const set of uid === 0 ? [Cred.effective, Cred.permitted, Cred.bounding] : [Cred.bounding])
    for (const [n, word] of CAP_FULL.entries()) set.set(cred, n, word);
  return cred;
}

export function credGet(cred: Ref<"cred">): Ref<"cred"> {
  Cred.refcount.add(cred, 1);
  return cred;
}

/** Drops a count; the last one frees after a grace period, and the groups with it. */
export function credPut(cred: Ref<"cred">): void {
  if (!Cred.refcount.decAndTest(cred)) return;
  const groups = Cred.groups.get(cred);
  userPut(Cred.user.get(cred));
  if (groups !== 0) kfreeArrayRcu(groups);
  kfreeRcu(Cred, cred);
}

/** The user whose limits the task is under; 0: nobody counts. For the task itself, or in a read scope. */
export const userOfTask = (task: Ref<"task">): Ref<"user"> | 0 => Cred.user.get(credOf(task));

/** The task's credentials: for the task itself, or in a read scope. */
export const credOf = (task: Ref<"task">): Ref<"cred"> => Task.cred.access(task) as Ref<"cred">;

export function capable(task: Ref<"task">, capability: number): boolean {
  return ((Cred.effective.get(credOf(task), capability >> 5) >>> (capability & 31)) & 1) !== 0;
}

/** Whether the task's groups include `gid` (fsgid or supplementary). */
export function inGroup(task: Ref<"task">, gid: number): boolean {
  const cred = credOf(task);
  if (Cred.fsgid.get(cred) === gid) return true;
  const groups = Cred.groups.get(cred);
  if (groups === 0) return false;
  for (let n = 0; n < arrayLength(groups); n++) if (arrayGet(groups, n) === gid) return true;
  return false;
}

/** Ids of a credential change; undefined keeps what is there. */
export interface CredChange {
  uid?: number;
  euid?: number;
  suid?: number;
  fsuid?: number;
  gid?: number;
  egid?: number;
  sgid?: number;
  fsgid?: number;
  /** New supplementary groups: the change takes the array over. */
  groups?: Ref<"array"> | 0;
  /** New capability sets, low and high word each; they are not adapted to the user ids. */
  sets?: Partial<Record<CapSet, CapWords>>;
}

/** The capability sets of credentials. */
export const CAP_SETS = ["effective", "permitted", "inheritable", "ambient", "bounding"] as const;
export type CapSet = (typeof CAP_SETS)[number];
export type CapWords = readonly [low: number, high: number];

/** Publishes changed credentials for the current task. Capabilities follow the user ids as in capabilities(7). */
export function commitCred(task: Ref<"task">, change: CredChange): number {
  const old = credOf(task);
  const cred = tryAlloc(Cred);
  if (cred === 0) {
    if (change.groups !== undefined && change.groups !== 0) freeArray(change.groups);
    return -ENOMEM;
  }
  Cred.refcount.init(cred, 1);
  Cred.uid.init(cred, change.uid ?? Cred.uid.get(old));
  Cred.euid.init(cred, change.euid ?? Cred.euid.get(old));
  Cred.suid.init(cred, change.suid ?? Cred.suid.get(old));
  Cred.fsuid.init(cred, change.fsuid ?? change.euid ?? Cred.fsuid.get(old));
  Cred.gid.init(cred, change.gid ?? Cred.gid.get(old));
  Cred.egid.init(cred, change.egid ?? Cred.egid.get(old));
  Cred.sgid.init(cred, change.sgid ?? Cred.sgid.get(old));
  Cred.fsgid.init(cred, change.fsgid ?? change.egid ?? Cred.fsgid.get(old));
  let groups = change.groups ?? Cred.groups.get(old);
  if (change.groups === undefined && groups !== 0) {
    groups = copyGroups(groups);
    if (groups === 0) {
      kfreeRcu(Cred, cred);
      return -ENOMEM;
    }
  }
  Cred.groups.init(cred, groups);
  const sameUser = Cred.uid.get(cred) === Cred.uid.get(old);
  const user = sameUser ? userGet(Cred.user.get(old)) : userOf(Cred.uid.get(cred));
  if (user === 0 && Cred.user.get(old) !== 0) {
    // Whoever has no record is not counted, and would have no limits.
    if (groups !== 0) freeArray(groups);
    Cred.groups.init(cred, 0);
    kfreeRcu(Cred, cred);
    return -ENOMEM;
  }
  Cred.user.init(cred, user);
  for (const set of CAP_SETS) Cred[set].copy(old, cred);
  dropCapabilities(old, cred, (Task.flags.get(task) & TASK_KEEP_CAPS) !== 0);
  for (const set of CAP_SETS)
    change.sets?.[set]?.forEach((word, n) => {
      Cred[set].set(cred, n, word);
    });
  Task.cred.assign(OWNER, task, cred);
  credPut(old);
  return 0;
}

/** Groups that a zombie may have. */
const FEW_GROUPS = 256;

/** The current task ends, and keeps no long list of groups: nobody would have its memory back until its parent waits for it. */
export function dropLongGroups(task: Ref<"task">): void {
  const groups = Cred.groups.get(credOf(task));
  if (groups !== 0 && arrayLength(groups) > FEW_GROUPS) commitCred(task, { groups: 0 });
}

function dropCapabilities(old: Ref<"cred">, cred: Ref<"cred">, keep: boolean): void {
  const rootBefore = [Cred.uid, Cred.euid, Cred.suid].some((field) => field.get(old) === 0);
  const rootAfter = [Cred.uid, Cred.euid, Cred.suid].some((field) => field.get(cred) === 0);
  const clear = (set: typeof Cred.effective): void => {
    set.set(cred, 0, 0);
    set.set(cred, 1, 0);
  };
  if (rootBefore && !rootAfter) {
    if (!keep) clear(Cred.permitted);
    clear(Cred.effective);
    clear(Cred.ambient);
  }
  if (Cred.euid.get(old) === 0 && Cred.euid.get(cred) !== 0) clear(Cred.effective);
  if (Cred.euid.get(old) !== 0 && Cred.euid.get(cred) === 0)
    for (const word of [0, 1]) Cred.effective.set(cred, word, Cred.permitted.get(cred, word));
}

function copyGroups(groups: Ref<"array">): Ref<"array"> | 0 {
  const length = arrayLength(groups);
  const copy = tryAllocTable(length);
  if (copy !== 0) arrayCopy(groups, copy, length);
  return copy;
}
