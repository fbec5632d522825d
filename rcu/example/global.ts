/** The domain of the process: a worker finds it without being handed anything. */
import { once } from "node:events";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { alloc, atomic, RcuBox, RcuDomain, struct } from "sternix/rcu";

const Config = struct("config", { version: atomic() });
const domain = RcuDomain.global();
if (isMainThread) {
  const first = alloc(Config);
  Config.version.init(first, 1);
  const box = new RcuBox(Config, first);
  const worker = new Worker(new URL(import.meta.url));
  worker.postMessage(box.handle());
  const [version] = await once(worker, "message");
  console.log(`the worker read version ${version} in the global domain`);
  await worker.terminate();
  console.log(`the same domain in this thread: ${RcuDomain.global() === domain}`);
  domain.unregisterThread();
} else {
  const [at] = await once(parentPort!, "message");
  const box = new RcuBox(Config, { at });
  parentPort!.postMessage(domain.run((scope) => Config.version.peek(box.get(scope))));
  domain.unregisterThread();
}
