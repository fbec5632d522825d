/** What callbacks may answer. Anything else is a mistake of the subsystem, which is told so. */
import { BLOCK } from "../sched/block.ts";
import { waitPrepared } from "../sched/waitqueue.ts";
import type { Check } from "./place.ts";

const ERRNO_MAX = 4095;
const isErrno = (value: unknown): boolean =>
  Number.isInteger(value) && (value as number) < 0 && (value as number) >= -ERRNO_MAX;
const isCount = (value: unknown, most = Number.MAX_SAFE_INTEGER): boolean =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
const sizeOf = (value: unknown): number =>
  typeof value === "string" ? Buffer.byteLength(value) : value instanceof Uint8Array ? value.length : -1;

/** 0 or nothing, or -errno. */
export const verdict: Check = (result) =>
  result === undefined || result === 0 || isErrno(result)
    ? null
    : `give 0 or nothing to allow, -1 to -${ERRNO_MAX} (-errno) to refuse`;

/** A value >= 0 or -errno. */
export const value: Check = (result) =>
  isCount(result) || isErrno(result) ? null : "give an integer >= 0, or -errno";

/** The same, or BLOCK after waitOn. */
export const callResult: Check = (result) => {
  if (result !== BLOCK) return value(result, 0, 0, 0);
  return waitPrepared ? null : "without waitOn, nothing would ever wake the task";
};

/** Text or bytes, or -errno. */
export const content: Check = (result) =>
  sizeOf(result) >= 0 || isErrno(result) ? null : "give a string, bytes, or -errno";

/** Text, for reports. */
export const text: Check = (result) => (typeof result === "string" ? null : "give a string");

/** Nothing, a value >= 0 or -errno. */
export const accepted: Check = (result) => (result === undefined ? null : value(result, 0, 0, 0));

/** At most `size` (argument b) bytes: more would be lost. */
export const part: Check = (result, _file, size) => {
  if (result === 0 || isErrno(result)) return null;
  const length = sizeOf(result);
  if (length < 0) return "give a string, bytes, 0 or -errno";
  return length <= (size as number) ? null : `at most ${size} bytes were asked for`;
};

/** How many of the bytes (argument b) were taken, or -errno. */
export const taken: Check = (result, _file, bytes) =>
  isErrno(result) || isCount(result, (bytes as Uint8Array).length)
    ? null
    : `give 0 to ${(bytes as Uint8Array).length} bytes, or -errno`;
