/** STERNIX_PROVE_RCU=1 checks every rule at run time; STERNIX_RCU_STRICT=1 dereferences by Atomics.load. */
import { once } from "node:events";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import {
  alloc,
  Heap,
  type RcuScope,
  rcu,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  struct,
  synchronizeRcu,
} from "sternix/rcu";

if (isMainThread) {
  const env = { ...process.env, STERNIX_PROVE_RCU: "1", STERNIX_RCU_STRICT: "1" };
  const worker = new Worker(new URL(import.meta.url), { env });
  const [said] = await once(worker, "message");
  for (const line of said) console.log(line);
} else {
  Heap.create({ bytes: 16 << 20 });
  const Node = struct("node", { next: rcu("node") });
  const node = alloc(Node);
  const said: string[] = [];
  const attempt = (what: string, run: () => void): void => {
    try {
      run();
      said.push(`${what}: allowed`);
    } catch (error) {
      said.push(`${what}: ${(error as Error).message}`);
    }
  };
  const kept = rcuReadLock();
  attempt("dereference in a scope", () => Node.next.deref(kept, node));
  attempt("synchronize in a scope", synchronizeRcu);
  attempt("sleep in a scope", rcuIdleEnter);
  attempt("context switch in a scope", rcuQuiescent); // Closes it by force, once reported.
  attempt("dereference with a scope that has closed", () => Node.next.deref(kept as RcuScope, node));
  attempt("unlock too many", rcuReadUnlock);
  rcuIdleEnter();
  attempt("scope while idle", () => void rcuReadLock());
  rcuReadUnlock();
  rcuIdleExit();
  parentPort!.postMessage(said);
}
