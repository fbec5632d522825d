import test from "ava";
import {
  arrayAdd,
  arrayCas,
  arrayGet,
  arrayLength,
  arraySet,
  arrayStore,
  atomic,
  bytes,
  cellGeneration,
  cellIsAlive,
  fixed,
  free,
  freeArray,
  freeString,
  Heap,
  HeapError,
  heapPages,
  liveObjects,
  type Ref,
  rcuQuiescent,
  rcuRunCallbacks,
  spinlock,
  stringEquals,
  stringText,
  struct,
  tryAlloc,
  tryAllocArray,
  tryAllocString,
  wide,
  words,
} from "../../rcu/index.ts";
import { hashBytes, limitCaches, setHeapWatch, shrinkCaches } from "../../rcu/kernel.ts";

const Point = struct("heap test point", {
  x: fixed(),
  y: atomic(),
  lock: spinlock(),
  when: wide(),
  name: bytes(6),
});
const Big = struct("heap test big", { data: words(5000) });

const inHeap = (run: (heap: Heap) => void, bytes = 16 << 20): void => {
  const heap = Heap.create({ bytes, debug: true });
  try {
    run(heap);
  } finally {
    heap.detach();
  }
};

test.serial("objects come zeroed, keep their fields apart, and are counted", (t) => {
  inHeap(() => {
    const refs: Ref<"heap test point">[] = [];
    for (let n = 0; n < 1000; n++) {
      const ref = tryAlloc(Point) as Ref<"heap test point">;
      t.is(Point.y.load(ref), 0);
      t.is(Point.when.get(ref), 0);
      Point.x.init(ref, n);
      Point.y.store(ref, n - 500);
      Point.when.set(ref, n + 0.5);
      Point.name.set(ref, 5, n & 255);
      refs.push(ref);
    }
    t.is(liveObjects(Point), 1000);
    for (const [n, ref] of refs.entries()) {
      t.deepEqual([Point.x.get(ref), Point.y.load(ref), Point.when.get(ref)], [n, n - 500, n + 0.5]);
      t.is(Point.name.get(ref, 5), n & 255);
      free(Point, ref);
    }
    t.is(liveObjects(Point), 0);
  });
});

test.serial("a freed object is dead, and its cell's generation moves on when it is used again", (t) => {
  inHeap(() => {
    const ref = tryAlloc(Point) as Ref<"heap test point">;
    const generation = cellGeneration(ref);
    t.true(cellIsAlive(ref));
    free(Point, ref);
    t.false(cellIsAlive(ref));
    t.is(tryAlloc(Point), ref);
    t.is(cellGeneration(ref), generation + 1);
  });
});

test.serial("freeing twice throws", (t) => {
  inHeap(() => {
    const ref = tryAlloc(Point) as Ref<"heap test point">;
    free(Point, ref);
    t.throws(() => free(Point, ref), { message: /double free/ });
    const array = tryAllocArray(100_000) as Ref<"array">;
    freeArray(array);
    t.throws(() => freeArray(array));
  });
});

test.serial("a write to a freed object is found when its cell is handed out again", (t) => {
  inHeap(() => {
    const ref = tryAlloc(Point) as Ref<"heap test point">;
    free(Point, ref);
    t.throws(() => Point.y.store(ref, 7), {
      code: "ERR_RCU_USE_AFTER_FREE",
      message: /struct heap test point/,
    });
    arraySet((ref - 1) as Ref<"array">, 1, 7); // Unchecked: what a stray write does.
    t.throws(() => tryAlloc(Point), { code: "ERR_RCU_CORRUPTION", message: /use after free: word 1/ });
  });
});

test.serial("a full heap answers 0, and has room again after a free", (t) => {
  inHeap(() => {
    const refs: Ref<"heap test big">[] = [];
    for (;;) {
      const ref = tryAlloc(Big);
      if (ref === 0) break;
      refs.push(ref);
    }
    t.true(refs.length > 100);
    t.is(tryAllocArray(1 << 20), 0);
    t.is(tryAllocString("x".repeat(1 << 20)), 0);
    free(Big, refs.pop()!);
    t.not(tryAlloc(Big), 0);
  }, 8 << 20);
});

test.serial("runs of pages merge again: the largest array fits after many small ones were freed", (t) => {
  inHeap(() => {
    const large = tryAllocArray(2_000_000) as Ref<"array">;
    t.not(large, 0);
    freeArray(large);
    const small: Ref<"array">[] = [];
    for (let n = 0; n < 300; n++) small.push(tryAllocArray(3000 + n * 7) as Ref<"array">);
    for (let n = 0; n < 300; n += 2) freeArray(small[n]!);
    for (let n = 1; n < 300; n += 2) freeArray(small[n]!);
    t.not(tryAllocArray(2_000_000), 0);
  });
});

test.serial("arrays and strings hold what was put in, whatever their size", (t) => {
  inHeap(() => {
    for (const length of [0, 1, 3, 100, 511, 2045, 2046, 5000, 70_000]) {
      const array = tryAllocArray(length) as Ref<"array">;
      t.is(arrayLength(array), length);
      if (length > 0) {
        t.is(arrayGet(array, length - 1), 0);
        arraySet(array, length - 1, -5);
        t.is(arrayGet(array, length - 1), -5);
      }
      freeArray(array);
    }
    for (const text of ["", "a", "/usr/bin", "grüße €", "y".repeat(100), "ž".repeat(9000)]) {
      const ref = tryAllocString(text) as Ref<"string">;
      const encoded = new TextEncoder().encode(text);
      t.is(stringText(ref), text);
      t.true(stringEquals(ref, encoded, hashBytes(encoded)));
      t.false(stringEquals(ref, new TextEncoder().encode(`${text}!`), hashBytes(encoded)));
      freeString(ref);
    }
  });
});

test.serial("bad sizes, foreign buffers and too many threads are typed errors", (t) => {
  t.throws(() => Heap.create({ bytes: 100 }), { instanceOf: HeapError, message: /give a size/ });
  t.throws(() => Heap.create({ bytes: Number.NaN }), { instanceOf: HeapError });
  t.throws(() => Heap.attach({ buffer: new SharedArrayBuffer(4096) }), { instanceOf: HeapError });
  t.throws(() => Heap.attach({} as never), { instanceOf: HeapError, message: /handle/ });
  inHeap((heap) => {
    const attached = [];
    for (let n = 1; n < 250; n++) attached.push(Heap.attach(heap.handle()));
    t.throws(() => Heap.attach(heap.handle()), { instanceOf: HeapError, message: /250 threads/ });
    for (const other of attached) other.detach();
    heap.use();
  });
});

test.serial("a struct is declared once", (t) => {
  t.throws(() => struct("heap test point", { x: fixed() }), { message: /declared twice/ });
});

test.serial("an index beyond words, bytes or an array throws, and changes nothing outside", (t) => {
  const Row = struct("heap test row", { before: fixed(), row: words(4), name: bytes(4), after: fixed() });
  inHeap(() => {
    const ref = tryAlloc(Row) as Ref<"heap test row">;
    const array = tryAllocArray(4) as Ref<"array">;
    for (const index of [-1, 4, 5, 2 ** 31, 2 ** 32, 1.5, Number.NaN]) {
      const corruption = { code: "ERR_RCU_CORRUPTION", message: /index/ };
      t.throws(() => Row.row.set(ref, index, 7), corruption);
      t.throws(() => Row.row.store(ref, index, 7), corruption);
      t.throws(() => Row.row.add(ref, index, 7), corruption);
      t.throws(() => Row.row.cas(ref, index, 0, 7), corruption);
      t.throws(() => Row.row.get(ref, index), corruption);
      t.throws(() => Row.name.set(ref, index, 7), corruption);
      t.throws(() => arraySet(array, index, 7), corruption);
      t.throws(() => arrayStore(array, index, 7), corruption);
      t.throws(() => arrayAdd(array, index, 7), corruption);
      t.throws(() => arrayCas(array, index, 0, 7), corruption);
    }
    t.deepEqual([Row.before.get(ref), Row.after.get(ref)], [0, 0]);
    freeArray(array);
    free(Row, ref);
  });
});
test.serial(
  "slabs in which nothing lives give their pages back after a grace period, and no others do",
  (t) => {
    const heap = Heap.create({ bytes: 16 << 20, debug: true });
    const free0 = heapPages().free;
    const points = Array.from({ length: 20_000 }, () => tryAlloc(Point) as Ref<"heap test point">);
    const kept = points[10_000]!;
    Point.x.init(kept, 7);
    for (const point of points) if (point !== kept) free(Point, point);
    const taken = free0 - heapPages().free;
    t.true(taken > 10);
    const pages = shrinkCaches();
    // Not the slab of the one that lives; RCU's own records and the text of the layout take a page or two as well.
    t.true(pages < taken && pages > taken - 4, `${pages} of ${taken} pages`);
    t.true(free0 - heapPages().free >= taken, "a stale reader may still look at them");
    for (let turn = 0; turn < 1000 && free0 - heapPages().free > 4; turn++) {
      rcuQuiescent();
      rcuRunCallbacks();
    }
    t.true(free0 - heapPages().free <= 4);
    t.is(Point.x.get(kept), 7);
    t.is(liveObjects(Point), 1);
    const again = Array.from({ length: 20_000 }, () => tryAlloc(Point) as Ref<"heap test point">);
    t.true(again.every((ref) => ref !== 0) && new Set([...again, kept]).size === 20_001);
    heap.detach();
  },
);

test.serial(
  "a struct type stops at its share of the heap, and a watch decides about the last eighth",
  (t) => {
    inHeap(() => {
      const { total } = heapPages();
      limitCaches(total >> 2);
      while (tryAlloc(Point) !== 0);
      t.true(heapPages().free > total >> 1, "most of the heap is left");
      const asked: number[] = [];
      setHeapWatch((left) => {
        asked.push(left);
        return left > total >> 4;
      });
      while (tryAllocArray(10_000) !== 0);
      setHeapWatch(null);
      const { free: left } = heapPages();
      t.true(left >= total >> 4 && left < total >> 3, `${left} of ${total} pages are left`);
      t.true(asked.every((pages) => pages < total >> 3));
      t.not(tryAllocArray(10_000), 0, "without a watch all of it may be taken");
    });
  },
);
