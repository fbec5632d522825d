/**
 * select(2): bit sets of descriptors.
 *
 * The sets of a call with many descriptors are read once, wait in the kernel's heap while it is looked at them in parts, and are written when
 * it returns: an array of the number of descriptors, three sets of words that say what is wanted (read, write, except), three of results.
 */
import { arrayGet, arrayLength, arraySet, freeArray, type Ref, tryAllocArray } from "../../rcu/index.ts";
import { fget, filesMax } from "../fs/fdtable.ts";
import { faultIn, getUser32, putUser32 } from "../mm/uaccess.ts";
import { BLOCK_EINTR } from "../sched/block.ts";
import { nowNs } from "../sched/current.ts";
import {
  blockUntil,
  defineKept,
  KEPT_SELECT,
  keepForRestart,
  keptForRestart,
  restartDeadline,
} from "../sched/restart.ts";
import { partAlso, partDone, resetPart, yieldWhole } from "../sched/yield.ts";
import { Task } from "../task/task.ts";
import { EBADF, EFAULT, EINVAL, ENOMEM } from "../uapi/errno.ts";
import { SELECT_EX, SELECT_IN, SELECT_OUT } from "../uapi/poll.ts";
import { ACCESS } from "../usermode.ts";
import { filePoll, mostJoined, napEnd, waitOnFile } from "./poll.ts";

const KINDS = 3;
const MASKS = [SELECT_IN, SELECT_OUT, SELECT_EX] as const;
/** Words of a set that are looked at in one part: 2048 descriptors. */
const PART = 64;

/** The words that are looked at now: of each set what is wanted, then of each the results. */
const words = new Uint32Array(2 * KINDS * PART);
/** Descriptors that were looked at last. */
let looked = 0;
/** Whether joinFirst came to the last one. */
let joinedAll = false;

/** The addresses of the sets; 0 for none. */
type Addresses = readonly [number, number, number];

/** Whether all of them can be read and written. */
function accessible(addresses: Addresses, count: number): boolean {
  for (const address of addresses)
    if (address !== 0 && count > 0 && faultIn(address, count * 4, ACCESS.WRITE) < 0) return false;
  return true;
}

/** select(2) of `nfds` descriptors: the sets are replaced by the ready ones when the call returns a value >= 0. */
export function select(task: Ref<"task">, nfds: number, addresses: Addresses, timeoutNs: number): number {
  if (nfds < 0) return -EINVAL;
  const kept = keptForRestart(task, KEPT_SELECT) as Ref<"array"> | 0;
  if (kept !== 0) return selectMany(task, kept, addresses, timeoutNs);
  // No descriptor is beyond the table.
  const most = Math.min(nfds, filesMax(Task.files.access(task) as Ref<"files">));
  // The sets are arrays of unsigned long: whole 64-bit words are read and written.
  const count = Math.ceil(most / 64) * 2;
  if (!accessible(addresses, count)) return -EFAULT;
  if (count > PART) return readMany(task, most, count, addresses, timeoutNs);
  words.fill(0);
  for (const [kind, address] of addresses.entries())
    if (address !== 0)
      for (let word = 0; word < count; word++) words[kind * PART + word] = getUser32(address + word * 4);
  let ready = look(task, 0, most, false);
  if (ready === 0 && timeoutNs !== 0) {
    const deadline = restartDeadline(timeoutNs);
    if (nowNs() < deadline) {
      ready = look(task, 0, most, true);
      if (ready === 0) {
        blockUntil(deadline);
        return BLOCK_EINTR;
      }
    }
  }
  if (ready < 0) return ready;
  for (const [kind, address] of addresses.entries())
    if (address !== 0)
      for (let word = 0; word < count; word++)
        putUser32(address + word * 4, words[(KINDS + kind) * PART + word]!);
  return ready;
}

/** Looks at the descriptors in `words`, the first of which is `first`, below `end`; with `wait` it joins their queues first. */
function look(task: Ref<"task">, first: number, end: number, wait: boolean): number {
  const files = Task.files.access(task) as Ref<"files">;
  words.fill(0, KINDS * PART);
  looked = 0;
  let ready = 0;
  for (let word = 0; word < PART; word++) {
    const wanted = words[word]! | words[PART + word]! | words[2 * PART + word]!;
    for (let left = wanted; left !== 0; left &= left - 1) {
      const bit = 31 - Math.clz32(left & -left);
      const fd = first + word * 32 + bit;
      if (fd >= end) break;
      const file = fget(files, fd);
      if (file < 0) return -EBADF;
      if (wait && waitOnFile(file as Ref<"file">) < 0) return -ENOMEM;
      const mask = filePoll(file as Ref<"file">);
      looked++;
      for (let kind = 0; kind < KINDS; kind++) {
        if ((mask & MASKS[kind]!) === 0 || ((words[kind * PART + word]! >>> bit) & 1) === 0) continue;
        words[(KINDS + kind) * PART + word]! |= 1 << bit;
        ready++;
      }
    }
  }
  return ready;
}

/** The first run of a call with many descriptors. */
function readMany(
  task: Ref<"task">,
  most: number,
  count: number,
  addresses: Addresses,
  timeoutNs: number,
): number {
  const sets = tryAllocArray(1 + 2 * KINDS * count);
  if (sets === 0) return -ENOMEM;
  arraySet(sets, 0, most);
  for (const [kind, address] of addresses.entries())
    if (address !== 0)
      for (let word = 0; word < count; word++)
        arraySet(sets, 1 + kind * count + word, getUser32(address + word * 4));
  keepForRestart(KEPT_SELECT, sets);
  return selectMany(task, sets, addresses, timeoutNs);
}
defineKept(KEPT_SELECT, (_task, sets) => freeArray(sets as Ref<"array">));

function selectMany(task: Ref<"task">, sets: Ref<"array">, addresses: Addresses, timeoutNs: number): number {
  const count = (arrayLength(sets) - 1) / (2 * KINDS);
  const deadline = restartDeadline(timeoutNs); // Looking takes its time, which counts.
  let ready = lookAll(task, sets, count);
  if (ready < 0) return ready;
  resetPart();
  if (ready === 0 && timeoutNs !== 0 && nowNs() < deadline) {
    ready = joinFirst(task, sets, count);
    if (ready === 0) {
      blockUntil(joinedAll ? deadline : napEnd(deadline, arrayGet(sets, 0)));
      return BLOCK_EINTR;
    }
    if (ready < 0) return ready;
  }
  if (!accessible(addresses, count)) return -EFAULT;
  for (const [kind, address] of addresses.entries())
    if (address !== 0)
      for (let word = 0; word < count; word++)
        putUser32(address + word * 4, arrayGet(sets, 1 + (KINDS + kind) * count + word));
  return ready;
}

/** Looks at all of them in parts: the number of ready ones, or what yieldWhole says. */
function lookAll(task: Ref<"task">, sets: Ref<"array">, count: number): number {
  let at = partDone();
  let ready = at === 0 ? 0 : partAlso();
  while (at < count) {
    const found = lookPart(task, sets, count, at, false);
    if (found < 0) return found;
    ready += found;
    at += PART;
    const stop = at < count ? yieldWhole(at, ready) : 0;
    if (stop !== 0) return stop;
  }
  return ready;
}

/** Looks at those in words [at, at + PART) of the sets, and puts the results there. */
function lookPart(task: Ref<"task">, sets: Ref<"array">, count: number, at: number, wait: boolean): number {
  const part = Math.min(PART, count - at);
  words.fill(0);
  for (let kind = 0; kind < KINDS; kind++)
    for (let word = 0; word < part; word++)
      words[kind * PART + word] = arrayGet(sets, 1 + kind * count + at + word);
  const ready = look(task, at * 32, arrayGet(sets, 0), wait);
  for (let kind = KINDS; kind < 2 * KINDS; kind++)
    for (let word = 0; word < part; word++)
      arraySet(sets, 1 + kind * count + at + word, words[kind * PART + word]! | 0);
  return ready;
}

/** Joins the queues of the first ones, in one piece, and looks at these again. */
function joinFirst(task: Ref<"task">, sets: Ref<"array">, count: number): number {
  let ready = 0;
  let joined = 0;
  let at = 0;
  const most = mostJoined();
  for (; at < count && joined < most; at += PART) {
    const found = lookPart(task, sets, count, at, true);
    if (found < 0) return found;
    ready += found;
    joined += looked;
  }
  joinedAll = at >= count;
  return ready;
}
