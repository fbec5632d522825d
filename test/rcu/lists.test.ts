/** Lists through structs: what updaters do to them, by hand and by RcuIntrusiveList. */
import test from "ava";
import {
  fixed,
  Heap,
  listAddTail,
  listFirst,
  listIsEmpty,
  listNext,
  listNode,
  listPrev,
  listReplaceRcu,
  listSpliceInitRcu,
  mutex,
  RcuIntrusiveList,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  struct,
  synchronizeRcu,
  tryAlloc,
} from "../../rcu/index.ts";

function inHeap(run: () => void): void {
  const heap = Heap.create({ bytes: 8 << 20, debug: true });
  try {
    run();
  } finally {
    heap.detach();
  }
}

const Page = struct("lists test page", { id: fixed(), link: listNode() });
const Zone = struct("lists test zone", { lock: mutex(), full: listNode(), free: listNode() });
type PageRef = Ref<"lists test page">;
const page = (id: number): PageRef => {
  const ref = tryAlloc(Page) as PageRef;
  Page.id.init(ref, id);
  return ref;
};

test.serial("RcuIntrusiveList: inserts before and replaces what is on it, and says when it is not", (t) => {
  inHeap(() => {
    const list = new RcuIntrusiveList(Page, Page.link);
    const ids = (): number[] => {
      const seen: number[] = [];
      list.forEach(rcuReadLock(), (at) => seen.push(Page.id.get(at)));
      rcuReadUnlock();
      return seen;
    };
    const [one, two] = [page(1), page(2)];
    list.push(one);
    list.push(two);
    t.true(list.insertBefore(one, page(10)));
    t.true(list.insertBefore(two, page(20)));
    t.deepEqual(ids(), [10, 1, 20, 2]);
    const scope = rcuReadLock();
    t.true(list.replace(two, page(3)));
    t.is(list.next(scope, two), 0, "who stands on the replaced one finds the end");
    const last = page(4);
    t.true(list.replace(one, last));
    t.is(Page.id.get(list.next(scope, one) as PageRef), 20, "or what follows it");
    rcuReadUnlock();
    t.deepEqual(ids(), [10, 4, 20, 3]);
    for (const gone of [one, two]) {
      t.false(list.replace(gone, page(5)));
      t.false(list.insertBefore(gone, page(5)));
      t.false(list.remove(gone));
    }
    t.true(list.remove(last));
    t.deepEqual(ids(), [10, 20, 3]);
    list.destroy();
  });
});

test.serial("lists through structs: replaced and joined from either side, both ways stay whole", (t) => {
  inHeap(() => {
    const zone = tryAlloc(Zone) as Ref<"lists test zone">;
    const held = Zone.lock.lock(zone);
    const [full, free] = [Zone.full.at(zone), Zone.free.at(zone)];
    Zone.full.init(zone);
    Zone.free.init(zone);
    const walk = (head: number): string => {
      const there: number[] = [];
      for (let at = listFirst(head); at !== 0; at = listNext(head, at))
        there.push(Page.id.get(Page.link.owner(at)));
      const back: number[] = [];
      for (let at = listPrev(held, head); at !== head; at = listPrev(held, at))
        back.push(Page.id.get(Page.link.owner(at)));
      t.deepEqual(back.reverse(), there);
      return there.join(" ");
    };
    const waits: string[] = [];
    const wait = (): void => {
      waits.push(`${walk(full)}|${walk(free)}`);
      synchronizeRcu();
    };
    listSpliceInitRcu(held, full, free, wait);
    t.deepEqual(waits, [], "nothing to move, nothing to wait for");
    const nodes = [1, 2, 3, 4].map(page).map((at) => Page.link.at(at));
    for (const [n, node] of nodes.entries()) listAddTail(held, n < 2 ? full : free, node);
    listSpliceInitRcu(held, full, free, wait);
    t.deepEqual([walk(full), walk(free)], ["", "1 2 3 4"]);
    t.deepEqual(waits, ["|3 4"], "while it waits they are on neither");
    listAddTail(held, full, Page.link.at(page(5)));
    listSpliceInitRcu(held, full, listPrev(held, free), wait);
    t.is(walk(free), "1 2 3 4 5");
    listReplaceRcu(held, nodes[0]!, Page.link.at(page(9)));
    t.is(walk(free), "9 2 3 4 5");
    t.true(listIsEmpty(full));
    Zone.lock.unlock(zone);
  });
});
