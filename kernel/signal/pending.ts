/**
 * Pending signals: a set of two words and a queue of siginfo, once per task and once per group (kill(2) of a
 * process). Group.lock guards all of them. Task.work's WORK_SIGNAL says that there is something to deliver.
 */
import {
  fixed,
  free,
  type Held,
  type ListNode,
  listAddTail,
  listDelRcu,
  listFirst,
  listNext,
  listNode,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  struct,
  tryAlloc,
  type Words,
  words,
} from "../../rcu/index.ts";
import { softLimit } from "../task/rlimit.ts";
import { Cred, GROUP_EXITING, GROUP_STOPPED, Group, Task, WORK_SIGNAL } from "../task/task.ts";
import { userCharge, userUncharge } from "../task/user.ts";
import { RLIMIT_SIGPENDING } from "../uapi/resource.ts";
import { SI_KERNEL, SI_TIMER, SI_USER, SIGALRM } from "../uapi/signal.ts";
import { firstSignal, INSISTENT, sigBit, sigWord } from "./sigset.ts";

/** Words of a siginfo that carry anything: the first 48 of its 128 bytes. */
export const INFO_WORDS = 12;

const Sigqueue = struct("sigqueue", {
  node: listNode(),
  signo: fixed(),
  /** Charged for it, or 0. */
  user: fixed<Ref<"user"> | 0>(),
  info: words(INFO_WORDS),
});

/** The 48 bytes of a siginfo: signo, errno, code, pad, then the union of sigaction(2). */
export type SigInfo = Int32Array;

const base = (signo: number, code: number): SigInfo => {
  const info = new Int32Array(INFO_WORDS);
  info[0] = signo;
  info[2] = code;
  return info;
};

/** From the kernel, with nothing more to say. */
export const infoKernel = (signo: number): SigInfo => base(signo, SI_KERNEL);

/** From a process: kill, tkill, and with a value sigqueue. */
export function infoFrom(signo: number, code: number, pid: number, uid: number): SigInfo {
  const info = base(signo, code);
  info[4] = pid;
  info[5] = uid;
  return info;
}
export const infoUser = (signo: number, pid: number, uid: number): SigInfo =>
  infoFrom(signo, SI_USER, pid, uid);

/** A fault at the address of these two words. */
export function infoFault(signo: number, code: number, low: number, high: number): SigInfo {
  const info = base(signo, code);
  info[4] = low;
  info[5] = high;
  return info;
}

/** A child changed: `status` is the exit code or the signal; times in clock ticks. */
export function infoChild(
  signo: number,
  code: number,
  pid: number,
  uid: number,
  status: number,
  utime: number,
  stime: number,
): SigInfo {
  const info = infoFrom(signo, code, pid, uid);
  info[6] = status;
  info[8] = utime;
  info[10] = stime;
  return info;
}

/** A POSIX timer expired. */
export function infoTimer(
  signo: number,
  code: number,
  id: number,
  overrun: number,
  low: number,
  high: number,
) {
  const info = infoFrom(signo, code, id, overrun);
  info[6] = low;
  info[7] = high;
  return info;
}

interface PendingOf<N extends string> {
  readonly pending: Words<N>;
  readonly sigqueue: ListNode<N>;
}

/** The process whose siginfos count together: RLIMIT_SIGPENDING. */
function groupOf(where: unknown, ref: number): Ref<"group"> {
  return where === Task ? Task.group.get(ref as Ref<"task">) : (ref as Ref<"group">);
}

/**
 * Room for one more siginfo; 0 when there is no memory, or the receiving user has its limit. Standard signals of the kernel are counted
 * and pass.
 */
function newSigqueue(held: Held, group: Ref<"group">, signo: number, info: SigInfo): Ref<"sigqueue"> | 0 {
  const counts = signo >= 32 || info[2]! < 0;
  const scope = rcuReadLock();
  const cred = Task.cred.deref(scope, Group.leader.load(group));
  const user = cred === 0 ? 0 : Cred.user.get(cred);
  const charged = userCharge(user, "pending", 1, counts ? softLimit(group, RLIMIT_SIGPENDING) : Infinity);
  rcuReadUnlock();
  if (!charged) return 0;
  const entry = tryAlloc(Sigqueue);
  if (entry === 0) {
    userUncharge(user, "pending", 1);
    return 0;
  }
  Sigqueue.user.init(entry, user);
  Group.sigqueued.set(held as Held<"lock">, group, Group.sigqueued.get(held as Held<"lock">, group) + 1);
  return entry;
}

function freeSigqueue(held: Held, group: Ref<"group">, entry: Ref<"sigqueue">): void {
  Group.sigqueued.set(held as Held<"lock">, group, Group.sigqueued.get(held as Held<"lock">, group) - 1);
  listDelRcu(held, Sigqueue.node.at(entry));
  userUncharge(Sigqueue.user.get(entry), "pending", 1);
  free(Sigqueue, entry);
}

/**
 * Adds a signal. A standard signal that is pending already stays as it is; a real-time one queues. False when a
 * real-time signal that says more than kill(2) could not be queued (EAGAIN); others are then pending without their siginfo.
 */
export function addPending<N extends string>(
  held: Held,
  where: PendingOf<N>,
  ref: Ref<N>,
  signo: number,
  info: SigInfo,
): boolean {
  const word = sigWord(signo);
  const bits = where.pending.get(ref, word);
  if (signo < 32 && (bits & sigBit(signo)) !== 0) {
    if ((where as unknown) === Group) Group.insisted.or(ref as Ref<"group">, sigBit(signo) & INSISTENT);
    return true;
  }
  const entry = newSigqueue(held, groupOf(where, ref), signo, info);
  if (entry === 0 && signo >= 32 && info[2] !== SI_USER) return false;
  if (entry !== 0) {
    Sigqueue.signo.init(entry, signo);
    for (let n = 0; n < INFO_WORDS; n++) Sigqueue.info.set(entry, n, info[n]!);
    listAddTail(held, where.sigqueue.at(ref), Sigqueue.node.at(entry));
  }
  where.pending.store(ref, word, bits | sigBit(signo));
  return true;
}

/** Removes the signal from the set and returns its siginfo; a further queued one keeps it pending. */
function take<N extends string>(held: Held, where: PendingOf<N>, ref: Ref<N>, signo: number): SigInfo {
  const head = where.sigqueue.at(ref);
  let found: SigInfo | null = null;
  let more = false;
  let next = 0;
  for (let node = listFirst(head); node !== 0; node = next) {
    next = listNext(head, node);
    const entry = Sigqueue.node.owner(node);
    if (Sigqueue.signo.get(entry) !== signo) continue;
    if (found !== null) {
      more = true;
      break;
    }
    found = new Int32Array(INFO_WORDS);
    for (let n = 0; n < INFO_WORDS; n++) found[n] = Sigqueue.info.get(entry, n);
    freeSigqueue(held, groupOf(where, ref), entry);
  }
  if (found !== null && found[2] === SI_TIMER)
    found[5] = timerSignalTaken(held as Held<"lock">, groupOf(where, ref), found[4]!);
  else if (signo === SIGALRM) alarmTaken(groupOf(where, ref));
  if ((where as unknown) === Group && signo <= 32) Group.insisted.and(ref as Ref<"group">, ~sigBit(signo));
  if (!more)
    where.pending.store(ref, sigWord(signo), where.pending.get(ref, sigWord(signo)) & ~sigBit(signo));
  return found ?? infoUser(signo, 0, 0);
}

let timerSignalTaken: (held: Held<"lock">, group: Ref<"group">, id: number) => number = () => 0;
/** Sets what hears that a POSIX timer's signal was taken, and answers the overruns. Group.lock is held. */
export function onTimerSignal(taken: typeof timerSignalTaken): void {
  timerSignalTaken = taken;
}

let alarmTaken: (group: Ref<"group">) => void = () => {};
/** Sets what hears that a SIGALRM was taken. Group.lock is held. */
export function onAlarm(taken: typeof alarmTaken): void {
  alarmTaken = taken;
}

function findTimerSignal<N extends string>(
  where: PendingOf<N>,
  ref: Ref<N>,
  id: number,
): Ref<"sigqueue"> | 0 {
  const head = where.sigqueue.at(ref);
  for (let node = listFirst(head); node !== 0; node = listNext(head, node)) {
    const entry = Sigqueue.node.owner(node);
    if (Sigqueue.info.get(entry, 2) === SI_TIMER && Sigqueue.info.get(entry, 4) === id) return entry;
  }
  return 0;
}

/** The timer was set anew or deleted: the signal of its last expiration is not wanted any more. */
export function dropTimerSignal<N extends string>(
  held: Held,
  where: PendingOf<N>,
  ref: Ref<N>,
  id: number,
): void {
  const entry = findTimerSignal(where, ref, id);
  if (entry === 0) return;
  const signo = Sigqueue.signo.get(entry);
  freeSigqueue(held, groupOf(where, ref), entry);
  const head = where.sigqueue.at(ref);
  for (let node = listFirst(head); node !== 0; node = listNext(head, node))
    if (Sigqueue.signo.get(Sigqueue.node.owner(node)) === signo) return;
  where.pending.store(ref, sigWord(signo), where.pending.get(ref, sigWord(signo)) & ~sigBit(signo));
}

/** Drops every pending signal of the two words `low`, `high`, in one walk through the queue. */
export function flushPending<N extends string>(
  held: Held,
  where: PendingOf<N>,
  ref: Ref<N>,
  low: number,
  high: number,
): void {
  const gone = [where.pending.get(ref, 0) & low, where.pending.get(ref, 1) & high] as const;
  if ((gone[0] | gone[1]) === 0) return;
  const group = groupOf(where, ref);
  const head = where.sigqueue.at(ref);
  let next = 0;
  let alarmIsTimer = false;
  for (let node = listFirst(head); node !== 0; node = next) {
    next = listNext(head, node);
    const entry = Sigqueue.node.owner(node);
    const signo = Sigqueue.signo.get(entry);
    if ((gone[sigWord(signo) as 0 | 1] & sigBit(signo)) === 0) continue;
    const isTimer = Sigqueue.info.get(entry, 2) === SI_TIMER;
    if (signo === SIGALRM) alarmIsTimer = isTimer;
    const id = Sigqueue.info.get(entry, 4);
    freeSigqueue(held, group, entry);
    if (isTimer) timerSignalTaken(held as Held<"lock">, group, id);
  }
  if ((gone[0] & sigBit(SIGALRM)) !== 0 && !alarmIsTimer) alarmTaken(group);
  if ((where as unknown) === Group) Group.insisted.and(ref as Ref<"group">, ~gone[0]);
  for (const [word, bits] of gone.entries())
    if (bits !== 0) where.pending.store(ref, word, where.pending.get(ref, word) & ~bits);
}

/** Siginfos that are freed in less than a millisecond. */
const QUEUED_PART = 2048;

/**
 * The task is about to exit, and nobody will take its signals any more, nor those of its group if it is the last thread: frees a part of
 * what is queued. They stay pending. False when that was not all.
 */
export function dropQueued(task: Ref<"task">): boolean {
  const group = Task.group.get(task);
  if (Group.sigqueued.racy(group) === 0) return true;
  const heads = [Task.sigqueue.at(task)];
  if (Group.running.load(group) === 1) heads.push(Group.sigqueue.at(group));
  const held = Group.lock.lock(group);
  let left = QUEUED_PART;
  for (const head of heads)
    for (let node = listFirst(head); node !== 0 && left > 0; node = listFirst(head), left--)
      freeSigqueue(held, group, Sigqueue.node.owner(node));
  Group.lock.unlock(group);
  return left > 0;
}

/**
 * Takes the next signal of the task that `low`, `high` do not mask (usually its blocked set), its own before its
 * group's. Null when there is none. Group.lock is held.
 */
export function dequeueSignal(held: Held, task: Ref<"task">, low: number, high: number): SigInfo | null {
  let signo = firstSignal(Task.pending.get(task, 0) & ~low, Task.pending.get(task, 1) & ~high);
  if (signo !== 0) return take(held, Task, task, signo);
  const group = Task.group.get(task);
  signo = firstSignal(Group.pending.get(group, 0) & ~low, Group.pending.get(group, 1) & ~high);
  return signo === 0 ? null : take(held, Group, group, signo);
}

/** Whether a signal that the task does not block is pending for it or its group. */
export function hasPending(task: Ref<"task">): boolean {
  const group = Task.group.get(task);
  for (let word = 0; word < 2; word++) {
    const bits = Task.pending.load(task, word) | Group.pending.load(group, word);
    if ((bits & ~Task.blocked.get(task, word)) !== 0) return true;
  }
  return false;
}

/**
 * recalc_sigpending: makes WORK_SIGNAL say whether there is something to deliver, a stop or the end of the group that this thread has
 * not joined yet among it. The task itself calls it, with Group.lock held.
 */
export function recalcPending(task: Ref<"task">): void {
  const joins = (Group.flags.load(Task.group.get(task)) & (GROUP_STOPPED | GROUP_EXITING)) !== 0;
  if (joins || hasPending(task)) Task.work.or(task, WORK_SIGNAL);
  else Task.work.and(task, ~WORK_SIGNAL);
}
