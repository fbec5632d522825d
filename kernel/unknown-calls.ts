/**
 * System-call numbers that programs tried and Sternix does not have: the arguments of the first try of each, for
 * `--stats`.
 */
import { alloc, locked, type Ref, spinlock, struct, words } from "../rcu/index.ts";
import { kernelGlobal } from "./global.ts";

/** Numbers whose arguments are kept; what comes after is only counted. */
const CAPACITY = 64;
const ARGS = 6;
/** Words of a record: nr, tries, then low and high word of each argument. */
const TRIES = 1;
const FIRST_ARG = 2;
const RECORD = FIRST_ARG + 2 * ARGS;

const UnknownCalls = struct("unknown_calls", {
  lock: spinlock(),
  count: locked("lock"),
  records: words(CAPACITY * RECORD),
});
const unknownCalls = kernelGlobal<Ref<"unknown_calls">>("unknown calls");

/** A call that does not exist, with the arguments of its first try. */
export interface UnknownCall {
  readonly nr: number;
  readonly tries: number;
  readonly args: readonly number[];
}

/** Once per machine, at boot. False when the heap is full. */
export function unknownCallsInit(): boolean {
  const calls = alloc(UnknownCalls);
  if (calls !== 0) unknownCalls.init(calls);
  return calls !== 0;
}

/** Counts a try; remembers the arguments (signed 64-bit values) if the number is new. */
export function noteUnknownCall(nr: number, args: readonly number[]): void {
  const calls = unknownCalls.get();
  const held = UnknownCalls.lock.lock(calls);
  const count = UnknownCalls.count.get(held, calls);
  let at = 0;
  while (at < count && UnknownCalls.records.get(calls, at * RECORD) !== nr) at++;
  if (at === count && count < CAPACITY) {
    UnknownCalls.records.set(calls, at * RECORD, nr);
    for (let n = 0; n < ARGS; n++) {
      UnknownCalls.records.set(calls, at * RECORD + FIRST_ARG + 2 * n, args[n]! | 0);
      UnknownCalls.records.set(calls, at * RECORD + FIRST_ARG + 1 + 2 * n, Math.floor(args[n]! / 4294967296));
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
      (_, n) => (word(FIRST_ARG + 1 + 2 * n) | 0) * 4294967296 + word(FIRST_ARG + 2 * n),
    );
    list.push({ nr: word(0), tries: word(TRIES), args });
  }
  UnknownCalls.lock.unlock(calls);
  return list;
}
