/** Lists through structs by hand, as in a kernel: one lock for several lists, nodes replaced and lists joined while they are walked. */
import {
  alloc,
  fixed,
  Heap,
  kfreeRcu,
  listAddHead,
  listAddTail,
  listDelRcu,
  listFirst,
  listNext,
  listNode,
  listPrev,
  listReplaceRcu,
  listSpliceInitRcu,
  mutex,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  struct,
  synchronizeRcu,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const Page = struct("page", { number: fixed(), lru: listNode() });
const Zone = struct("zone", { lock: mutex(), active: listNode(), inactive: listNode() });
const zone = alloc(Zone);
Zone.active.init(zone);
Zone.inactive.init(zone);
const [active, inactive] = [Zone.active.at(zone), Zone.inactive.at(zone)];
const page = (number: number): Ref<"page"> => {
  const fresh = alloc(Page);
  Page.number.init(fresh, number);
  return fresh;
};
function walk(head: number): string {
  const seen: number[] = [];
  rcuReadLock(); // Without the lock.
  for (let at = listFirst(head); at !== 0; at = listNext(head, at))
    seen.push(Page.number.get(Page.lru.owner(at)));
  rcuReadUnlock();
  return seen.join(" ") || "nothing";
}

const held = Zone.lock.lock(zone);
const [one, two] = [page(1), page(2)];
listAddTail(held, active, Page.lru.at(one));
listAddTail(held, active, Page.lru.at(two));
listAddTail(held, Page.lru.at(two), Page.lru.at(page(15))); // Before page 2.
listAddHead(held, inactive, Page.lru.at(page(3)));
listReplaceRcu(held, Page.lru.at(one), Page.lru.at(page(10)));
kfreeRcu(Page, one); // Readers may stand on it.
console.log(`active ${walk(active)}, inactive ${walk(inactive)}`);
listSpliceInitRcu(held, active, listPrev(held, inactive), synchronizeRcu);
console.log(`active ${walk(active)}, inactive ${walk(inactive)}`);
listDelRcu(held, Page.lru.at(two));
kfreeRcu(Page, two);
Zone.lock.unlock(zone);
console.log(`inactive ${walk(inactive)}`);
heap.detach();
