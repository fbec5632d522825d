/** A resizable array whose size and data are published together, a string and a double that readers see whole. */
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { arrayGet, arrayLength, RcuArray, RcuAtomic, RcuDomain, RcuString } from "sternix/rcu";

if (isMainThread) {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  const array = new RcuArray(1);
  const name = new RcuString("size 1");
  const ratio = new RcuAtomic(0.5);
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { domain: domain.handle(), array: array.ref },
  });
  const ended = once(worker, "exit");
  await once(worker, "message");
  for (let n = 0; n < 2000; n++) {
    const length = 1 + ((n * 7) % 50);
    array.resize(length, 9); // One store publishes the new length with its elements.
    if (n % 100 === 0) await domain.synchronize();
  }
  worker.postMessage("stop");
  const [{ looks, torn }] = await once(worker, "message");
  console.log(`some looks: ${looks > 0}, of which ${torn} saw a length without its elements`);
  console.log(`grew: ${array.ensureAtLeast(60, 9)}, and again: ${array.ensureAtLeast(10)}`);
  array.updateAll((value) => (value ?? 0) * 2); // One store again: a loop sees nines or eighteens.
  console.log(
    domain.run((scope) => `all 18: ${!array.some(scope, (value, index) => index > 0 && value !== 18)}`),
  );
  name.set("size 2");
  console.log(`the product is ${ratio.update((value) => value * 0.3)}`);
  console.log(domain.run((scope) => `${name.get(scope)}, beyond the end: ${array.get(scope, 1000)}`));
  await ended;
  domain.unregisterThread();
} else {
  const domain = RcuDomain.attach(workerData.domain);
  const array = new RcuArray({ at: workerData.array });
  let [looks, torn] = [0, 0];
  const look = (scope: Parameters<typeof array.view>[0]): void => {
    const now = array.view(scope); // Once: length and elements of one version.
    for (let n = 1; n < arrayLength(now); n++) if (arrayGet(now, n) !== 9) torn++;
    looks++;
  };
  const turn = (): void => {
    for (let n = 0; n < 100; n++) domain.run(look);
  };
  const timer = setInterval(turn);
  parentPort!.once("message", () => {
    clearInterval(timer);
    turn();
    parentPort!.postMessage({ looks, torn });
    domain.unregisterThread();
  });
  parentPort!.postMessage("ready");
}
