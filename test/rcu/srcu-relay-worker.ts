/** Reads each Srcu of the relay once, and leaves it when its last waiter may already be gone. */
import { workerData } from "node:worker_threads";
import { Heap, type Ref, rcuIdleEnter, Srcu } from "../../rcu/index.ts";
import { Relay } from "./srcu-shared.ts";

const { heap: handle, relay: at, rounds } = workerData;
const heap = Heap.attach(handle);
rcuIdleEnter(); // SRCU readers need no RCU.
const relay = at as Ref<"srcu test relay">;
for (let n = 0; n < rounds; n++) {
  for (let turn = Relay.turn.load(relay); turn !== 3 * n + 1; turn = Relay.turn.load(relay))
    Relay.turn.wait(relay, turn);
  const srcu = new Srcu({ at: Relay.srcu.load(relay) });
  const scope = srcu.readLock();
  Relay.turn.store(relay, 3 * n + 2);
  Relay.turn.notify(relay);
  for (let spin = n % 97; spin > 0; spin--) Relay.turn.load(relay);
  srcu.readUnlock(scope);
}
heap.detach();
