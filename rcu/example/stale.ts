/** Use after free is seen in a shared heap: at the access, by generation tags, when a reference or a handle is opened. */
import {
  alloc,
  cellGeneration,
  cellIsAlive,
  fixed,
  free,
  Heap,
  type RcuError,
  RcuHashMap,
  rcuReadLock,
  rcuReadUnlock,
  struct,
  tagRef,
  tryUntagRef,
  untagRef,
} from "sternix/rcu";

const Node = struct("node", { value: fixed() });
const heap = Heap.create({ bytes: 16 << 20, debug: true }); // Freed objects are poisoned, every access is checked.
const node = alloc(Node);
Node.value.init(node, 5);
const tagged = tagRef(Node, node); // The reference with its generation: may be kept for ever.
const scope = rcuReadLock();
console.log(`untagged: ${untagRef(scope, Node, tagged) === node}, generation ${cellGeneration(node)}`);
free(Node, node); // Without a grace period: the mistake.
console.log(`alive: ${cellIsAlive(node)}, generation ${cellGeneration(node)}`);
console.log(`by tag: ${tryUntagRef(scope, Node, tagged)}`);

const caught = (what: string, run: () => unknown): void => {
  try {
    run();
    console.log(`${what}: not caught`);
  } catch (error) {
    console.log(`${what}: ${(error as Error).name} ${(error as RcuError).code}`);
  }
};
caught("read after free", () => Node.value.get(node));
caught("written after free", () => Node.value.init(node, 6));
caught("freed twice", () => free(Node, node));
caught("an old tag", () => untagRef(scope, Node, tagged));
rcuReadUnlock();
const map = new RcuHashMap();
const handle = map.handle();
map.destroy();
caught("a map that was freed", () => new RcuHashMap({ at: handle }));
const other = Heap.create({ bytes: 16 << 20 });
caught("a map of another heap", () => new RcuHashMap({ at: handle }));
caught("a reference that is none", () => new RcuHashMap({ at: 12345 }));
caught("a handle that is none", () => Heap.attach({ buffer: new SharedArrayBuffer(1 << 20) }));
other.detach();
heap.use().detach();
