/** Keys and values beyond integers: doubles, strings, bytes, declared structs. The compiler knows which. */
import {
  alloc,
  blob,
  double,
  fixed,
  Heap,
  liveObjects,
  own,
  RcuHashMap,
  RcuReadScope,
  type Ref,
  rcuBarrier,
  ref,
  struct,
  text,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const constants = new RcuHashMap<string, number>({ key: text(), value: double() });
constants.insert("pi", 3);
constants.insert("pi", Math.PI); // A reader sees one or the other, never neither.
const blobs = new RcuHashMap<Uint8Array, Uint8Array>({ key: blob(), value: blob() });
blobs.insert(Uint8Array.of(1, 2), Uint8Array.of(3, 4, 5));

const Dentry = struct("dentry", { inode: fixed() });
const newDentry = (inode: number): Ref<"dentry"> => {
  const dentry = alloc(Dentry);
  Dentry.inode.init(dentry, inode);
  return dentry;
};
const dentries = new RcuHashMap<string, Ref<"dentry">>({ key: text(), value: ref(Dentry) });
const etc = newDentry(100);
dentries.insert("etc", etc); // The map refers to it,
const owned = new RcuHashMap<string, Ref<"dentry">>({ key: text(), value: own(Dentry) });
owned.insert("tmp", newDentry(200)); // or owns it: replaced and removed objects are freed after a grace period.
owned.insert("tmp", newDentry(201));
rcuBarrier();
console.log(`${liveObjects(Dentry)} dentries`);

const again = new RcuHashMap<string, number>({ key: text(), value: double(), at: constants.handle() }); // Elsewhere.
using scope = new RcuReadScope();
console.log(`pi is ${again.get(scope, "pi")}, e is ${again.get(scope, "e")}`);
console.log(`bytes ${blobs.get(scope, Uint8Array.of(1, 2))?.join(" ")}`);
const dentry = dentries.get(scope, "etc");
if (dentry !== undefined) console.log(`inode ${Dentry.inode.get(dentry)}`);
for (const wrong of [
  () => dentries.insert("usr", 7 as Ref<"dentry">),
  () => new RcuHashMap({ at: constants.handle() }),
])
  try {
    wrong();
  } catch (error) {
    console.log((error as Error).name);
  }
void heap;
