/**
 * What must not compile: `npm run typecheck` reads this file, and complains where an error that is expected does not come.
 * It is not a test file; nothing runs it.
 */
import {
  alloc,
  allocArray,
  arcNew,
  arraySet,
  blob,
  double,
  fixed,
  free,
  Idr,
  int,
  kfreeRcu,
  own,
  RcuArray,
  RcuBox,
  RcuCache,
  RcuHashMap,
  RcuIntrusiveList,
  RcuList,
  RcuPtr,
  type RcuScope,
  type Ref,
  ref,
  struct,
  type TaggedRef,
  tagRef,
  text,
  tryAlloc,
  tryAllocArray,
  untagRef,
} from "../../rcu/index.ts";

const Dentry = struct("dentry of types", { ino: fixed() });
const Inode = struct("inode of types", { size: fixed() });
type DentryRef = Ref<"dentry of types">;

export function rules(scope: RcuScope, dentry: DentryRef, inode: Ref<"inode of types">): void {
  // Type parameters carry through, written or inferred.
  const names = new RcuHashMap<string, DentryRef>({ key: text(), value: ref(Dentry) });
  const inferred = new RcuHashMap({ key: text(), value: own(Dentry) });
  const found: DentryRef | undefined = names.get(scope, "etc");
  const same: typeof found = inferred.get(scope, "etc");
  names.insert("etc", dentry);
  // @ts-expect-error A reference belongs to its struct.
  names.insert("etc", inode);
  // @ts-expect-error A plain number is no reference.
  names.insert("etc", 7);
  // @ts-expect-error The keys are strings.
  names.insert(7, dentry);
  // @ts-expect-error Also when they are looked up,
  names.get(scope, 7);
  // @ts-expect-error which takes a scope.
  names.get("etc");
  // @ts-expect-error There may be none.
  const sure: DentryRef = names.get(scope, "etc");
  // @ts-expect-error Visitors get the types too.
  names.forEach(scope, (key: number, value: DentryRef) => [key, value]);
  const guard = names.lock();
  // @ts-expect-error So do guards.
  guard.entry("etc", () => inode);
  // @ts-expect-error The kinds must be those of the types,
  new RcuHashMap<string, DentryRef>({ key: text(), value: ref(Inode) });
  // @ts-expect-error and be given where the types are not integers.
  new RcuHashMap<string, number>();
  // @ts-expect-error As with options that leave them out.
  new RcuHashMap<number, string>({ buckets: 8 });
  // @ts-expect-error Doubles are no keys.
  new RcuHashMap({ key: double(), value: int() });
  // @ts-expect-error A hasher takes keys.
  new RcuHashMap({ key: text(), value: int(), hasher: (key: number) => key });
  const integers: RcuHashMap = new RcuHashMap();
  integers.insert(1, 2);
  // @ts-expect-error Integers only.
  integers.insert(1, "two");

  const cache = new RcuCache<string, Uint8Array>({ capacity: 3, key: text(), value: blob() });
  cache.insert("a", new Uint8Array(1));
  // @ts-expect-error Bytes only.
  cache.insert("a", "b");
  // @ts-expect-error The drop function gets values.
  new RcuCache<number, string>({ capacity: 3, value: text(), drop: (value: number) => value });

  const list = new RcuList<string>({ value: text() });
  // @ts-expect-error Strings only.
  list.push(1);
  list.forEach(scope, (value: string) => value.length);
  // @ts-expect-error A list of strings needs their kind.
  new RcuList<string>();

  const ids = new Idr<DentryRef>({ value: ref(Dentry) });
  const id: number = ids.alloc(dentry);
  // @ts-expect-error Of that struct only.
  ids.replace(id, inode);

  const array = new RcuArray<string>({ length: 2, value: text() });
  // @ts-expect-error Strings only.
  array.set(0, 1);
  // @ts-expect-error An array of strings needs their kind.
  new RcuArray<string>(2);

  // @ts-expect-error The link is a field of another struct.
  new RcuIntrusiveList(Dentry, Inode);
  const box = new RcuBox(Dentry, dentry);
  // @ts-expect-error The box holds another struct.
  box.update(inode);
  const ptr = new RcuPtr(dentry);
  // @ts-expect-error The pointer too.
  ptr.assign(inode);

  const tag: TaggedRef<"dentry of types"> = tagRef(Dentry, dentry);
  // @ts-expect-error A tagged reference is no reference.
  Dentry.ino.get(tag);
  // @ts-expect-error It is of one struct.
  untagRef(scope, Inode, tag);
  // @ts-expect-error Freeing asks for the struct's own type,
  free(Dentry, inode);
  // @ts-expect-error at once or later,
  kfreeRcu(Dentry, inode);
  // @ts-expect-error and counting too.
  arcNew(Dentry, inode);
  // @ts-expect-error A box is made of its struct.
  new RcuBox(Dentry, inode);
  const made = tryAlloc(Dentry);
  // @ts-expect-error The heap may be full.
  Dentry.ino.get(made);
  void [same, sure];
}

/** What may be 0 is compared with 0 first; what throws need not be. */
export function allocations(): void {
  const maybe = tryAlloc(Dentry);
  // @ts-expect-error The heap may be full.
  Dentry.ino.init(maybe, 1);
  if (maybe !== 0) Dentry.ino.init(maybe, 1);
  Dentry.ino.init(alloc(Dentry), 1);
  // @ts-expect-error The heap may be full.
  arraySet(tryAllocArray(4), 0, 1);
  arraySet(allocArray(4), 0, 1);
}
