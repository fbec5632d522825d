/** RcuHashMap: references by integer, several updates under one lock, growth, a hasher of one's own. */
import {
  alloc,
  fixed,
  Heap,
  INSERTED,
  kfreeRcu,
  RcuHashMap,
  RcuReadScope,
  type Ref,
  rcuQuiescent,
  ref,
  struct,
  UPDATED,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const Dentry = struct("dentry", { inode: fixed() });
const newDentry = (inode: number): Ref<"dentry"> => {
  const dentry = alloc(Dentry);
  Dentry.inode.init(dentry, inode);
  return dentry;
};

const dentries = new RcuHashMap<number, Ref<"dentry">>({ value: ref(Dentry), buckets: 4 }); // The value type carries through.
console.log(`inserted: ${dentries.insert(1, newDentry(100)) === INSERTED}`);
{
  using scope = new RcuReadScope();
  const dentry = dentries.lookup(scope, 1);
  if (dentry !== 0) console.log(`inode ${Dentry.inode.get(dentry)}, key 2: ${dentries.get(scope, 2)}`);
}
const old = dentries.remove(1);
if (old !== undefined) kfreeRcu(Dentry, old); // The node is the map's, the value was ours.

const counts = new RcuHashMap({ hasher: (key) => key >>> 3 });
for (let key = 0; key < 1000; key++, rcuQuiescent()) counts.insert(key, 0); // It grows once a grace period.
console.log(`updated: ${counts.insert(7, 1) === UPDATED}, ${counts.size} keys in ${counts.buckets} buckets`);
const guard = counts.lock();
for (let key = 995; key < 1005; key++) guard.entry(key, () => key);
console.log(`under the lock: ${guard.get(1004)}`);
let drained = 0;
guard.drain(() => drained++);
guard.unlock();
console.log(`drained ${drained}, left ${counts.size}`);
heap.detach();
