/** Declares a struct of errors.test.ts in another way, of the same size, and posts what came of using it. */
import { parentPort, workerData } from "node:worker_threads";
import { atomic, fixed, Heap, type RcuError, struct, tryAlloc } from "../../rcu/index.ts";

const Route = struct("layout test route", { hops: atomic(), metric: fixed() });
Heap.attach(workerData as { buffer: SharedArrayBuffer });
try {
  tryAlloc(Route);
  parentPort!.postMessage("nothing");
} catch (error) {
  const { name, code, message } = error as RcuError;
  parentPort!.postMessage({ name, code, message });
}
