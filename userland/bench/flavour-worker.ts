/** A thread of `bench rcu` that measures scopes of one kind: each kind has a thread and a domain of its own. */
import { parentPort, workerData } from "node:worker_threads";
import { RcuDomain, RcuHashMap, type RcuScope, Srcu } from "../../rcu/index.ts";
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

/** A loop of `CHUNK` scopes, compiled anew for each kind: loops from one text would share what V8 has learnt. */
function loopOf(one: string, names: Readonly<Record<string, unknown>>): () => number {
  const text = `"use strict"; return () => { let sum = 0; for (let n = 0; n < ${CHUNK}; n++) { ${one} } return sum; };`;
  return new Function(...Object.keys(names), text)(...Object.values(names)) as () => number;
}

/** Opens and closes `CHUNK` scopes. */
function chunkOf(kind: ScopeKind): () => number {
  const domain = RcuDomain.create({ bytes: 8 << 20, announce: kind === "announcing RcuDomain" });
  if (kind === "Srcu" || kind === "fast Srcu") {
    const srcu = new Srcu({ fast: kind === "fast Srcu" });
    const loop = loopOf("srcu.readUnlock(srcu.readLock());", { srcu });
    return () => domain.run(loop);
  }
  if (kind === "RcuDomain.run + get") {
    const map = new RcuHashMap();
    for (let key = 0; key < 64; key++) map.insert(key, key + 1);
    const get = (scope: RcuScope, key?: number): number => map.get(scope, key!)!;
    return loopOf("sum += domain.run(get, n & 63);", { domain, get });
  }
  return loopOf("domain.enter(); domain.exit();", { domain });
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
