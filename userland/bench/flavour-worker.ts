/** A thread of `bench rcu` that measures scopes of one kind: each kind has a thread and a domain of its own. */
import { parentPort, workerData } from "node:worker_threads";
import { RcuDomain, RcuHashMap, Srcu } from "../../rcu/index.ts";
import { runDelay } from "./disturbance.ts";

export const SCOPES = [
  "RcuDomain",
  "RcuDomain.run + get",
  "announcing RcuDomain",
  "Srcu",
  "fast Srcu",
] as const;
export type ScopeKind = (typeof SCOPES)[number];

export interface FlavourData {
  readonly scopes: ScopeKind;
}
/** Scopes opened and closed, in so many nanoseconds, of which the thread had no CPU for `delay`. */
export interface FlavourResult {
  readonly operations: number;
  readonly ns: number;
  readonly delay: number;
}

const CHUNK = 4096;

/** Opens and closes `CHUNK` scopes. The numbers that it returns keep the work from being optimised away. */
function chunkOf(kind: ScopeKind): () => number {
  const domain = RcuDomain.create({ bytes: 8 << 20, announce: kind === "announcing RcuDomain" });
  if (kind === "Srcu" || kind === "fast Srcu") {
    const srcu = new Srcu({ fast: kind === "fast Srcu" });
    return () =>
      domain.run(() => {
        for (let n = 0; n < CHUNK; n++) srcu.readUnlock(srcu.readLock());
        return 0;
      });
  }
  if (kind === "RcuDomain.run + get") {
    const map = new RcuHashMap();
    for (let key = 0; key < 64; key++) map.insert(key, key + 1);
    return () => {
      let sum = 0;
      for (let n = 0; n < CHUNK; n++) sum += domain.run((scope, key) => map.get(scope, key!), n & 63)!;
      return sum;
    };
  }
  return () => {
    for (let n = 0; n < CHUNK; n++) {
      domain.enter();
      domain.exit();
    }
    return 0;
  };
}

function serve({ scopes }: FlavourData): void {
  const chunk = chunkOf(scopes);
  parentPort!.on("message", (ms: number | null) => {
    if (ms === null) {
      parentPort!.close();
      return;
    }
    const waited = runDelay();
    const start = performance.now();
    let operations = 0;
    let took = 0;
    do {
      chunk();
      operations += CHUNK;
      took = performance.now() - start;
    } while (took < ms);
    const result: FlavourResult = { operations, ns: took * 1e6, delay: runDelay() - waited };
    parentPort!.postMessage(result);
  });
  parentPort!.postMessage("ready");
}

if (parentPort !== null && workerData?.scopes !== undefined) serve(workerData as FlavourData);
