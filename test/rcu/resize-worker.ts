/** Looks for keys that are always there while the maps grow and shrink: test/rcu/resize.test.ts. */
import { parentPort, workerData } from "node:worker_threads";
import { type Handle, type HeapHandle, RcuDomain, RcuHashMap, text } from "../../rcu/index.ts";

const { heap, ints, texts, stop, keys } = workerData as {
  heap: HeapHandle;
  ints: Handle;
  texts: Handle;
  stop: Int32Array;
  keys: number;
};
const domain = RcuDomain.attach(heap);
const numbers = new RcuHashMap({ at: ints });
const strings = new RcuHashMap<string, string>({ key: text(), value: text(), at: texts });
const wrong: string[] = [];
let looks = 0;
parentPort!.postMessage("up");
while (Atomics.load(stop, 0) === 0 && wrong.length === 0)
  domain.run((scope) => {
    for (let key = 0; key < keys; key++) {
      const value = numbers.get(scope, key);
      if (value === undefined || value % keys !== key) wrong.push(`key ${key}: ${value}`);
      const string = strings.get(scope, `key ${key}`);
      if (string?.endsWith(`of key ${key}`) !== true) wrong.push(`"key ${key}": ${string}`);
    }
    let stay = 0;
    numbers.forEach(scope, (key) => {
      if (key < keys) stay++;
    });
    if (stay !== keys) wrong.push(`forEach visited ${stay} of ${keys} keys that stay`);
    looks++;
  });
parentPort!.postMessage({ wrong, looks });
