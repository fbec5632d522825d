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
import { arrayLength, type Held, listFirst, listNext, type Ref } from "../../rcu/index.ts";
import { File } from "../fs/file.ts";
import { onMemoryShort } from "../mm/reclaim.ts";
import { setNeedResched } from "../sched/cpus.ts";
import { nowNs, thisCpu } from "../sched/current.ts";
import { onIdleAndTick } from "../sched/idle.ts";
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
  if (decided) for (const file of garbage) eachMessage(sockOf(file), run, (message) => take(message, loot));
  Inflight.state.store(ref, GC_IDLE);
  Inflight.lock.unlock(ref);
  if (garbage.length > 0 && !decided) Inflight.events.add(ref, 1); // Another time.
  for (const files of loot) dropFiles(files);
  return decided ? garbage.length : 0;
}

function take(message: Ref<"sock_message">, loot: Files[]): void {
  const files = Message.files.get(message);
  if (files === 0) return;
  Message.files.init(message, 0);
  loot.push(files);
}

/** Files of candidates that nobody can reach. Inflight.lock is held. */
function findGarbage(ref: Ref<"inflight">, run: number): F[] {
  const candidates: F[] = [];
  const numbers = new Map<F, number>();
  const head = Inflight.sockets.at(ref);
  for (let node = listFirst(head); node !== 0; node = listNext(head, node)) {
    const file = File.inflightNode.owner(node);
    if (File.refcount.load(file) !== File.inflight.load(file)) continue;
    numbers.set(file, candidates.length);
    candidates.push(file);
  }
  if (candidates.length === 0) return candidates;
  const left = Int32Array.from(candidates, (file) => File.inflight.load(file));
  const holds = candidates.map((file) => heldBy(sockOf(file), run, numbers));
  for (const targets of holds) for (const target of targets) left[target]!--;
  // What is reached from outside is; so is what it holds.
  const alive = new Uint8Array(candidates.length);
  const open: number[] = [];
  for (const [n, count] of left.entries()) if (count > 0) open.push(n);
  for (let n = open.pop(); n !== undefined; n = open.pop()) {
    if (alive[n] !== 0) continue;
    alive[n] = 1;
    for (const target of holds[n]!) open.push(target);
  }
  return candidates.filter((_, n) => alive[n] === 0);
}

/** The candidates that fly in the socket's queue, by number; one several times if it flies several times. */
function heldBy(sock: S, run: number, numbers: Map<F, number>): number[] {
  const targets: number[] = [];
  eachMessage(sock, run, (message) => {
    const files = Message.files.get(message);
    if (files === 0 || arrayLength(files) === 0) return;
    for (let n = 0; n < flightLength(files); n++) {
      const number = numbers.get(flightFile(files, n) as F);
      if (number !== undefined) targets.push(number);
    }
  });
  return targets;
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
