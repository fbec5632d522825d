/** futex(2). */
import { futexRequeue, futexWait, futexWake, futexWakeOp } from "../../kernel/futex.ts";
import { restartDeadline } from "../../kernel/sched/restart.ts";
import { realtimeToMonotonic } from "../../kernel/time/clock.ts";
import { ENOSYS } from "../../kernel/uapi/errno.ts";
import {
  FUTEX_BITSET_MATCH_ANY,
  FUTEX_CLOCK_REALTIME,
  FUTEX_CMD_MASK,
  FUTEX_CMP_REQUEUE,
  FUTEX_LOCK_PI,
  FUTEX_PRIVATE_FLAG,
  FUTEX_REQUEUE,
  FUTEX_TRYLOCK_PI,
  FUTEX_UNLOCK_PI,
  FUTEX_WAIT,
  FUTEX_WAIT_BITSET,
  FUTEX_WAKE,
  FUTEX_WAKE_BITSET,
  FUTEX_WAKE_OP,
} from "../../kernel/uapi/futex.ts";
import { asPointer, DECODE, int, ptr, uint, word } from "../args.ts";
import { syscall } from "../syscall.ts";
import { readTimespec, timespecNs } from "../time/timespec.ts";

const NAMES = new Map(
  Object.entries({
    FUTEX_WAIT,
    FUTEX_WAKE,
    FUTEX_REQUEUE,
    FUTEX_CMP_REQUEUE,
    FUTEX_WAKE_OP,
    FUTEX_LOCK_PI,
    FUTEX_UNLOCK_PI,
    FUTEX_TRYLOCK_PI,
    FUTEX_WAIT_BITSET,
    FUTEX_WAKE_BITSET,
  }).map(([name, value]) => [value, name]),
);
const operation = {
  decode: DECODE.INT,
  values: [...NAMES.keys(), FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME],
  format(value: number): string {
    const name = NAMES.get(value & FUTEX_CMD_MASK) ?? `0x${(value & FUTEX_CMD_MASK).toString(16)}`;
    const isPrivate = (value & FUTEX_PRIVATE_FLAG) !== 0 ? "_PRIVATE" : "";
    return `${name}${isPrivate}${(value & FUTEX_CLOCK_REALTIME) !== 0 ? "|FUTEX_CLOCK_REALTIME" : ""}`;
  },
};

/** Deadline of FUTEX_WAIT (relative) and FUTEX_WAIT_BITSET (absolute); or -errno. */
function deadlineOf(address: number, absolute: boolean, realtime: boolean): number {
  if (address === 0) return Number.POSITIVE_INFINITY;
  const failed = readTimespec(address);
  if (failed < 0) return failed;
  if (!absolute) return restartDeadline(timespecNs());
  // 0 is a time that has passed, not an error.
  if (realtime) return Math.max(0, realtimeToMonotonic(readTimespec.seconds, readTimespec.nanoseconds));
  return timespecNs();
}

export const futex = syscall({
  nr: 98,
  name: "futex",
  args: [ptr, operation, uint, word, ptr, uint],
  returns: int,
  partial: "priority-inheritance operations answer ENOSYS",
  handler(_task, address, op, value, timeout, address2, value3) {
    const isPrivate = (op & FUTEX_PRIVATE_FLAG) !== 0;
    const realtime = (op & FUTEX_CLOCK_REALTIME) !== 0;
    switch (op & FUTEX_CMD_MASK) {
      case FUTEX_WAIT:
      case FUTEX_WAIT_BITSET: {
        const withBitset = (op & FUTEX_CMD_MASK) === FUTEX_WAIT_BITSET;
        const deadline = deadlineOf(asPointer(timeout), withBitset, realtime);
        if (deadline < 0) return deadline;
        return futexWait(
          address,
          isPrivate,
          value,
          deadline,
          withBitset ? value3 | 0 : FUTEX_BITSET_MATCH_ANY,
        );
      }
      case FUTEX_WAKE:
        return futexWake(address, isPrivate, value | 0, FUTEX_BITSET_MATCH_ANY);
      case FUTEX_WAKE_BITSET:
        return futexWake(address, isPrivate, value | 0, value3 | 0);
      case FUTEX_REQUEUE:
        return futexRequeue(address, address2, isPrivate, value | 0, timeout | 0, null);
      case FUTEX_CMP_REQUEUE:
        return futexRequeue(address, address2, isPrivate, value | 0, timeout | 0, value3 | 0);
      case FUTEX_WAKE_OP:
        return futexWakeOp(address, address2, isPrivate, value | 0, timeout | 0, value3 | 0);
      default:
        return -ENOSYS;
    }
  },
});
