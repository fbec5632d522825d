/**
 * Values that tell what they are: each is made from a key and a version, and whoever reads one can tell whether it is whole,
 * whose it is, and when it was written.
 */
import {
  blob,
  double,
  fixed,
  int,
  type KeyKind,
  type Kind,
  own,
  type Ref,
  struct,
  text,
  tryAlloc,
  type Value,
} from "../../../rcu/index.ts";

export const KEYS = 1024;

/** An object of which every field depends on the others. */
export const Item = struct("property item", { key: fixed(), version: fixed(), check: fixed() });
export type ItemRef = Ref<"property item">;
const mix = (key: number, version: number): number =>
  (Math.imul(key, 31) ^ Math.imul(version, 17) ^ 0x5a5a) | 0;

export function makeItem(key: number, version: number): ItemRef {
  const item = tryAlloc(Item);
  if (item === 0) throw new Error("the heap of the test is full");
  Item.key.init(item, key);
  Item.version.init(item, version);
  Item.check.init(item, mix(key, version));
  return item;
}

/** The key and version that a value was made from, as version * KEYS + key; -1 when it is torn, freed or foreign. */
type Stamp = number;

export interface ValueType<V extends Value = Value> {
  readonly kind: Kind<V>;
  make(key: number, version: number): V;
  stampOf(value: V): Stamp;
}
const type = <V extends Value>(one: ValueType<V>): ValueType => one as unknown as ValueType;

const padded = (key: number, version: number): string =>
  `${key}:${version}:${"é".repeat((key + version * 7) % 60)}`;

const textStamp = (value: string): Stamp => {
  const [key, version] = value.split(":").map(Number);
  return padded(key!, version!) === value ? version! * KEYS + key! : -1;
};

export const itemStamp = (item: ItemRef): Stamp => {
  const key = Item.key.get(item);
  const version = Item.version.get(item);
  return Item.check.get(item) === mix(key, version) ? version * KEYS + key : -1;
};

export const VALUES = {
  int: type({ kind: int(), make: (key, version) => version * KEYS + key, stampOf: (value) => value }),
  double: type({
    kind: double(),
    make: (key, version) => (version * KEYS + key) / 3,
    stampOf: (value) => (Math.round(value * 3) / 3 === value ? Math.round(value * 3) : -1),
  }),
  text: type({
    kind: text(),
    make: padded,
    stampOf: textStamp,
  }),
  blob: type({
    kind: blob(),
    make: (key, version) => new TextEncoder().encode(padded(key, version)),
    stampOf: (value) => textStamp(new TextDecoder().decode(value)),
  }),
  own: type({ kind: own(Item), make: makeItem, stampOf: itemStamp }),
} as const;
export type ValueName = keyof typeof VALUES;

export interface KeyType {
  readonly kind: KeyKind<Value>;
  make(key: number): Value;
}
const keyType = <K extends Value>(kind: KeyKind<K>, make: (key: number) => K): KeyType => ({
  kind: kind as unknown as KeyKind<Value>,
  make,
});
export const KEY_TYPES = {
  int: keyType(int(), (key) => Math.imul(key, 7) - 500),
  text: keyType(text(), (key) => `key ${key} ${"ü".repeat(key % 9)}`),
  blob: keyType(blob(), (key) => new Uint8Array([key, key >> 8, 1, 2, 3].slice(0, 2 + (key % 4)))),
} as const;
export type KeyName = keyof typeof KEY_TYPES;
