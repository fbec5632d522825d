/**
 * What a subsystem keeps in the shared heap: declared structs, and RCU collections that the booting thread makes once and
 * every CPU opens by their reference.
 */
import {
  type Arc,
  atomic,
  Idr,
  type IdrOptions,
  kfreeRcu,
  RcuArray,
  RcuCache,
  type RcuCacheOptions,
  RcuHashMap,
  type RcuHashMapOptions,
  RcuList,
  type RcuListOptions,
  RcuOptionArc,
  RcuOptionBox,
  RcuString,
  type Ref,
  Srcu,
  type StructType,
  struct,
  tryAlloc,
  type Value,
} from "../../rcu/index.ts";
import { TYPE } from "../../rcu/kernel.ts";
import { SharedMemory } from "./memory.ts";

/** How a table is made, found again, and given back. */
export interface TableSpec<T = unknown> {
  /** On the booting thread, with the subsystem's options; `name` is what reports call the table. Throws HeapFullError. */
  create(options: Options, name: string): T;
  /** On every CPU: `ref` is the reference of what `create` returned. */
  open(ref: number): T;
  refOf(table: T): number;
  /** At shutdown, when no CPU runs any more. */
  destroy(table: T): void;
}

/** A table, or a struct type whose objects belong to the subsystem: they are counted at shutdown. */
export type Tables = Readonly<Record<string, TableSpec | StructType>>;

/** What `context.tables` holds: the collection, or the struct type itself. */
export type Opened<T extends Tables> = {
  readonly [K in keyof T]: T[K] extends TableSpec<infer O> ? O : T[K];
};

export const isStruct = (spec: TableSpec | StructType): spec is StructType => TYPE in spec;

interface Collection {
  readonly ref: number;
  destroy(): void;
}
const collection = <T extends Collection>(
  create: (options: Options, name: string) => T,
  open: (at: number) => T,
): TableSpec<T> => ({
  create,
  open,
  refOf: (table) => table.ref,
  destroy: (table) => table.destroy(),
});

/** Options with their defaults, as the subsystem declares them. */
export type Options = Readonly<Record<string, string | number | boolean>>;

function numberOf(value: number | string, options: Options): number {
  const number = typeof value === "number" ? value : options[value];
  if (typeof number !== "number") throw new TypeError(`there is no option ${value} that is a number`);
  return number;
}

const Counter = struct("subsystem_counter", { value: atomic() });

/** A number that every CPU adds to. Wraps at 32 bits. */
export class SharedCounter {
  readonly ref: Ref<"subsystem_counter">;
  constructor(ref: Ref<"subsystem_counter">) {
    this.ref = ref;
  }
  /** Adds and returns the old value. */
  add(value = 1): number {
    return Counter.value.add(this.ref, value);
  }
  get value(): number {
    return Counter.value.load(this.ref);
  }
  set value(value: number) {
    Counter.value.store(this.ref, value);
  }
}

function makeCounter(): SharedCounter {
  const ref = tryAlloc(Counter);
  if (ref === 0) throw new Error("no memory for a counter");
  return new SharedCounter(ref);
}

/** Keys to values with lock-free reads: integers, or what `key` and `value` say (text(), double(), ref(Struct), ...). */
function hashMap<V extends number = number>(options?: { buckets?: number }): TableSpec<RcuHashMap<number, V>>;
function hashMap<K extends Value = number, V extends Value = number>(
  options: RcuHashMapOptions<K, V>,
): TableSpec<RcuHashMap<K, V>>;
function hashMap(options: RcuHashMapOptions = {}): TableSpec<RcuHashMap> {
  return collection(
    () => new RcuHashMap(options),
    (at) => new RcuHashMap({ ...options, at }),
  );
}

/**
 * A map of at most `capacity` entries that forgets the oldest. `capacity` may be the name of a number among the options.
 * `drop` gets each value that leaves it: free what it refers to, through RCU.
 */
function cache<K extends Value = number, V extends Value = number>(
  options: Omit<RcuCacheOptions<K, V>, "capacity" | "at"> & { capacity: number | string },
): TableSpec<RcuCache<K, V>> {
  const kinds = options as RcuCacheOptions<K, V>;
  return collection(
    (given) => new RcuCache<K, V>({ ...kinds, capacity: numberOf(options.capacity, given) }),
    (at) => new RcuCache<K, V>({ ...kinds, at }),
  );
}

/** Tables for `tables: { ... }` of defineSubsystem. */
export const table = {
  hashMap,
  cache,
  /** A counted object that is replaced whole, or nothing. Put one in with `update(arcNew(Type, object))`. */
  arc: <N extends string>(_type: StructType<N>, init: Arc<N> | 0 = 0): TableSpec<RcuOptionArc<N>> =>
    collection(
      () => new RcuOptionArc<N>(init),
      (at) => new RcuOptionArc<N>({ at }),
    ),
  /** An owned object that is replaced whole, or nothing. */
  box: <N extends string>(type: StructType<N>): TableSpec<RcuOptionBox<N>> =>
    collection(
      () => new RcuOptionBox<N>(type),
      (at) => new RcuOptionBox<N>(type, { at }),
    ),
  /** A string that is replaced whole. */
  string: (init = ""): TableSpec<RcuString> =>
    collection(
      () => new RcuString(init),
      (at) => new RcuString({ at }),
    ),
  /** A growable array of integers. */
  array: (length = 0): TableSpec<RcuArray> =>
    collection(
      () => new RcuArray(length),
      (at) => new RcuArray({ at }),
    ),
  /** Values in order: iterated while it changes. */
  list: <V extends Value = number>(
    options: Pick<RcuListOptions<V>, "value"> = {} as never,
  ): TableSpec<RcuList<V>> =>
    collection(
      () => new RcuList<V>(options as never),
      (at) => new RcuList<V>({ ...options, at } as never),
    ),
  /** Small integers, handed out and taken back, each with a value. */
  idr: <V extends Value = number>(options: Pick<IdrOptions<V>, "value"> = {} as never): TableSpec<Idr<V>> =>
    collection(
      () => new Idr<V>(options as never),
      (at) => new Idr<V>({ ...options, at } as never),
    ),
  /** A domain for read scopes that outlive a call: from a device's open to its release, say. */
  srcu: (): TableSpec<Srcu> =>
    collection(
      (_options, name) => new Srcu({ name }),
      (at) => new Srcu({ at }),
    ),
  /** Memory that programs see through mmap(2) of a device: whole pages, zero at first. */
  memory: (bytes: number): TableSpec<SharedMemory> =>
    collection(
      () => SharedMemory.create(bytes),
      (at) => new SharedMemory(at as Ref<"mapping">),
    ),
  /** One object of a declared struct, all fields zero: made at boot, the same one on every CPU. */
  one: <N extends string>(type: StructType<N>): TableSpec<Ref<N>> => ({
    create() {
      const ref = tryAlloc(type);
      if (ref === 0) throw new Error("no memory for a struct");
      return ref;
    },
    open: (ref) => ref as Ref<N>,
    refOf: (ref) => ref,
    destroy: (ref) => kfreeRcu(type, ref),
  }),
  /** A number that every CPU adds to. */
  counter: (): TableSpec<SharedCounter> => ({
    create: makeCounter,
    open: (ref) => new SharedCounter(ref as Ref<"subsystem_counter">),
    refOf: (counter) => counter.ref,
    destroy: (counter) => kfreeRcu(Counter, counter.ref),
  }),
};
