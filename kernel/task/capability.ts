/** Capability sets, capabilities(7): capset(2), prctl(2), and what execve leaves of them. No file has capabilities of its own. */
import type { Ref } from "../../rcu/index.ts";
import { EINVAL, EPERM } from "../uapi/errno.ts";
import { CAP_SETPCAP, CAP_SETS, type CapWords, capable, commitCred, credOf } from "./cred.ts";
import { Cred, TASK_KEEP_CAPS, Task } from "./task.ts";

export const LAST_CAP = 40;

/** prctl PR_CAP_AMBIENT: what to do with the ambient set. */
const AMBIENT = { IS_SET: 1, RAISE: 2, LOWER: 3, CLEAR_ALL: 4 } as const;

type C = Ref<"cred">;
const wordsOf = (set: typeof Cred.effective, cred: C): CapWords => [set.get(cred, 0), set.get(cred, 1)];
const both = (a: CapWords, b: CapWords): CapWords => [a[0] & b[0], a[1] & b[1]];
const either = (a: CapWords, b: CapWords): CapWords => [a[0] | b[0], a[1] | b[1]];
const within = (a: CapWords, b: CapWords): boolean => (a[0] & ~b[0]) === 0 && (a[1] & ~b[1]) === 0;
const has = (set: CapWords, capability: number): boolean =>
  ((set[capability >> 5]! >>> (capability & 31)) & 1) !== 0;
const only = (capability: number): CapWords =>
  capability < 32 ? [1 << capability, 0] : [0, 1 << (capability - 32)];
const without = (set: CapWords, capability: number): CapWords => {
  const [low, high] = only(capability);
  return [set[0] & ~low, set[1] & ~high];
};

/** capset(2) of the current task: permitted may only shrink, inheritable takes what is permitted (CAP_SETPCAP: what is in bounds). */
export function commitCaps(
  task: Ref<"task">,
  effective: CapWords,
  permitted: CapWords,
  inheritable: CapWords,
): number {
  const old = credOf(task);
  const had = wordsOf(Cred.inheritable, old);
  if (!within(permitted, wordsOf(Cred.permitted, old)) || !within(effective, permitted)) return -EPERM;
  if (!capable(task, CAP_SETPCAP) && !within(inheritable, either(had, wordsOf(Cred.permitted, old))))
    return -EPERM;
  if (!within(inheritable, either(had, wordsOf(Cred.bounding, old)))) return -EPERM;
  const ambient = both(wordsOf(Cred.ambient, old), both(permitted, inheritable));
  return commitCred(task, { sets: { effective, permitted, inheritable, ambient } });
}

/** PR_CAPBSET_READ: 0 or 1. */
export const inBounds = (task: Ref<"task">, capability: number): number =>
  capability > LAST_CAP ? -EINVAL : has(wordsOf(Cred.bounding, credOf(task)), capability) ? 1 : 0;

/** PR_CAPBSET_DROP. */
export function dropBound(task: Ref<"task">, capability: number): number {
  if (!capable(task, CAP_SETPCAP)) return -EPERM;
  if (capability > LAST_CAP) return -EINVAL;
  return commitCred(task, {
    sets: { bounding: without(wordsOf(Cred.bounding, credOf(task)), capability) },
  });
}

/** PR_CAP_AMBIENT. */
export function changeAmbient(task: Ref<"task">, operation: number, capability: number): number {
  const cred = credOf(task);
  const ambient = wordsOf(Cred.ambient, cred);
  if (operation === AMBIENT.CLEAR_ALL)
    return capability === 0 ? commitCred(task, { sets: { ambient: [0, 0] } }) : -EINVAL;
  if (operation < AMBIENT.IS_SET || operation > AMBIENT.LOWER || capability > LAST_CAP) return -EINVAL;
  if (operation === AMBIENT.IS_SET) return has(ambient, capability) ? 1 : 0;
  if (operation === AMBIENT.LOWER)
    return commitCred(task, { sets: { ambient: without(ambient, capability) } });
  const may = both(wordsOf(Cred.permitted, cred), wordsOf(Cred.inheritable, cred));
  if (!has(may, capability)) return -EPERM;
  return commitCred(task, { sets: { ambient: either(ambient, only(capability)) } });
}

/**
 * execve of a program, whose set-id bits have been honoured (`privileged`: it had some): root gets what is in bounds, others
 * keep their ambient set. 0 or -ENOMEM.
 */
export function execCapabilities(task: Ref<"task">, privileged: boolean): number {
  Task.flags.set(task, Task.flags.get(task) & ~TASK_KEEP_CAPS);
  const cred = credOf(task);
  const [uid, euid] = [Cred.uid.get(cred), Cred.euid.get(cred)];
  const ambient: CapWords = privileged ? [0, 0] : wordsOf(Cred.ambient, cred);
  const bounded = either(wordsOf(Cred.inheritable, cred), wordsOf(Cred.bounding, cred));
  const permitted = uid === 0 || euid === 0 ? either(bounded, ambient) : ambient;
  const sets = { ambient, permitted, effective: euid === 0 ? permitted : ambient };
  const same = CAP_SETS.every((set) => {
    const next = (sets as Partial<Record<string, CapWords>>)[set];
    return (
      next === undefined || (within(next, wordsOf(Cred[set], cred)) && within(wordsOf(Cred[set], cred), next))
    );
  });
  return same ? 0 : commitCred(task, { sets });
}
