/** Jobs of domain.test.ts: a worker that lives in its event loop. */
import { parentPort, workerData } from "node:worker_threads";
import { RcuDomain, RcuHashMap, Srcu } from "../../rcu/index.ts";

const { job, domain: handle, map: at, srcu } = workerData;
const domain = handle === undefined ? RcuDomain.global() : RcuDomain.attach(handle);
const port = parentPort!;

if (job === "reader") {
  const map = new RcuHashMap({ at });
  let reads = 0;
  let wrong = 0;
  const turn = (): void => {
    for (let n = 0; n < 500; n++) {
      const value = domain.run((scope) => map.get(scope, n & 15));
      reads++;
      if (value === undefined) wrong++;
    }
  };
  const timer = setInterval(turn, 0);
  port.on("message", () => {
    clearInterval(timer);
    port.postMessage({ reads, wrong });
    port.close();
  });
} else if (job === "asleep") {
  // Registered, and doing nothing: nothing waits for it.
  domain.run(() => 0);
  port.on("message", () => port.close());
} else if (job === "spin") {
  // Never gets back to its event loop, but reads all the time.
  const map = new RcuHashMap({ at });
  while (domain.run((scope) => map.get(scope, 0)) !== -1);
  port.close();
} else if (job === "srcu") {
  const sleeping = new Srcu({ at: srcu });
  await sleeping.run(async () => {
    port.postMessage("reading");
    await new Promise((resolve) => port.once("message", resolve));
  });
  port.postMessage("left");
  port.close();
} else if (job === "global") {
  port.postMessage(domain.handle().buffer.byteLength);
  port.close();
}
port.postMessage("ready");
