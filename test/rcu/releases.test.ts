/** Delayed releases: of objects and of references, by either backend. */
import test from "ava";
import {
  defineReleaser,
  drainReleases,
  finalizeReleases,
  Heap,
  ObjectReleaser,
  queueRelease,
  type Releasable,
  type ReleaseBackend,
  rcuQuiescent,
  setReleaseBackend,
} from "../../rcu/index.ts";

async function inHeap(run: (heap: Heap) => void | Promise<void>): Promise<void> {
  const heap = Heap.create({ bytes: 8 << 20, debug: true });
  try {
    await run(heap);
  } finally {
    heap.use().detach();
  }
}

for (const backend of ["list", "rcu"] as const)
  test.serial(
    `releases of objects and of references, backend ${backend}: each once, with the context of its safe point`,
    (t) =>
      inHeap(async () => {
        const said = await releases(backend);
        t.deepEqual(said, [
          "close 7 in task 1",
          "flush a in task 1",
          "flush b in task 2",
          "after b in task 2",
        ]);
      }),
  );

interface Context {
  readonly task: number;
}
let said: string[] = [];
const close = defineReleaser<Context>("releases test: close", (arg, context) => {
  said.push(`close ${arg} in task ${context.task}`);
});
class File implements Releasable<Context> {
  readonly name: string;
  readonly next: ObjectReleaser<Context, Releasable<Context>> | null;
  constructor(name: string, next: ObjectReleaser<Context, Releasable<Context>> | null = null) {
    this.name = name;
    this.next = next;
  }
  release(context: Context): void {
    said.push(`${this.name} in task ${context.task}`);
    this.next?.drop();
  }
}

/** What callers see of a backend: everything queued so far is released at the next safe point that may. */
async function releases(backend: ReleaseBackend): Promise<string[]> {
  said = [];
  setReleaseBackend(backend);
  const a = new ObjectReleaser<Context, File>(new File("flush a"));
  const again = a.clone();
  a.drop();
  a[Symbol.dispose]();
  drain({ task: 0 });
  again.drop();
  queueRelease(close, 7);
  drain({ task: 1 });
  said.sort(); // Objects and references are two lists: in which order they are drained is nobody's business.
  {
    using _file = new ObjectReleaser<Context, File>(
      new File("flush b", new ObjectReleaser(new File("after b"))),
    );
  }
  finalizeReleases<Context>({ task: 2 });
  setReleaseBackend("list");
  return said;
}
function drain(context: Context): void {
  for (let n = 0; n < 4; n++) {
    rcuQuiescent();
    drainReleases(context);
  }
}

test.serial(
  "an object may not be used, nor dropped, after its hold was dropped; detach asks for finalize",
  (t) =>
    inHeap((heap) => {
      said = [];
      const file = new ObjectReleaser<Context, File>(new File("late"));
      file.drop();
      t.throws(() => file.object, { code: "ERR_RCU_SCOPE_PAIRING" });
      t.throws(() => file.drop(), { code: "ERR_RCU_SCOPE_PAIRING" });
      t.throws(() => heap.detach(), { message: /finalizeReleases/ });
      t.is(finalizeReleases<Context>({ task: 3 }), 1);
      t.deepEqual(said, ["late in task 3"]);
    }),
);
