/** The threads of a benchmark, as the thread that directs them sees them. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { atomicStore } from "../../rcu/index.ts";
import { createLocks } from "./locks.ts";
import { BOARD, type Command, type RunResult, type WorkerData } from "./table-worker.ts";
import type { World } from "./world.ts";

/** In the sources beside this file; in dist/ beside its chunk. */
export const tableWorkerUrl = new URL(
  import.meta.url.endsWith(".ts") ? "./table-worker.ts" : "./bench-table-worker.js",
  import.meta.url,
);

export interface Crew {
  readonly size: number;
  /** Sends a command to the first `threads` threads and waits for all. */
  tell(threads: number, command: Command): Promise<void>;
  /** Runs a loop on `threads` threads for about `ms`. */
  run(threads: number, key: string, ms: number): Promise<RunResult[]>;
  /** A line for each thread: what it was told last, and whether it has answered. */
  state(): string;
  dismiss(): Promise<void>;
}

/** Starts `size` threads in the world. `strict`: they dereference by atomic loads. */
export async function hireCrew(world: World, size: number, strict: boolean): Promise<Crew> {
  const board = new Int32Array(new SharedArrayBuffer(BOARD.WORDS * 4));
  const locks = createLocks(size);
  const workers = Array.from({ length: size }, (_, thread) => {
    const workerData: WorkerData = { world: world.handle, board, locks, thread };
    return new Worker(tableWorkerUrl, {
      workerData,
      env: { ...process.env, STERNIX_RCU_STRICT: strict ? "1" : "0" },
    });
  });
  await Promise.all(workers.map((worker) => once(worker, "message")));

  /** What each thread does; "": nothing. */
  const doing: string[] = workers.map(() => "");
  const ask = async (threads: number, command: Command): Promise<(RunResult | null)[]> =>
    Promise.all(
      workers.slice(0, threads).map(async (worker, thread) => {
        doing[thread] = command.command;
        worker.postMessage(command);
        const [answer] = await once(worker, "message");
        doing[thread] = "";
        return answer as RunResult | null;
      }),
    );

  return {
    size,
    async tell(threads, command) {
      await ask(threads, command);
    },
    async run(threads, key, ms) {
      atomicStore(board, BOARD.ARRIVED, 0);
      atomicStore(board, BOARD.STOP, 0);
      const running = ask(threads, { command: "run", key, threads });
      await sleep(ms);
      atomicStore(board, BOARD.STOP, 1);
      return (await running) as RunResult[];
    },
    state: () =>
      doing
        .map(
          (what, thread) =>
            `  thread ${thread}${strict ? " (strict)" : ""}: ${what === "" ? "waits for work" : `does not end "${what}"`}`,
        )
        .join("\n"),
    async dismiss() {
      await Promise.all(
        workers.map(async (worker) => {
          const gone = once(worker, "exit");
          worker.postMessage(null);
          await gone;
        }),
      );
    },
  };
}
