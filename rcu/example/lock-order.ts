/** The order of locks, checked in a debug heap: each lock has a rank, and a thread that holds one takes only locks of higher ranks. */
import {
  alloc,
  assertNoLocksHeld,
  Heap,
  lockClasses,
  type RcuError,
  spinlock,
  struct,
  takenLocks,
} from "sternix/rcu";

const Folder = struct("folder", { lock: spinlock(10) });
const Page = struct("page", { lock: spinlock(20) });
const heap = Heap.create({ bytes: 16 << 20, debug: true }); // Other heaps check nothing, and pay nothing.
const [a, b] = [alloc(Folder), alloc(Folder)];
const page = alloc(Page);

Folder.lock.lockBoth(a, b); // Two of one class: by address.
Page.lock.lock(page);
Folder.lock.unlockBoth(a, b);

const caught = (what: string, run: () => unknown): void => {
  try {
    run();
    console.log(`${what}: not caught`);
  } catch (error) {
    const { code, message } = error as RcuError;
    console.log(`${what}: ${code}: ${message.split(" at ")[0]}`);
  }
};
caught("out of order", () => Folder.lock.lock(a));
console.log(`taken: ${takenLocks().map(({ name, slot }) => `${name} by slot ${slot}`)}`);
caught("twice", () => Page.lock.lock(page));
caught("asleep with it", () => assertNoLocksHeld("a sleep"));
Page.lock.unlock(page);
for (const { name, rank } of lockClasses()) if (rank > 0 && rank < Infinity) console.log(`${rank} ${name}`);
heap.detach();
