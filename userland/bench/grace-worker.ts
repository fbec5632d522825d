/** A thread of `bench rcu`'s grace-period measurements: keeps a CPU busy with reads, or waits, or queues callbacks. */
import { parentPort, workerData } from "node:worker_threads";
import {
  atomicAdd,
  atomicLoad,
  atomicNotify,
  atomicStore,
  atomicWait,
  callRcu,
  callRcuHere,
  defineReclaimer,
  fixed,
  free,
  Heap,
  type HeapHandle,
  kfreeRcu,
  type Ref,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  setForceNotifier,
  struct,
  synchronizeRcu,
  synchronizeRcuExpedited,
  tryAlloc,
} from "../../rcu/index.ts";
import { pendingOwn } from "../../rcu/kernel.ts";

/** Words of the board. KICK: what needResched is on a CPU, set by the force notifier. BUSY: the busy thread is. */
export const GRACE_BOARD = { STOP: 0, KICK: 1, ARRIVED: 2, BUSY: 3, WORDS: 16 } as const;

export interface GraceData {
  readonly heap: HeapHandle;
  readonly board: Int32Array<SharedArrayBuffer>;
}
export type GraceJob =
  /** Reads without pause; a safe point every `quantum` ns of work, and soon when kicked. 0: after every 64 reads. */
  | { readonly job: "busy"; readonly quantum: number }
  | { readonly job: "synchronize" | "expedited"; readonly calls: number }
  | { readonly job: "callRcu" | "kfreeRcu" | "callRcuHere" };

export interface GraceResult {
  /** Nanoseconds of each synchronize. */
  readonly waits?: readonly number[];
  /** Callbacks queued, in so many nanoseconds, and the most that this thread had waiting at one time. */
  readonly calls?: number;
  readonly ns?: number;
  readonly peakPending?: number;
}

const Cell = struct("bench_grace_cell", { value: fixed() });
const reclaimNothing = defineReclaimer("bench: nothing", () => {});
const READS = 64;

function serve({ heap, board }: GraceData): void {
  const attached = Heap.attach(heap);
  setForceNotifier(() => atomicStore(board, GRACE_BOARD.KICK, 1));
  const cell = tryAlloc(Cell) as Ref<"bench_grace_cell">;
  const stopped = (): boolean => atomicLoad(board, GRACE_BOARD.STOP) !== 0;
  const now = (): number => Number(process.hrtime.bigint());

  const busy = (quantum: number): GraceResult => {
    let sum = 0;
    while (!stopped()) {
      const until = quantum === 0 ? 0 : now() + quantum;
      do {
        for (let n = 0; n < READS; n++) {
          rcuReadLock();
          sum += Cell.value.get(cell);
          rcuReadUnlock();
        }
      } while (quantum > 0 && board[GRACE_BOARD.KICK] === 0 && now() < until);
      if (quantum > 0 && board[GRACE_BOARD.KICK] !== 0) atomicStore(board, GRACE_BOARD.KICK, 0);
      rcuQuiescent();
      rcuRunCallbacks();
      if (board[GRACE_BOARD.BUSY] === 0) atomicStore(board, GRACE_BOARD.BUSY, 1);
    }
    return { calls: sum };
  };

  const wait = (synchronize: () => void, calls: number): GraceResult => {
    const waits: number[] = [];
    rcuIdleEnter();
    while (atomicLoad(board, GRACE_BOARD.BUSY) === 0);
    rcuIdleExit();
    for (let call = 0; call < calls; call++) {
      const start = now();
      synchronize();
      waits.push(now() - start);
    }
    atomicStore(board, GRACE_BOARD.STOP, 1);
    return { waits };
  };

  const queue = (one: () => void): GraceResult => {
    const start = now();
    let calls = 0;
    let peakPending = 0;
    do {
      for (let n = 0; n < READS; n++) one();
      calls += READS;
      peakPending = Math.max(peakPending, pendingOwn());
      rcuQuiescent();
      rcuRunCallbacks();
    } while (!stopped());
    return { calls, ns: now() - start, peakPending };
  };

  const run = (job: GraceJob): GraceResult => {
    switch (job.job) {
      case "busy":
        return busy(job.quantum);
      case "synchronize":
        return wait(synchronizeRcu, job.calls);
      case "expedited":
        return wait(synchronizeRcuExpedited, job.calls);
      case "callRcu":
        return queue(() => callRcu(reclaimNothing, 0));
      case "callRcuHere":
        return queue(() => callRcuHere(() => {}));
      case "kfreeRcu":
        return queue(() => kfreeRcu(Cell, tryAlloc(Cell) as Ref<"bench_grace_cell">));
    }
  };

  /** All jobs of a measurement begin together: the others are busy when the first one starts. */
  const meet = (threads: number): void => {
    if (atomicAdd(board, GRACE_BOARD.ARRIVED, 1) + 1 === threads) atomicNotify(board, GRACE_BOARD.ARRIVED);
    for (let seen = atomicLoad(board, GRACE_BOARD.ARRIVED); seen < threads; ) {
      atomicWait(board, GRACE_BOARD.ARRIVED, seen);
      seen = atomicLoad(board, GRACE_BOARD.ARRIVED);
    }
  };

  rcuIdleEnter();
  parentPort!.on("message", (message: { readonly job: GraceJob; readonly threads: number } | null) => {
    if (message !== null) meet(message.threads);
    rcuIdleExit();
    if (message === null) {
      free(Cell, cell);
      attached.detach();
      parentPort!.close();
      return;
    }
    const result = run(message.job);
    rcuIdleEnter();
    parentPort!.postMessage(result);
  });
  parentPort!.postMessage("ready");
}

if (parentPort !== null && workerData?.board !== undefined && workerData.world === undefined)
  serve(workerData as GraceData);
