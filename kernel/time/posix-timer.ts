/** POSIX timers of a process: timer_create(2) and its family. Group.lock guards the list. */
import {
  arrayGet,
  arrayLength,
  arraySet,
  fixed,
  freeArray,
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
  tryAlloc,
  tryAllocArray,
  wide,
} from "../../rcu/index.ts";
import { dropTimerSignal, infoTimer, onTimerSignal } from "../signal/pending.ts";
import { sendLocked } from "../signal/post.ts";
import { userOfTask } from "../task/cred.ts";
import { findTask } from "../task/pid.ts";
import { rlimit } from "../task/rlimit.ts";
import { GROUP_ZOMBIE, Group, Task } from "../task/task.ts";
import { userCharge, userUncharge } from "../task/user.ts";
import { EAGAIN } from "../uapi/errno.ts";
import { RLIMIT_SIGPENDING } from "../uapi/resource.ts";
import { SI_TIMER } from "../uapi/signal.ts";
import { SIGEV_NONE, SIGEV_THREAD_ID } from "../uapi/time.ts";
import { nowNs } from "./clock.ts";
import { defineTimer, freeTimer, newTimer, TIMER_POSIX, timerArm, timerCancel } from "./timer.ts";

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
  /** Charged for it, or 0. */
  user: fixed<Ref<"user"> | 0>(),
  node: listNode(),
  // Group.lock.
  /** In the chain of its id (Group.timerIds). */
  next: owned<Ref<"posix_timer"> | 0>(),
  /** Its signal is pending: it will be armed anew when that is taken. */
  queued: owned(),
  // Group.lock for writers. Nanoseconds; `expires` is when it expires next, 0 when it does not.
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
    PosixTimer.expires.set(posix, interval === 0 ? 0 : expires + interval);
    signal(held, posix, now);
  }
  Group.lock.unlock(group);
}
defineTimer(TIMER_POSIX, (arg) => expire(arg as Ref<"posix_timer">));

/**
 * Sends the timer's signal. Armed anew it is when that is taken (onTimerSignal). One that is ignored is never taken: its timer
 * tries again after a while, the longer the more timers the process has. Group.lock is held.
 */
function signal(held: Held<"lock">, posix: Ref<"posix_timer">, now: number): void {
  const group = PosixTimer.group.get(posix);
  const thread = threadOf(posix);
  const info = infoTimer(
    PosixTimer.signo.get(posix),
    SI_TIMER,
    PosixTimer.id.get(posix),
    0,
    PosixTimer.valueLow.get(posix),
    PosixTimer.valueHigh.get(posix),
  );
  const target = thread !== 0 ? thread : Group.leader.load(group);
  const queued = Group.sigqueued.get(held, group);
  sendLocked(held, group, target, info, thread === 0);
  const sent = Group.sigqueued.get(held, group) !== queued;
  PosixTimer.queued.set(posix, sent ? 1 : 0);
  const next = PosixTimer.expires.get(posix);
  if (sent || next === 0) return;
  const later = now + UNHEARD_NS * (1 + Group.nrTimers.get(held, group));
  timerArm(PosixTimer.timer.get(posix), Math.max(next, later));
}
/** How often a process may come to ask whether its timers' signals are still ignored. */
const UNHEARD_NS = 10_000_000;

/** The signal is taken: what expired since is its overrun, and the next expiration is armed. */
onTimerSignal((held, group, id) => {
  const posix = find(held, group, id);
  if (posix === 0) return 0;
  PosixTimer.queued.set(posix, 0);
  const overrun = advance(posix, nowNs());
  PosixTimer.overrun.set(posix, overrun);
  const next = PosixTimer.expires.get(posix);
  if (next !== 0) timerArm(PosixTimer.timer.get(posix), next);
  return overrun;
});

/** Overruns of a POSIX timer stop counting here (DELAYTIMER_MAX). */
const OVERRUN_MAX = 0x7fff_ffff;

/** Moves the next expiration beyond `now`: how many periods that were, as far as they are counted. Group.lock is held. */
function advance(posix: Ref<"posix_timer">, now: number): number {
  const expires = PosixTimer.expires.get(posix);
  const interval = PosixTimer.interval.get(posix);
  if (expires === 0 || expires > now || interval === 0) return 0;
  const periods = 1 + Math.floor((now - expires) / interval);
  PosixTimer.expires.set(posix, expires + periods * interval);
  return Math.min(periods, OVERRUN_MAX);
}

/** The signal of an expiration before this moment is not wanted any more. Group.lock is held. */
function forgetSignal(held: Held<"lock">, posix: Ref<"posix_timer">): void {
  if (PosixTimer.queued.get(posix) === 0) return;
  PosixTimer.queued.set(posix, 0);
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

/** Id of a new timer, or -EAGAIN: the user has all the timers and queued signals of RLIMIT_SIGPENDING, or memory is short. */
export function createPosixTimer(task: Ref<"task">, spec: TimerSpec): number {
  const group = Task.group.get(task);
  const user = userOfTask(task);
  if (!userCharge(user, "pending", 1, rlimit(task, RLIMIT_SIGPENDING))) return -EAGAIN;
  const posix = tryAlloc(PosixTimer);
  const timer = posix === 0 ? 0 : newTimer(TIMER_POSIX, posix);
  if (posix === 0 || timer === 0) {
    if (posix !== 0) kfreeRcu(PosixTimer, posix);
    userUncharge(user, "pending", 1);
    return -EAGAIN;
  }
  PosixTimer.user.init(posix, user);
  PosixTimer.group.init(posix, group);
  PosixTimer.clock.init(posix, spec.clock);
  PosixTimer.notify.init(posix, spec.notify);
  PosixTimer.tid.init(posix, spec.tid);
  PosixTimer.signo.init(posix, spec.signo);
  PosixTimer.timer.init(posix, timer);
  const held = Group.lock.lock(group);
  if (!growIds(held, group)) {
    Group.lock.unlock(group);
    freeTimer(timer);
    kfreeRcu(PosixTimer, posix);
    return -EAGAIN;
  }
  const id = Group.nextTimerId.get(held, group);
  Group.nextTimerId.set(held, group, id + 1);
  PosixTimer.id.init(posix, id);
  PosixTimer.valueLow.init(posix, spec.valueLow === -1 && spec.valueHigh === -1 ? id : spec.valueLow);
  PosixTimer.valueHigh.init(posix, spec.valueHigh);
  listAddTail(held, Group.posixTimers.at(group), PosixTimer.node.at(posix));
  Group.nrTimers.set(held, group, Group.nrTimers.get(held, group) + 1);
  link(Group.timerIds.get(held, group) as Ref<"array">, posix);
  Group.lock.unlock(group);
  return id;
}

// Ids are found in chains that stay short: the table doubles with the number of timers. Group.lock guards it.
const FIRST_IDS = 16;

function link(table: Ref<"array">, posix: Ref<"posix_timer">): void {
  const at = PosixTimer.id.get(posix) & (arrayLength(table) - 1);
  PosixTimer.next.set(posix, arrayGet(table, at) as Ref<"posix_timer"> | 0);
  arraySet(table, at, posix);
}

/** Room for one more id; false when the heap is full. */
function growIds(held: Held<"lock">, group: Ref<"group">): boolean {
  const old = Group.timerIds.get(held, group);
  if (old !== 0 && Group.nrTimers.get(held, group) < arrayLength(old)) return true;
  const table = tryAllocArray(old === 0 ? FIRST_IDS : 2 * arrayLength(old));
  if (table === 0) return false;
  const head = Group.posixTimers.at(group);
  for (let node = listFirst(head); node !== 0; node = listNext(head, node))
    link(table, PosixTimer.node.owner(node));
  Group.timerIds.set(held, group, table);
  if (old !== 0) freeArray(old);
  return true;
}

function find(held: Held<"lock">, group: Ref<"group">, id: number): Ref<"posix_timer"> | 0 {
  const table = Group.timerIds.get(held, group);
  if (table === 0) return 0;
  let posix = arrayGet(table, id & (arrayLength(table) - 1)) as Ref<"posix_timer"> | 0;
  while (posix !== 0 && PosixTimer.id.get(posix) !== id) posix = PosixTimer.next.get(posix);
  return posix;
}

/** Takes the timer out of its chain; the table goes with the last one. */
function forgetId(held: Held<"lock">, posix: Ref<"posix_timer">): void {
  const group = PosixTimer.group.get(posix);
  const table = Group.timerIds.get(held, group) as Ref<"array">;
  const left = Group.nrTimers.get(held, group) - 1;
  const index = PosixTimer.id.get(posix) & (arrayLength(table) - 1);
  let at = arrayGet(table, index) as Ref<"posix_timer">;
  if (at === posix) arraySet(table, index, PosixTimer.next.get(posix));
  else {
    while (PosixTimer.next.get(at) !== posix) at = PosixTimer.next.get(at) as Ref<"posix_timer">;
    PosixTimer.next.set(at, PosixTimer.next.get(posix));
  }
  Group.nrTimers.set(held, group, left);
  if (left !== 0) return;
  Group.timerIds.set(held, group, 0);
  freeArray(table);
}

/** The timer with this id, or 0. Only threads of the group delete timers, and a handler is safe from reclaim. */
export function findPosixTimer(task: Ref<"task">, id: number): Ref<"posix_timer"> | 0 {
  const group = Task.group.get(task);
  const held = Group.lock.lock(group);
  const found = find(held, group, id);
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
  // One that tells nobody never has to run: timer_gettime(2) computes.
  const silent = PosixTimer.notify.get(posix) === SIGEV_NONE;
  if (expires === 0) timerCancel(timer);
  const error = expires === 0 || silent ? 0 : timerArm(timer, expires);
  Group.lock.unlock(group);
  return error;
}

/** Nanoseconds to the next expiration; 0 when there is none. */
export function posixTimerRemaining(posix: Ref<"posix_timer">): number {
  const now = nowNs();
  const expires = PosixTimer.expires.get(posix);
  const interval = PosixTimer.interval.get(posix);
  if (expires > now || expires === 0) return Math.max(0, expires - now);
  if (interval !== 0) return interval - ((now - expires) % interval);
  return PosixTimer.notify.get(posix) === SIGEV_NONE ? 0 : 1; // Past, and about to be noticed.
}

export function deletePosixTimer(posix: Ref<"posix_timer">): void {
  const group = PosixTimer.group.get(posix);
  const held = Group.lock.lock(group);
  listDelRcu(held, PosixTimer.node.at(posix));
  forgetId(held, posix);
  PosixTimer.expires.set(posix, 0);
  forgetSignal(held, posix);
  Group.lock.unlock(group);
  freeTimer(PosixTimer.timer.get(posix));
  userUncharge(PosixTimer.user.get(posix), "pending", 1);
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
