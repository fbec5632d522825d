/**
 * The strings of an execve(2), argv or envp: one block of bytes, each string with its NUL, as they will lie on the new stack. A guest may
 * pass hundreds of thousands of them, so none is an object of its own.
 */
import { PAGE_MASK, PAGE_SIZE, ram } from "../mm/ram.ts";
import { seenMode } from "../mm/seen.ts";
import { copyStringIn, getUserU64, userRead } from "../mm/uaccess.ts";
import { E2BIG, EFAULT, ENAMETOOLONG } from "../uapi/errno.ts";

/** One argument or variable may have this many bytes, with its NUL (MAX_ARG_STRLEN). */
const MAX_ARG_STRLEN = 131072;
/** What arguments and environment may take whatever the stack limit is (ARG_MAX), and what they may take at most (_STK_LIM / 4 * 3). */
const ARG_MAX = 131072;
const MOST = 6 << 20;
const POINTER = 8;
const FIRST_BYTES = 4096;

export interface ArgStrings {
  readonly bytes: Uint8Array;
  readonly count: number;
}

/** Bytes that the strings of an execve and the pointers to them may take with a stack of that limit (execve(2), "Limits"). */
export const argLimit = (stackLimit: number): number => Math.max(ARG_MAX, Math.min(stackLimit / 4, MOST));

const encoder = new TextEncoder();

/** Strings of the kernel's own: a NUL inside one ends it, as in C. */
export function argStrings(texts: readonly (string | Uint8Array)[]): ArgStrings {
  const parts = texts.map((text) => {
    const bytes = typeof text === "string" ? encoder.encode(text) : text;
    const nul = bytes.indexOf(0);
    return nul < 0 ? bytes : bytes.subarray(0, nul);
  });
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length + 1, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length + 1;
  }
  return { bytes, count: parts.length };
}

/** `first`, then `rest` without the string that it begins with. */
export function replaceFirst(
  first: readonly (string | Uint8Array)[],
  { bytes, count }: ArgStrings,
): ArgStrings {
  const front = argStrings(first);
  const tail = count === 0 ? bytes : bytes.subarray(bytes.indexOf(0) + 1);
  const joined = new Uint8Array(front.bytes.length + tail.length);
  joined.set(front.bytes);
  joined.set(tail, front.bytes.length);
  return { bytes: joined, count: front.count + Math.max(0, count - 1) };
}

/** Strings that are shorter than this, on the average, are gone through byte by byte. */
const SHORT = 64;

/** Where the string that begins at `at` has ended, with its NUL. */
export function stringEnd({ bytes, count }: ArgStrings, at: number): number {
  if (bytes.length > SHORT * count) return bytes.indexOf(0, at) + 1;
  let end = at;
  while (bytes[end] !== 0) end++;
  return end + 1;
}

/** 0, or -E2BIG when they are too large for a stack of that limit. */
export function checkArgs(argv: ArgStrings, envp: ArgStrings, stackLimit: number): number {
  const pointers = (argv.count + envp.count) * POINTER;
  if (argv.bytes.length + envp.bytes.length + pointers > argLimit(stackLimit)) return -E2BIG;
  for (const strings of [argv, envp])
    for (let at = 0; at < strings.bytes.length; ) {
      const end = stringEnd(strings, at);
      if (end - at > MAX_ARG_STRLEN) return -E2BIG;
      at = end;
    }
  return 0;
}

/**
 * The strings that two NULL-terminated arrays of pointers in the current task's memory name; a NULL array is empty. They are counted
 * before one is copied, and never take more than a stack of that limit may hold: -E2BIG. -EFAULT.
 */
export function userArgs(
  argv: number,
  envp: number,
  stackLimit: number,
): { argv: ArgStrings; envp: ArgStrings } | number {
  const limit = argLimit(stackLimit);
  const args = readPointers(argv, limit / POINTER);
  if (typeof args === "number") return args;
  const variables = readPointers(envp, limit / POINTER);
  if (typeof variables === "number") return variables;
  const room = limit - (args.length + variables.length) * POINTER;
  if (room <= 0) return -E2BIG;
  const first = copyStrings(args, room);
  if (typeof first === "number") return first;
  const second = copyStrings(variables, room - first.bytes.length);
  return typeof second === "number" ? second : { argv: first, envp: second };
}

/** The pointers before the NULL, at most `most`. Each is read once: another thread may change the array meanwhile. */
function readPointers(array: number, most: number): number[] | number {
  const pointers: number[] = [];
  if (array === 0) return pointers;
  for (;;) {
    const at = array + pointers.length * POINTER;
    if (at % POINTER === 0 && seenMode === 0) {
      // Those up to the end of the page at once.
      const from = userRead(at);
      if (from < 0) return -EFAULT;
      const end = from - (from & PAGE_MASK) + PAGE_SIZE;
      for (let word = from / 4; word < end / 4; word += 2) {
        const pointer = ram.u32[word]! + ram.u32[word + 1]! * 2 ** 32;
        if (pointer === 0) return pointers;
        if (pointers.length >= most) return -E2BIG;
        pointers.push(pointer);
      }
      continue;
    }
    if (userRead(at) < 0 || userRead(at + POINTER - 1) < 0) return -EFAULT;
    const pointer = getUserU64(at);
    if (pointer === 0) return pointers;
    if (pointers.length >= most) return -E2BIG;
    pointers.push(pointer);
  }
}

function copyStrings(pointers: readonly number[], room: number): ArgStrings | number {
  const count = pointers.length;
  let bytes = new Uint8Array(count === 0 ? 0 : Math.min(room, FIRST_BYTES));
  let used = 0;
  for (let n = 0; n < count; ) {
    const length = copyStringIn(pointers[n]!, bytes, used, Math.min(bytes.length - used, MAX_ARG_STRLEN));
    if (length >= 0) {
      used += length;
      bytes[used++] = 0;
      n++;
      continue;
    }
    if (length !== -ENAMETOOLONG) return length;
    // It is too long for the room that is left, which may grow.
    if (bytes.length - used >= MAX_ARG_STRLEN || bytes.length >= room) return -E2BIG;
    const grown = new Uint8Array(Math.min(room, bytes.length * 2));
    grown.set(bytes.subarray(0, used));
    bytes = grown;
  }
  return { bytes: bytes.subarray(0, used), count };
}
