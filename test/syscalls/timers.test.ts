/** POSIX timers, and what is left of children: timer_create(2), timer_getoverrun(2), sigqueue(3), prctl(2). */
import test from "ava";
import { setMask } from "../../kernel/signal/mask.ts";
import { setLimit } from "../../kernel/task/rlimit.ts";
import { Task } from "../../kernel/task/task.ts";
import { nowNs } from "../../kernel/time/clock.ts";
import { freeGroupTimers, Itimer, setItimer } from "../../kernel/time/itimer.ts";
import { nextTimer, runTimers, TIMERS_AT_ONCE, Timer } from "../../kernel/time/timer.ts";
import { EAGAIN, EINVAL, EOPNOTSUPP } from "../../kernel/uapi/errno.ts";
import { O_NONBLOCK } from "../../kernel/uapi/fcntl.ts";
import { RLIMIT_SIGPENDING } from "../../kernel/uapi/resource.ts";
import { ITIMER_REAL, SIGEV_NONE } from "../../kernel/uapi/time.ts";
import { liveObjects } from "../../rcu/index.ts";
import { atAllocation } from "../../rcu/inject.ts";
import { boot, call, getWords, putWords, settle } from "../kernel/ipc/machine.ts";

const { task, memory } = boot();
const sys = (name: string, ...args: number[]): number => call(task, name, ...args);
/** Real-time signals of the second word, which is blocked as a whole. */
const RT = 40;
const INFO = memory + 4096;
const SET = memory + 8192;

setMask(task, 0, -1);
putWords(SET, 0, -1);

function timer(signo: number, value: number): number {
  putWords(memory, value, 0, signo, 0, 0);
  const id = memory + 64;
  if (sys("timer_create", 1, memory, id) !== 0) throw new Error("no timer");
  return getWords(id, 1)[0]!;
}
const MS = 1_000_000;
const arm = (id: number, value: number, interval: number): number => {
  putWords(memory, 0, 0, interval, 0, 0, 0, value, 0);
  return sys("timer_settime", id, 0, memory, 0);
};
/** The next pending real-time signal: [signo, overrun, value], or -errno. */
function take(): number[] | number {
  putWords(memory, 0, 0, 0, 0);
  const signo = sys("rt_sigtimedwait", SET, INFO, memory, 8);
  if (signo < 0) return signo;
  const info = getWords(INFO, 8);
  return [signo, info[5]!, info[6]!];
}

test.serial("a timer queues one signal, and counts in it what it missed since", (t) => {
  const id = timer(RT, 77);
  arm(id, 10 * MS, 10 * MS);
  const start = nowNs();
  runTimers(start + 1); // Not due yet.
  t.is(take(), -EAGAIN);
  const until = start + 100 * MS;
  while (nowNs() < until) runTimers(nowNs());
  const found = take() as number[];
  t.deepEqual([found[0], found[2]], [RT, 77]);
  t.true(found[1]! >= 4, `${found[1]} overruns`);
  t.is(sys("timer_getoverrun", id), found[1]!);
  t.is(take(), -EAGAIN);
  sys("timer_delete", id);
});

test.serial("setting a timer anew, and deleting it, takes back the signal that nobody has seen", (t) => {
  const id = timer(RT, 1);
  const expire = (): void => {
    arm(id, 1, 0);
    while (runTimers(nowNs()) === 0);
  };
  expire();
  arm(id, 0, 0);
  t.is(take(), -EAGAIN);
  expire();
  sys("timer_delete", id);
  t.is(take(), -EAGAIN);
  t.is(sys("timer_settime", id, 0, memory, 0), -EINVAL);
});

test.serial("RLIMIT_SIGPENDING bounds what a process may have queued", (t) => {
  // Timers count against it as well: the tests behind this one make thousands.
  t.teardown(() => setLimit(Task.group.get(task), RLIMIT_SIGPENDING, Infinity, Infinity));
  putWords(memory, 3, 0, 3, 0);
  t.is(sys("setrlimit", RLIMIT_SIGPENDING, memory), 0);
  const queue = (): number => {
    putWords(INFO, RT, 0, -1, 0, 0, 0, 5, 0);
    return sys("rt_sigqueueinfo", Task.tgid.get(task), RT, INFO);
  };
  t.deepEqual([queue(), queue(), queue(), queue()], [0, 0, 0, -EAGAIN]);
  t.is((take() as number[])[0], RT);
  t.is(queue(), 0);
  for (let left = 3; left > 0; left--) t.is((take() as number[])[0], RT);
  t.is(take(), -EAGAIN);
});

test.serial("nobody sleeps by a coarse or raw clock", (t) => {
  putWords(memory, 0, 0, 1, 0);
  for (const clock of [4, 5, 6]) t.is(sys("clock_nanosleep", clock, 0, memory, 0), -EOPNOTSUPP);
  t.is(sys("clock_nanosleep", 77, 0, memory, 0), -EINVAL);
});

test.serial("PR_SET_KEEPCAPS keeps the permitted capabilities of root who becomes another user", (t) => {
  const permitted = (): number => {
    putWords(memory, 0x20080522, 0);
    sys("capget", memory, memory + 16);
    return getWords(memory + 16, 3)[1]!;
  };
  t.is(sys("prctl", 8, 2), -EINVAL);
  t.is(sys("prctl", 8, 1), 0);
  t.is(sys("prctl", 7), 1);
  t.is(sys("setuid", 1000), 0);
  t.not(permitted(), 0);
  t.is(sys("prctl", 8, 0), 0);
});

// A period of 1 ns: what it costs others is counted in timers that run.
const BOMB = [0, 0, 1, 0, 0, 0, 1, 0];

test.serial("a periodic timer runs once until its signal is taken, and knows then what it missed", (t) => {
  const id = timer(RT + 1, 5);
  putWords(memory, ...BOMB);
  t.is(sys("timer_settime", id, 0, memory, 0), 0);
  while (runTimers(nowNs()) === 0);
  t.is(nextTimer(), Number.POSITIVE_INFINITY);
  const [signo, overrun] = take() as number[];
  t.is(signo, RT + 1);
  t.true(overrun! > 1000, `${overrun} overruns`);
  t.true(nextTimer() !== Number.POSITIVE_INFINITY);
  sys("timer_delete", id);
  t.is(nextTimer(), Number.POSITIVE_INFINITY);
});

test.serial("a timer that tells nobody never runs, and knows how long it has", (t) => {
  putWords(memory, 0, 0, 0, SIGEV_NONE, 0);
  const id = memory + 64;
  t.is(sys("timer_create", 1, memory, id), 0);
  const [none] = getWords(id, 1);
  arm(none!, 500 * MS, 0);
  t.is(nextTimer(), Number.POSITIVE_INFINITY);
  t.is(sys("timer_gettime", none!, memory), 0);
  const [, , , , seconds, , left] = getWords(memory, 8);
  t.is(seconds, 0);
  t.true(left! > 0 && left! <= 500 * MS);
  sys("timer_delete", none!);
});

test.serial("timers whose signal is ignored come back seldom, the more of them the less", (t) => {
  const SIGCHLD = 17;
  const ids = Array.from({ length: 20 }, () => timer(SIGCHLD, 0));
  for (const id of ids) {
    putWords(memory, ...BOMB);
    sys("timer_settime", id, 0, memory, 0);
  }
  let ran = 0;
  while (ran < ids.length) ran += runTimers(nowNs());
  const wait = nextTimer() - nowNs();
  t.true(wait > 100 * MS, `${wait} ns`);
  for (const id of ids) sys("timer_delete", id);
});

test.serial("an interval timer waits for its SIGALRM to be taken", (t) => {
  const SIGALRM = 14;
  putWords(memory, 1 << (SIGALRM - 1), 0);
  sys("rt_sigprocmask", 0, memory, 0, 8);
  putWords(memory, 0, 0, 1, 0, 0, 0, 1, 0);
  t.is(sys("setitimer", 0, memory, 0), 0);
  while (runTimers(nowNs()) === 0);
  t.is(nextTimer(), Number.POSITIVE_INFINITY);
  putWords(SET, 1 << (SIGALRM - 1), 0);
  putWords(memory, 0, 0, 0, 0);
  t.is(sys("rt_sigtimedwait", SET, INFO, memory, 8), SIGALRM);
  t.true(nextTimer() !== Number.POSITIVE_INFINITY);
  putWords(memory, 0, 0, 0, 0, 0, 0, 0, 0);
  sys("setitimer", 0, memory, 0);
  putWords(SET, 0, -1);
});

test.serial("a timerfd runs once until it is read, and says then how often it expired", (t) => {
  const fd = sys("timerfd_create", 1, O_NONBLOCK);
  putWords(memory, ...BOMB);
  t.is(sys("timerfd_settime", fd, 0, memory, 0), 0);
  while (runTimers(nowNs()) === 0);
  t.is(nextTimer(), Number.POSITIVE_INFINITY);
  t.is(sys("read", fd, memory, 8), 8);
  const [low, high] = getWords(memory, 2);
  t.true(low! > 1000 && high === 0, `${low} expirations`);
  t.true(nextTimer() !== Number.POSITIVE_INFINITY);
  sys("close", fd);
});

test.serial(
  "of thousands of timers that are due, one visit runs some; ids are found in short chains",
  (t) => {
    const ids = Array.from({ length: 2000 }, () => timer(RT, 0));
    for (const id of ids) arm(id, 1, 0);
    const until = nowNs() + MS;
    while (nowNs() < until);
    const visits: number[] = [];
    for (let ran = -1; ran !== 0; ) visits.push((ran = runTimers(nowNs())));
    t.is(
      visits.reduce((sum, ran) => sum + ran, 0),
      ids.length,
    );
    t.true(Math.max(...visits) <= TIMERS_AT_ONCE);
    for (const id of ids) t.is(sys("timer_delete", id), 0);
    t.is(sys("timer_delete", ids[5]!), -EINVAL);
    t.is(take(), -EAGAIN);
  },
);

test.serial("two threads that set the first interval timer of their process set the same one", (t) => {
  const group = Task.group.get(task);
  freeGroupTimers(group);
  settle(task);
  const before = [liveObjects(Itimer), liveObjects(Timer)];
  atAllocation(1, () => t.is(setItimer(group, ITIMER_REAL, 1e9, 0), 0));
  t.is(setItimer(group, ITIMER_REAL, 2e9, 0), 0);
  settle(task);
  t.deepEqual([liveObjects(Itimer), liveObjects(Timer)], [before[0]! + 1, before[1]! + 1]);
  freeGroupTimers(group);
  settle(task);
  t.deepEqual([liveObjects(Itimer), liveObjects(Timer)], before, "and none is left when the process ends");
});
