/** timerfd_create(2): timers that are read. */
import {
  fixed,
  type Held,
  kfreeRcu,
  locked,
  lockedWide,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
} from "../../rcu/index.ts";
import { anonInodeFile, File } from "../fs/file.ts";
import { FOPS, registerFileOps } from "../fs/ops.ts";
import { destroyWaitQueue, waitqueue, wakeUp } from "../sched/waitqueue.ts";
import { NSEC_PER_SEC, nowNs, realtimeToMonotonic } from "../time/clock.ts";
import { defineTimer, freeTimer, newTimer, TIMER_TIMERFD, timerArm, timerCancel } from "../time/timer.ts";
import { EAGAIN, EFAULT, EINVAL, ENOMEM } from "../uapi/errno.ts";
import { O_CLOEXEC, O_NONBLOCK, O_RDWR } from "../uapi/fcntl.ts";
import { POLLIN, POLLRDNORM } from "../uapi/poll.ts";
import {
  CLOCK_BOOTTIME,
  CLOCK_BOOTTIME_ALARM,
  CLOCK_MONOTONIC,
  CLOCK_REALTIME,
  CLOCK_REALTIME_ALARM,
} from "../uapi/time.ts";

export const TFD_TIMER_ABSTIME = 1;
export const TFD_TIMER_CANCEL_ON_SET = 2;

const Timerfd = struct("timerfd", {
  clock: fixed(),
  timer: fixed<Ref<"timer">>(),
  lock: spinlock(40),
  /** Nanoseconds between expirations; 0 for one. */
  interval: lockedWide("lock"),
  /** When the timer expires next, monotonic; 0 when it does not. With `fired`: when it did. */
  deadline: lockedWide("lock"),
  /** It expired, and nobody has read since: how often is computed then, and the next expiration armed. */
  fired: locked("lock"),
  wait: waitqueue(),
});

const timerfdOf = (file: Ref<"file">): Ref<"timerfd"> => File.priv.peek(file) as Ref<"timerfd">;

/** Two times of struct itimerspec, in nanoseconds; `seconds` and `nanoseconds` keep an absolute time exact. */
export interface Itimerspec {
  interval: number;
  seconds: number;
  nanoseconds: number;
}

const CLOCKS = [CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM];

/** The file, or -errno. */
export function timerfdFile(clock: number, flags: number): Ref<"file"> | number {
  if ((flags & ~(O_CLOEXEC | O_NONBLOCK)) !== 0 || !CLOCKS.includes(clock)) return -EINVAL;
  const ref = tryAlloc(Timerfd);
  if (ref === 0) return -ENOMEM;
  const timer = newTimer(TIMER_TIMERFD, ref);
  if (timer === 0) {
    kfreeRcu(Timerfd, ref);
    return -ENOMEM;
  }
  Timerfd.clock.init(ref, clock);
  Timerfd.timer.init(ref, timer);
  const file = anonInodeFile(FOPS.TIMERFD, ref, O_RDWR | (flags & O_NONBLOCK), "[timerfd]");
  if (file < 0) release(ref);
  return file;
}

function release(ref: Ref<"timerfd">): void {
  freeTimer(Timerfd.timer.get(ref));
  destroyWaitQueue(Timerfd.wait.at(ref));
  kfreeRcu(Timerfd, ref);
}

/** The timer fired. */
function expire(arg: number): void {
  const ref = arg as Ref<"timerfd">;
  const held = Timerfd.lock.lock(ref);
  const deadline = Timerfd.deadline.get(held, ref);
  const due = deadline !== 0 && deadline <= nowNs() && Timerfd.fired.get(held, ref) === 0;
  if (due) Timerfd.fired.set(held, ref, 1);
  Timerfd.lock.unlock(ref);
  if (due) wakeUp(Timerfd.wait.at(ref), 1, POLLIN | POLLRDNORM);
}
defineTimer(TIMER_TIMERFD, expire);

export const isTimerfd = (file: Ref<"file">): boolean => File.fops.get(file) === FOPS.TIMERFD;

/** timerfd_gettime(2): interval and time to the next expiration, in nanoseconds; 0 when disarmed. */
export function timerfdGet(file: Ref<"file">): { interval: number; remaining: number } {
  const ref = timerfdOf(file);
  const held = Timerfd.lock.lock(ref);
  const interval = Timerfd.interval.get(held, ref);
  const deadline = Timerfd.deadline.get(held, ref);
  const now = nowNs();
  let remaining = deadline === 0 ? 0 : Math.max(1, deadline - now);
  if (Timerfd.fired.get(held, ref) !== 0)
    remaining = interval === 0 ? 0 : interval - ((now - deadline) % interval);
  Timerfd.lock.unlock(ref);
  return { interval, remaining };
}

/** Expirations that nobody has read. */
function expirations(held: Held<"lock">, ref: Ref<"timerfd">): number {
  if (Timerfd.fired.get(held, ref) === 0) return 0;
  const interval = Timerfd.interval.get(held, ref);
  return interval === 0 ? 1 : 1 + Math.floor((nowNs() - Timerfd.deadline.get(held, ref)) / interval);
}

/** Takes them: the timer goes on. */
function takeExpirations(ref: Ref<"timerfd">): number {
  const held = Timerfd.lock.lock(ref);
  const count = expirations(held, ref);
  if (count !== 0) {
    const interval = Timerfd.interval.get(held, ref);
    const next = interval === 0 ? 0 : Timerfd.deadline.get(held, ref) + count * interval;
    Timerfd.fired.set(held, ref, 0);
    Timerfd.deadline.set(held, ref, next);
    if (next !== 0) timerArm(Timerfd.timer.get(ref), next);
  }
  Timerfd.lock.unlock(ref);
  return count;
}

/** timerfd_settime(2): 0, -EINVAL or -ENOMEM. */
export function timerfdSet(file: Ref<"file">, flags: number, spec: Itimerspec): number {
  if ((flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) !== 0) return -EINVAL;
  const ref = timerfdOf(file);
  const clock = Timerfd.clock.get(ref);
  const value = spec.seconds * NSEC_PER_SEC + spec.nanoseconds;
  const wall = clock === CLOCK_REALTIME || clock === CLOCK_REALTIME_ALARM;
  const absolute = wall ? realtimeToMonotonic(spec.seconds, spec.nanoseconds) : value;
  const deadline =
    value === 0 ? 0 : (flags & TFD_TIMER_ABSTIME) === 0 ? nowNs() + value : Math.max(1, absolute);
  const timer = Timerfd.timer.get(ref);
  const held = Timerfd.lock.lock(ref);
  Timerfd.interval.set(held, ref, spec.interval);
  Timerfd.fired.set(held, ref, 0);
  Timerfd.deadline.set(held, ref, deadline);
  if (deadline === 0) timerCancel(timer);
  const error = deadline === 0 ? 0 : timerArm(timer, deadline);
  Timerfd.lock.unlock(ref);
  return error;
}

const buffer = new Uint8Array(8);
const view = new DataView(buffer.buffer);

registerFileOps(FOPS.TIMERFD, {
  read(file, io) {
    if (io.remaining < 8) return -EINVAL;
    const count = takeExpirations(timerfdOf(file));
    if (count === 0) return -EAGAIN;
    view.setUint32(0, count % 2 ** 32, true);
    view.setUint32(4, count / 2 ** 32, true);
    return io.copyTo(buffer, 0, 8) === 8 ? 8 : -EFAULT;
  },
  poll: (file) => (Timerfd.fired.racy(timerfdOf(file)) !== 0 ? POLLIN | POLLRDNORM : 0),
  waitQueues: (file, visit) => visit(Timerfd.wait.at(timerfdOf(file))),
  release: (file) => release(timerfdOf(file)),
  fdinfo(file) {
    const ref = timerfdOf(file);
    const { interval, remaining } = timerfdGet(file);
    const held = Timerfd.lock.lock(ref);
    const ticks = expirations(held, ref);
    Timerfd.lock.unlock(ref);
    const pair = (ns: number): string => `(${Math.floor(ns / NSEC_PER_SEC)}, ${ns % NSEC_PER_SEC})`;
    return (
      `clockid: ${Timerfd.clock.get(ref)}\nticks: ${ticks}\nsettime flags: 00\n` +
      `it_value: ${pair(remaining)}\nit_interval: ${pair(interval)}\n`
    );
  },
});
