/**
 * Exceptions at chosen places of the kernel, each with a scope open and a lock held. Loaded by the host and by every CPU (faults-worker.ts),
 * whose programs set them off by system calls.
 */

import { nowNs } from "../../../kernel/sched/current.ts";
import { onIdleAndTick } from "../../../kernel/sched/idle.ts";
import { initGroup, lockTaskList } from "../../../kernel/task/pid.ts";
import { Group } from "../../../kernel/task/task.ts";
import { defineTimer, newTimer, timerArm } from "../../../kernel/time/timer.ts";
import {
  atomicWait,
  callRcu,
  callRcuHere,
  defineReclaimer,
  defineReleaser,
  queueRelease,
  rcuReadLock,
} from "../../../rcu/index.ts";
import { syscall } from "../../../syscalls/syscall.ts";

/** Leaves behind what it can. */
export function fault(where: string): never {
  rcuReadLock();
  Group.lock.lock(initGroup());
  throw new Error(`fault in ${where}`);
}

const TIMER_FAULT = 60;
defineTimer(TIMER_FAULT, () => fault("a timer"));
const faultyReleaser = defineReleaser("test: faulty", () => fault("a releaser"));
const faultyReclaimer = defineReclaimer("test: faulty reclaimer", () => fault("a reclaimer"));
/** Queues itself as often as its argument says. */
const chain = defineReleaser("test: chain", (left) => left > 0 && queueRelease(chain, left - 1));

let chore = false;
onIdleAndTick(() => {
  if (!chore) return;
  chore = false;
  fault("a chore");
});

const never = new Int32Array(new SharedArrayBuffer(4));

/** What can be injected, by the system call that does it. */
export const FAULTS: Readonly<Record<string, { nr: number; inject: (arg: number) => void }>> = {
  "a releaser": {
    nr: 500,
    inject() {
      queueRelease(faultyReleaser, 0);
      queueRelease(faultyReleaser, 1);
    },
  },
  "a reclaimer": {
    nr: 501,
    inject() {
      callRcu(faultyReclaimer, 0);
      callRcu(faultyReclaimer, 1);
    },
  },
  "a closure": { nr: 502, inject: () => callRcuHere(() => fault("a closure")) },
  "a timer": {
    nr: 503,
    inject() {
      const timer = newTimer(TIMER_FAULT, 0);
      if (timer !== 0) timerArm(timer, nowNs());
    },
  },
  "a chore": {
    nr: 504,
    inject() {
      chore = true;
    },
  },
};

/** Holds the task list's lock for ever. */
export const NR_HOLD = 505;
/** A chain of as many thousands of releases. */
export const NR_CHAIN = 506;

export const queueChain = (length: number): void => queueRelease(chain, length - 1);

export const faultCalls = [
  ...Object.values(FAULTS).map(({ nr, inject }) =>
    syscall({
      nr,
      name: `fault${nr}`,
      args: [],
      handler() {
        inject(0);
        return 0;
      },
    }),
  ),
  syscall({
    nr: NR_HOLD,
    name: "hold",
    args: [],
    handler() {
      lockTaskList();
      for (;;) atomicWait(never, 0, 0);
    },
  }),
  syscall({
    nr: NR_CHAIN,
    name: "chain",
    args: [],
    handler() {
      queueChain(60_000);
      return 0;
    },
  }),
];
