/** What srcu.test.ts and its workers declare. */
import { atomic, defineReclaimer, kfreeRcu, type Ref, struct, tryAlloc } from "../../rcu/index.ts";

export const DEAD = 1;
export const Thing = struct("srcu test thing", { state: atomic() });
export const Root = struct("srcu test root", { current: atomic() });

/** No reader of the Srcu may stand on it any more: marks it, and frees it after a grace period of RCU. */
export const retire = defineReclaimer("srcu test: retire", (thing: Ref<"srcu test thing">) => {
  Thing.state.store(thing, DEAD);
  kfreeRcu(Thing, thing);
});
export const newThing = (): Ref<"srcu test thing"> => tryAlloc(Thing) as Ref<"srcu test thing">;

/** One Srcu after the other, handed to a reader: `turn` is 3n, then 3n + 1 when the n-th is there, then 3n + 2 while it is read. */
export const Relay = struct("srcu test relay", { turn: atomic(), srcu: atomic() });
