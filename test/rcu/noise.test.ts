/** What a thread has to do every so often while it waits is done, even if something wakes it all the time. */
import test from "ava";
import {
  callRcu,
  callRcuTasks,
  checkStall,
  defineReclaimer,
  Heap,
  RcuDomain,
  type RcuStall,
  RcuSync,
  rcuBarrier,
  rcuBarrierTasks,
  rcuIdleEnter,
  rcuReadLock,
  rcuTasksRegister,
  rcuTasksWake,
  Srcu,
  setForceNotifier,
  setRcuStallHandler,
  startPollSynchronizeRcu,
  synchronizeRcu,
  synchronizeRcuExpedited,
  synchronizeRcuTasks,
  tryAlloc,
} from "../../rcu/index.ts";
import { locksHeld } from "../../rcu/kernel.ts";
import { RCU } from "../../rcu/layout.ts";
import { stallTimeout } from "../../rcu/stall.ts";
import { Board, type BoardRef, reached, start } from "./shared.ts";

/** Before any test sets another. */
const defaultTimeout = stallTimeout();
const nothing = defineReclaimer("noise test: nothing", () => {});

/** No look for so many sleeps of a millisecond: it never comes. */
const PATIENCE = 5000;

/**
 * Runs `work` in noise that never stops: every sleep of this thread ends within a millisecond, because somebody woke it, and never by its
 * time-out.
 */
async function inNoise(work: () => void | Promise<void>): Promise<void> {
  const { wait, waitAsync } = Atomics;
  let sleeps = 0;
  const slept = (): void => {
    if (++sleeps > PATIENCE) throw new Error(`nobody looked in ${PATIENCE} sleeps`);
  };
  Atomics.wait = ((words: Int32Array, at: number, value: number) => {
    slept();
    const result = wait(words, at, value, 1);
    return result === "timed-out" ? "ok" : result;
  }) as typeof wait;
  Atomics.waitAsync = ((words: Int32Array, at: number, value: number) => {
    slept();
    const waiting = waitAsync(words, at, value, 1);
    return waiting.async ? { async: true, value: waiting.value.then(() => "ok") } : waiting;
  }) as typeof waitAsync;
  try {
    await work();
  } finally {
    Object.assign(Atomics, { wait, waitAsync });
  }
}

interface Case {
  readonly name: string;
  /** Holds the grace period up, on another registration of this thread. */
  readonly hold: (srcu: Srcu) => void;
  readonly wait: (srcu: Srcu) => void | Promise<void>;
  /** Whether lagging threads are asked to hurry. */
  readonly forces: boolean;
}

const read = (): void => {
  rcuReadLock();
};
const readSrcu = (srcu: Srcu): void => {
  srcu.readLock();
};
const runTask = (): void => rcuTasksWake(rcuTasksRegister());

const CASES: readonly Case[] = [
  { name: "synchronizeRcu", hold: read, wait: synchronizeRcu, forces: true },
  { name: "synchronizeRcuExpedited", hold: read, wait: synchronizeRcuExpedited, forces: true },
  { name: "RcuSync.enter", hold: read, wait: () => new RcuSync().enter(), forces: true },
  {
    name: "rcuBarrier, for callbacks of this thread",

    hold: read,
    wait: () => {
      callRcu(nothing, 1);
      rcuBarrier();
    },
    forces: true,
  },
  {
    name: "rcuBarrier, for callbacks of another thread",
    hold: () => {
      callRcu(nothing, 1);
      rcuReadLock();
    },
    wait: rcuBarrier,
    forces: true,
  },
  {
    name: "Srcu.synchronizeBlocking",
    hold: readSrcu,
    wait: (srcu) => srcu.synchronizeBlocking(),
    forces: false,
  },
  {
    name: "Srcu.synchronize",
    hold: readSrcu,
    wait: (srcu) => srcu.synchronize(),
    forces: false,
  },
  {
    name: "synchronizeRcuTasks",
    hold: runTask,
    wait: synchronizeRcuTasks,
    forces: false,
  },
  {
    name: "rcuBarrierTasks",
    hold: runTask,
    wait: () => {
      callRcuTasks(nothing, 1);
      rcuBarrierTasks();
    },
    forces: false,
  },
];

for (const { name, hold, wait, forces } of CASES)
  test.serial(`${name} reports a stall while something wakes it all the time`, async (t) => {
    const here = Heap.create({ bytes: 8 << 20 });
    const there = Heap.attach(here.handle());
    here.use();
    const srcu = new Srcu();
    there.use();
    hold(srcu);
    if (!forces) rcuIdleEnter(); // Nothing but the flavour's own grace period waits for it.
    here.use();
    const stalls: RcuStall[] = [];
    const asked: number[] = [];
    setForceNotifier((slot) => asked.push(slot));
    setRcuStallHandler(20, (stall) => {
      stalls.push(stall);
      here.reap(there.slot);
    });
    try {
      await inNoise(() => wait(srcu));
    } finally {
      setRcuStallHandler(100, () => {});
      setForceNotifier(null);
    }
    t.true(stalls[0]!.ms >= 20);
    t.true(!forces || asked.includes(there.slot), "the thread that lags was asked to hurry");
    here.detach();
  });

test.serial("a domain's synchronize() reports a stall while something wakes it all the time", async (t) => {
  const domain = RcuDomain.create({ bytes: 8 << 20 });
  const other = Heap.attach(domain.handle());
  rcuReadLock();
  domain.heap.use();
  const stalls: RcuStall[] = [];
  setRcuStallHandler(20, (stall) => {
    stalls.push(stall);
    domain.heap.reap(other.slot);
  });
  try {
    await inNoise(() => domain.synchronize());
  } finally {
    setRcuStallHandler(100, () => {});
  }
  t.true(stalls[0]!.ms >= 20);
  domain.unregisterThread();
});

test.serial(
  "a lock is taken over from a dead owner while something wakes the waiter all the time",
  async (t) => {
    const heap = Heap.create({ bytes: 8 << 20 });
    const board = tryAlloc(Board) as BoardRef;
    const owner = start(heap, board, "lockAndHang");
    await reached(board, 1);
    await owner.terminate();
    heap.reap(Board.count.load(board));
    await inNoise(() => {
      Board.lock.lock(board);
      Board.lock.unlock(board);
    });
    t.is(locksHeld, 0);
    heap.detach();
  },
);

test.serial(
  "a warning comes after 100 ms by default, and a grace period's age is never that of another",
  (t) => {
    const heap = Heap.create({ bytes: 8 << 20 });
    const other = Heap.attach(heap.handle());
    rcuReadLock();
    heap.use();
    t.is(defaultTimeout, 100);
    // The thread that starts a grace period looks at the clock before it publishes the number: who sees the one sees the other.
    const { compareExchange } = Atomics;
    const started: number[] = [];
    Atomics.compareExchange = ((words: Int32Array, at: number, expected: number, value: number) => {
      const before = compareExchange(words, at, expected, value);
      if (at === RCU.GP_SEQ && (value & 3) === 1) started.push(words[RCU.GP_STARTED]!);
      return before;
    }) as typeof compareExchange;
    const now = Date.now;
    let ms = now();
    Date.now = () => ms;
    const stalls: RcuStall[] = [];
    setRcuStallHandler(100, (stall) => stalls.push(stall));
    try {
      startPollSynchronizeRcu();
      t.deepEqual(started, [ms & 0x7fff_ffff]);
      ms += 99;
      t.is(checkStall(), null);
      ms += 1;
      t.is(checkStall()?.ms, 100);
    } finally {
      Date.now = now;
      Atomics.compareExchange = compareExchange;
      setRcuStallHandler(100, () => {});
    }
    heap.reap(other.slot);
    heap.detach();
  },
);
