/** The property of RcuHashMap, as a function: the planted mistakes are measured by it too. */
import fc from "fast-check";
import {
  INSERTED,
  type RcuHashMap,
  type RcuHashMapOptions,
  type RcuLockFreeMap,
  rcuReadLock,
  rcuReadUnlock,
  UPDATED,
  type Value,
} from "../../../rcu/index.ts";
import { type Arena, assertEqual, holds, pause, Step } from "./arena.ts";
import { STAY } from "./looks.ts";
import { KEY_TYPES, type KeyName, VALUES, type ValueName } from "./values.ts";

/** What both maps have, and the lock of one. */
type AnyMap = Pick<RcuHashMap<Value, Value>, keyof RcuLockFreeMap & keyof RcuHashMap> &
  Partial<Pick<RcuHashMap<Value, Value>, "lock">>;
interface Real {
  readonly arena: Arena;
  readonly map: AnyMap;
}
/** Stamps of the values by key. */
type Model = Map<number, number>;
type MapStep = Step<Model, Real>;

export const anyKey = fc.nat(11);
export const leavingKey = fc.integer({ min: STAY, max: 11 });
export const many = fc.integer({ min: 20, max: 150 });

export function mapHolds(
  arena: Arena,
  keyName: KeyName,
  valueName: ValueName,
  make: (options: RcuHashMapOptions<Value, Value>) => AnyMap,
  numRuns?: number,
  look = "map",
): void {
  const keys = KEY_TYPES[keyName];
  const values = VALUES[valueName];
  const put = (model: Model, { map }: Real, key: number, insert = map.insert.bind(map)): void => {
    const version = arena.next();
    const done = insert(keys.make(key), values.make(key, version));
    assertEqual(done, model.has(key) ? UPDATED : INSERTED, "insert");
    model.set(key, version * 1024 + key);
  };
  const take = (model: Model, { map }: Real, key: number): void => {
    assertEqual(map.delete(keys.make(key)), model.delete(key), "delete");
  };
  const compare = (model: Model, { map }: Real): void => {
    const scope = rcuReadLock();
    assertEqual(map.size, model.size, "size");
    for (const [key, stamp] of model)
      assertEqual(values.stampOf(map.get(scope, keys.make(key))!), stamp, `key ${key}`);
    let count = 0;
    map.forEach(scope, () => count++);
    assertEqual(count, model.size, "entries in a walk");
    rcuReadUnlock();
  };
  const step = (name: string, act: (model: Model, real: Real) => void): MapStep =>
    new Step<Model, Real>(name, (model, real) => {
      act(model, real);
      compare(model, real);
    });
  const steps: fc.Arbitrary<MapStep>[] = [
    anyKey.map((key) => step(`insert ${key}`, (model, real) => put(model, real, key))),
    leavingKey.map((key) => step(`delete ${key}`, (model, real) => take(model, real, key))),
    leavingKey.map((key) =>
      step(`remove ${key}`, (model, { map }) => {
        const value = map.remove(keys.make(key));
        const expected = model.get(key);
        model.delete(key);
        assertEqual(value === undefined ? undefined : values.stampOf(value), expected, "remove");
      }),
    ),
    fc.tuple(anyKey, many).map(([key, count]) =>
      step(`update ${key} ${count} times`, (model, real) => {
        put(model, real, key);
        arena.staying(key, () => {
          for (let n = 0; n < count; n++) put(model, real, key);
        });
      }),
    ),
    fc.tuple(leavingKey, many).map(([key, count]) =>
      step(`come and go ${key} ${count} times`, (model, real) => {
        for (let n = 0; n < count; n++) {
          put(model, real, key);
          take(model, real, key);
          if (n % 8 === 0) arena.pause();
        }
      }),
    ),
    many.map((count) =>
      step(`grow by ${count} and shrink`, (model, real) => {
        for (let key = 12; key < 12 + count; key++) put(model, real, key);
        compare(model, real);
        arena.pause();
        for (let key = 12; key < 12 + count; key++) if (model.has(key)) take(model, real, key);
      }),
    ),
    fc.tuple(anyKey, leavingKey).map(([key, gone]) =>
      step(`guarded insert ${key}, remove ${gone}`, (model, real) => {
        const guard = real.map.lock?.();
        put(model, real, key, guard?.insert.bind(guard));
        (guard ?? real.map).remove(keys.make(gone));
        guard?.unlock();
        model.delete(gone);
      }),
    ),
    fc.constant(pause<Model, Real>()),
  ];
  holds<Model, Real>(
    steps,
    (body) => {
      const map = make({ key: keys.kind, value: values.kind, buckets: 4 });
      const real = { arena, map };
      const model: Model = new Map();
      for (let key = 0; key < STAY; key++) put(model, real, key);
      arena.during(`${look} ${keyName} ${valueName}`, map.ref, 0, () => body(model, real));
      map.destroy();
    },
    numRuns,
  );
}
