/** Debug heaps check in which order locks are taken, and that nobody sleeps with one. */
import test from "ava";
import {
  assertNoLocksHeld,
  atomic,
  Heap,
  listNode,
  lockClasses,
  mutex,
  RcuHashMap,
  RcuIntrusiveList,
  type Ref,
  rcuIdleEnter,
  rcuIdleExit,
  rwlock,
  spinlock,
  struct,
  tryAlloc,
} from "../../rcu/index.ts";
import { INNERMOST, locksHeld, releaseLocks } from "../../rcu/kernel.ts";
import { HEADER } from "../../rcu/layout.ts";
import { lockWord, unlockWord } from "../../rcu/lock.ts";

const Outer = struct("order test outer", { lock: spinlock(1), mutex: mutex(), word: atomic() });
const Inner = struct("order test inner", { lock: spinlock(2), rw: rwlock(3), free: spinlock() });

const Node = struct("order test node", { node: listNode() });

type O = Ref<"order test outer">;
type I = Ref<"order test inner">;

function inHeap(debug: boolean, run: (outer: O, inner: I, other: I) => void): void {
  const heap = Heap.create({ bytes: 4 << 20, debug });
  try {
    run(tryAlloc(Outer) as O, tryAlloc(Inner) as I, tryAlloc(Inner) as I);
  } finally {
    releaseLocks(0);
    heap.detach();
  }
}
function takeInner(inner: I): void {
  Inner.lock.lock(inner);
}
function takeOuter(outer: O): void {
  Outer.lock.lock(outer);
}

test.serial("locks are taken by rank; one out of order is refused, and both places are named", (t) =>
  inHeap(true, (outer, inner) => {
    takeOuter(outer);
    takeInner(inner);
    Inner.rw.readLock(inner);
    t.is(locksHeld, 3);
    Inner.rw.readUnlock(inner);
    Outer.lock.unlock(outer); // In whatever order.
    const error = t.throws(() => takeOuter(outer), { code: "ERR_RCU_LOCK_ORDER" });
    t.regex(
      error!.message,
      /takes order test outer\.lock \(rank 1\) .* holds order test inner\.lock at \d+ \(rank 2\)/,
    );
    t.regex(error!.message, /takeInner/, "where the one was taken that is held");
    t.regex(error!.stack!, /takeOuter/, "where the other was to be taken");
    t.is(locksHeld, 1, "it was not taken");
    Inner.lock.unlock(inner);
    takeOuter(outer);
    Outer.lock.unlock(outer);
  }),
);

test.serial(
  "a reader-writer lock and a mutex have ranks like a spinlock; a lock without one goes anywhere",
  (t) =>
    inHeap(true, (outer, inner) => {
      Inner.rw.writeLock(inner);
      t.throws(() => takeInner(inner), { code: "ERR_RCU_LOCK_ORDER", message: /order test inner\.rw/ });
      Inner.free.lock(inner);
      Inner.free.unlock(inner);
      Inner.rw.writeUnlock(inner);
      Outer.mutex.lock(outer);
      takeInner(inner);
      Inner.lock.unlock(inner);
      t.throws(() => Outer.mutex.lock(outer), { code: "ERR_RCU_WAITS_FOR_ITSELF" });
      Outer.mutex.unlock(outer);
    }),
);

test.serial(
  "one lock twice is refused, where it was taken is named; trying to take it is not a mistake",
  (t) =>
    inHeap(true, (outer, inner) => {
      takeInner(inner);
      const error = t.throws(() => Inner.lock.lock(inner), { code: "ERR_RCU_WAITS_FOR_ITSELF" });
      t.regex(error!.message, /order test inner\.lock at \d+[\s\S]*takeInner/);
      t.is(Inner.lock.tryLock(inner), 0);
      t.not(Outer.lock.tryLock(outer), 0, "who only tries waits for nobody");
      Outer.lock.unlock(outer);
      Inner.lock.unlock(inner);
    }),
);

test.serial("two locks of a class: nested by a rule of the caller's, or both by address", (t) =>
  inHeap(true, (_outer, one, other) => {
    takeInner(one);
    t.throws(() => takeInner(other), { code: "ERR_RCU_LOCK_ORDER" });
    Inner.lock.lockNested(other);
    Inner.lock.unlockBoth(one, other);
    const order: number[] = [];
    const { lock } = Object.getPrototypeOf(Inner.lock);
    Object.getPrototypeOf(Inner.lock).lock = function (ref: number) {
      order.push(ref);
      return lock.call(this, ref);
    };
    Inner.lock.lockBoth(other, one);
    Inner.lock.unlockBoth(other, one);
    Object.getPrototypeOf(Inner.lock).lock = lock;
    t.deepEqual(order, [Math.min(one, other)], "the lower address first, the other one nested");
    Inner.lock.lockBoth(one, one);
    t.is(locksHeld, 1);
    Inner.lock.unlockBoth(one, one);
    t.is(locksHeld, 0);
  }),
);

test.serial("who holds a lock of rcu/, whichever it is, takes none that has a rank", (t) =>
  inHeap(true, (outer) => {
    const innermost = lockClasses().filter(({ rank }) => rank === INNERMOST);
    t.deepEqual(
      innermost.map(({ name }) => name.replace(/^.*\./, "")),
      innermost.map(() => "lock"),
    );
    t.true(innermost.length >= 6, innermost.map(({ name }) => name).join());
    const refused = (what: string, take: () => void) => {
      const error = t.throws(take, { code: "ERR_RCU_LOCK_ORDER" }, what);
      t.regex(error!.message, /takes order test outer\.lock \(rank 1\)[\s\S]*innermost/, what);
    };
    const table = new RcuHashMap();
    const guard = table.lock();
    refused("a table's", () => takeOuter(outer));
    guard.unlock();
    const list = new RcuIntrusiveList(Node, Node.node);
    takeOuter(outer);
    const held = list.lock();
    list.unlock();
    t.truthy(held);
    Outer.lock.unlock(outer);
    list.lock();
    refused("a list's", () => takeOuter(outer));
    list.unlock();
    lockWord(HEADER.PAGE_LOCK);
    refused("the page pool's", () => takeOuter(outer));
    unlockWord(HEADER.PAGE_LOCK);
    takeOuter(outer);
    Outer.lock.unlock(outer);
  }),
);

test.serial("a sleep with a lock held is refused, and the lock is named with the place", (t) =>
  inHeap(true, (outer, inner) => {
    takeInner(inner);
    for (const sleep of [
      () => Outer.word.wait(outer, 0, 1),
      () => assertNoLocksHeld("a safe point"),
      () => rcuIdleEnter(),
    ])
      t.throws(sleep, { code: "ERR_RCU_LOCK_HELD" });
    t.throws(() => assertNoLocksHeld("a safe point"), {
      message: /a safe point with order test inner\.lock[\s\S]*takeInner/,
    });
    t.false(Outer.word.waitWithLocks(outer, 0, 1));
    Inner.lock.unlock(inner);
    t.false(Outer.word.wait(outer, 0, 1));
    assertNoLocksHeld("a safe point");
    rcuIdleEnter();
    rcuIdleExit();
  }),
);

test.serial("other heaps are not checked, and every lock is listed with its rank", (t) =>
  inHeap(false, (outer, inner) => {
    takeInner(inner);
    takeOuter(outer);
    Outer.lock.unlock(outer);
    Inner.lock.unlock(inner);
    t.deepEqual(
      lockClasses().filter(({ name }) => name.startsWith("order test")),
      [
        { name: "order test inner.free", rank: 0 },
        { name: "order test outer.mutex", rank: 0 },
        { name: "order test outer.lock", rank: 1 },
        { name: "order test inner.lock", rank: 2 },
        { name: "order test inner.rw", rank: 3 },
      ],
    );
  }),
);
