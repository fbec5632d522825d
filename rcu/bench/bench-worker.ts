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

// The median over short chunks: what the machine does to other processes meanwhile falls out.
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
heap.detach();
parentPort!.postMessage({ ns: chunks[chunks.length >> 1]!, checksum: checksum() });
