/**
 * Resource limits of a process (getrlimit(2)). They are kept in all their 64 bits. Who compares with one gets a number, Infinity for
 * RLIM_INFINITY, rounded from 2^53 on.
 */
import type { Ref } from "../../rcu/index.ts";
import {
  RLIM_INFINITY,
  RLIMIT_CORE,
  RLIMIT_MEMLOCK,
  RLIMIT_MSGQUEUE,
  RLIMIT_NICE,
  RLIMIT_NOFILE,
  RLIMIT_NPROC,
  RLIMIT_RTPRIO,
  RLIMIT_SIGPENDING,
  RLIMIT_STACK,
} from "../uapi/resource.ts";
import { limit } from "./limits.ts";
import { Group, RLIM_NLIMITS, Task } from "./task.ts";

const WORDS = 4;

function get(group: Ref<"group">, at: number): number {
  const low = Group.rlimits.get(group, at);
  const high = Group.rlimits.get(group, at + 1);
  return low === -1 && high === -1 ? RLIM_INFINITY : (low >>> 0) + (high >>> 0) * 4294967296;
}

/** `value`: exact, so below 2^53, or Infinity. */
function set(group: Ref<"group">, at: number, value: number): void {
  const infinite = value === RLIM_INFINITY;
  Group.rlimits.set(group, at, infinite ? -1 : value | 0);
  Group.rlimits.set(group, at + 1, infinite ? -1 : Math.floor(value / 4294967296) | 0);
}

/** Both limits as struct rlimit64 has them: soft, hard. */
export function exactLimits(group: Ref<"group">, resource: number): BigUint64Array<ArrayBuffer> {
  const words = new Int32Array(WORDS);
  for (let n = 0; n < WORDS; n++) words[n] = Group.rlimits.get(group, resource * WORDS + n);
  return new BigUint64Array(words.buffer);
}

export function setExactLimits(group: Ref<"group">, resource: number, limits: BigUint64Array): void {
  const words = new Int32Array(limits.buffer, limits.byteOffset, WORDS);
  for (let n = 0; n < WORDS; n++) Group.rlimits.set(group, resource * WORDS + n, words[n]!);
}

export const softLimit = (group: Ref<"group">, resource: number): number => get(group, resource * WORDS);
export const hardLimit = (group: Ref<"group">, resource: number): number => get(group, resource * WORDS + 2);

/** The soft limit that the task is under. */
export const rlimit = (task: Ref<"task">, resource: number): number =>
  softLimit(Task.group.get(task), resource);

export function setSoftLimit(group: Ref<"group">, resource: number, value: number): void {
  set(group, resource * WORDS, value);
}
export function setLimit(group: Ref<"group">, resource: number, soft: number, hard: number): void {
  set(group, resource * WORDS, soft);
  set(group, resource * WORDS + 2, hard);
}

/** What a process starts with when nobody says otherwise. */
export function defaultLimits(group: Ref<"group">): void {
  // Of one user: half of what the machine has.
  const half = Math.min(30000, limit("threadsMax") >> 1 || 30000);
  const defaults = new Map<number, readonly [number, number]>([
    [RLIMIT_STACK, [8 << 20, RLIM_INFINITY]],
    [RLIMIT_CORE, [0, RLIM_INFINITY]],
    [RLIMIT_NPROC, [half, half]],
    [RLIMIT_NOFILE, [1024, 1048576]],
    [RLIMIT_MEMLOCK, [8 << 20, 8 << 20]],
    [RLIMIT_SIGPENDING, [half, half]],
    [RLIMIT_MSGQUEUE, [819200, 819200]],
    [RLIMIT_NICE, [0, 0]],
    [RLIMIT_RTPRIO, [0, 0]],
  ]);
  for (let resource = 0; resource < RLIM_NLIMITS; resource++) {
    const [soft, hard] = defaults.get(resource) ?? [RLIM_INFINITY, RLIM_INFINITY];
    setLimit(group, resource, soft, hard);
  }
}
