/**
 * Counters just before their wrap (rcu/design.md, "Counters that wrap"): each is put there in the heap, and what rests on it must go on
 * as before. Sequences of grace periods and callbacks begin near their wrap by themselves: surface.test.ts.
 */
import test from "ava";
import {
  defineReclaimer,
  fixed,
  free,
  Heap,
  PercpuRef,
  pollStateSynchronizeRcu,
  RcuHashMap,
  type Ref,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  readRcuTrace,
  Srcu,
  startPollSynchronizeRcu,
  startRcuTrace,
  stopRcuTrace,
  struct,
  tagRef,
  tryAlloc,
  tryUntagRef,
} from "../../rcu/index.ts";
import { ARRAY_ELEMENTS, CELL_STATE, GP_SEQ_START, RCU, SLOT } from "../../rcu/layout.ts";
import { dropWord, ownerIsDead, takeWord } from "../../rcu/lock.ts";
import { ownerId, slot } from "../../rcu/memory.ts";
import { countsOf as srcuCounts } from "../../rcu/srcu-domain.ts";

const Thing = struct("wraps_thing", { value: fixed() });
const Word = struct("wraps_word", { lock: fixed() });

function inHeap(fn: (heap: Heap) => void): void {
  const heap = Heap.create({ bytes: 8 << 20 });
  try {
    fn(heap);
  } finally {
    heap.use().detach();
  }
}

/** Just before the mask of 22 bits, before 2^31 and before 2^32. */
for (const start of [0x3f_fffd, 0x7fff_fffd, -3])
  test.serial(`incarnations of a slot wrap at ${start}: the dead are known from the living`, (t) =>
    inHeap((heap) => {
      const word = tryAlloc(Word) as number;
      const at = SLOT.BASE + slot * SLOT.WORDS + SLOT.INCARNATION;
      heap.detach();
      heap.i32[at] = start;
      heap.reattach();
      const seen = new Set<number>();
      for (let n = 0; n < 6; n++) {
        const mine = ownerId;
        t.true(mine > 0 && (mine & 0xff) === slot + 1, `${mine} names the slot, and is no mark`);
        t.false(seen.has(mine));
        t.false(ownerIsDead(mine));
        seen.add(mine);
        takeWord(word);
        heap.leave(); // As if it had died with the lock.
        heap.reattach();
        t.true(ownerIsDead(mine));
        takeWord(word);
        t.is(heap.i32[word]! & 0x7fff_ffff, ownerId, "taken over");
        dropWord(word);
      }
      t.is(heap.i32[at], (start + 7) | 0);
    }),
  );

for (const start of [0x7fff_ffff, -1])
  test.serial(`an Srcu's counts of scopes wrap at ${start}`, (t) =>
    inHeap((heap) => {
      const srcu = new Srcu();
      const counts = srcuCounts(srcu.ref);
      for (const word of [0, 1, 2, 3]) heap.i32[counts + slot * 16 + word] = start;
      for (let n = 0; n < 4; n++) {
        t.false(srcu.readLockHeld());
        const one = srcu.readLock();
        const other = srcu.readLock();
        t.true(srcu.readLockHeld());
        const cookie = srcu.startPoll();
        srcu.readUnlock(one);
        t.false(srcu.pollState(cookie));
        srcu.readUnlock(other);
        t.true(srcu.pollState(cookie));
        t.throws(() => srcu.readUnlock(other), { code: "ERR_RCU_LOCK_PAIRING" });
      }
      srcu.destroy();
    }),
  );

test.serial("the words of a PercpuRef wrap, their sum does not", (t) =>
  inHeap((heap) => {
    let released = 0;
    const release = defineReclaimer("wraps: release", () => void released++);
    const ref = new PercpuRef({ reclaimer: release, arg: 0 });
    const counts = heap.i32[ref.ref]! + ARRAY_ELEMENTS;
    // Another slot dropped what this one has taken.
    heap.i32[counts + slot * 16] = 0x7fff_ffff;
    heap.i32[counts + (slot + 1) * 16] = -0x7fff_ffff;
    heap.i32[RCU.SLOT_HIGH] = slot + 2;
    for (let n = 0; n < 3; n++) ref.get();
    t.true(heap.i32[counts + slot * 16]! < 0, "wrapped");
    ref.kill();
    const pass = (): void => {
      rcuQuiescent();
      rcuRunCallbacks();
    };
    for (let n = 0; n < 4; n++) pass();
    for (let n = 0; n < 3; n++) {
      t.false(ref.isZero);
      ref.put();
    }
    t.true(ref.isZero);
    for (let n = 0; n < 4; n++) pass();
    t.is(released, 1);
  }),
);

test.serial("the generation of a cell wraps: tags from before are stale, those after it are good", (t) =>
  inHeap((heap) => {
    const first = tryAlloc(Thing) as Ref<"wraps_thing">;
    heap.i32[first + CELL_STATE]! |= 0xff_ffff << 8; // Freed 2^24 - 1 times.
    const tag = tagRef(Thing, first);
    const scope = rcuReadLock();
    t.is(tryUntagRef(scope, Thing, tag), first);
    free(Thing, first);
    t.is(tryUntagRef(scope, Thing, tag), 0);
    const second = tryAlloc(Thing) as Ref<"wraps_thing">;
    t.is(second, first, "the cell is used again");
    t.is(tryUntagRef(scope, Thing, tag), 0);
    const fresh = tagRef(Thing, second);
    t.is(tryUntagRef(scope, Thing, fresh), second);
    t.true(fresh < tag, "its generation is 0");
    rcuReadUnlock();
    free(Thing, second);
  }),
);

/** Moves the sequence, while nothing is in progress. */
function jump(heap: Heap, steps: number): void {
  heap.i32[RCU.GP_SEQ] = (heap.i32[RCU.GP_SEQ]! + steps) | 0;
  heap.i32[RCU.GP_NEEDED] = heap.i32[RCU.GP_SEQ]!;
}

test.serial("a cookie that is older than the sequence can tell waits too long, never too short", (t) =>
  inHeap((heap) => {
    const cookie = startPollSynchronizeRcu();
    while (!pollStateSynchronizeRcu(cookie)) rcuQuiescent();
    t.is(heap.i32[RCU.GP_SEQ], cookie as number);
    jump(heap, 0x7fff_fffc);
    t.true(pollStateSynchronizeRcu(cookie), "2^31 - 4 steps ago");
    jump(heap, 4);
    t.false(pollStateSynchronizeRcu(cookie), "2^31 steps ago: as if it were to come");
    jump(heap, 0x7fff_fffc);
    t.false(pollStateSynchronizeRcu(cookie));
    jump(heap, 4);
    t.true(pollStateSynchronizeRcu(cookie), "all the way round");
  }),
);

test.serial("a thread and a table that slept through half of all sequence numbers go on", (t) =>
  inHeap((heap) => {
    const map = new RcuHashMap();
    for (let key = 0; key < 100; key++) map.insert(key, key);
    for (const steps of [0x7fff_fffc, 0x4000_0000, 4, -0x8000_0000]) {
      rcuIdleEnter();
      jump(heap, steps);
      rcuIdleExit();
      for (let key = 0; key < 2000; key++) map.insert(key, key + 1);
      for (let n = 0; n < 4; n++) {
        rcuQuiescent();
        rcuRunCallbacks();
      }
      const scope = rcuReadLock();
      for (let key = 0; key < 2000; key++) t.is(map.get(scope, key), key + 1);
      rcuReadUnlock();
      for (let key = 100; key < 2000; key++) map.remove(key);
    }
  }),
);

for (const start of [0x7fff_fffe, -2])
  test.serial(`tickets of trace entries wrap at ${start}`, (t) =>
    inHeap((heap) => {
      startRcuTrace({ entries: 64 });
      const ring = heap.i32[RCU.TRACE_RING]!;
      heap.i32[ring + ARRAY_ELEMENTS] = start; // The ring's first word counts the events.
      const cookies = [1, 2, 3].map(() => {
        const cookie = startPollSynchronizeRcu();
        while (!pollStateSynchronizeRcu(cookie)) rcuQuiescent();
        return cookie;
      });
      stopRcuTrace();
      const ended = readRcuTrace().filter(
        ({ name, detail }) => name === "rcu_grace_period" && detail === "end",
      );
      t.is(ended.length >= cookies.length, true, `${ended.length} grace periods are in the ring`);
      const numbers = ended.map(({ fields }) => fields.gp_seq!);
      t.deepEqual(
        numbers,
        [...numbers].sort((a, b) => a - b),
        "oldest first",
      );
    }),
  );

test("sequences begin so near their wrap that every run crosses it", (t) => {
  t.true(GP_SEQ_START < 0 && GP_SEQ_START >= -4 * 300);
});
