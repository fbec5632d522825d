/** Accesses to shared words: what a program does to the heap, and what it gives and leaves there. */
export type OpKind =
  | "load"
  | "store"
  | "store bytes"
  | "atomic load"
  | "atomic store"
  | "add"
  | "and"
  | "or"
  | "exchange"
  | "compare"
  | "wait"
  | "notify";
export const READS = 1;
export const WRITES = 2;

/**
 * An access to a shared word. `a` is what is stored, added, expected or how many are woken; `b` what a comparison stores, and the bits that
 * "store bytes" changes.
 */
export interface Op {
  readonly kind: OpKind;
  readonly at: number;
  readonly a: number;
  readonly b: number;
  /** The allocator's own: it may touch what is free. */
  readonly trusted?: boolean;
}
/** A store that may wait in a store buffer. */
export const isPlainStore = (op: Op): boolean => op.kind === "store" || op.kind === "store bytes";
/** READS, WRITES or both. A sleeper is put on its word's list, a notifier takes it off. */
export const effect = (op: Op): number =>
  op.kind === "load" || op.kind === "atomic load" ? READS : isPlainStore(op) ? WRITES : READS | WRITES;

/** What `wait` answers, as the program's log has it. */
export const WOKEN = 0;
export const NOT_EQUAL = 1;
export const TIMED_OUT = 2;

/** What the word holds afterwards; undefined when nothing is stored. */
export function applied(op: Op, old: number): number | undefined {
  switch (op.kind) {
    case "store":
    case "atomic store":
    case "exchange":
      return op.a | 0;
    case "store bytes":
      return (old & ~op.b) | (op.a & op.b);
    case "add":
      return (old + op.a) | 0;
    case "and":
      return old & op.a;
    case "or":
      return old | op.a;
    case "compare":
      return old === (op.a | 0) ? op.b | 0 : undefined;
    default:
      return undefined;
  }
}
