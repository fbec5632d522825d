/** POSIX timers of a process: timer_create(2) and its family. Group.lock guards the list. */
import {
  alloc,
  fixed,
  type Held,
  kfreeRcu,
  listAddTail,
  listDelRcu,
  listFirst,
  listNext,
  listNode,
  owned,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  struct,
  wide,
} from "../../rcu/index.ts";
import { addOverrun, dropTimerSignal, infoTimer, OVERRUN_MAX, onTimerSignal } from "../signal/pending.ts";
import { sendLocked } from "../signal/post.ts";
import { findTask } from "../task/pid.ts";
import { GROUP_ZOMBIE, Group, Task } from "../task/task.ts";
import { EAGAIN, ENOMEM } from "../uapi/errno.ts";
import { SI_TIMER } from "../uapi/signal.ts";
import { SIGEV_NONE, SIGEV_THREAD_ID } from "../uapi/time.ts";
import { nowNs } from "./clock.ts";
import {
  defineTimer,
  freeTimer,
  newTimer,
  TIMER_POSIX,
  timerArm,
  timerCancel,
  timerRemaining,
} from "./timer.ts";

export const PosixTimer = struct("posix_timer", {
  id: fixed(),
  group: fixed<Ref<"group">>(),
  clock: fixed(),
  notify: fixed(),
  signo: fixed(),
  /** Thread that gets the signal (SIGEV_THREAD_ID), or 0. */
  tid: fixed(),
  valueLow: fixed(),
  valueHigh: fixed(),
  timer: fixed<Ref<"timer">>(),
  node: listNode(),
  // Group.lock for writers. Nanoseconds; `expires` is 0 when the timer is not armed.
  interval: wide(),
  expires: wide(),
  /** Overruns of the signal that was taken last: timer_getoverrun(2). */
  overrun: owned(),
});

/** Where the timer's signal goes: a thread (SIGEV_THREAD_ID, while it lives), or the whole process. */
function threadOf(posix: Ref<"posix_timer">): Ref<"task"> | 0 {
  if (PosixTimer.notify.get(posix) !== SIGEV_THREAD_ID) return 0;
  const scope = rcuReadLock();
  const thread = findTask(scope, PosixTimer.tid.get(posix));
  rcuReadUnlock();
  return thread !== 0 && Task.group.get(thread) === PosixTimer.group.get(posix) ? thread : 0;
}

/** The timer came to its time, unless timer_settime(2) moved it before the lock was had. */
function expire(posix: Ref<"posix_timer">): void {
  const group = PosixTimer.group.get(posix);
  const held = Group.lock.lock(group);
  const now = nowNs();
  const expires = PosixTimer.expires.get(posix);
  if (expires !== 0 && expires <= now && (Group.flags.load(group) & GROUP_ZOMBIE) === 0) {
    const interval = PosixTimer.interval.get(posix);
    const periods = interval === 0 ? 1 : 1 + Math.floor((now - expires) / interval);
    const next = interval === 0 ? 0 : expires + periods * interval;
    PosixTimer.expires.set(posix, next);
    if (next !== 0) timerArm(PosixTimer.timer.get(posix), next);
    if (PosixTimer.notify.get(posix) !== SIGEV_NONE) signal(held, posix, periods);
  }
  Group.lock.unlock(group);
}
defineTimer(TIMER_POSIX, (arg) => expire(arg as Ref<"posix_timer">));

/** Sends the timer's signal, or counts what it missed in the one that is still pending. Group.lock is held. */
function signal(held: Held<"lock">, posix: Ref<"posix_timer">, periods: number): void {
  const group = PosixTimer.group.get(posix);
  const thread = threadOf(posix);
  const id = PosixTimer.id.get(posix);
  const counted =
    thread === 0 ? addOverrun(held, Group, group, id, periods) : addOverrun(held, Task, thread, id, periods);
  if (counted) return;
  const info = infoTimer(
    PosixTimer.signo.get(posix),
    SI_TIMER,
    id,
    Math.min(periods - 1, OVERRUN_MAX),
    PosixTimer.valueLow.get(posix),
    PosixTimer.valueHigh.get(posix),
  );
  sendLocked(held, group, thread !== 0 ? thread : Group.leader.load(group), info, thread === 0);
}

onTimerSignal((group, id, overrun) => {
  const head = Group.posixTimers.at(group);
  for (let node = listFirst(head); node !== 0; node = listNext(head, node)) {
    const posix = PosixTimer.node.owner(node);
    if (PosixTimer.id.get(posix) === id) PosixTimer.overrun.set(posix, overrun);
  }
});

/** The signal of an expiration before this moment is not wanted any more. Group.lock is held. */
function forgetSignal(held: Held<"lock">, posix: Ref<"posix_timer">): void {
  const thread = threadOf(posix);
  const id = PosixTimer.id.get(posix);
  if (thread === 0) dropTimerSignal(held, Group, PosixTimer.group.get(posix), id);
  else dropTimerSignal(held, Task, thread, id);
}

export interface TimerSpec {
  clock: number;
  notify: number;
  signo: number;
  tid: number;
  valueLow: number;
  valueHigh: number;
}

/** Id of a new timer, or -EAGAIN, -ENOMEM. */
export function createPosixTimer(task: Ref<"task">, spec: TimerSpec): number {
  const group = Task.group.get(task);
  const posix = alloc(PosixTimer);
  if (posix === 0) return -ENOMEM;
  const timer = newTimer(TIMER_POSIX, posix);
  if (timer === 0) {
    kfreeRcu(PosixTimer, posix);
    return -EAGAIN;
  }
  PosixTimer.group.init(posix, group);
  PosixTimer.clock.init(posix, spec.clock);
  PosixTimer.notify.init(posix, spec.notify);
  PosixTimer.tid.init(posix, spec.tid);
  PosixTimer.signo.init(posix, spec.signo);
  PosixTimer.timer.init(posix, timer);
  const held = Group.lock.lock(group);
  const id = Group.nextTimerId.get(held, group);
  Group.nextTimerId.set(held, group, id + 1);
  PosixTimer.id.init(posix, id);
  PosixTimer.valueLow.init(posix, spec.valueLow === -1 && spec.valueHigh === -1 ? id : spec.valueLow);
  PosixTimer.valueHigh.init(posix, spec.valueHigh);
  listAddTail(held, Group.posixTimers.at(group), PosixTimer.node.at(posix));
  Group.lock.unlock(group);
  return id;
}

/** The timer with this id, or 0. Only threads of the group delete timers, and a handler is safe from reclaim. */
export function findPosixTimer(task: Ref<"task">, id: number): Ref<"posix_timer"> | 0 {
  const group = Task.group.get(task);
  const head = Group.posixTimers.at(group);
  let found: Ref<"posix_timer"> | 0 = 0;
  Group.lock.lock(group);
  for (let node = listFirst(head); node !== 0 && found === 0; node = listNext(head, node))
    if (PosixTimer.id.get(PosixTimer.node.owner(node)) === id) found = PosixTimer.node.owner(node);
  Group.lock.unlock(group);
  return found;
}

/** Arms for an absolute monotonic time (0: disarms) with a period. */
export function setPosixTimer(posix: Ref<"posix_timer">, expires: number, interval: number): number {
  const group = PosixTimer.group.get(posix);
  const timer = PosixTimer.timer.get(posix);
  const held = Group.lock.lock(group);
  PosixTimer.interval.set(posix, interval);
  PosixTimer.expires.set(posix, expires);
  PosixTimer.overrun.set(posix, 0);
  forgetSignal(held, posix);
  if (expires === 0) timerCancel(timer);
  const error = expires === 0 ? 0 : timerArm(timer, expires);
  Group.lock.unlock(group);
  return error;
}

export const posixTimerRemaining = (posix: Ref<"posix_timer">): number =>
  timerRemaining(PosixTimer.timer.get(posix), nowNs());

export function deletePosixTimer(posix: Ref<"posix_timer">): void {
  const group = PosixTimer.group.get(posix);
  const held = Group.lock.lock(group);
  listDelRcu(held, PosixTimer.node.at(posix));
  PosixTimer.expires.set(posix, 0);
  forgetSignal(held, posix);
  Group.lock.unlock(group);
  freeTimer(PosixTimer.timer.get(posix));
  kfreeRcu(PosixTimer, posix);
}

/** execve, exit: all timers of the process go. */
export function freePosixTimers(group: Ref<"group">): void {
  for (;;) {
    const node = listFirst(Group.posixTimers.at(group));
    if (node === 0) return;
    deletePosixTimer(PosixTimer.node.owner(node));
  }
}
