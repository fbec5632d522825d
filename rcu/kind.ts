/**
 * What collections keep: integers, doubles, strings, byte arrays, references to declared structs, declared structs. A kind
 * says how a value of type V becomes one word of the heap and back, so that every update is one atomic exchange of that word.
 *
 *   new RcuHashMap<string, Ref<"dentry">>({ key: text(), value: ref(Dentry) });
 *   new RcuList({ value: double() });
 */
import {
  FNV_BASIS,
  freeString,
  hashBytes,
  stringBytes,
  stringEquals,
  stringText,
  tryAllocString,
} from "./array.ts";
import { kfreeRcu, kfreeStringRcu } from "./callback.ts";
import { checkObject } from "./collection.ts";
import { WrongTypeError } from "./error.ts";
import { f64, i32, u8 } from "./memory.ts";
import type { Ref } from "./ref.ts";
import { free, type StructType, struct, TYPE, tryAlloc, tryCopy, wide } from "./struct.ts";

/** What a collection may hold. References are numbers. */
export type Value = number | string | Uint8Array;

/** How values of type V are kept. The functions are for collections; programs only pass kinds around. */
export interface Kind<V> {
  readonly name: string;
  /** The word is memory that the collection owns; 0 is then no value. Else the word is the value itself. */
  readonly owns: boolean;
  /** The word is the value: decode returns what it is given. */
  readonly direct: boolean;
  /** The word for a value; 0 when `owns` and the heap is full. Throws WrongTypeError, and allocates nothing then. */
  readonly encode: (value: V) => number;
  readonly decode: (word: number) => V;
  /** Frees a word's memory after a grace period. */
  readonly retire: (word: number) => void;
  /** Frees it at once: no reader has seen it. */
  readonly drop: (word: number) => void;
  /** Kinds whose objects can be changed in a copy: a copy of the word's object, 0 when the heap is full. Throws WrongTypeError. */
  readonly copy?: (word: number) => number;
  /** With copy: frees a copy that was not used. */
  readonly discard?: (word: number) => void;
}

/** A kind whose values can be keys. */
export interface KeyKind<K> extends Kind<K> {
  /** Depends on the seed where keys are longer than a word; other hashes are multiplied by it (hash-table.ts). */
  readonly hash: (key: K, seed: number) => number;
  /** Whether the memory that `word` names holds this key; not asked of a kind that owns nothing. */
  readonly equals: (word: number, key: K) => boolean;
}

const nothing = (): void => {};
/** A value in a message. */
export const show = (value: unknown): string =>
  typeof value === "string" ? JSON.stringify(value) : value instanceof Uint8Array ? "bytes" : String(value);
const wrong = (value: unknown, want: string): never => {
  throw new WrongTypeError(`${show(value)} (${typeof value}) is not ${want}`);
};

function checkInt(value: number): number {
  return (value | 0) === value ? value : wrong(value, "a 32-bit integer: keep other numbers as double()");
}

const INT: KeyKind<number> = {
  name: "int",
  owns: false,
  direct: true,
  encode: checkInt,
  decode: (word) => word,
  retire: nothing,
  drop: nothing,
  hash: (key) => key,
  equals: (word, key) => word === key,
};
/** 32-bit integers, or references that nobody checks. */
export const int = <T extends number = number>(): KeyKind<T> => INT as unknown as KeyKind<T>;

export const BoxedDouble = struct("rcu_double", { value: wide() });
type DoubleRef = Ref<"rcu_double">;

const DOUBLE: Kind<number> = {
  name: "double",
  owns: true,
  direct: false,
  encode(value) {
    if (typeof value !== "number") wrong(value, "a number");
    const box = tryAlloc(BoxedDouble);
    if (box !== 0) BoxedDouble.value.set(box, value);
    return box;
  },
  decode: (word) => f64[word >> 1]!,
  retire: (word) => kfreeRcu(BoxedDouble, word as DoubleRef),
  drop: (word) => free(BoxedDouble, word as DoubleRef),
};
/** Any number. Readers see it whole: it is written once, before it is published. */
export const double = (): Kind<number> => DOUBLE;

const encoder = new TextEncoder();

function checkText(value: string): string {
  if (typeof value !== "string") wrong(value, "a string");
  if (!value.isWellFormed()) wrong(value, "well-formed: a lone surrogate has no UTF-8");
  return value;
}

/** FNV-1a over the UTF-8 bytes, without encoding what is ASCII. */
function hashText(text: string, seed: number): number {
  if (typeof text !== "string") wrong(text, "a string");
  let hash = FNV_BASIS ^ seed;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x80) return hashBytes(encoder.encode(checkText(text)), seed);
    hash = Math.imul(hash ^ unit, 0x01000193);
  }
  return hash | 0;
}

/** The string's length in bytes is its first word, its text begins at the third (array.ts). */
function textEquals(word: number, text: string): boolean {
  const bytes = i32[word]!;
  if (bytes < text.length) return false;
  if (bytes > text.length) {
    const encoded = encoder.encode(text);
    return stringEquals(word as Ref<"string">, encoded, hashBytes(encoded));
  }
  const start = (word + 2) * 4;
  for (let i = 0; i < bytes; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x80 || u8[start + i] !== unit) return false;
  }
  return true;
}

const string = {
  owns: true,
  direct: false,
  retire: (word: number) => kfreeStringRcu(word as Ref<"string">),
  drop: (word: number) => freeString(word as Ref<"string">),
} as const;

const TEXT: KeyKind<string> = {
  ...string,
  name: "text",
  encode: (value) => tryAllocString(checkText(value)),
  decode: (word) => stringText(word as Ref<"string">),
  hash: hashText,
  equals: textEquals,
};
/** Strings, kept as UTF-8. */
export const text = (): KeyKind<string> => TEXT;

const checkBytes = (value: Uint8Array): Uint8Array =>
  value instanceof Uint8Array ? value : wrong(value, "a Uint8Array");

const BLOB: KeyKind<Uint8Array> = {
  ...string,
  name: "blob",
  encode: (value) => tryAllocString(checkBytes(value)),
  decode: (word) => stringBytes(word as Ref<"string">),
  hash: (key, seed) => hashBytes(checkBytes(key), seed),
  equals: (word, key) => stringEquals(word as Ref<"string">, key, i32[word + 1]!),
};
/** Byte arrays. What is read is a copy. */
export const blob = (): KeyKind<Uint8Array> => BLOB;

/** References to objects of a declared struct, which stay their owner's: who removes one decides what becomes of it. */
export function ref<N extends string>(type: StructType<N>): KeyKind<Ref<N>> {
  const name = `ref ${type[TYPE].name}`;
  return {
    name,
    owns: false,
    direct: true,
    encode: (value) => checkObject(type, value, name),
    decode: (word) => word as Ref<N>,
    retire: nothing,
    drop: nothing,
    hash: (key) => key,
    equals: (word, key) => word === key,
  };
}

/** Objects of a declared struct that belong to the collection: what is replaced or removed is freed after a grace period. */
export function own<N extends string>(type: StructType<N>): Kind<Ref<N>> {
  const name = `own ${type[TYPE].name}`;
  return {
    name,
    owns: true,
    direct: true,
    encode: (value) => checkObject(type, value, name),
    decode: (word) => word as Ref<N>,
    retire: (word) => kfreeRcu(type, word as Ref<N>),
    drop: nothing, // An insertion failed: the object is still the caller's.
    copy: (word) => tryCopy(type, word as Ref<N>),
    discard: (word) => free(type, word as Ref<N>),
  };
}

/** An integer default for a collection that was given no kind. */
export const kindOr = <V>(kind: Kind<V> | undefined): Kind<V> => kind ?? (INT as unknown as Kind<V>);

/** What the types of keys and values demand of the options: only integers may go without a kind. */
export type NeedsValue<V> = V extends number ? unknown : { readonly value: Kind<V> };
export type NeedsKey<K> = K extends number ? unknown : { readonly key: KeyKind<K> };
/** Arguments of a constructor that was given no options: none, where the type parameters are integers. */
export type NoOptions<T> = [T] extends [number] ? [] : [options: { readonly value: never }];
