/** POSIX timers of a process: timer_create(2) and its family. Group.lock guards the list. */
import {
  alloc,
  fixed,
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
import { infoTimer } from "../signal/pending.ts";
import { sendInfo } from "../signal/send.ts";
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
  // Nanoseconds; the group's threads and the CPU on which it expires.
  interval: wide(),
  expires: wide(),
  overrun: owned(),
});

defineTimer(TIMER_POSIX, (arg) => {
  const posix = arg as Ref<"posix_timer">;
  const group = PosixTimer.group.get(posix);
  if ((Group.flags.load(group) & GROUP_ZOMBIE) !== 0) return;
  const interval = PosixTimer.interval.get(posix);
  let missed = 0;
  if (interval !== 0) {
    const expires = PosixTimer.expires.get(posix);
    const periods = Math.max(1, Math.ceil((nowNs() - expires) / interval));
    missed = periods - 1;
    PosixTimer.expires.set(posix, expires + periods * interval);
    timerArm(PosixTimer.timer.get(posix), expires + periods * interval);
  }
  PosixTimer.overrun.set(posix, missed);
  if (PosixTimer.notify.get(posix) === SIGEV_NONE) return;
  const info = infoTimer(
    PosixTimer.signo.get(posix),
    SI_TIMER,
    PosixTimer.id.get(posix),
    missed,
    PosixTimer.valueLow.get(posix),
    PosixTimer.valueHigh.get(posix),
  );
  const scope = rcuReadLock();
  const tid = PosixTimer.tid.get(posix);
  const thread = PosixTimer.notify.get(posix) === SIGEV_THREAD_ID ? findTask(scope, tid) : 0;
  if (thread !== 0) sendInfo(thread, info, false);
  else sendInfo(Group.leader.load(group), info, true);
  rcuReadUnlock();
});

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
  PosixTimer.interval.set(posix, interval);
  PosixTimer.expires.set(posix, expires);
  PosixTimer.overrun.set(posix, 0);
  const timer = PosixTimer.timer.get(posix);
  if (expires !== 0) return timerArm(timer, expires);
  timerCancel(timer);
  return 0;
}

export const posixTimerRemaining = (posix: Ref<"posix_timer">): number =>
  timerRemaining(PosixTimer.timer.get(posix), nowNs());

export function deletePosixTimer(posix: Ref<"posix_timer">): void {
  const group = PosixTimer.group.get(posix);
  const held = Group.lock.lock(group);
  listDelRcu(held, PosixTimer.node.at(posix));
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
