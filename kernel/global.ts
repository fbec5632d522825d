/**
 * Named words of the kernel: where subsystems keep the references that every CPU must find (pid table, root mount,
 * hash tables...). `const pidTable = kernelGlobal("pid table")`, then `.init(ref)` once at boot and `.get()` on
 * any CPU. The words live in one heap array that the boot message names; numbers follow from the name, so
 * threads may load modules in any order.
 */
import { arrayCas, arrayGet, arrayLoad, arrayStore, type Ref, tryAllocArray } from "../rcu/index.ts";
import { hashName } from "../rcu/kernel.ts";

/** Names that one machine can have. */
const CAPACITY = 256;
const PAIR = 2;

let table: Ref<"array"> | 0 = 0;
/** Counts bindings. */
let bindings = 0;
const forget: (() => void)[] = [];

/** Makes the table: once per machine, by the booting thread. 0 when the heap is full. */
export function createGlobals(): Ref<"array"> | 0 {
  return tryAllocArray(CAPACITY * PAIR);
}

/** Makes this the table that globals of this thread refer to. */
export function bindGlobals(ref: Ref<"array">): void {
  table = ref;
  bindings++;
  for (const each of forget) each();
}

/** Has `forgets` called whenever this thread is bound anew: what it remembers of its globals is another machine's then. */
export function onGlobalsBound(forgets: () => void): void {
  forget.push(forgets);
}

export interface Global<T extends number = number> {
  /** The value; 0 before `init`. Plain load: fine for what is written once at boot. */
  get(): T;
  /** Sequentially consistent load, for words that change at run time. */
  load(): T;
  /** Publishes the value. */
  init(value: T): void;
}

export function kernelGlobal<T extends number = number>(name: string): Global<T> {
  const hash = hashName(name) || 1;
  let bound = 0;
  let element = 0;
  const resolve = (): Ref<"array"> => {
    if (table === 0) throw new Error(`kernel global "${name}" before bindGlobals()`);
    if (bound !== bindings) {
      element = claim(table, hash) * PAIR + 1;
      bound = bindings;
    }
    return table;
  };
  return {
    get: () => arrayGet(resolve(), element) as T,
    load: () => arrayLoad(resolve(), element) as T,
    init: (value) => arrayStore(resolve(), element, value),
  };
}

/** Index of the pair that belongs to this name. */
function claim(array: Ref<"array">, hash: number): number {
  for (let index = 0; index < CAPACITY; index++) {
    const seen = arrayLoad(array, index * PAIR);
    if (seen === hash) return index;
    if (seen !== 0) continue;
    if (arrayCas(array, index * PAIR, 0, hash)) return index;
    index--; // Somebody took the pair: look at it again, it may be ours.
  }
  throw new Error(`more than ${CAPACITY} kernel globals`);
}
