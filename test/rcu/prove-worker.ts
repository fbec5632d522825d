/** Breaks the rules one by one under STERNIX_PROVE_RCU=1 and posts what was said about each. */
import { parentPort } from "node:worker_threads";
import {
  Heap,
  kfreeRcu,
  RcuHashMap,
  type RcuScope,
  type Ref,
  rcu,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  struct,
  synchronizeRcu,
  tryAlloc,
} from "../../rcu/index.ts";

const Thing = struct("prove thing", { next: rcu("prove thing") });
Heap.create({ bytes: 8 << 20, debug: true });
const thing = tryAlloc(Thing) as Ref<"prove thing">;
const map = new RcuHashMap();
const stale = 1 as RcuScope;

const said: Record<string, string> = {};
function attempt(name: string, run: () => void): void {
  try {
    run();
    said[name] = "nothing";
  } catch (error) {
    said[name] = (error as Error).message;
  }
}

attempt("dereference outside of a scope", () => Thing.next.deref(stale, thing));
attempt("lookup outside of a scope", () => map.get(stale, 1));
attempt("unlock without lock", rcuReadUnlock);
rcuIdleEnter();
attempt("scope while idle", rcuReadLock);
rcuReadUnlock();
rcuIdleExit();
rcuReadLock();
attempt("synchronize in a scope", synchronizeRcu);
attempt("idle in a scope", rcuIdleEnter);
attempt("scope open at a context switch", rcuQuiescent);
attempt("within the rules", () => {
  const scope = rcuReadLock();
  Thing.next.deref(scope, thing);
  map.get(scope, 1);
  rcuReadUnlock();
  rcuQuiescent();
});
kfreeRcu(Thing, thing);
attempt("double kfreeRcu", () => kfreeRcu(Thing, thing));
parentPort!.postMessage(said);
