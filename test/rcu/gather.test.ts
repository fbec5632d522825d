/** Gathered callbacks: few of them ask for no grace period, and nobody who waits for callbacks waits for that. */
import test from "ava";
import {
  fixed,
  Heap,
  kfreeRcu,
  liveObjects,
  type Ref,
  rcuBarrier,
  rcuIdleEnter,
  rcuIdleExit,
  rcuPending,
  rcuStats,
  struct,
  tryAlloc,
} from "../../rcu/index.ts";
import { rcuCatchUp, rcuHurry, setGathering } from "../../rcu/kernel.ts";

const Thing = struct("gather test thing", { x: fixed() });
const GATHERED = 16;

test.beforeEach(() => {
  Heap.create({ bytes: 8 << 20, debug: true });
  setGathering(GATHERED);
});
test.afterEach(() => setGathering(1));

function drop(count: number): void {
  for (let n = 0; n < count; n++) kfreeRcu(Thing, tryAlloc(Thing) as Ref<"gather test thing">);
}
/** Safe points until nothing is left; how many that took. */
function safePoints(most: number): number {
  for (let n = 0; n < most; n++) {
    if (liveObjects(Thing) === 0) return n;
    if (rcuPending()) rcuCatchUp();
  }
  return most;
}
const begun = (): number => rcuStats().gracePeriods + (rcuStats().inProgress ? 1 : 0);

test.serial("a few callbacks ask for no grace period; enough of them share one", (t) => {
  const before = begun();
  drop(GATHERED - 1);
  t.false(rcuPending());
  t.is(begun(), before);
  drop(1);
  t.is(begun(), before + 1);
  t.true(safePoints(10) < 10);
  t.is(begun(), before + 1);
});

test.serial(
  "they do not lie about: they are freed after so many safe points, or at the next one when told to hurry",
  (t) => {
    drop(1);
    const waited = safePoints(1000);
    t.true(waited > 10 && waited < 1000, `${waited}`);
    drop(1);
    rcuHurry();
    t.true(safePoints(10) < 10);
  },
);

test.serial("a barrier and going idle wait for nothing that is gathered", (t) => {
  drop(3);
  rcuBarrier();
  t.is(liveObjects(Thing), 0);
  drop(3);
  rcuIdleEnter();
  rcuIdleExit();
  t.is(liveObjects(Thing), 0);
});

test.serial("a full heap does not wait until enough is gathered", (t) => {
  drop(3);
  const held: Ref<"gather test thing">[] = [];
  for (let thing = tryAlloc(Thing); thing !== 0; thing = tryAlloc(Thing)) held.push(thing);
  for (let n = 0; n < 10; n++) if (rcuPending()) rcuCatchUp();
  t.is(liveObjects(Thing), held.length);
});
