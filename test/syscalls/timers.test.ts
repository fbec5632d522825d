/** POSIX timers, and what is left of children: timer_create(2), timer_getoverrun(2), sigqueue(3), prctl(2). */
import test from "ava";
import { setMask } from "../../kernel/signal/mask.ts";
import { Task } from "../../kernel/task/task.ts";
import { nowNs } from "../../kernel/time/clock.ts";
import { runTimers } from "../../kernel/time/timer.ts";
import { EAGAIN, EINVAL, EOPNOTSUPP } from "../../kernel/uapi/errno.ts";
import { RLIMIT_SIGPENDING } from "../../kernel/uapi/resource.ts";
import { boot, call, getWords, putWords } from "../kernel/ipc/machine.ts";

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
