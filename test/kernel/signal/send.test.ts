import test from "ava";
import { DELIVER_STOPPED, deliverSignals } from "../../../kernel/signal/deliver.ts";
import { setMask } from "../../../kernel/signal/mask.ts";
import { dequeueSignal, hasPending, infoUser } from "../../../kernel/signal/pending.ts";
import { kill, sendInfo } from "../../../kernel/signal/send.ts";
import { setAction, sighandOf, takeAction } from "../../../kernel/signal/sighand.ts";
import { firstSignal, sigBit } from "../../../kernel/signal/sigset.ts";
import {
  GROUP_EXITING,
  GROUP_STOP_REPORT,
  Group,
  TASK_RUNNABLE,
  TASK_SLEEPING,
  Task,
  WORK_SIGNAL,
} from "../../../kernel/task/task.ts";
import { EPERM, ESRCH } from "../../../kernel/uapi/errno.ts";
import {
  SA_RESETHAND,
  SIG_DFL,
  SIG_IGN,
  SIGCONT,
  SIGKILL,
  SIGSEGV,
  SIGSTOP,
  SIGTERM,
  SIGTSTP,
  SIGUSR1,
} from "../../../kernel/uapi/signal.ts";
import type { Ref } from "../../../rcu/index.ts";
import { as, bootSolo, groupOf, makeProcess, makeThread, pidOf } from "../sched/solo.ts";

bootSolo();
const RT = 40;

const act = (task: Ref<"task">, signo: number, handler: number): void =>
  setAction(sighandOf(task), signo, { handler, flags: 0, maskLow: 0, maskHigh: 0 });
const send = (task: Ref<"task">, signo: number, shared: boolean, from = 0): number =>
  sendInfo(task, infoUser(signo, from, 0), shared);
const next = (task: Ref<"task">): number[] | null => {
  const group = groupOf(task);
  const held = Group.lock.lock(group);
  const info = dequeueSignal(held, task, Task.blocked.get(task, 0), Task.blocked.get(task, 1));
  Group.lock.unlock(group);
  return info === null ? null : [info[0]!, info[4]!];
};
const hasWork = (task: Ref<"task">): boolean => (Task.work.load(task) & WORK_SIGNAL) !== 0;

test("a standard signal is pending once, with the first sender's siginfo; a real-time one queues in order", (t) => {
  const task = makeProcess();
  for (const signo of [SIGUSR1, RT]) act(task, signo, 0x1000);
  for (const from of [1, 2, 3]) {
    send(task, SIGUSR1, false, from);
    send(task, RT, false, from);
  }
  t.deepEqual(next(task), [SIGUSR1, 1]);
  t.deepEqual(next(task), [RT, 1]);
  t.deepEqual(next(task), [RT, 2]);
  t.deepEqual(next(task), [RT, 3]);
  t.is(next(task), null);
});

test("a blocked signal to one thread stays pending, also when its default is to kill", (t) => {
  const task = makeProcess();
  as(task, () => setMask(task, sigBit(SIGUSR1), 0));
  t.is(send(task, SIGUSR1, false, 7), 0);
  t.is(Group.flags.load(groupOf(task)) & GROUP_EXITING, 0);
  as(task, () => setMask(task, 0, 0));
  t.deepEqual(next(task), [SIGUSR1, 7]);
});

test("faults come before other signals, a thread's own before its process's", (t) => {
  t.is(firstSignal(sigBit(1) | sigBit(SIGSEGV), 0), SIGSEGV);
  t.is(firstSignal(0, sigBit(33)), 33);
  t.is(firstSignal(0, sigBit(64)), 64);
  const task = makeProcess();
  for (const signo of [SIGUSR1, SIGTERM]) act(task, signo, 0x1000);
  send(task, SIGUSR1, true);
  send(task, SIGTERM, false);
  t.is(next(task)?.[0], SIGTERM);
  t.is(next(task)?.[0], SIGUSR1);
});

test("a process-directed signal goes to a thread that does not block it, and follows when that one blocks it", (t) => {
  const leader = makeProcess();
  act(leader, SIGUSR1, 0x1000);
  const [a, b] = [makeThread(leader), makeThread(leader)];
  for (const task of [leader, a]) as(task, () => setMask(task, sigBit(SIGUSR1), 0));
  send(leader, SIGUSR1, true);
  t.false(hasWork(leader));
  t.false(hasWork(a));
  t.true(hasWork(b));
  as(a, () => setMask(a, 0, 0));
  t.true(hasPending(a));
  as(b, () => setMask(b, sigBit(SIGUSR1), 0));
  t.false(hasPending(b));
  t.true(hasWork(a), "it is a's business now");
});

test("ignored signals vanish, blocked ones wait even if ignored", (t) => {
  const task = makeProcess();
  act(task, SIGUSR1, SIG_IGN);
  send(task, SIGUSR1, false);
  t.false(hasPending(task));
  as(task, () => setMask(task, sigBit(SIGUSR1), 0));
  send(task, SIGUSR1, false);
  t.not(Task.pending.get(task, 0) & sigBit(SIGUSR1), 0);
});

test("SIGCONT takes pending stops away, and a stop a pending SIGCONT", (t) => {
  const task = makeProcess();
  as(task, () => setMask(task, sigBit(SIGTSTP) | sigBit(SIGCONT), 0));
  send(task, SIGTSTP, true);
  send(task, SIGCONT, true);
  t.is(Group.pending.get(groupOf(task), 0), sigBit(SIGCONT));
  send(task, SIGTSTP, true);
  t.is(Group.pending.get(groupOf(task), 0), sigBit(SIGTSTP));
});

test("a fatal signal wakes every thread at once, each with a SIGKILL", (t) => {
  const leader = makeProcess();
  const other = makeThread(leader);
  Task.state.store(other, TASK_SLEEPING);
  act(leader, SIGTERM, SIG_DFL);
  send(leader, SIGTERM, true);
  t.not(Group.flags.load(groupOf(leader)) & GROUP_EXITING, 0);
  t.is(Group.exitCode.load(groupOf(leader)), SIGTERM);
  t.is(Task.state.load(other), TASK_RUNNABLE);
  for (const task of [leader, other]) t.not(Task.pending.get(task, 0) & sigBit(SIGKILL), 0);
});

test("kill reaches a process, a group, and nobody; permission is by user id", (t) => {
  const root = makeProcess();
  const user = makeProcess(groupOf(root), 1000);
  const stranger = makeProcess(groupOf(root), 2000);
  t.is(
    as(root, () => kill(pidOf(user), 0)),
    0,
  );
  t.is(
    as(user, () => kill(pidOf(stranger), 0)),
    -EPERM,
  );
  t.is(
    as(user, () => kill(pidOf(root), SIGKILL)),
    -EPERM,
  );
  t.is(
    as(root, () => kill(30000, 0)),
    -ESRCH,
  );
  t.is(
    as(root, () => kill(-pidOf(user), 0)),
    0,
    "its process group",
  );
  t.is(
    as(root, () => kill(-30000, 0)),
    -ESRCH,
  );
});

test("a thread that changes its mask while its process stops still joins the stop", (t) => {
  const leader = makeProcess();
  const other = makeThread(leader);
  send(leader, SIGSTOP, true);
  t.is(
    as(leader, () => deliverSignals(leader)),
    DELIVER_STOPPED,
  );
  t.is(Group.flags.load(groupOf(leader)) & GROUP_STOP_REPORT, 0, "one thread still runs");
  as(other, () => setMask(other, sigBit(SIGUSR1), 0));
  t.true(hasWork(other));
  t.is(
    as(other, () => deliverSignals(other)),
    DELIVER_STOPPED,
  );
  t.not(Group.flags.load(groupOf(leader)) & GROUP_STOP_REPORT, 0);
});

test("a handler with SA_RESETHAND is taken once: the next delivery finds the default action", (t) => {
  const sighand = sighandOf(makeProcess());
  const action = { handler: 0x1000, flags: SA_RESETHAND, maskLow: 0, maskHigh: 0 };
  setAction(sighand, SIGUSR1, action);
  t.deepEqual(takeAction(sighand, SIGUSR1), action);
  t.is(takeAction(sighand, SIGUSR1).handler, SIG_DFL);
});
