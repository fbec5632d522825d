import test from "ava";
import fc from "fast-check";
import {
  EVICTED,
  Idr,
  INSERTED,
  RcuArray,
  RcuCache,
  RcuHashMap,
  RcuLockFreeMap,
  rcuReadLock,
  rcuReadUnlock,
  UPDATED,
  type Value,
} from "../../../rcu/index.ts";
import { type Arena, assertEqual, holds, openArenas, pause, Step } from "./arena.ts";
import { anyKey, leavingKey, many, mapHolds } from "./keyed.ts";
import { STAY } from "./looks.ts";
import { KEY_TYPES, KEYS, type KeyName, VALUES, type ValueName } from "./values.ts";

let arenas: Awaited<ReturnType<typeof openArenas>>;
test.before(async () => {
  arenas = await openArenas();
});
test.after.always(() => arenas.close());

for (const [keys, values] of [
  ["int", "int"],
  ["text", "text"],
  ["int", "double"],
  ["text", "own"],
  ["blob", "blob"],
] as [KeyName, ValueName][])
  for (const [name, look, make] of [
    ["RcuHashMap", "map", (options) => new RcuHashMap<Value, Value>(options)],
    ["RcuLockFreeMap", "free", (options) => new RcuLockFreeMap<Value, Value>(options)],
  ] as [string, string, Parameters<typeof mapHolds>[3]][])
    test.serial(
      `${name} of ${keys} to ${values}: readers miss no key that stays, and see whole values`,
      (t) => {
        arenas.each((arena) => mapHolds(arena, keys, values, make, undefined, look));
        t.pass();
      },
    );

for (const [keyName, valueName] of [
  ["int", "int"],
  ["text", "own"],
] as [KeyName, ValueName][])
  test.serial(`RcuCache of ${keyName} to ${valueName}: readers miss no key that is only updated`, (t) => {
    type Model = Map<number, number>;
    interface Real {
      readonly arena: Arena;
      readonly cache: RcuCache<Value, Value>;
    }
    const keys = KEY_TYPES[keyName];
    const values = VALUES[valueName];
    const size = 5;
    const put = (model: Model, { arena, cache }: Real, key: number): void => {
      const version = arena.next();
      const expected = model.has(key) ? UPDATED : model.size === size ? EVICTED : INSERTED;
      assertEqual(cache.insert(keys.make(key), values.make(key, version)), expected, "insert");
      if (expected === EVICTED) model.delete(model.keys().next().value!);
      model.set(key, version * KEYS + key);
    };
    const step = (name: string, act: (model: Model, real: Real) => void): Step<Model, Real> =>
      new Step<Model, Real>(name, (model, real) => {
        act(model, real);
        const scope = rcuReadLock();
        for (let key = 0; key < 12; key++) {
          const value = real.cache.get(scope, keys.make(key));
          assertEqual(value === undefined ? undefined : values.stampOf(value), model.get(key), `key ${key}`);
        }
        rcuReadUnlock();
        assertEqual(real.cache.size, model.size, "size");
      });
    arenas.each((arena) =>
      holds<Model, Real>(
        [
          anyKey.map((key) => step(`insert ${key}`, (model, real) => put(model, real, key))),
          anyKey.map((key) =>
            step(`delete ${key}`, (model, { cache }) => {
              assertEqual(cache.delete(keys.make(key)), model.delete(key), "delete");
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
          many.map((count) =>
            step(`${count} keys in turn`, (model, real) => {
              for (let n = 0; n < count; n++) {
                put(model, real, n % 12);
                if (n % 8 === 0) arena.pause();
              }
            }),
          ),
          fc.constant(pause<Model, Real>()),
        ],
        (body) => {
          const cache = new RcuCache<Value, Value>({ key: keys.kind, value: values.kind, capacity: size });
          arena.during(`cache ${keyName} ${valueName}`, cache.ref, 0, () =>
            body(new Map(), { arena, cache }),
          );
          cache.destroy();
        },
      ),
    );
    t.pass();
  });

for (const valueName of ["int", "text", "own"] as const)
  test.serial(`Idr of ${valueName}: readers miss no id that stays, walks are in order`, (t) => {
    /** Stamps by id, and the next id of the cycle. */
    interface Model {
      readonly ids: Map<number, number>;
      next: number;
    }
    interface Real {
      readonly arena: Arena;
      readonly idr: Idr<Value>;
    }
    const values = VALUES[valueName];
    const put = ({ ids }: Model, { arena }: Real, id: number, write: (value: Value) => void): void => {
      const version = arena.next();
      write(values.make(id % KEYS, version));
      ids.set(id, version * KEYS + (id % KEYS));
    };
    const lowest = (model: Model, start: number): number => {
      let id = start;
      while (model.ids.has(id)) id++;
      return id;
    };
    const allocate = (model: Model, real: Real, start: number): void => {
      const id = lowest(model, start);
      put(model, real, id, (value) => assertEqual(real.idr.alloc(value, start), id, "alloc"));
    };
    const free = (model: Model, { idr }: Real, id: number): void => {
      const value = idr.remove(id);
      assertEqual(value === undefined ? undefined : values.stampOf(value), model.ids.get(id), "remove");
      model.ids.delete(id);
    };
    const step = (name: string, act: (model: Model, real: Real) => void): Step<Model, Real> =>
      new Step<Model, Real>(name, (model, real) => {
        act(model, real);
        const seen: number[] = [];
        real.idr.forEach(rcuReadLock(), (id, value) => {
          seen.push(id);
          assertEqual(values.stampOf(value), model.ids.get(id), `id ${id}`);
        });
        rcuReadUnlock();
        assertEqual(seen.join(), [...model.ids.keys()].toSorted((a, b) => a - b).join(), "ids");
        assertEqual(real.idr.size, model.ids.size, "size");
      });
    // Far apart modulo KEYS: a value tells its id by the remainder.
    const start = fc.constantFrom(STAY, 60, 200, 900, 4 * KEYS + 500, 300 * KEYS + 700);
    const steps = (arena: Arena): fc.Arbitrary<Step<Model, Real>>[] => [
      start.map((from) => step(`alloc from ${from}`, (model, real) => allocate(model, real, from))),
      fc.constant(
        step("allocCyclic", (model, real) => {
          const id = lowest(model, model.next);
          put(model, real, id, (value) => assertEqual(real.idr.allocCyclic(value), id, "allocCyclic"));
          model.next = id + 1;
        }),
      ),
      fc.nat().map((n) =>
        step(`remove the id ${n}`, (model, real) => {
          const leaving = [...model.ids.keys()].filter((id) => id >= STAY);
          if (leaving.length > 0) free(model, real, leaving[n % leaving.length]!);
        }),
      ),
      fc.tuple(anyKey, many).map(([id, count]) =>
        step(`replace ${id} ${count} times`, (model, real) => {
          for (let n = 0; n < count; n++)
            if (model.ids.has(id))
              put(model, real, id, (value) => assertEqual(real.idr.replace(id, value), true, "replace"));
        }),
      ),
      fc.tuple(start, many).map(([from, count]) =>
        step(`alloc and remove from ${from} ${count} times`, (model, real) => {
          for (let n = 0; n < count; n++) {
            const id = lowest(model, from);
            allocate(model, real, from);
            free(model, real, id);
            if (n % 8 === 0) arena.pause();
          }
        }),
      ),
      fc.constant(pause<Model, Real>()),
    ];
    arenas.each((arena) =>
      holds<Model, Real>(steps(arena), (body) => {
        const real = { arena, idr: new Idr<Value>({ value: values.kind }) };
        const model = { ids: new Map<number, number>(), next: 0 };
        for (let id = 0; id < STAY; id++) allocate(model, real, 0);
        arena.during(`idr ${valueName}`, real.idr.ref, 0, () => body(model, real));
        real.idr.destroy();
      }),
    );
    t.pass();
  });

for (const valueName of ["int", "text", "own"] as const)
  test.serial(`RcuArray of ${valueName}: readers find every element that stays while it is resized`, (t) => {
    /** Stamps; undefined where an element is empty. */
    type Model = (number | undefined)[];
    interface Real {
      readonly arena: Arena;
      readonly array: RcuArray<Value>;
    }
    const values = VALUES[valueName];
    const put = (model: Model, { arena, array }: Real, at: number): void => {
      const version = arena.next();
      const value = values.make(at, version);
      const inside = at < model.length;
      assertEqual(array.set(at, value), inside, "set");
      if (inside) model[at] = version * KEYS + at;
      // A value that found no place is still the caller's, if it is an object.
      else if (valueName === "own") values.kind.retire(value as number);
    };
    const step = (name: string, act: (model: Model, real: Real) => void): Step<Model, Real> =>
      new Step<Model, Real>(name, (model, real) => {
        act(model, real);
        const scope = rcuReadLock();
        assertEqual(real.array.length(scope), model.length, "length");
        for (let n = 0; n <= model.length; n++) {
          const value = real.array.get(scope, n);
          const empty = value === undefined || value === 0;
          assertEqual(empty ? undefined : values.stampOf(value), model[n], `element ${n}`);
        }
        rcuReadUnlock();
      });
    const length = fc.integer({ min: STAY, max: 14 });
    const resize = (model: Model, { array }: Real, to: number): void => {
      array.resize(to);
      const from = model.length;
      model.length = to;
      if (to > from) model.fill(undefined, from);
    };
    arenas.each((arena) =>
      holds<Model, Real>(
        [
          fc.nat(13).map((at) => step(`set ${at}`, (model, real) => put(model, real, at))),
          length.map((to) => step(`resize to ${to}`, (model, real) => resize(model, real, to))),
          fc.tuple(leavingKey, many).map(([at, count]) =>
            step(`set ${at} and resize ${count} times`, (model, real) => {
              for (let n = 0; n < count; n++) {
                put(model, real, n % STAY);
                put(model, real, at);
                resize(model, real, n % 2 === 0 ? STAY : 14);
                if (n % 8 === 0) arena.pause();
              }
            }),
          ),
          fc.constant(pause<Model, Real>()),
        ],
        (body) => {
          const real = { arena, array: new RcuArray<Value>({ length: STAY, value: values.kind }) };
          const model: Model = new Array(STAY).fill(undefined);
          for (let n = 0; n < STAY; n++) put(model, real, n);
          arena.during(`array ${valueName}`, real.array.ref, 0, () => body(model, real));
          real.array.destroy();
        },
      ),
    );
    t.pass();
  });
