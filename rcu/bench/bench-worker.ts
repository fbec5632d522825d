/** A thread of `bench rcu`: measures one peer, or keeps a CPU busy with reading. */
import { parentPort, workerData } from "node:worker_threads";
import { Heap, rcuIdleEnter, rcuIdleExit } from "../index.ts";
import { checksum, PEERS } from "./peers.ts";

const { buffer, shared, peer: name, writes, ms, start, stop } = workerData;
const heap = Heap.attach({ buffer });
const peer = new PEERS[name]!(shared);
const gate = new Int32Array(start as SharedArrayBuffer);
const flag = new Int32Array(stop as SharedArrayBuffer);
const CHUNK = 1 << 13;

for (let warm = 0; warm < 160; warm++) peer.run(CHUNK, writes);
rcuIdleEnter();
parentPort!.postMessage("warm");
Atomics.wait(gate, 0, 0);
rcuIdleExit();

// Short chunks, without the slowest tenth: what the machine does for other processes meanwhile falls out, while
// contention between these threads, which slows every chunk, stays in.
const chunks: number[] = [];
let now = process.hrtime.bigint();
const end = now + BigInt(ms) * 1_000_000n;
while (now < end && Atomics.load(flag, 0) === 0) {
  peer.run(CHUNK, writes);
  const after = process.hrtime.bigint();
  chunks.push(Number(after - now) / CHUNK);
  now = after;
}
chunks.sort((a, b) => a - b);
const kept = chunks.slice(0, Math.ceil(chunks.length * 0.9));
heap.detach();
parentPort!.postMessage({ ns: kept.reduce((sum, ns) => sum + ns, 0) / kept.length, checksum: checksum() });
