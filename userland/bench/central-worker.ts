/**
 * How other JavaScript kernels make system calls: the kernel is one worker, every call is a message to it. Modelled at its
 * best: the kernel's work for a call is next to nothing, arguments and results are words, and with `shared` memory both
 * sides spin before they sleep. `postMessage` is what is left where the program cannot block.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import {
  atomicAdd,
  atomicLoad,
  atomicNotify,
  atomicStore,
  atomicWait,
  type SharedWords,
} from "../../rcu/index.ts";

/** A channel of 16 words per client, behind the doorbell and the words that directs the run. */
export const CENTRAL = { DOORBELL: 0, ASLEEP: 1, STOP: 2, ARRIVED: 3, CLIENTS: 16, CHANNEL: 16 } as const;
const STATE = 0;
const NUMBER = 1;
const RESULT = 2;
const FREE = 0;
const ASKED = 1;
const DONE = 2;
const SPINS = 200;

export interface CentralData {
  readonly central: true;
  readonly words: SharedWords;
  readonly clients: number;
  /** Which client this is; -1 is the kernel. */
  readonly client: number;
  /** One for each client in the kernel, one in a client; null: calls go through shared memory. */
  readonly ports: readonly MessagePort[] | null;
}

const GETPPID = 173;

/** The kernel's table of processes: as private as can be, a Map. */
function handle(processes: ReadonlyMap<number, number>, client: number, number: number): number {
  return number === GETPPID ? processes.get(client)! : -38;
}

function runKernel({ words, clients, ports }: CentralData): void {
  const processes = new Map(Array.from({ length: clients }, (_, client) => [client, 1]));
  if (ports !== null) {
    for (const [client, port] of ports.entries())
      port.on("message", (number: number) => port.postMessage(handle(processes, client, number)));
    return;
  }
  for (;;) {
    const bell = atomicLoad(words, CENTRAL.DOORBELL);
    let found = false;
    for (let client = 0; client < clients; client++) {
      const channel = CENTRAL.CLIENTS + client * CENTRAL.CHANNEL;
      if (atomicLoad(words, channel + STATE) !== ASKED) continue;
      found = true;
      words[channel + RESULT] = handle(processes, client, words[channel + NUMBER]!);
      atomicStore(words, channel + STATE, DONE);
      atomicNotify(words, channel + STATE);
    }
    if (found) continue;
    if (atomicLoad(words, CENTRAL.STOP) !== 0) return;
    let spin = 0;
    while (spin < SPINS && atomicLoad(words, CENTRAL.DOORBELL) === bell) spin++;
    if (spin < SPINS) continue;
    atomicStore(words, CENTRAL.ASLEEP, 1);
    atomicWait(words, CENTRAL.DOORBELL, bell);
    atomicStore(words, CENTRAL.ASLEEP, 0);
  }
}

/** One system call through shared memory. */
function call(words: SharedWords, channel: number, number: number): number {
  words[channel + NUMBER] = number;
  atomicStore(words, channel + STATE, ASKED);
  atomicAdd(words, CENTRAL.DOORBELL, 1);
  if (atomicLoad(words, CENTRAL.ASLEEP) !== 0) atomicNotify(words, CENTRAL.DOORBELL);
  let spin = 0;
  while (spin < SPINS && atomicLoad(words, channel + STATE) !== DONE) spin++;
  while (atomicLoad(words, channel + STATE) !== DONE) atomicWait(words, channel + STATE, ASKED);
  const result = words[channel + RESULT]!;
  words[channel + STATE] = FREE;
  return result;
}

/** Resolves with the nanoseconds that so many calls took. */
async function runClient(data: CentralData, calls: number): Promise<number> {
  const { words, clients, client, ports } = data;
  // All clients begin together.
  if (atomicAdd(words, CENTRAL.ARRIVED, 1) + 1 === clients) atomicNotify(words, CENTRAL.ARRIVED);
  for (
    let seen = atomicLoad(words, CENTRAL.ARRIVED);
    seen < clients;
    seen = atomicLoad(words, CENTRAL.ARRIVED)
  )
    atomicWait(words, CENTRAL.ARRIVED, seen);
  const start = process.hrtime.bigint();
  if (ports === null) {
    const channel = CENTRAL.CLIENTS + client * CENTRAL.CHANNEL;
    for (let n = 0; n < calls; n++) call(words, channel, GETPPID);
  } else {
    const port = ports[0]!;
    await new Promise<void>((resolve) => {
      let left = calls;
      port.on("message", () => (--left === 0 ? resolve() : port.postMessage(GETPPID)));
      port.postMessage(GETPPID);
    });
    port.removeAllListeners("message");
  }
  return Number(process.hrtime.bigint() - start);
}

if (parentPort !== null && workerData?.central === true) {
  const data = workerData as CentralData;
  const port = parentPort;
  if (data.client < 0) {
    if (data.ports !== null) port.on("message", () => process.exit());
    port.postMessage("ready");
    runKernel(data);
  } else {
    port.on("message", (calls: number | null) => {
      if (calls === null) process.exit();
      void runClient(data, calls).then((ns) => port.postMessage(ns));
    });
    port.postMessage("ready");
  }
}
