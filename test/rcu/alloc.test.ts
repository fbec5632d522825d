/** Allocations that throw, and those that answer 0. */
import test from "ava";
import {
  alloc,
  allocArray,
  allocString,
  fixed,
  free,
  Heap,
  HeapFullError,
  kfreeRcu,
  RcuDomain,
  type Ref,
  struct,
  tryAlloc,
  tryAllocArray,
  tryAllocString,
} from "../../rcu/index.ts";

const Big = struct("alloc_big", { value: fixed() });

test.serial("alloc throws HeapFullError where tryAlloc answers 0, and names what was wanted", (t) => {
  const heap = Heap.create({ bytes: 4 << 20 });
  try {
    const last = alloc(Big);
    while (tryAllocArray(1 << 12) !== 0);
    while (tryAllocArray(1) !== 0);
    while (tryAlloc(Big) !== 0);
    for (const attempt of [() => alloc(Big), () => allocArray(3), () => allocString("abc")])
      t.throws(attempt, { instanceOf: HeapFullError, code: "ERR_RCU_HEAP_FULL" });
    t.throws(() => alloc(Big), { message: /alloc_big/ });
    t.is(tryAllocString("abc"), 0);
    free(Big, last);
    t.is(alloc(Big), last);
  } finally {
    heap.detach();
  }
});

test.serial("on a thread of a domain, alloc waits for what is to be freed", (t) => {
  const domain = RcuDomain.create({ bytes: 4 << 20 });
  const given: Ref<"alloc_big">[] = [];
  for (let ref = tryAlloc(Big); ref !== 0; ref = tryAlloc(Big)) given.push(ref);
  for (const ref of given) kfreeRcu(Big, ref);
  t.true(alloc(Big) > 0);
  domain.heap.detach();
});
