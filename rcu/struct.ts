/**
 * Struct types of the shared heap, declared once:
 *
 *   const Inode = struct("inode", {
 *     ino: fixed(),
 *     nlink: atomic(),
 *     lock: spinlock(),
 *     size: lockedWide("lock"),
 *   });
 *   const inode = alloc(Inode);            // Ref<"inode"> or 0
 *   Inode.ino.init(inode, 7);
 *
 * Offsets are computed here: doubles, locks and arrays get the alignment they need. Type numbers are kept in the
 * heap by name, so threads may load declarations in any order.
 */
import { DeclarationError, WrongTypeError } from "./error.ts";
import { Atomic, Bytes, Fixed, Locked, LockedWide, Owned, RcuField, Wide, Words } from "./fields.ts";
import { ListNode } from "./list-node.ts";
import { Mutex, Rwlock, Spinlock } from "./lock-fields.ts";
import { declareLock } from "./lock-order.ts";
import { i32 } from "./memory.ts";
import { hashName, type Ref } from "./ref.ts";
import { allocCell, findCache, freeCell, liveCells } from "./slab.ts";

export type Kind =
  | "fixed"
  | "owned"
  | "wide"
  | "atomic"
  | "rcu"
  | "locked"
  | "lockedWide"
  | "spinlock"
  | "mutex"
  | "rwlock"
  | "words"
  | "bytes"
  | "list";

/** What a field was declared as: the result of fixed(), atomic() and so on. */
export interface Spec<K extends Kind, T = number> {
  readonly kind: K;
  readonly words: number;
  readonly length: number;
  /** The lock that guards the field, or the struct that it points to. */
  readonly note: string;
  /** Of a lock: 0 when it has none. */
  readonly rank: number;
  readonly type?: T;
}
const spec = <K extends Kind, T = number>(
  kind: K,
  words: number,
  length = 0,
  note = "",
  rank = 0,
): Spec<K, T> => ({
  kind,
  words,
  length,
  note,
  rank,
});

/** Written before publication, constant afterwards. */
export const fixed = <T extends number = number>(): Spec<"fixed", T> => spec("fixed", 1);
/** Plain access by the field's one owner. */
export const owned = <T extends number = number>(): Spec<"owned", T> => spec("owned", 1);
/** A number up to 2^53, plain access. */
export const wide = (): Spec<"wide"> => spec("wide", 2);
/** 32 bits, atomic operations by anybody. */
export const atomic = <T extends number = number>(): Spec<"atomic", T> => spec("atomic", 1);
/** Pointer to a struct of the named type, replaced whole. */
export const rcu = <S extends string>(target: S): Spec<"rcu", S> => spec("rcu", 1, 0, target);
/** 32 bits, only with the named lock held. */
export const locked = <L extends string, T extends number = number>(lock: L): Spec<"locked", [L, T]> =>
  spec("locked", 1, 0, lock);
/** A number up to 2^53, only with the named lock held. */
export const lockedWide = <L extends string>(lock: L): Spec<"lockedWide", L> =>
  spec("lockedWide", 2, 0, lock);
/**
 * A lock for short critical sections. Debug heaps check the order in which locks are taken: one with a `rank` only while all that are held
 * have lower ones (lock-order.ts). The same goes for the other locks.
 */
export const spinlock = (rank = 0): Spec<"spinlock"> => spec("spinlock", 1, 0, "", rank);
/** A lock that may be held across sleeps. */
export const mutex = (rank = 0): Spec<"mutex"> => spec("mutex", 1, 0, "", rank);
/** A reader-writer lock, writers preferred. */
export const rwlock = (rank = 0): Spec<"rwlock"> => spec("rwlock", 2, 0, "", rank);
/** An inline array of 32-bit words. */
export const words = (length: number): Spec<"words"> => spec("words", length, length);
/** An inline array of bytes. */
export const bytes = (length: number): Spec<"bytes"> => spec("bytes", (length + 3) >> 2, length);
/** A list head or list node. */
export const listNode = (): Spec<"list"> => spec("list", 2);

type AccessorOf<N extends string, K extends string, F> =
  F extends Spec<"fixed", infer T extends number>
    ? Fixed<N, T>
    : F extends Spec<"owned", infer T extends number>
      ? Owned<N, T>
      : F extends Spec<"atomic", infer T extends number>
        ? Atomic<N, T>
        : F extends Spec<"wide">
          ? Wide<N>
          : F extends Spec<"rcu", infer S extends string>
            ? RcuField<N, S>
            : F extends Spec<"locked", [infer L extends string, infer T extends number]>
              ? Locked<N, L, T>
              : F extends Spec<"lockedWide", infer L extends string>
                ? LockedWide<N, L>
                : F extends Spec<"spinlock">
                  ? Spinlock<N, K>
                  : F extends Spec<"mutex">
                    ? Mutex<N, K>
                    : F extends Spec<"rwlock">
                      ? Rwlock<N, K>
                      : F extends Spec<"words">
                        ? Words<N>
                        : F extends Spec<"bytes">
                          ? Bytes<N>
                          : ListNode<N>;

/** Identity of a struct type: name, size, and its cache number in the heap this thread last used. */
export interface StructType<N extends string = string> {
  readonly [TYPE]: {
    readonly name: N;
    readonly hash: number;
    /** Fields with their places, as text: threads that share a heap must agree on it. */
    readonly layout: string;
    words: number;
    views: unknown;
    cache: number;
  };
}
/** Where a struct type keeps what it is: for this package only. */
export const TYPE: unique symbol = Symbol("struct type");

/** A declared struct: its type, and an accessor for each field. */
export type Struct<N extends string, F> = StructType<N> & {
  readonly [K in keyof F & string]: AccessorOf<N, K, F[K]>;
};

/** Struct types declared so far in this thread, by name. */
export const declaredStructs = new Map<string, StructType>();

/** Declares a struct type: once in each thread that uses it, with the same fields everywhere. Throws DeclarationError. */
export function struct<const N extends string, const F extends Record<string, Spec<Kind, unknown>>>(
  name: N,
  fields: F,
): Struct<N, F> {
  if (declaredStructs.has(name))
    throw new DeclarationError("ERR_RCU_DECLARED_TWICE", `struct ${name} is declared twice`);
  const result: Record<string | symbol, unknown> = {};
  const layout: string[] = [];
  let offset = 0;
  for (const [key, field] of Object.entries(fields)) {
    if (field.kind === "wide" || field.kind === "lockedWide") offset = (offset + 1) & ~1;
    result[key] = accessor(field, offset);
    (result[key] as { of: string }).of = name;
    if (field.kind === "spinlock" || field.kind === "mutex" || field.kind === "rwlock")
      declareLock(result[key] as object, `${name}.${key}`, field.rank);
    const detail = field.length > 0 ? `[${field.length}]` : field.note === "" ? "" : `(${field.note})`;
    layout.push(`${key}: ${field.kind}${detail} at ${offset}`);
    offset += field.words;
  }
  result[TYPE] = {
    name,
    hash: hashName(name),
    layout: `${name} { ${layout.join(", ")} }`,
    words: Math.max(offset, 1),
    views: null,
    cache: -1,
  };
  // Copied: V8 keeps what was added name by name in a hash table from 13 fields on, and looks each access up in it.
  const type = { ...result } as unknown as Struct<N, F>;
  declaredStructs.set(name, type);
  return type;
}

function accessor(field: Spec<Kind, unknown>, offset: number): unknown {
  switch (field.kind) {
    case "fixed":
      return new Fixed(offset);
    case "owned":
      return new Owned(offset);
    case "wide":
      return new Wide(offset);
    case "atomic":
      return new Atomic(offset);
    case "rcu":
      return new RcuField(offset);
    case "locked":
      return new Locked(offset);
    case "lockedWide":
      return new LockedWide(offset);
    case "spinlock":
      return new Spinlock(offset);
    case "mutex":
      return new Mutex(offset);
    case "rwlock":
      return new Rwlock(offset);
    case "words":
      return new Words(offset, field.length);
    case "bytes":
      return new Bytes(offset, field.length);
    case "list":
      return new ListNode(offset);
  }
}

/** The cache number of a struct type in the current heap. */
export function cacheOf(type: StructType): number {
  const meta = type[TYPE];
  if (meta.views !== i32) {
    meta.cache = findCache(meta.hash, meta.name, meta.words, meta.layout);
    meta.views = i32;
  }
  return meta.cache;
}

/** Allocates an object, all fields zero; 0 when the heap is full: for callers that have an answer of their own. Waits for nothing. */
export function tryAlloc<N extends string>(type: StructType<N>): Ref<N> | 0 {
  return allocCell(cacheOf(type)) as Ref<N> | 0;
}

/** Fields that are not copied with what surrounds them. */
const UNCOPIED = /: (?:spinlock|mutex|rwlock|list) at /;

/**
 * A copy of an object, word by word; 0 when the heap is full. What keeps the object allocated keeps others from writing to it, too, or
 * writes single words. Throws WrongTypeError for structs with locks or list nodes.
 */
export function tryCopy<N extends string>(type: StructType<N>, ref: Ref<NoInfer<N>>): Ref<N> | 0 {
  const { name, layout, words } = type[TYPE];
  if (UNCOPIED.test(layout))
    throw new WrongTypeError(`struct ${name} has locks or list nodes: a copy of those makes no sense`);
  const copy = tryAlloc(type);
  if (copy !== 0) for (let word = 0; word < words; word++) i32[copy + word] = i32[ref + word]!;
  return copy;
}

/** Frees an object at once: nobody else can reach it. Objects that readers may hold go through kfreeRcu. */
export function free<N extends string>(type: StructType<N>, ref: Ref<NoInfer<N>>): void {
  freeCell(cacheOf(type), ref);
}

/** Objects of this type that are allocated now. */
export function liveObjects(type: StructType): number {
  return liveCells(cacheOf(type));
}
