/** A thread of a table benchmark: opens contenders when told, and runs their loops together with its siblings. */
import { parentPort, workerData } from "node:worker_threads";
import { safePoint } from "../../kernel/sched/safe-point.ts";
import {
  atomicAdd,
  atomicLoad,
  atomicNotify,
  atomicWait,
  rcuIdleEnter,
  rcuIdleExit,
} from "../../rcu/index.ts";
import { pendingOwn } from "../../rcu/kernel.ts";
import { runDelay } from "./disturbance.ts";
import { guardOf, type LockSet, type Protocol } from "./locks.ts";
import { compileLoop, type Loop, type LoopResult, type Operations } from "./loop.ts";
import { operations } from "./operations.ts";
import { tableNamed } from "./tables/index.ts";
import { openPeer, type PeerHandle } from "./tables/peers.ts";
import { joinWorld, type WorldHandle } from "./world.ts";

/** Reads of the first entry. */
const FIRST_ENTRY = new Int32Array(1);

/** Words of the board that all threads of a run share. */
export const BOARD = { ARRIVED: 0, STOP: 1, WORDS: 16 } as const;

export interface WorkerData {
  readonly world: WorldHandle;
  readonly board: Int32Array<SharedArrayBuffer>;
  readonly locks: LockSet;
  readonly thread: number;
}

export type Contender =
  | { readonly kind: "protocol"; readonly protocol: Protocol }
  | { readonly kind: "peer"; readonly handle: PeerHandle };

export type Command =
  | {
      readonly command: "open";
      readonly table: string;
      readonly built: readonly number[];
      readonly entries: number;
      readonly contender: Contender;
      /** How the loop is called from now on. */
      readonly key: string;
    }
  | {
      readonly command: "sequence";
      readonly seed: number;
      readonly entries: number;
      readonly writes: number;
      readonly threads: number;
    }
  | { readonly command: "run"; readonly key: string; readonly threads: number }
  | { readonly command: "close" };

/** What one thread did in one run. */
export interface RunResult extends LoopResult {
  readonly ns: number;
  /** How long the thread had a CPU: less than ns when it slept for a lock, or when others had the CPU. */
  readonly cpuNs: number;
  /** How long it could have run but had no CPU: the machine was busy. 0 where the system does not tell. */
  readonly delayNs: number;
}

function serve(data: WorkerData): void {
  const { board, locks, thread } = data;
  const { heap, task } = joinWorld(data.world);
  const loops = new Map<string, Loop>();
  /** The kernel's table, for all protocols: a million names or handles are enough once. */
  let opened: Operations | null = null;
  let sequence: Int32Array = new Int32Array(1);

  /** A loop is being tried out: it ends after one batch. */
  let opening = false;
  const atSafePoint = (): void => safePoint(task);
  const stopped = (): boolean => opening || atomicLoad(board, BOARD.STOP) !== 0;

  /** All threads begin at the same time. */
  const meet = (threads: number): void => {
    if (atomicAdd(board, BOARD.ARRIVED, 1) + 1 === threads) {
      atomicNotify(board, BOARD.ARRIVED);
      return;
    }
    for (let seen = atomicLoad(board, BOARD.ARRIVED); seen < threads; seen = atomicLoad(board, BOARD.ARRIVED))
      atomicWait(board, BOARD.ARRIVED, seen);
  };

  const answer = (command: Command): RunResult | null => {
    switch (command.command) {
      case "open": {
        const { contender, entries } = command;
        const protocol = contender.kind === "protocol" ? contender.protocol : "rcu";
        const table =
          contender.kind === "peer"
            ? openPeer(contender.handle, entries)
            : (opened ??= tableNamed(command.table).open(command.built, entries));
        const guard = guardOf(protocol, locks, thread);
        const loop = compileLoop(table, guard, atSafePoint, stopped, pendingOwn);
        // To its end, before V8 compiles it: code that has never been run throws the compiled loop away when it is reached.
        opening = true;
        loop(FIRST_ENTRY);
        opening = false;
        loops.set(command.key, loop);
        return null;
      }
      case "sequence":
        sequence = operations(command.seed, command.entries, command.writes, thread, command.threads);
        return null;
      case "run": {
        const loop = loops.get(command.key)!;
        meet(command.threads);
        const delayed = runDelay();
        const start = process.hrtime.bigint();
        const used = process.threadCpuUsage();
        const result = loop(sequence);
        const { user, system } = process.threadCpuUsage(used);
        const ns = Number(process.hrtime.bigint() - start);
        return { ...result, ns, cpuNs: (user + system) * 1000, delayNs: runDelay() - delayed };
      }
      case "close":
        loops.clear();
        opened = null;
        return null;
    }
  };

  rcuIdleEnter();
  parentPort!.on("message", (command: Command | null) => {
    rcuIdleExit();
    if (command === null) {
      heap.detach();
      parentPort!.close();
      return;
    }
    const result = answer(command);
    rcuIdleEnter();
    parentPort!.postMessage(result);
  });
  parentPort!.postMessage("ready");
}

if (parentPort !== null && workerData?.world !== undefined) serve(workerData as WorkerData);
