/** Delayed releases: cleanup that needs the current task, drained at safe points; two backends behind one interface. */
import {
  defineReleaser,
  drainReleases,
  finalizeReleases,
  Heap,
  ObjectReleaser,
  queueRelease,
  type Releasable,
  rcuQuiescent,
  setReleaseBackend,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
interface Task {
  readonly pid: number;
}
class OpenFile implements Releasable<Task> {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
  release(task: Task): void {
    console.log(`task ${task.pid} flushes ${this.name}`);
  }
}
const unlock = defineReleaser<Task>("example: unlock", (inode, task) =>
  console.log(`task ${task.pid} unlocks inode ${inode}`),
);

for (const backend of ["list", "rcu"] as const) {
  setReleaseBackend(backend);
  const file = new ObjectReleaser<Task, OpenFile>(new OpenFile(`${backend}.txt`));
  {
    using again = file.clone(); // A second hold, dropped with the block.
    console.log(`${again.object.name} is open`);
  }
  file.drop(); // The last one: queues the release, which any place may do.
  queueRelease(unlock, 7); // By number, for objects in the heap: survives this thread.
  for (let point = 0; point < 3; point++) {
    rcuQuiescent();
    drainReleases<Task>({ pid: 1 }); // A safe point of the task.
  }
}
setReleaseBackend("list");

// What a release queues is released too; a chain without end is a bug that is caught.
process.on("warning", (warning) => console.log(`warning: ${warning.message}`));
const chain = defineReleaser<Task>("example: chain", (left) => left > 0 && queueRelease(chain, left - 1));
queueRelease(chain, 150);
console.log(`${drainReleases<Task>({ pid: 2 })} in a chain`);
queueRelease(chain, 20_000);
try {
  drainReleases<Task>({ pid: 2 });
} catch (error) {
  console.log(`${(error as Error).name}: ${(error as Error).message}`);
}
console.log(`finalize ran the other ${finalizeReleases<Task>({ pid: 3 })}`);
heap.detach();
