/**
 * Interval timers: setitimer(2), alarm. ITIMER_REAL runs on the timer queue; the two CPU-time timers are compared with
 * the process's time when its tasks pass a safe point.
 */
import { fixed, kfreeRcu, type Ref, struct, tryAlloc, wide } from "../../rcu/index.ts";
import { infoKernel, onAlarm } from "../signal/pending.ts";
import { sendLocked } from "../signal/post.ts";
import { sendGroupSignal } from "../signal/send.ts";
import { sigBit } from "../signal/sigset.ts";
import { hardLimit, setSoftLimit, softLimit } from "../task/rlimit.ts";
import { GROUP_ZOMBIE, Group } from "../task/task.ts";
import { groupUsage } from "../task/usage.ts";
import { ENOMEM } from "../uapi/errno.ts";
import { RLIM_INFINITY, RLIMIT_CPU } from "../uapi/resource.ts";
import { SIGALRM, SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU } from "../uapi/signal.ts";
import { ITIMER_PROF, ITIMER_REAL } from "../uapi/time.ts";
import { NSEC_PER_SEC, nowNs } from "./clock.ts";
import { freePosixTimers } from "./posix-timer.ts";
import { defineTimer, freeTimer, newTimer, TIMER_ITIMER_REAL, timerArm, timerCancel } from "./timer.ts";

export const Itimer = struct("itimer", {
  group: fixed<Ref<"group">>(),
  which: fixed(),
  /** Ref<"timer"> of ITIMER_REAL. */
  timer: fixed<Ref<"timer">>(),
  // Group.lock for writers. Nanoseconds; 0: disarmed.
  interval: wide(),
  /** Monotonic time, or CPU time of the process, at which it expires. */
  expires: wide(),
});

defineTimer(TIMER_ITIMER_REAL, (arg) => {
  const itimer = arg as Ref<"itimer">;
  const group = Itimer.group.get(itimer);
  const held = Group.lock.lock(group);
  const now = nowNs();
  const expires = Itimer.expires.get(itimer);
  // setitimer(2) may have moved it before the lock was had.
  if (expires !== 0 && expires <= now && (Group.flags.load(group) & GROUP_ZOMBIE) === 0) {
    const next = advance(itimer, now);
    sendLocked(held, group, Group.leader.load(group), infoKernel(SIGALRM), true);
    // While the signal is pending the period costs nothing: who takes it arms the timer. Ignored, it is never taken.
    const pending = (Group.pending.load(group, 0) & sigBit(SIGALRM)) !== 0;
    if (next !== 0 && !pending) timerArm(Itimer.timer.get(itimer), Math.max(next, now + UNHEARD_NS));
  }
  Group.lock.unlock(group);
});
/** How soon an ignored alarm rings again. */
const UNHEARD_NS = 10_000_000;

onAlarm((group) => {
  const itimer = itimerOf(group, ITIMER_REAL);
  if (itimer === 0 || Itimer.interval.get(itimer) === 0 || Itimer.expires.get(itimer) === 0) return;
  const now = nowNs();
  const expires = Itimer.expires.get(itimer);
  timerArm(Itimer.timer.get(itimer), expires > now ? expires : advance(itimer, now));
});

/** Moves an expired timer to its next time, or disarms it (0). Group.lock is held. */
function advance(itimer: Ref<"itimer">, now: number): number {
  const interval = Itimer.interval.get(itimer);
  const expires = Itimer.expires.get(itimer);
  const next = interval === 0 ? 0 : expires + interval * (1 + Math.floor((now - expires) / interval));
  Itimer.expires.set(itimer, next);
  return next;
}

const itimerOf = (group: Ref<"group">, which: number): Ref<"itimer"> | 0 =>
  Group.itimer.get(group, which) as Ref<"itimer"> | 0;

/** CPU time of the process, or the present, on the clock of a timer. */
function clockOf(group: Ref<"group">, which: number): number {
  if (which === ITIMER_REAL) return nowNs();
  const usage = groupUsage(group);
  return which === ITIMER_PROF ? usage.utime + usage.stime : usage.utime;
}

/** Remaining nanoseconds (0: disarmed) and interval. */
export function getItimer(group: Ref<"group">, which: number): { value: number; interval: number } {
  const itimer = itimerOf(group, which);
  if (itimer === 0) return { value: 0, interval: 0 };
  const expires = Itimer.expires.get(itimer);
  const interval = Itimer.interval.get(itimer);
  const left = expires - clockOf(group, which);
  // Expired, and nobody took the signal since: the period goes on all the same.
  const value = expires === 0 ? 0 : left > 0 ? left : interval === 0 ? 1 : interval - (-left % interval);
  return { value, interval };
}

/** Arms the timer `value` nanoseconds from now; 0 disarms. -ENOMEM. */
export function setItimer(group: Ref<"group">, which: number, value: number, interval: number): number {
  let itimer = itimerOf(group, which);
  if (itimer === 0) {
    if (value === 0) return 0;
    itimer = newItimer(group, which);
    if (itimer === 0) return -ENOMEM;
  }
  const expires = value === 0 ? 0 : clockOf(group, which) + value;
  const timer = Itimer.timer.get(itimer);
  let error = 0;
  Group.lock.lock(group);
  Itimer.interval.set(itimer, interval);
  Itimer.expires.set(itimer, expires);
  if (which === ITIMER_REAL && expires === 0) timerCancel(timer);
  else if (which === ITIMER_REAL) error = timerArm(timer, expires);
  Group.lock.unlock(group);
  return error;
}

/** The timer of a process that has had none; 0 when memory is short. */
function newItimer(group: Ref<"group">, which: number): Ref<"itimer"> | 0 {
  const itimer = tryAlloc(Itimer);
  if (itimer === 0) return 0;
  Itimer.group.init(itimer, group);
  Itimer.which.init(itimer, which);
  const timer = newTimer(TIMER_ITIMER_REAL, itimer);
  if (timer === 0) {
    kfreeRcu(Itimer, itimer);
    return 0;
  }
  Itimer.timer.init(itimer, timer);
  Group.lock.lock(group);
  const first = itimerOf(group, which);
  if (first === 0) Group.itimer.set(group, which, itimer);
  Group.lock.unlock(group);
  if (first === 0) return itimer;
  // Another thread of the process was faster.
  freeTimer(timer);
  kfreeRcu(Itimer, itimer);
  return first;
}

/** The task passes a safe point: sends SIGVTALRM and SIGPROF that are due. */
export function checkCpuTimers(group: Ref<"group">): void {
  for (let which = 1; which <= 2; which++) {
    const itimer = itimerOf(group, which);
    if (itimer === 0) continue;
    const expires = Itimer.expires.get(itimer);
    const now = expires === 0 ? 0 : clockOf(group, which);
    if (expires === 0 || now < expires) continue;
    Group.lock.lock(group);
    const due = Itimer.expires.get(itimer) === expires;
    if (due) advance(itimer, now);
    Group.lock.unlock(group);
    if (due) sendGroupSignal(group, which === ITIMER_PROF ? SIGPROF : SIGVTALRM);
  }
  checkCpuLimit(group);
}

/** RLIMIT_CPU: SIGXCPU at the soft limit and every second from there, SIGKILL at the hard one. */
function checkCpuLimit(group: Ref<"group">): void {
  const soft = softLimit(group, RLIMIT_CPU);
  const hard = hardLimit(group, RLIMIT_CPU);
  if (soft === RLIM_INFINITY && hard === RLIM_INFINITY) return;
  const used = clockOf(group, ITIMER_PROF) / NSEC_PER_SEC;
  if (used >= hard) sendGroupSignal(group, SIGKILL);
  else if (used >= soft) {
    setSoftLimit(group, RLIMIT_CPU, Math.floor(used) + 1);
    sendGroupSignal(group, SIGXCPU);
  }
}

/** The process ends: all its timers go. */
export function freeGroupTimers(group: Ref<"group">): void {
  for (let which = 0; which <= 2; which++) {
    const itimer = itimerOf(group, which);
    if (itimer === 0) continue;
    Group.itimer.set(group, which, 0);
    freeTimer(Itimer.timer.get(itimer));
    kfreeRcu(Itimer, itimer);
  }
  freePosixTimers(group);
}
