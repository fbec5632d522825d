/** What a table has to offer to be benchmarked. */
import type { StructType } from "../../../rcu/index.ts";
import { TYPE } from "../../../rcu/kernel.ts";
import type { Operations } from "../loop.ts";

export interface TableBench {
  readonly name: string;
  /** What a read and a write are, for the report. */
  readonly what: string;
  /** Numbers of entries that it is measured with; --quick takes 4096 where it is one of them. */
  readonly sizes: readonly number[];
  /** There cannot be more entries than these, and why. */
  readonly most?: readonly [entries: number, reason: string];
  /** Keys and values are integers below the number of entries: maps of other libraries can hold the same. */
  readonly integers?: true;
  /** Heap bytes that one queued callback keeps from being reused: the mean over those that a write queues. */
  readonly deferredBytes: number | ((entries: number) => number);
  /** Once for each size, on the thread that made the world: fills the table. The result goes to the threads. */
  build(entries: number): readonly number[];
  /** On each thread: how it reads and writes what was built. */
  open(built: readonly number[], entries: number): Operations;
}

/** Bytes of a heap cell. */
export const cellBytes = (type: StructType): number => (type[TYPE].words + 2) * 4;
