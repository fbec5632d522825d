import test from "ava";
import fc from "fast-check";
import {
  type Arc,
  arcDrop,
  arcNew,
  type Cursor,
  free,
  kfreeRcu,
  type Ptr,
  RcuArc,
  RcuAtomic,
  RcuBox,
  RcuIntrusiveList,
  RcuList,
  RcuOptionArc,
  RcuOptionBox,
  RcuPtr,
  RcuString,
  rcuReadLock,
  rcuReadUnlock,
  type Value,
} from "../../../rcu/index.ts";
import { type Arena, assertEqual, holds, openArenas, pause, Step } from "./arena.ts";
import { Job, type JobRef, makeJob } from "./job.ts";
import { many } from "./keyed.ts";
import { STAY } from "./looks.ts";
import { Item, type ItemRef, itemStamp, KEYS, makeItem, VALUES } from "./values.ts";

let arenas: Awaited<ReturnType<typeof openArenas>>;
test.before(async () => {
  arenas = await openArenas();
});
test.after.always(() => arenas.close());

/** A list as the property sees it: places are numbers, the model an array of stamps. */
interface AnyList {
  add(where: "push" | "unshift", key: number, version: number): void;
  insertAfter(place: number, key: number, version: number): void;
  remove(place: number): void;
  stamps(): number[];
}

function listHolds(arena: Arena, list: AnyList, during: (body: () => void) => void): void {
  type Model = number[];
  interface Real {
    readonly arena: Arena;
    readonly list: AnyList;
  }
  const add = (model: Model, where: "push" | "unshift", key: number): void => {
    const version = arena.next();
    list.add(where, key, version);
    model[where](version * KEYS + key);
  };
  /** The place of an entry that may leave, or -1. */
  const leaving = (model: Model, n: number): number => {
    const places = model.flatMap((stamp, place) => (stamp % KEYS >= STAY ? [place] : []));
    return places.length === 0 ? -1 : places[n % places.length]!;
  };
  const insert = (model: Model, n: number, key: number): void => {
    const place = n % model.length;
    const version = arena.next();
    list.insertAfter(place, key, version);
    model.splice(place + 1, 0, version * KEYS + key);
  };
  const remove = (model: Model, n: number): void => {
    const place = leaving(model, n);
    if (place < 0) return;
    list.remove(place);
    model.splice(place, 1);
  };
  const step = (name: string, act: (model: Model) => void): Step<Model, Real> =>
    new Step<Model, Real>(name, (model) => {
      act(model);
      assertEqual(list.stamps().join(), model.join(), "entries");
    });
  const key = fc.integer({ min: STAY, max: 20 });
  holds<Model, Real>(
    [
      fc
        .tuple(fc.constantFrom("push" as const, "unshift" as const), key)
        .map(([where, k]) => step(`${where} ${k}`, (model) => add(model, where, k))),
      fc.tuple(fc.nat(), key).map(([n, k]) => step(`insert ${k} after ${n}`, (model) => insert(model, n, k))),
      fc.nat().map((n) => step(`remove ${n}`, (model) => remove(model, n))),
      fc.tuple(fc.nat(), many).map(([n, count]) =>
        step(`insert after ${n} and remove ${count} times`, (model) => {
          for (let i = 0; i < count; i++) {
            insert(model, n + i, STAY + (i % 9));
            remove(model, n * i);
            if (i % 8 === 0) arena.pause();
          }
        }),
      ),
      fc.constant(pause<Model, Real>()),
    ],
    (body) => {
      const model: Model = [];
      for (let k = 0; k < STAY; k++) add(model, "push", k);
      during(() => body(model, { arena, list }));
    },
  );
}

for (const valueName of ["int", "text", "double"] as const)
  test.serial(`RcuList of ${valueName}: readers see what stays, once, in order`, (t) => {
    arenas.each((arena) => {
      const values = VALUES[valueName];
      let list: RcuList<Value>;
      const at = (place: number): Cursor => {
        const scope = rcuReadLock();
        let cursor = list.first(scope);
        for (let n = 0; n < place && cursor !== 0; n++) cursor = list.next(scope, cursor);
        rcuReadUnlock();
        return cursor as Cursor;
      };
      // Each run makes a list of its own.
      listHolds(
        arena,
        {
          add: (where, key, version) => {
            list ??= new RcuList<Value>({ value: values.kind });
            list[where](values.make(key, version));
          },
          insertAfter(place, key, version) {
            const scope = rcuReadLock();
            assertEqual(list.insertAfter(scope, at(place), values.make(key, version)), true, "insertAfter");
            rcuReadUnlock();
          },
          remove(place) {
            const scope = rcuReadLock();
            const cursor = at(place);
            assertEqual(list.remove(scope, cursor), true, "remove");
            assertEqual(list.remove(scope, cursor), false, "remove again");
            rcuReadUnlock();
          },
          stamps() {
            const stamps: number[] = [];
            list.forEach(rcuReadLock(), (value) => stamps.push(values.stampOf(value)));
            rcuReadUnlock();
            return stamps;
          },
        },
        (body) => {
          arena.during(`list ${valueName}`, list.ref, 0, body);
          list.destroy();
          list = undefined as never;
        },
      );
    });
    t.pass();
  });

test.serial("RcuIntrusiveList: readers see the objects that stay, once, and no freed one", (t) => {
  arenas.each((arena) => {
    let list: RcuIntrusiveList<"property job">;
    const at = (place: number): JobRef => {
      const scope = rcuReadLock();
      let job = list.first(scope);
      for (let n = 0; n < place && job !== 0; n++) job = list.next(scope, job);
      rcuReadUnlock();
      return job as JobRef;
    };
    const retire = (job: JobRef): void => {
      kfreeRcu(Item, Job.item.get(job) as ItemRef);
      kfreeRcu(Job, job);
    };
    listHolds(
      arena,
      {
        add: (where, key, version) => {
          list ??= new RcuIntrusiveList(Job, Job.link);
          list[where](makeJob(key, version));
        },
        insertAfter: (place, key, version) =>
          assertEqual(list.insertAfter(at(place), makeJob(key, version)), true, "insertAfter"),
        remove(place) {
          const job = at(place);
          assertEqual(list.remove(job), true, "remove");
          assertEqual(list.remove(job), false, "remove again");
          retire(job);
        },
        stamps() {
          const stamps: number[] = [];
          list.forEach(rcuReadLock(), (job) => stamps.push(itemStamp(Job.item.get(job) as ItemRef)));
          rcuReadUnlock();
          return stamps;
        },
      },
      (body) => {
        arena.during("intrusive", list.ref, 0, body);
        list.destroy(retire);
        list = undefined as never;
      },
    );
  });
  t.pass();
});

/** Cells: each step changes one of two cells; `look` compares both with the model. */
interface Cells {
  readonly ref: number;
  readonly ref2: number;
  /** Changes by name; each returns whether there was an object before, or whatever the model should agree with. */
  readonly changes: Readonly<Record<string, (version: number) => void>>;
  destroy(): void;
}
function cellsHold(look: string, make: (arena: Arena) => Cells): void {
  arenas.each((arena) => {
    interface Real {
      readonly arena: Arena;
      readonly cells: Cells;
    }
    const probe = make(arena);
    const names = Object.keys(probe.changes);
    probe.destroy();
    holds<object, Real>(
      [
        fc
          .constantFrom(...names)
          .map(
            (name) => new Step<object, Real>(name, (_model, { cells }) => cells.changes[name]!(arena.next())),
          ),
        fc.tuple(fc.constantFrom(...names), many).map(
          ([name, count]) =>
            new Step<object, Real>(`${name} ${count} times`, (_model, { cells }) => {
              for (let n = 0; n < count; n++) {
                cells.changes[name]!(arena.next());
                if (n % 8 === 0) arena.pause();
              }
            }),
        ),
        fc.constant(pause<object, Real>()),
      ],
      (body) => {
        const cells = make(arena);
        arena.during(look, cells.ref, cells.ref2, () => body({}, { arena, cells }));
        cells.destroy();
      },
    );
  });
}
const inScope = <T>(look: (scope: ReturnType<typeof rcuReadLock>) => T): T => {
  const value = look(rcuReadLock());
  rcuReadUnlock();
  return value;
};
const stampOf = (item: Ptr<"property item">): number | undefined =>
  item === 0 ? undefined : itemStamp(item);

test.serial("RcuString and RcuAtomic: readers see whole values, old or new", (t) => {
  cellsHold("string", (arena) => {
    let last = VALUES.text.make(0, arena.next()) as string;
    const string = new RcuString(last);
    return {
      ref: string.ref,
      ref2: 0,
      changes: {
        set(version) {
          assertEqual(
            inScope((scope) => string.get(scope)),
            last,
            "string",
          );
          last = VALUES.text.make(0, version) as string;
          string.set(last);
        },
      },
      destroy: () => string.destroy(),
    };
  });
  cellsHold("atomic", (arena) => {
    let last = VALUES.double.make(0, arena.next()) as number;
    const number = new RcuAtomic(last);
    return {
      ref: number.ref,
      ref2: 0,
      changes: {
        set(version) {
          last = VALUES.double.make(0, version) as number;
          number.set(last);
        },
        update(version) {
          const fresh = VALUES.double.make(0, version) as number;
          number.update((value) => {
            assertEqual(value, last, "number");
            return fresh;
          });
          last = fresh;
        },
      },
      destroy: () => number.destroy(),
    };
  });
  t.pass();
});

test.serial("RcuPtr: assigned, replaced, swapped and poisoned, readers see no freed object", (t) => {
  cellsHold("ptr", (arena) => {
    const a = new RcuPtr(makeItem(0, arena.next()));
    const b = new RcuPtr<"property item">();
    let model: [number | undefined, number | undefined] = [
      inScope((scope) => stampOf(a.get(scope))),
      undefined,
    ];
    const drop = (item: Ptr<"property item">): void => {
      if (item !== 0) kfreeRcu(Item, item);
    };
    const compare = (): void =>
      assertEqual(
        inScope((scope) => [stampOf(a.get(scope)), stampOf(b.get(scope))].join()),
        model.join(),
        "pointers",
      );
    return {
      ref: a.ref,
      ref2: b.ref,
      changes: {
        replace(version) {
          const old = a.replace(makeItem(0, version));
          assertEqual(stampOf(old), model[0], "replaced");
          drop(old);
          model[0] = version * KEYS;
          compare();
        },
        swap() {
          a.swap(b);
          model = [model[1], model[0]];
          compare();
        },
        assign() {
          const old = inScope((scope) => b.get(scope));
          b.assign(0);
          drop(old);
          model[1] = undefined;
          compare();
        },
        poison(version) {
          drop(a.poison());
          assertEqual(a.poison(), 0, "poisoned twice");
          a.assign(makeItem(0, version));
          model[0] = version * KEYS;
          compare();
        },
      },
      destroy() {
        drop(a.replace(0));
        drop(b.replace(0));
        a.destroy();
        b.destroy();
      },
    };
  });
  t.pass();
});

test.serial("RcuBox and RcuOptionBox: readers see a live object, or none where there may be none", (t) => {
  cellsHold("box", (arena) => {
    let last = arena.next();
    const box = new RcuBox(Item, makeItem(0, last));
    const option = new RcuOptionBox(Item);
    let full = false;
    return {
      ref: box.ref,
      ref2: option.ref,
      changes: {
        update(version) {
          assertEqual(
            inScope((scope) => itemStamp(box.get(scope))),
            last * KEYS,
            "box",
          );
          box.update(makeItem(0, version));
          last = version;
        },
        fill(version) {
          assertEqual(option.update(makeItem(1, version)), full, "was there one");
          full = true;
        },
        empty() {
          assertEqual(option.update(0), full, "was there one");
          full = false;
        },
      },
      destroy() {
        box.destroy();
        option.destroy();
      },
    };
  });
  t.pass();
});

test.serial("RcuArc and RcuOptionArc: counts taken in a scope outlive it, updated later or now", (t) => {
  const counted = (key: number, version: number): Arc<"property item"> => {
    const item = makeItem(key, version);
    const arc = arcNew(Item, item);
    if (arc === 0) {
      free(Item, item);
      throw new Error("the heap of the test is full");
    }
    return arc;
  };
  cellsHold("arc", (arena) => {
    let last = arena.next();
    const always = new RcuArc(counted(0, last));
    const option = new RcuOptionArc<"property item">();
    const update =
      (when: "later" | "now") =>
      (version: number): void => {
        const mine = inScope((scope) => always.clone(scope));
        assertEqual(
          inScope((scope) => itemStamp(always.get(scope))),
          last * KEYS,
          "arc",
        );
        always.update(counted(0, version), when);
        arcDrop(mine);
        last = version;
      };
    return {
      ref: always.ref,
      ref2: option.ref,
      changes: {
        later: update("later"),
        now: update("now"),
        fill: (version) => option.update(counted(1, version), "now"),
        fillLater: (version) => option.update(counted(1, version), "later"),
        empty: () => option.update(0, "now"),
      },
      destroy() {
        always.destroy();
        option.destroy();
      },
    };
  });
  t.pass();
});
