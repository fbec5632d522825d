/** What test/rcu/browser.ts wants to know of a browser, as a page does it: each result is posted to /result, and /end comes last. */
import { callRcu, defineReclaimer, RcuDomain, RcuHashMap, rcuStats } from "/package/web.js";

const post = (path, value) => fetch(path, { method: "POST", body: JSON.stringify(value) });
const posts = [];
function is(what, actual, expected) {
  const ok = Object.is(actual, expected);
  posts.push(post("/result", { what, ok, actual: String(actual), expected: String(expected) }));
}
const turn = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const message = (worker) =>
  new Promise((resolve) => worker.addEventListener("message", ({ data }) => resolve(data), { once: true }));

async function main() {
  is("the page is cross-origin isolated", crossOriginIsolated, true);
  for (const announce of [false, true]) await kind(announce);
  const worker = new Worker("worker.js", { type: "module" });
  worker.postMessage({ job: "global" });
  is("a worker inherits no global domain", await message(worker), "ERR_RCU_GLOBAL");
  is("a window has one", RcuDomain.global(), RcuDomain.global());
}

async function kind(announce) {
  const name = announce ? "announcing: " : "";
  const domain = RcuDomain.create({ bytes: 16 << 20, announce });
  const map = new RcuHashMap();
  for (let key = 0; key < 64; key++) map.insert(key, key);
  const start = (job) => {
    const worker = new Worker("worker.js", { type: "module" });
    worker.postMessage({ job, domain: domain.handle(), map: map.ref });
    return worker;
  };

  const readers = [start("read"), start("read")];
  for (let generation = 1; generation <= 200; generation++) {
    for (let key = 0; key < 64; key++) map.insert(key, 64 * generation + key);
    if (generation % 20 === 0) await turn(5);
  }
  const ends = readers.map(message);
  for (const reader of readers) reader.postMessage("stop");
  for (const { reads, wrong } of await Promise.all(ends)) {
    is(`${name}readers see whole values`, wrong, 0);
    is(`${name}readers read`, reads > 0, true);
  }
  await domain.synchronize();
  is(`${name}what was replaced is freed`, (await settled()) < 200, true);

  const lock = start("lock");
  await message(lock);
  map.insert(1001, 2); // Waits for the worker's lock.
  is(
    `${name}a window waits for a lock`,
    domain.run((scope) => map.get(scope, 1000)),
    1,
  );

  const stays = start("stay");
  await message(stays);
  let over = false;
  const waiting = domain.synchronize().then(() => (over = true));
  await turn(200);
  is(`${name}synchronize waits for a reader`, over, false);
  stays.terminate();
  await waiting;
  is(`${name}and not for one that was terminated`, over, true);

  let code = "no error";
  try {
    domain.synchronizeBlocking();
  } catch (error) {
    code = error.code;
  }
  is(`${name}a window does not block`, code, "ERR_RCU_DOMAIN");

  const errors = [];
  const note = (event) => {
    errors.push(event.error.message);
    event.preventDefault();
  };
  addEventListener("error", note);
  const careless = defineReclaimer(`careless ${announce}`, () => {
    throw new Error("in a callback");
  });
  domain.run(() => callRcu(careless, 1));
  while (errors.length === 0) {
    await domain.synchronize();
    await turn(10);
  }
  is(`${name}what a callback throws is an error event`, errors.join(), "in a callback");
  removeEventListener("error", note);
  for (const worker of [...readers, lock]) worker.terminate();

  let attached = 0;
  for (let n = 0; n < 70; n++) {
    const worker = start("hello");
    if ((await message(worker)) === "attached") attached++;
    worker.terminate();
    await turn(10);
  }
  is(`${name}70 workers in turn find a slot among 64`, attached, 70);
  domain.unregisterThread();
}

/** Callbacks that still wait, when no more are run. */
async function settled() {
  let before = Number.POSITIVE_INFINITY;
  for (let pending = rcuStats().callbacksPending; pending < before; pending = rcuStats().callbacksPending) {
    before = pending;
    await turn(200);
  }
  return before;
}

main()
  .catch((error) => is("nothing is thrown", error.stack, undefined))
  .finally(async () => {
    await Promise.all(posts);
    await post("/end");
  });
