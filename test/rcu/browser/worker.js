/** A web worker of window.js: reads, or stays in a scope, or keeps a lock. */
import { RcuDomain, RcuHashMap } from "/package/web.js";

let domain;
let map;
let wrong = 0;
let reads = 0;

const jobs = {
  /** Reads for as long as it is not told to stop: each value is ten times its key plus the generation, the same for all keys. */
  read() {
    for (let n = 0; n < 2000; n++) {
      const value = domain.run((scope) => map.get(scope, n & 63));
      reads++;
      if (value === undefined || value % 64 !== (n & 63)) wrong++;
    }
    if (!stopped) setTimeout(jobs.read, 0);
    else postMessage({ reads, wrong });
  },
  /** Never comes out of its scope again. */
  async stay() {
    await navigator.locks.request("after this thread's own", () => {});
    domain.run(() => {
      postMessage("inside");
      for (;;);
    });
  },
  lock() {
    const guard = map.lock();
    postMessage("locked");
    const until = performance.now() + 50;
    while (performance.now() < until);
    guard.insert(1000, 1);
    guard.unlock();
  },
  hello: () => postMessage("attached"),
  global() {
    try {
      RcuDomain.global();
      postMessage("no error");
    } catch (error) {
      postMessage(error.code);
    }
  },
};
let stopped = false;

addEventListener("message", ({ data }) => {
  if (data === "stop") {
    stopped = true;
    return;
  }
  if (data.domain !== undefined) {
    try {
      domain = RcuDomain.attach(data.domain);
    } catch (error) {
      postMessage(error.message);
      return;
    }
    map = new RcuHashMap({ at: data.map });
  }
  jobs[data.job]();
});
