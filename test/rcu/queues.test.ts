/** RcuLockFreeQueue, RcuLockFreeStack, WaitFreeQueue: what goes in comes out once, in order, on one thread and on several. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import test from "ava";
import fc from "fast-check";
import {
  alloc,
  fixed,
  free,
  Heap,
  HeapFullError,
  kfreeRcu,
  liveObjects,
  own,
  RcuDomain,
  RcuLockFreeQueue,
  RcuLockFreeStack,
  type RcuScope,
  type Ref,
  rcuBarrier,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  struct,
  text,
  type Value,
  WaitFreeQueue,
  WOULD_BLOCK,
  WrongTypeError,
} from "../../rcu/index.ts";
import { declaredStructs } from "../../rcu/kernel.ts";

const Thing = struct("queue test thing", { x: fixed() });
const nodes = (): number => liveObjects(declaredStructs.get("rcu_link_node")!);

function inHeap(run: (heap: Heap) => void, bytes = 16 << 20): void {
  const heap = Heap.create({ bytes, debug: true });
  try {
    run(heap);
  } finally {
    heap.use().detach();
  }
}
const pause = (): void => {
  rcuQuiescent();
  rcuRunCallbacks();
};

/** All three, as what a model of an array can be compared with. */
interface Line {
  put(value: string): void;
  tryPut(value: string): boolean;
  take(): string | undefined;
  all(): string[];
  values(scope: RcuScope): string[] | null;
  isEmpty(): boolean;
  destroy(): void;
}
const LINES: Record<string, () => Line> = {
  RcuLockFreeQueue() {
    const queue = new RcuLockFreeQueue<string>({ value: text() });
    return {
      put: (value) => queue.enqueue(value),
      tryPut: (value) => queue.tryEnqueue(value),
      take: () => queue.dequeue(),
      all() {
        const all: string[] = [];
        for (let one = queue.dequeue(); one !== undefined; one = queue.dequeue()) all.push(one);
        return all;
      },
      values: (scope) => [...queue.values(scope)],
      isEmpty: () => queue.isEmpty(),
      destroy: () => queue.destroy(),
    };
  },
  RcuLockFreeStack() {
    const stack = new RcuLockFreeStack<string>({ value: text() });
    return {
      put: (value) => stack.push(value),
      tryPut: (value) => stack.tryPush(value),
      take: () => stack.pop(),
      all: () => stack.popAll(),
      values: (scope) => [...stack.values(scope)],
      isEmpty: () => stack.isEmpty(),
      destroy: () => stack.destroy(),
    };
  },
  WaitFreeQueue() {
    const queue = new WaitFreeQueue<string>({ value: text() });
    let turn = 0;
    return {
      put: (value) => void queue.enqueue(value),
      tryPut: (value) => queue.tryEnqueue(value),
      take: () => (turn++ % 2 === 0 ? queue.dequeue() : (queue.tryDequeue() as string | undefined)),
      all: () => queue.dequeueAll(),
      values: () => null,
      isEmpty: () => queue.isEmpty(),
      destroy: () => queue.destroy(),
    };
  },
};

for (const [name, open] of Object.entries(LINES)) {
  const last = name === "RcuLockFreeStack";
  test.serial(`${name} behaves like an array that is a ${last ? "stack" : "queue"}`, (t) => {
    inHeap(() => {
      const op = fc.oneof(
        { weight: 5, arbitrary: fc.constant("put" as const) },
        { weight: 4, arbitrary: fc.constant("take" as const) },
        { weight: 1, arbitrary: fc.constant("all" as const) },
      );
      fc.assert(
        fc.property(fc.array(fc.tuple(op, fc.string({ unit: "grapheme" })), { maxLength: 150 }), (steps) => {
          const line = open();
          const model: string[] = [];
          for (const [what, value] of steps) {
            if (what === "put") {
              line.put(value);
              model.push(value);
            } else if (what === "take") t.is(line.take(), last ? model.pop() : model.shift());
            else t.deepEqual(line.all(), last ? model.splice(0).reverse() : model.splice(0));
            t.is(line.isEmpty(), model.length === 0);
            const values = line.values(rcuReadLock());
            rcuReadUnlock();
            if (values !== null) t.deepEqual(values, last ? model.toReversed() : model);
          }
          pause();
          line.destroy();
          rcuBarrier();
          t.is(nodes(), 0);
        }),
        { numRuns: 30 },
      );
    });
  });

  test.serial(`${name}: a full heap refuses what comes and keeps what is there`, (t) => {
    inHeap(() => {
      const line = open();
      let put = 0;
      while (line.tryPut(`value ${put}`)) put++;
      t.true(put > 1000);
      t.throws(() => line.put(`value ${put}`), { instanceOf: HeapFullError });
      for (let n = 0; n < put; n++) {
        const value = `value ${last ? put - 1 - n : n}`;
        if (line.take() !== value) return t.fail(value);
        if (n % 64 === 0) pause();
      }
      t.is(line.take(), undefined);
      line.put("again");
      t.is(line.take(), "again");
    }, 4 << 20);
  });

  test.serial(`${name} is used by an idle thread, and in a domain outside of its scopes`, (t) => {
    inHeap(() => {
      const line = open();
      rcuIdleEnter();
      for (let n = 0; n < 1000; n++) line.put(`${n}`);
      for (let n = 0; n < 1000; n++) t.is(line.take(), `${last ? 999 - n : n}`);
      rcuIdleExit();
      line.destroy();
      rcuBarrier();
      t.is(nodes(), 0);
    });
    const domain = RcuDomain.create({ bytes: 4 << 20 });
    const line = open();
    for (let n = 0; n < 100_000; n++) {
      line.put(`${n}`);
      line.take();
    }
    line.destroy();
    domain.barrier();
    t.is(nodes(), 0);
    domain.unregisterThread();
  });
}

test.serial("objects that a queue owns are the taker's; those that are left are freed with it", (t) => {
  inHeap(() => {
    const lines = [
      new RcuLockFreeQueue({ value: own(Thing) }),
      new WaitFreeQueue({ value: own(Thing) }),
    ] as const;
    const stack = new RcuLockFreeStack({ value: own(Thing) });
    for (const line of lines) {
      const thing = alloc(Thing);
      Thing.x.init(thing, 7);
      line.enqueue(thing);
      line.enqueue(alloc(Thing));
      const taken = line.dequeue() as Ref<"queue test thing">;
      t.is(taken, thing);
      t.is(Thing.x.get(taken), 7);
      free(Thing, taken);
      line.destroy();
    }
    stack.push(alloc(Thing));
    stack.push(alloc(Thing));
    kfreeRcu(Thing, stack.pop()!);
    stack.destroy();
    rcuBarrier();
    t.is(liveObjects(Thing), 0);
    t.is(nodes(), 0);
  });
});

test.serial("wrong kinds, and queues that are not there any more, are errors", (t) => {
  inHeap(() => {
    const wrong = { instanceOf: WrongTypeError };
    for (const type of [
      RcuLockFreeQueue,
      RcuLockFreeStack,
      WaitFreeQueue,
    ] as unknown as (typeof RcuLockFreeQueue)[]) {
      const line = new type<string>({ value: text() });
      t.throws(() => new type({ at: line.ref }), wrong);
      t.notThrows(() => new type<string>({ value: text(), at: line.handle() }));
      line.destroy();
      t.throws(() => line.isEmpty(), { code: "ERR_RCU_USE_AFTER_FREE" });
      t.throws(() => new type<string>({ value: text(), at: line.ref }), { code: "ERR_RCU_USE_AFTER_FREE" });
    }
    const queue = new WaitFreeQueue();
    t.throws(() => queue.enqueue(0.5), wrong);
    t.throws(() => queue.splice(queue), wrong);
    t.throws(() => queue.splice(new WaitFreeQueue<Value>({ value: text() as never }) as never), wrong);
    t.throws(() => new RcuLockFreeQueue<string>({ value: text() }).enqueue(7 as never), wrong);
    t.is(nodes(), 1, "the dummy of that queue");
  });
});

test.serial("a queue is moved to the end of another one in one step", (t) => {
  inHeap((heap) => {
    const [one, other] = [new WaitFreeQueue(), new WaitFreeQueue()];
    t.false(one.splice(other));
    t.false(one.enqueue(1), "nothing was in it");
    t.true(one.enqueue(2));
    other.enqueue(3);
    other.enqueue(4);
    t.true(one.splice(other));
    t.true(other.isEmpty());
    other.enqueue(5);
    t.deepEqual([one.dequeueAll(), other.dequeueAll()], [[1, 2, 3, 4], [5]]);
    // Another thread takes values out: this one is told so.
    const there = Heap.attach(heap.handle());
    const theirs = new WaitFreeQueue({ at: one.ref });
    one.enqueue(1);
    heap.use();
    t.is(one.tryDequeue(), 1);
    t.is(one.tryDequeue(), undefined);
    there.use();
    t.is(theirs.tryDequeue(), undefined);
    t.not(WOULD_BLOCK as unknown, undefined);
    there.detach();
    heap.use();
  });
});

for (const threads of [1, 2, 4])
  for (const kind of ["queue", "stack", "wait-free"] as const)
    test.serial(
      `${threads} threads put into one ${kind} and take out: all of it, once, in order`,
      async (t) => {
        const heap = Heap.create({ bytes: 32 << 20, debug: threads !== 2 });
        const shared =
          kind === "queue"
            ? new RcuLockFreeQueue()
            : kind === "stack"
              ? new RcuLockFreeStack()
              : new WaitFreeQueue();
        const other = new WaitFreeQueue();
        const rounds = 3000;
        const workers = Array.from(
          { length: threads },
          (_, id) =>
            new Worker(new URL("./queue-worker.ts", import.meta.url), {
              workerData: { heap: heap.handle(), kind, at: shared.ref, other: other.ref, id, rounds },
            }),
        );
        rcuIdleEnter();
        const said = await Promise.all(workers.map(async (worker) => (await once(worker, "message"))[0]));
        rcuIdleExit();
        const left: number[] = [];
        const take = (): number | undefined =>
          shared instanceof RcuLockFreeStack ? shared.pop() : shared.dequeue();
        for (let value = take(); value !== undefined; value = take()) left.push(value);
        left.push(...other.dequeueAll());
        const all = [...said.flatMap(({ taken }) => taken as number[]), ...left];
        t.deepEqual(
          said.flatMap(({ wrong }) => wrong as string[]),
          [],
        );
        t.is(all.length, threads * rounds);
        t.is(new Set(all).size, threads * rounds);
        shared.destroy();
        other.destroy();
        rcuBarrier();
        t.is(nodes(), 0);
        heap.detach();
      },
    );
