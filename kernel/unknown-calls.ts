/**
 * System-call numbers that programs tried and Sternix does not have: the arguments of the first try of each, for
 * `--stats`.
 */
import { locked, type Ref, spinlock, struct, tryAlloc, words } from "../rcu/index.ts";
import { kernelGlobal } from "./global.ts";

/** Numbers whose arguments are kept; what comes after is only counted. */
const CAPACITY = 64;
const ARGS = 6;
/** Words of a record: low and high word of the number, tries, then low and high word of each argument. */
const TRIES = 2;
const FIRST_ARG = 3;
const RECORD = FIRST_ARG + 2 * ARGS;

const UnknownCalls = struct("unknown_calls", {
  lock: spinlock(98),
  count: locked("lock"),
  records: words(CAPACITY * RECORD),
});
const unknownCalls = kernelGlobal<Ref<"unknown_calls">>("unknown calls");

const TWO_32 = 2 ** 32;
const lowWord = (value: number): number => value | 0;
const highWord = (value: number): number => Math.floor(value / TWO_32) | 0;

/** A call that does not exist, with the arguments of its first try. */
export interface UnknownCall {
  readonly nr: number;
  readonly tries: number;
  readonly args: readonly number[];
}

/** Once per machine, at boot. False when the heap is full. */
export function unknownCallsInit(): boolean {
  const calls = tryAlloc(UnknownCalls);
  if (calls !== 0) unknownCalls.init(calls);
  return calls !== 0;
}

/** Counts a try of a number (all 64 bits of a7); remembers the arguments (signed 64-bit values) if it is new. */
export function noteUnknownCall(nr: number, args: readonly number[]): void {
  const calls = unknownCalls.get();
  const held = UnknownCalls.lock.lock(calls);
  const count = UnknownCalls.count.get(held, calls);
  const [low, high] = [lowWord(nr), highWord(nr)];
  let at = 0;
  for (; at < count; at++)
    if (
      UnknownCalls.records.get(calls, at * RECORD) === low &&
      UnknownCalls.records.get(calls, at * RECORD + 1) === high
    )
      break;
  if (at === count && count < CAPACITY) {
    UnknownCalls.records.set(calls, at * RECORD, low);
    UnknownCalls.records.set(calls, at * RECORD + 1, high);
    for (let n = 0; n < ARGS; n++) {
      UnknownCalls.records.set(calls, at * RECORD + FIRST_ARG + 2 * n, lowWord(args[n]!));
      UnknownCalls.records.set(calls, at * RECORD + FIRST_ARG + 1 + 2 * n, highWord(args[n]!));
    }
    UnknownCalls.count.set(held, calls, count + 1);
  }
  if (at < CAPACITY) UnknownCalls.records.add(calls, at * RECORD + TRIES, 1);
  UnknownCalls.lock.unlock(calls);
}

/** What was remembered, in the order of the first tries. */
export function listUnknownCalls(): UnknownCall[] {
  const calls = unknownCalls.get();
  const held = UnknownCalls.lock.lock(calls);
  const list: UnknownCall[] = [];
  for (let at = 0; at < UnknownCalls.count.get(held, calls); at++) {
    const word = (n: number): number => UnknownCalls.records.get(calls, at * RECORD + n) >>> 0;
    const args = Array.from(
      { length: ARGS },
      (_, n) => (word(FIRST_ARG + 1 + 2 * n) | 0) * TWO_32 + word(FIRST_ARG + 2 * n),
    );
    list.push({ nr: word(1) * TWO_32 + word(0), tries: word(TRIES), args });
  }
  UnknownCalls.lock.unlock(calls);
  return list;
}
