/** What readers check in each collection, again and again, while it changes. Each look is taken in a scope of its own. */
import {
  arcDowngrade,
  arcDrop,
  arcGet,
  arrayLength,
  Idr,
  type KeyKind,
  type Kind,
  RcuArc,
  RcuArray,
  RcuAtomic,
  RcuBox,
  RcuCache,
  RcuError,
  RcuHashMap,
  RcuIntrusiveList,
  RcuList,
  RcuLockFreeMap,
  RcuOptionArc,
  RcuOptionBox,
  RcuPtr,
  type RcuScope,
  RcuString,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  type Value,
  weakDrop,
  weakUpgrade,
} from "../../../rcu/index.ts";
import { Board, type BoardRef } from "./arena.ts";
import { Job } from "./job.ts";
import {
  Item,
  type ItemRef,
  itemStamp,
  KEY_TYPES,
  KEYS,
  type KeyName,
  VALUES,
  type ValueName,
  type ValueType,
} from "./values.ts";

export type Look = (scope: RcuScope) => void;
/** Keys (ids, places) below this are there all the time. */
export const STAY = 4;

/** What one reader knows of one run. */
export class Watch {
  readonly board: BoardRef;
  readonly at: number;
  readonly at2: number;
  readonly kinds: string[];
  /** Newest version seen of each key: none may go back. */
  readonly #newest = new Map<number, number>();

  constructor(board: BoardRef, at: number, at2: number, kinds: string[]) {
    this.board = board;
    this.at = at;
    this.at2 = at2;
    this.kinds = kinds;
  }

  /** Checks a stamp; the key that it must have, or -1 for any. Returns its key. */
  stamp(stamp: number, key = -1, ordered = true): number {
    const of = stamp % KEYS;
    const version = Math.floor(stamp / KEYS);
    if (stamp < 0 || (key >= 0 && of !== key))
      throw new Error(`a value that is torn, freed or foreign at key ${key}: ${stamp}`);
    if (version > Board.version.load(this.board))
      throw new Error(`version ${version} of key ${of}, which was never written`);
    const newest = this.#newest.get(of) ?? 0;
    if (ordered && version < newest)
      throw new Error(`version ${version} of key ${of} after version ${newest}`);
    this.#newest.set(of, Math.max(version, newest));
    return of;
  }

  /** The key that is only being updated just now, or -1. `find` must find it if it is still so afterwards. */
  must(find: (key: number) => boolean): void {
    const before = Board.must.load(this.board);
    if (before === 0 || find(before % KEYS)) return;
    if (Board.must.load(this.board) === before)
      throw new Error(`no key ${before % KEYS}, which is only being updated`);
  }
}

/** Every key that stays was seen once. */
class Roll {
  readonly #seen = new Int32Array(STAY);
  see(key: number): void {
    if (key < STAY && ++this.#seen[key]! > 1) throw new Error(`entry ${key} twice in one walk`);
  }
  check(): void {
    for (let key = 0; key < STAY; key++)
      if (this.#seen[key] === 0) throw new Error(`no entry ${key} in a walk, though it stays`);
  }
}

const valueType = (name: string | undefined): ValueType => VALUES[name as ValueName];

/** Of a map that is updated, and whose keys below STAY stay. */
function mapLook(
  watch: Watch,
  open: (options: { key: KeyKind<Value>; value: Kind<Value> }) => MapLike,
): Look {
  const keys = KEY_TYPES[watch.kinds[0] as KeyName];
  const values = valueType(watch.kinds[1]);
  const map = open({ key: keys.kind, value: values.kind });
  let turn = 0;
  return (scope) => {
    for (let key = 0; key < 12; key++) {
      const value = map.get(scope, keys.make(key));
      if (value !== undefined) watch.stamp(values.stampOf(value), key);
      else if (key < STAY) throw new Error(`no key ${key}, though it stays`);
    }
    watch.must((key) => map.has(scope, keys.make(key)));
    if (turn++ % 4 !== 0) return;
    const roll = new Roll();
    map.forEach(scope, (_key, value) => roll.see(watch.stamp(values.stampOf(value))));
    roll.check();
  };
}
/** What both maps have. */
type MapLike = Pick<RcuHashMap<Value, Value>, "get" | "has" | "forEach">;

export const LOOKS: Record<string, (watch: Watch) => Look> = {
  map: (watch) => mapLook(watch, (options) => new RcuHashMap<Value, Value>({ ...options, at: watch.at })),
  free: (watch) =>
    mapLook(watch, (options) => new RcuLockFreeMap<Value, Value>({ ...options, at: watch.at })),
  cache(watch) {
    const keys = KEY_TYPES[watch.kinds[0] as KeyName];
    const values = valueType(watch.kinds[1]);
    const cache = new RcuCache<Value, Value>({ key: keys.kind, value: values.kind, at: watch.at });
    return (scope) => {
      for (let key = 0; key < 12; key++) {
        const value = cache.get(scope, keys.make(key));
        if (value !== undefined) watch.stamp(values.stampOf(value), key);
      }
      watch.must((key) => cache.has(scope, keys.make(key)));
      cache.forEach(scope, (_key, value) => watch.stamp(values.stampOf(value)));
      if (cache.size > cache.capacity + 1) throw new Error(`${cache.size} entries in the cache`);
    };
  },
  idr(watch) {
    const values = valueType(watch.kinds[0]);
    const idr = new Idr<Value>({ value: values.kind, at: watch.at });
    return (scope) => {
      for (let id = 0; id < 12; id++) {
        const value = idr.get(scope, id);
        if (value !== undefined) watch.stamp(values.stampOf(value), id);
        else if (id < STAY) throw new Error(`no id ${id}, though it stays`);
      }
      const roll = new Roll();
      let last = -1;
      idr.forEach(scope, (id, value) => {
        if (id <= last) throw new Error(`id ${id} after ${last} in a walk`);
        last = id;
        watch.stamp(values.stampOf(value), id % KEYS);
        roll.see(id);
      });
      roll.check();
    };
  },
  array(watch) {
    const values = valueType(watch.kinds[0]);
    const array = new RcuArray<Value>({ value: values.kind, at: watch.at });
    return (scope) => {
      const view = array.view(scope);
      if (arrayLength(view) < STAY) throw new Error(`an array of ${arrayLength(view)} elements`);
      for (let n = 0; n < 12; n++) {
        const value = array.get(scope, n);
        if (value === undefined || value === 0) {
          if (n < STAY) throw new Error(`no element ${n}, though it stays`);
        } else watch.stamp(values.stampOf(value), n);
      }
    };
  },
  list(watch) {
    const values = valueType(watch.kinds[0]);
    const list = new RcuList<Value>({ value: values.kind, at: watch.at });
    return (scope) => {
      const roll = new Roll();
      let last = -1;
      list.forEach(scope, (value) => {
        const key = watch.stamp(values.stampOf(value), -1, false);
        roll.see(key);
        if (key < STAY && key < last) throw new Error(`entry ${key} after ${last}`);
        if (key < STAY) last = key;
      });
      roll.check();
    };
  },
  intrusive(watch) {
    const list = new RcuIntrusiveList(Job, Job.link, { at: watch.at });
    return (scope) => {
      const roll = new Roll();
      for (let job = list.first(scope); job !== 0; job = list.next(scope, job))
        roll.see(watch.stamp(itemStamp(Job.item.get(job) as ItemRef), Job.key.get(job), false));
      roll.check();
    };
  },
  string(watch) {
    const string = new RcuString({ at: watch.at });
    return (scope) => {
      watch.stamp(VALUES.text.stampOf(string.get(scope)), 0);
    };
  },
  atomic(watch) {
    const number = new RcuAtomic({ at: watch.at });
    return (scope) => {
      watch.stamp(VALUES.double.stampOf(number.get(scope)), 0);
    };
  },
  ptr(watch) {
    const ptrs = [
      new RcuPtr<"property item">({ at: watch.at }),
      new RcuPtr<"property item">({ at: watch.at2 }),
    ];
    return (scope) => {
      for (const ptr of ptrs)
        try {
          const item = ptr.get(scope);
          if (item !== 0) watch.stamp(itemStamp(item), -1, false);
        } catch (error) {
          if (!(error instanceof RcuError && error.code === "ERR_RCU_POISONED")) throw error;
        }
    };
  },
  box(watch) {
    const box = new RcuBox(Item, { at: watch.at });
    const option = new RcuOptionBox(Item, { at: watch.at2 });
    return (scope) => {
      watch.stamp(itemStamp(box.get(scope)), 0);
      const item = option.get(scope);
      if (item !== 0) watch.stamp(itemStamp(item), 1);
    };
  },
  arc(watch) {
    const always = new RcuArc<"property item">({ at: watch.at });
    const option = new RcuOptionArc<"property item">({ at: watch.at2 });
    return (scope) => {
      watch.stamp(itemStamp(always.get(scope)), 0);
      const maybe = option.get(scope);
      if (maybe !== 0) watch.stamp(itemStamp(maybe), 1);
      const mine = always.clone(scope);
      const other = option.clone(scope);
      // The counts outlive the scope.
      rcuReadUnlock();
      rcuQuiescent();
      try {
        watch.stamp(itemStamp(arcGet(mine)), 0, false);
        const weak = arcDowngrade(mine);
        arcDrop(mine);
        const again = weakUpgrade(weak);
        if (again !== 0) {
          watch.stamp(itemStamp(arcGet(again)), 0, false);
          arcDrop(again);
        }
        weakDrop(weak);
        if (other === 0) return;
        watch.stamp(itemStamp(arcGet(other)), 1, false);
        arcDrop(other);
      } finally {
        rcuReadLock();
      }
    };
  },
};
