/** Counts that begin inside a read scope and outlive it; weak ones; both meanings of update. */
import {
  type Arc,
  alloc,
  arcCount,
  arcDowngrade,
  arcDrop,
  arcGet,
  arcNew,
  fixed,
  Heap,
  liveObjects,
  RcuArc,
  RcuOptionArc,
  rcuBarrier,
  rcuReadLock,
  rcuReadUnlock,
  struct,
  weakDrop,
  weakUpgrade,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const File = struct("file", { number: fixed() });
function open(number: number): Arc<"file"> {
  const file = alloc(File);
  File.number.init(file, number);
  return arcNew(File, file) as Arc<"file">;
}

const shared = new RcuArc(open(1));
const mine = shared.clone(rcuReadLock()); // Found in the scope,
rcuReadUnlock();
console.log(`held beyond it: file ${File.number.get(arcGet(mine))}, ${arcCount(mine)} counts`);

const weak = arcDowngrade(mine);
shared.update(open(2), "now"); // The cell's count goes at once; ours keeps the file.
console.log(`still there: ${weakUpgrade(weak) !== 0}`);
arcDrop(mine); // That of weakUpgrade,
arcDrop(mine); // and ours.
console.log(`weak reference finds nothing: ${weakUpgrade(weak) === 0}`);
weakDrop(weak);

const option = new RcuOptionArc(open(3));
const scope = rcuReadLock();
option.update(0); // "later": who found it before can take a count until the grace period is over.
console.log(`empty: ${option.get(scope) === 0}`);
rcuReadUnlock();
rcuBarrier(); // The count is dropped,
rcuBarrier(); // which frees the memory a grace period later.
console.log(`${liveObjects(File)} file left, the one in the cell`);
heap.detach();
