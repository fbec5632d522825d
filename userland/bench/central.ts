/** Directs the workers of central-worker.ts. */
import { once } from "node:events";
import { MessageChannel, Worker } from "node:worker_threads";
import { atomicAdd, atomicNotify, atomicStore } from "../../rcu/index.ts";
import { CENTRAL, type CentralData } from "./central-worker.ts";

export interface Central {
  /** Nanoseconds that `calls` calls of every client took, side by side. */
  run(calls: number): Promise<number>;
  stop(): Promise<void>;
}

const workerUrl = new URL(
  import.meta.url.endsWith(".ts") ? "./central-worker.ts" : "./bench-central-worker.js",
  import.meta.url,
);

/** A kernel worker and `clients` programs, which call it through shared memory, or by messages. */
export async function startCentral(clients: number, byMessages: boolean): Promise<Central> {
  const words = new Int32Array(new SharedArrayBuffer((CENTRAL.CLIENTS + clients * CENTRAL.CHANNEL) * 4));
  const channels = Array.from({ length: clients }, () => new MessageChannel());
  const start = async (client: number): Promise<Worker> => {
    const ports = client < 0 ? channels.map(({ port1 }) => port1) : [channels[client]!.port2];
    const workerData: CentralData = {
      central: true,
      words,
      clients,
      client,
      ports: byMessages ? ports : null,
    };
    const worker = new Worker(workerUrl, { workerData, transferList: byMessages ? ports : [] });
    await once(worker, "message");
    return worker;
  };
  const kernel = await start(-1);
  const programs: Worker[] = [];
  for (let client = 0; client < clients; client++) programs.push(await start(client));
  return {
    async run(calls) {
      atomicStore(words, CENTRAL.ARRIVED, 0);
      const times = await Promise.all(
        programs.map(async (worker) => {
          worker.postMessage(calls);
          return (await once(worker, "message"))[0] as number;
        }),
      );
      return Math.max(...times);
    },
    async stop() {
      atomicStore(words, CENTRAL.STOP, 1);
      atomicAdd(words, CENTRAL.DOORBELL, 1);
      atomicNotify(words, CENTRAL.DOORBELL);
      const gone = [kernel, ...programs].map((worker) => once(worker, "exit"));
      if (byMessages) kernel.postMessage(null);
      else void kernel.terminate();
      for (const worker of programs) worker.postMessage(null);
      await Promise.all(gone);
      for (const { port1, port2 } of channels) {
        port1.close();
        port2.close();
      }
    },
  };
}
