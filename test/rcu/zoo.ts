/** One of each collection, filled, with a read and an update of each: for rules that all of them keep. */
import {
  type Arc,
  arcNew,
  double,
  fixed,
  Idr,
  listNode,
  own,
  RcuArc,
  RcuArray,
  RcuAtomic,
  RcuBox,
  RcuCache,
  RcuHashMap,
  RcuIntrusiveList,
  RcuList,
  RcuLockFreeMap,
  RcuOptionArc,
  RcuOptionBox,
  RcuPtr,
  type RcuScope,
  RcuString,
  type Ref,
  struct,
  text,
  tryAlloc,
} from "../../rcu/index.ts";

export const Animal = struct("zoo animal", { link: listNode(), legs: fixed() });
export type AnimalRef = Ref<"zoo animal">;
export function animal(legs = 4): AnimalRef {
  const ref = tryAlloc(Animal);
  if (ref === 0) throw new Error("no room for an animal");
  Animal.legs.init(ref, legs);
  return ref;
}
const counted = (): Arc<"zoo animal"> => arcNew(Animal, animal()) as Arc<"zoo animal">;

export interface Cage {
  read(scope: RcuScope): unknown;
  update(): unknown;
  destroy(): void;
}

export function openZoo(): Record<string, Cage> {
  const ints = new RcuHashMap();
  ints.insert(1, 2);
  const texts = new RcuHashMap<string, Ref<"zoo animal">>({ key: text(), value: own(Animal) });
  texts.insert("cat", animal());
  const cache = new RcuCache<string, number>({ capacity: 2, key: text(), value: double() });
  cache.insert("dog", 0.5);
  const free = new RcuLockFreeMap();
  free.insert(1, 2);
  const freeTexts = new RcuLockFreeMap<string, string>({ key: text(), value: text() });
  freeTexts.insert("cat", "Felis");
  const list = new RcuList<string>({ value: text() });
  list.push("one");
  const intrusive = new RcuIntrusiveList(Animal, Animal.link);
  const member = animal();
  intrusive.push(member);
  const idr = new Idr();
  idr.alloc(7);
  const array = new RcuArray<string>({ length: 2, value: text() });
  array.set(0, "zero");
  const ptr = new RcuPtr(animal());
  const box = new RcuBox(Animal, animal());
  const optionBox = new RcuOptionBox(Animal, animal());
  const string = new RcuString("hello");
  const number = new RcuAtomic(1.5);
  const arc = new RcuArc(counted());
  const optionArc = new RcuOptionArc(counted());
  const cage = (read: Cage["read"], update: Cage["update"], owner: { destroy(): void }): Cage => ({
    read,
    update,
    destroy: () => owner.destroy(),
  });
  return {
    "RcuHashMap.get": cage(
      (scope) => ints.get(scope, 1),
      () => ints.insert(1, 3),
      ints,
    ),
    "RcuHashMap.get of strings": cage(
      (scope) => texts.get(scope, "cat"),
      () => texts.insert("cat", animal()),
      texts,
    ),
    "RcuHashMap.lookup": cage(
      (scope) => ints.lookup(scope, 1),
      () => ints.remove(1),
      ints,
    ),
    "RcuHashMap.has": cage(
      (scope) => ints.has(scope, 1),
      () => ints.delete(1),
      ints,
    ),
    "RcuHashMap.forEach": cage(
      (scope) => ints.forEach(scope, () => {}),
      () => ints.clear(),
      ints,
    ),
    "RcuCache.get": cage(
      (scope) => cache.get(scope, "dog"),
      () => cache.insert("dog", 2),
      cache,
    ),
    "RcuLockFreeMap.get": cage(
      (scope) => free.get(scope, 1),
      () => free.insert(1, 3),
      free,
    ),
    "RcuLockFreeMap.get of strings": cage(
      (scope) => freeTexts.get(scope, "cat"),
      () => freeTexts.update("cat", (name) => `${name} catus`),
      freeTexts,
    ),
    "RcuLockFreeMap.lookup": cage(
      (scope) => free.lookup(scope, 1),
      () => free.remove(1),
      free,
    ),
    "RcuLockFreeMap.has": cage(
      (scope) => free.has(scope, 1),
      () => free.addDuplicate(1, 4),
      free,
    ),
    "RcuLockFreeMap.duplicates": cage(
      (scope) => [...free.duplicates(scope, 1)],
      () => free.removeAll(1),
      free,
    ),
    "RcuLockFreeMap.forEach": cage(
      (scope) => free.forEach(scope, () => {}),
      () => free.clear(),
      free,
    ),
    "RcuList.forEach": cage(
      (scope) => list.forEach(scope, () => {}),
      () => list.push("two"),
      list,
    ),
    "RcuIntrusiveList.first": cage(
      (scope) => intrusive.first(scope),
      () => intrusive.remove(member),
      intrusive,
    ),
    "Idr.get": cage(
      (scope) => idr.get(scope, 0),
      () => idr.replace(0, 8),
      idr,
    ),
    "Idr.forEach": cage(
      (scope) => idr.forEach(scope, () => {}),
      () => idr.alloc(1),
      idr,
    ),
    "RcuArray.get": cage(
      (scope) => array.get(scope, 0),
      () => array.set(0, "one"),
      array,
    ),
    "RcuPtr.get": cage(
      (scope) => ptr.get(scope),
      () => ptr.replace(0),
      ptr,
    ),
    "RcuBox.get": cage(
      (scope) => box.get(scope),
      () => box.update(animal()),
      box,
    ),
    "RcuOptionBox.get": cage(
      (scope) => optionBox.get(scope),
      () => optionBox.update(0),
      optionBox,
    ),
    "RcuString.get": cage(
      (scope) => string.get(scope),
      () => string.set("bye"),
      string,
    ),
    "RcuAtomic.get": cage(
      (scope) => number.get(scope),
      () => number.set(2.5),
      number,
    ),
    "RcuArc.get": cage(
      (scope) => arc.get(scope),
      () => arc.update(counted()),
      arc,
    ),
    "RcuOptionArc.get": cage(
      (scope) => optionArc.get(scope),
      () => optionArc.update(0),
      optionArc,
    ),
  };
}
