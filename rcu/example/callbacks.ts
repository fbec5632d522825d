/** callRcu, kfreeRcu, barriers, what is caught, and what a flood of callbacks does. */
import {
  alloc,
  callRcu,
  defineReclaimer,
  fixed,
  free,
  Heap,
  kfreeRcu,
  liveObjects,
  type Ref,
  rcuBarrier,
  rcuPending,
  rcuQuiescent,
  rcuRunCallbacks,
  rcuStats,
  struct,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 64 << 20 });
const Node = struct("node", { id: fixed() });
const newNode = (id: number): Ref<"node"> => {
  const node = alloc(Node);
  Node.id.init(node, id);
  return node;
};
// Known by name in every thread, since closures do not cross threads.
const log = defineReclaimer("example: log", (arg) => console.log(`callback ${arg}`));
const retire = defineReclaimer("example: retire", (node: Ref<"node">) => free(Node, node), Node);

callRcu(log, 1);
console.log(`something is pending: ${rcuPending()}`);
rcuBarrier();

const node = newNode(1);
callRcu(retire, node);
for (const again of [() => callRcu(retire, node), () => kfreeRcu(Node, node)])
  try {
    again();
  } catch (error) {
    console.log(`${(error as Error).name}: ${(error as Error).message.replace(/\d+/, "N")}`);
  }
rcuBarrier();

for (let n = 0; n < 25_000; n++) kfreeRcu(Node, newNode(n));
console.log(`${liveObjects(Node)} objects wait, ${rcuStats().floods} floods were noticed`);
let points = 0;
for (; liveObjects(Node) > 0; points++) {
  rcuQuiescent();
  rcuRunCallbacks(); // While it floods, a safe point runs all that may run.
}
console.log(`all freed at few safe points: ${points < 6}`);
heap.detach();
