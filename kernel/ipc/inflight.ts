/**
 * Descriptors in flight: files that SCM_RIGHTS has sent and nobody has received, unix(7). They travel in an array that begins
 * with two words: whether they are counted, and for which uid.
 *
 * Counted are those of each user, for RLIMIT_NOFILE (ETOOMANYREFS), and the flying counts of each socket's file, for the collector of
 * cycles (unix-gc.ts). Lock order: Inflight.lock -> Sock.lock; whoever holds a Sock.lock may not take this one.
 */
import {
  arrayGet,
  arrayLength,
  arraySet,
  atomic,
  fixed,
  free,
  freeArray,
  type Held,
  listAddTail,
  listDelInit,
  listNode,
  locked,
  owned,
  type Ptr,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  tryAllocArray,
  wide,
} from "../../rcu/index.ts";
import { File, fput, onCountDropped } from "../fs/file.ts";
import { FOPS } from "../fs/ops.ts";
import { kernelGlobal } from "../global.ts";
import { CAP_SYS_ADMIN, CAP_SYS_RESOURCE, capable, credOf } from "../task/cred.ts";
import { rlimit } from "../task/rlimit.ts";
import { Cred } from "../task/task.ts";
import { ENOMEM, ETOOMANYREFS } from "../uapi/errno.ts";
import { RLIMIT_NOFILE } from "../uapi/resource.ts";

type Files = Ref<"array">;
type F = Ref<"file">;

/** Inflight.state. */
export const GC_IDLE = 0;
export const GC_RUNNING = 1;
/** Somebody took a file out of a queue that had been scanned. */
export const GC_ABORTED = 2;
/** What is garbage is settled. */
export const GC_DECIDED = 3;

export const Inflight = struct("inflight", {
  lock: spinlock(33),
  /** Files of sockets that are in flight (File.inflightNode), and how many. */
  sockets: listNode(),
  count: locked("lock"),
  /** Buckets of InflightUser, by uid. */
  users: fixed<Ref<"array">>(),
  // Any CPU, any time.
  /** How often a socket's file that is in flight has lost a count since the last collection. */
  events: atomic(),
  /** A collection is wanted now: memory is short. */
  urgent: atomic(),
  /** GC_*, and the number of the collection. */
  state: atomic(),
  run: atomic(),
  /** Monotonic time of the last collection. */
  last: wide(),
});
/** Who has descriptors in flight. */
export const InflightUser = struct("inflight_user", {
  uid: fixed(),
  count: locked("lock"),
  next: owned<Ptr<"inflight_user">>(),
});

const BUCKETS = 64;
/** Words of an array before its files. */
const HEAD = 2;
const state = kernelGlobal<Ref<"inflight">>("descriptors in flight");
export const inflight = (): Ref<"inflight"> => state.get();

/** Once per machine, at boot. */
export function inflightInit(): void {
  const ref = tryAlloc(Inflight);
  const users = tryAllocArray(BUCKETS);
  if (ref === 0 || users === 0) throw new Error("no memory for descriptors in flight");
  Inflight.sockets.init(ref);
  Inflight.users.init(ref, users);
  state.init(ref);
}

/** An array for so many files, none in flight; 0 when memory is short. */
export const newFlight = (count: number): Files | 0 => tryAllocArray(HEAD + count);
export const flightLength = (files: Files): number => arrayLength(files) - HEAD;
export const flightFile = (files: Files, n: number): F | 0 => arrayGet(files, HEAD + n) as F | 0;
export const setFlightFile = (files: Files, n: number, file: F): void => arraySet(files, HEAD + n, file);

const isSocket = (file: F): boolean => File.fops.get(file) === FOPS.SOCKET;

/** Counts the files as in flight, for the task's user: 0, -ETOOMANYREFS, -ENOMEM. */
export function takeOff(task: Ref<"task">, files: Files): number {
  const ref = state.get();
  const uid = Cred.uid.get(credOf(task)) | 0;
  const limit = rlimit(task, RLIMIT_NOFILE);
  const held = Inflight.lock.lock(ref);
  const user = userOf(held, ref, uid);
  let error = user === 0 ? -ENOMEM : 0;
  if (user !== 0 && InflightUser.count.get(held, user) > limit && !mayExceed(task)) error = -ETOOMANYREFS;
  if (user !== 0 && error === 0) {
    arraySet(files, 0, 1);
    arraySet(files, 1, uid);
    InflightUser.count.set(held, user, InflightUser.count.get(held, user) + flightLength(files));
    for (let n = 0; n < flightLength(files); n++) {
      const file = flightFile(files, n);
      if (file !== 0 && isSocket(file) && File.inflight.add(file, 1) === 0) {
        listAddTail(held, Inflight.sockets.at(ref), File.inflightNode.at(file));
        Inflight.count.set(held, ref, Inflight.count.get(held, ref) + 1);
      }
    }
  }
  if (user !== 0) forgetIdle(held, ref, user);
  Inflight.lock.unlock(ref);
  return error;
}

const mayExceed = (task: Ref<"task">): boolean =>
  capable(task, CAP_SYS_RESOURCE) || capable(task, CAP_SYS_ADMIN);

/** They have arrived: not in flight any more, their counts are the caller's. */
export function land(files: Files): void {
  if (arrayGet(files, 0) === 0) return;
  arraySet(files, 0, 0);
  const ref = state.get();
  const held = Inflight.lock.lock(ref);
  const user = userOf(held, ref, arrayGet(files, 1));
  if (user !== 0) {
    InflightUser.count.set(held, user, Math.max(0, InflightUser.count.get(held, user) - flightLength(files)));
    forgetIdle(held, ref, user);
  }
  for (let n = 0; n < flightLength(files); n++) {
    const file = flightFile(files, n);
    if (file === 0 || !isSocket(file) || File.inflight.add(file, -1) !== 1) continue;
    listDelInit(held, File.inflightNode.at(file));
    Inflight.count.set(held, ref, Inflight.count.get(held, ref) - 1);
  }
  Inflight.lock.unlock(ref);
}

/** Closes files that nobody received. Not with a Sock.lock held. */
export function dropFiles(files: Files): void {
  land(files);
  for (let n = 0; n < flightLength(files); n++) {
    const file = flightFile(files, n);
    if (file !== 0) fput(file);
  }
  freeArray(files);
}

/** The user's record, made when there is none; 0 when memory is short. */
function userOf(held: Held<"lock">, ref: Ref<"inflight">, uid: number): Ptr<"inflight_user"> {
  const buckets = Inflight.users.get(ref);
  const bucket = uid & (BUCKETS - 1);
  const first = arrayGet(buckets, bucket) as Ptr<"inflight_user">;
  for (let user = first; user !== 0; user = InflightUser.next.get(user))
    if (InflightUser.uid.get(user) === uid) return user;
  const user = tryAlloc(InflightUser);
  if (user === 0) return 0;
  InflightUser.uid.init(user, uid);
  InflightUser.count.set(held, user, 0);
  InflightUser.next.set(user, first);
  arraySet(buckets, bucket, user);
  return user;
}

/** Frees the record of a user who has nothing in flight: it is the first of its bucket, or is found. */
function forgetIdle(held: Held<"lock">, ref: Ref<"inflight">, user: Ref<"inflight_user">): void {
  if (InflightUser.count.get(held, user) !== 0) return;
  const buckets = Inflight.users.get(ref);
  const bucket = InflightUser.uid.get(user) & (BUCKETS - 1);
  const next = InflightUser.next.get(user);
  let before = arrayGet(buckets, bucket) as Ref<"inflight_user">;
  if (before === user) arraySet(buckets, bucket, next);
  else {
    while (InflightUser.next.get(before) !== user)
      before = InflightUser.next.get(before) as Ref<"inflight_user">;
    InflightUser.next.set(before, next);
  }
  free(InflightUser, user);
}

/**
 * The caller holds Sock.lock of a socket that collection `run` has scanned (Sock.gcRun), and takes a file or a connection out of it:
 * whether it may. The collection gives up then; false when it has decided already that nobody can reach the socket: the caller got at
 * it by a descriptor that another thread has closed meanwhile.
 */
export function mayTake(run: number): boolean {
  const ref = state.get();
  if (run === 0 || Inflight.run.load(ref) !== run) return true;
  return Inflight.state.cas(ref, GC_RUNNING, GC_ABORTED) || Inflight.state.load(ref) !== GC_DECIDED;
}

// Only now may nobody but those that are in flight themselves have it.
onCountDropped((file) => {
  if (isSocket(file)) Inflight.events.add(state.get(), 1);
});
