/**
 * The collector of unix sockets that hold each other in flight, and that nobody else can reach.
 *
 * A socket whose file has no counts but flying ones is a candidate: it lives only as long as a queue that somebody can read holds it.
 * Counts are compared, and queues scanned, with Inflight.lock held: without it no file begins or ends to fly. From each candidate's
 * flying counts those are subtracted that fly in the queues of candidates. What has some left flies in a queue of somebody else, and
 * lives; so does all that can be reached from it. The rest is garbage: its queues are emptied, and what flew in them is closed.
 *
 * A count that a file gets needs somebody who has one. A thread may still use a file that another thread has closed under it
 * (fdtable.ts), and take something out of a queue that is being judged: it says so (mayTake), with the lock of the queue held. Either that
 * comes before the decision, which then is put off, or it gets nothing. A socket that listens holds what waits to be accepted.
 */
import {
  arrayGet,
  arrayLength,
  arraySet,
  freeArray,
  type Held,
  listFirst,
  listNext,
  type Ref,
  tryAllocArray,
} from "../../rcu/index.ts";
import { File } from "../fs/file.ts";
import { onMemoryShort } from "../mm/reclaim.ts";
import { setNeedResched } from "../sched/cpus.ts";
import { nowNs, thisCpu } from "../sched/current.ts";
import { onIdleAndTick } from "../sched/idle.ts";
import { defineLater, LATER_FLIGHTS, laterByAnyone } from "../sched/later.ts";
import {
  dropFiles,
  flightFile,
  flightLength,
  GC_DECIDED,
  GC_IDLE,
  GC_RUNNING,
  Inflight,
  inflight,
} from "./inflight.ts";
import { Message, type S, Sock } from "./sock.ts";
import { sockOf } from "./sock-connect.ts";

type F = Ref<"file">;
type Files = Ref<"array">;

/** A collection costs time for each socket in flight: so many of them for each event that may have made garbage... */
const SOCKETS_PER_EVENT = 8;
/** ...or so much time since the last one. */
const LATEST_NS = 1_000_000_000;

/** Collects if there may be something worth it. At a safe point, no lock held. */
function collectIfDue(): void {
  const ref = inflight();
  const events = Inflight.events.peek(ref);
  if (events === 0) return;
  const worth = events * SOCKETS_PER_EVENT >= Inflight.count.racy(ref) || Inflight.urgent.load(ref) !== 0;
  if (worth || nowNs() - Inflight.last.get(ref) >= LATEST_NS) unixGc();
}
onIdleAndTick(collectIfDue);
onMemoryShort(() => {
  if (Inflight.events.peek(inflight()) === 0) return;
  Inflight.urgent.store(inflight(), 1);
  if (thisCpu() >= 0) setNeedResched(thisCpu());
});

/** Collects; how many sockets were garbage. */
export function unixGc(): number {
  const ref = inflight();
  Inflight.lock.lock(ref);
  const run = (Inflight.run.load(ref) + 1) | 0 || 1;
  Inflight.run.store(ref, run);
  Inflight.state.store(ref, GC_RUNNING);
  Inflight.events.store(ref, 0);
  Inflight.urgent.store(ref, 0);
  Inflight.last.set(ref, nowNs());
  const garbage = findGarbage(ref, run);
  const decided = garbage.length > 0 && Inflight.state.cas(ref, GC_RUNNING, GC_DECIDED);
  const loot: Files[] = [];
  const collect = (message: Ref<"sock_message">): void => take(message, loot);
  if (decided) for (const file of garbage) eachMessage(sockOf(file), run, collect);
  Inflight.state.store(ref, GC_IDLE);
  Inflight.lock.unlock(ref);
  if (garbage.length > 0 && !decided) Inflight.events.add(ref, 1); // Another time.
  dropLoot(loot);
  return decided ? garbage.length : 0;
}

/** Messages whose files are closed in one part: what that releases is done at the next safe point. */
const DROP_PART = 128;

/** Closes what flew with garbage: in parts if it is much. */
function dropLoot(loot: readonly Files[]): void {
  const list = loot.length > DROP_PART ? tryAllocArray(loot.length) : 0;
  if (list === 0) {
    for (const files of loot) dropFiles(files);
    return;
  }
  for (const [n, files] of loot.entries()) arraySet(list, n, files);
  laterByAnyone(LATER_FLIGHTS, list);
}
defineLater(LATER_FLIGHTS, (arg, at) => {
  const list = arg as Files;
  const end = Math.min(arrayLength(list), at + DROP_PART);
  for (let n = at; n < end; n++) dropFiles(arrayGet(list, n) as Files);
  if (end < arrayLength(list)) return end;
  freeArray(list);
  return 0;
});

function take(message: Ref<"sock_message">, loot: Files[]): void {
  const files = Message.files.get(message);
  if (files === 0) return;
  Message.files.init(message, 0);
  loot.push(files);
}

// Of the collection in progress on this CPU. Typed arrays: there may be tens of thousands of sockets, and all of this is one piece.

/** The candidates; the number of one is File.gcNumber less 1. */
let candidates = new Int32Array(64);
let count = 0;
/** Flying counts of each that no candidate's queue holds. */
let left = new Int32Array(64);
/** Numbers of the candidates in the queue of each: those of candidate n are at [starts[n], starts[n + 1]). */
let targets = new Int32Array(64);
let starts = new Int32Array(65);
let found = 0;

function room(array: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  if (length <= array.length) return array;
  const larger = new Int32Array(Math.max(length, 2 * array.length));
  larger.set(array);
  return larger;
}

/** Files of candidates that nobody can reach. Inflight.lock is held. */
function findGarbage(ref: Ref<"inflight">, run: number): F[] {
  findCandidates(ref);
  starts = room(starts, count + 1);
  found = 0;
  for (let n = 0; n < count; n++) {
    starts[n] = found;
    eachMessage(sockOf(candidates[n] as F), run, noteTargets);
  }
  starts[count] = found;
  for (let n = 0; n < found; n++) left[targets[n]!]!--;
  // What is reached from outside is; so is what it holds.
  const open: number[] = [];
  for (let n = 0; n < count; n++) if (left[n]! > 0) open.push(n);
  const ALIVE = -1;
  for (let n = open.pop(); n !== undefined; n = open.pop()) {
    if (left[n] === ALIVE) continue;
    left[n] = ALIVE;
    for (let at = starts[n]!; at < starts[n + 1]!; at++)
      if (left[targets[at]!] !== ALIVE) open.push(targets[at]!);
  }
  const garbage: F[] = [];
  for (let n = 0; n < count; n++) if (left[n] !== ALIVE) garbage.push(candidates[n] as F);
  return garbage;
}

function findCandidates(ref: Ref<"inflight">): void {
  count = 0;
  const head = Inflight.sockets.at(ref);
  for (let node = listFirst(head); node !== 0; node = listNext(head, node)) {
    const file = File.inflightNode.owner(node);
    const flying = File.inflight.load(file);
    if (File.refcount.load(file) !== flying) continue;
    candidates = room(candidates, count + 1);
    left = room(left, count + 1);
    candidates[count] = file;
    left[count] = flying;
    File.gcNumber.set(file, ++count);
  }
}

/** The candidates that fly with the message; one several times if it flies several times. */
function noteTargets(message: Ref<"sock_message">): void {
  const files = Message.files.get(message);
  if (files === 0 || arrayLength(files) === 0) return;
  for (let n = 0; n < flightLength(files); n++) {
    const file = flightFile(files, n);
    // A number of an earlier collection is another one's by now, or nobody's.
    const number = file === 0 ? -1 : File.gcNumber.get(file) - 1;
    if (number < 0 || number >= count || candidates[number] !== file) continue;
    targets = room(targets, found + 1);
    targets[found++] = number;
  }
}

/** Marks the socket as scanned; visits its messages, and those of connections that wait to be accepted. */
function eachMessage(sock: S, run: number, visit: (message: Ref<"sock_message">) => void): void {
  const held = Sock.lock.lock(sock);
  Sock.gcRun.set(held, sock, run);
  visitQueue(held, sock, visit);
  for (
    let waiting = Sock.firstPending.get(held, sock);
    waiting !== 0;
    waiting = Sock.nextPending.get(waiting)
  ) {
    const inner = Sock.lock.lockNested(waiting);
    visitQueue(inner, waiting, visit);
    Sock.lock.unlock(waiting);
  }
  Sock.lock.unlock(sock);
}

function visitQueue(held: Held<"lock">, sock: S, visit: (message: Ref<"sock_message">) => void): void {
  for (let message = Sock.firstMessage.get(held, sock); message !== 0; message = Message.next.get(message))
    visit(message);
}
