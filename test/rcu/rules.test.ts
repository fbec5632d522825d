import { once } from "node:events";
import { Worker } from "node:worker_threads";
import test from "ava";
import {
  Heap,
  HeapError,
  RcuError,
  rcuBarrier,
  rcuReadLock,
  rcuReadUnlock,
  StaleReferenceError,
  WrongHeapError,
} from "../../rcu/index.ts";
import { animal, openZoo } from "./zoo.ts";

async function ask(env: Record<string, string>): Promise<Record<"loads" | "said", Record<string, unknown>>> {
  const worker = new Worker(new URL("./zoo-worker.ts", import.meta.url), { env: { ...process.env, ...env } });
  const [answer] = await once(worker, "message");
  return answer as Record<"loads" | "said", Record<string, unknown>>;
}

test("no collection's read does an atomic operation, unless STERNIX_RCU_STRICT=1: then each dereferences by Atomics.load", async (t) => {
  const plain = await ask({ STERNIX_RCU_STRICT: "0", STERNIX_PROVE_RCU: "0" });
  const strict = await ask({ STERNIX_RCU_STRICT: "1", STERNIX_PROVE_RCU: "0" });
  for (const [name, loads] of Object.entries(plain.loads)) t.is(loads, 0, name);
  for (const [name, loads] of Object.entries(strict.loads)) t.true((loads as number) > 0, name);
  t.true(Object.keys(strict.loads).length >= 18);
});

test("PROVE_RCU: each collection asks for an open scope", async (t) => {
  const { said } = await ask({ STERNIX_PROVE_RCU: "1" });
  for (const [name, code] of Object.entries(said)) t.is(code, "ERR_RCU_OUTSIDE_SCOPE", name);
});

test.serial("debug heap: a destroyed collection is found by its readers and its updaters, and named", (t) => {
  const heap = Heap.create({ bytes: 8 << 20, debug: true });
  for (const name of Object.keys(openZoo())) {
    const cage = openZoo()[name]!;
    cage.destroy();
    rcuBarrier();
    rcuBarrier();
    const scope = rcuReadLock();
    const error = t.throws(() => cage.read(scope), { instanceOf: StaleReferenceError }, name);
    rcuReadUnlock();
    t.is(error?.code, "ERR_RCU_USE_AFTER_FREE", name);
    t.regex(error.message, /struct \w+/, name);
    t.throws(() => cage.update(), { code: "ERR_RCU_USE_AFTER_FREE" }, name);
  }
  heap.detach();
});

test.serial("a collection of another heap is not updated by mistake, nor read in a debug heap", (t) => {
  const home = Heap.create({ bytes: 8 << 20, debug: true });
  const zoo = openZoo();
  const abroad = Heap.create({ bytes: 8 << 20, debug: true });
  openZoo();
  animal();
  const scope = rcuReadLock();
  for (const [name, cage] of Object.entries(zoo)) {
    t.throws(() => cage.read(scope), { instanceOf: WrongHeapError, message: /heap\.use\(\)/ }, name);
    t.throws(() => cage.update(), { instanceOf: RcuError }, name);
  }
  rcuReadUnlock();
  home.use();
  for (const [name, cage] of Object.entries(zoo)) t.notThrows(() => cage.read(rcuReadLock()), name);
  for (const _ of Object.keys(zoo)) rcuReadUnlock();
  home.detach();
  abroad.use();
  abroad.detach();
});

test.serial("a heap of more than 2 GiB is refused, one of 2 GiB is not", (t) => {
  t.throws(() => Heap.create({ bytes: 2 ** 31 + 4096 }), {
    instanceOf: HeapError,
    code: "ERR_RCU_HEAP_SIZE",
    message: /2147483648/,
  });
  const heap = Heap.create({ bytes: 2 ** 31 });
  t.true(animal() > 0);
  heap.detach();
});
