/** Reads and retires things under an Srcu, with the others: SRCU under real parallelism. */
import { parentPort, workerData } from "node:worker_threads";
import { callSrcu, Heap, type Ref, rcuQuiescent, rcuRunCallbacks, Srcu, tryAlloc } from "../../rcu/index.ts";
import { DEAD, Root, retire, Thing } from "./srcu-shared.ts";

const { heap: handle, root: at, srcu: ref, rounds } = workerData;
const heap = Heap.attach(handle);
const root = at as Ref<"srcu test root">;
const srcu = new Srcu({ at: ref });
let wrong = 0;
let kept: { scope: ReturnType<Srcu["readLock"]>; thing: Ref<"srcu test thing"> } | null = null;
for (let n = 0; n < rounds; n++) {
  // A scope that outlives quiescent states, as one that awaits does; every few rounds a nested pair overlaps another.
  const scope = srcu.readLock();
  const thing = Root.current.load(root) as Ref<"srcu test thing">;
  rcuQuiescent();
  rcuRunCallbacks();
  if (Thing.state.load(thing) === DEAD) wrong++;
  if (n % 3 === 0) {
    if (kept !== null) {
      if (Thing.state.load(kept.thing) === DEAD) wrong++;
      srcu.readUnlock(kept.scope);
    }
    kept = { scope, thing };
  } else srcu.readUnlock(scope);
  if (n % 2 === 0) {
    const fresh = tryAlloc(Thing) as Ref<"srcu test thing">;
    callSrcu(srcu, retire, Root.current.exchange(root, fresh) as Ref<"srcu test thing">);
  }
}
if (kept !== null) srcu.readUnlock(kept.scope);
heap.detach();
parentPort!.postMessage(wrong);
