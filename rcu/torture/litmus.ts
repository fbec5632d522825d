/**
 * The litmus test RCU+sync+free on the machine itself: an updater publishes and stamps, and within the same hundred nanoseconds a
 * reader starts a grace period, reports for it and looks. What it finds must outlive its scope. The two have a heap of
 * their own, so that no other thread's grace periods come between, and meet at a barrier for each round.
 *
 * Before it publishes, the updater writes to cold memory: a plain store behind that would stay in the store buffer for some
 * hundred nanoseconds, on x86 too, while the stamp is loaded already.
 */
import {
  arraySet,
  atomic,
  condSynchronizeRcu,
  fixed,
  type GpCookie,
  getStateSynchronizeRcu,
  Heap,
  type HeapHandle,
  owned,
  pollStateSynchronizeRcu,
  type Ref,
  rcu,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  spinlock,
  startPollSynchronizeRcu,
  struct,
  tryAlloc,
  tryAllocArray,
  words,
} from "../index.ts";
import { Random, spin } from "./random.ts";

const Element = struct("torture_litmus_element", { freed: atomic() });
const Pair = struct("torture_litmus", {
  current: rcu("torture_litmus_element"),
  lock: spinlock(),
  /** So that the barrier is in another cache line. */
  pad: words(32),
  /** Times that either thread has come to the barrier, and how many of them sleep there. */
  arrived: atomic(),
  sleepers: atomic(),
  /** The updater's stamp of the last round. */
  stamp: owned(),
  // Before publication.
  first: fixed<Ref<"torture_litmus_element">>(),
  second: fixed<Ref<"torture_litmus_element">>(),
  journal: fixed<Ref<"array">>(),
});
type PairRef = Ref<"torture_litmus">;

/** The words of the pair's heap, and where the pair is in it. */
export interface LitmusHandle extends HeapHandle {
  readonly pair: number;
  /** Length of the pauses between two bursts of rounds, in which other threads have the cores. */
  readonly pauseMs: number;
}

/** What the pair tells the rest of the run, which is in another heap. */
export interface LitmusBoard {
  stopped(): boolean;
  round(): void;
  failed(): void;
}

/** More than the caches of a core hold. */
const JOURNAL_WORDS = 4 << 20;
const MAX_DELAY = 1500;
/** Which thread came last to the barrier, if neither slept there. */
const FIRST = 0;
const LAST = 1;
const SLEPT = 2;
const STOPPED = 3;
/** Turns of `spin` that the updater waits, so that the reader can be the earlier one too. */
const LEAD = 200;
/** Cold lines written before each publication. */
const LINES = 12;
const journalWord = (entry: number, word: number): number => (entry + word * 1040) & (JOURNAL_WORDS - 1);
/** Length of a burst of rounds. */
const BURST_MS = 20;
/** Looks at the barrier before sleeping: the rounds that count are those in which both threads have a core. */
const SPINS = 20_000;

/** Makes the pair's heap; this thread does not stay in it. */
export function createLitmus(pauseMs: number): LitmusHandle {
  const heap = Heap.create({ bytes: 40 << 20 });
  const pair = tryAlloc(Pair) as PairRef;
  const [first, second] = [tryAlloc(Element), tryAlloc(Element)] as Ref<"torture_litmus_element">[];
  Pair.first.init(pair, first!);
  Pair.second.init(pair, second!);
  Pair.current.init(pair, first!);
  Pair.journal.init(pair, tryAllocArray(JOURNAL_WORDS) as Ref<"array">);
  heap.detach();
  return { ...heap.handle(), pair, pauseMs };
}

export function litmusUpdater(litmus: LitmusHandle, seed: number, board: LitmusBoard): void {
  const { pair: at, pauseMs } = litmus;
  const heap = Heap.attach(litmus);
  const pair = at as PairRef;
  const random = new Random(seed);
  const journal = Pair.journal.get(pair);
  let burst = performance.now();
  for (let round = 1; ; round++) {
    const entry = random.below(JOURNAL_WORDS);
    // Other lines of the same pages: the addresses are known by then, the lines are not there.
    for (let word = 0; word < LINES; word++) arraySet(journal, journalWord(entry, word) ^ 512, round);
    if (meet(pair, round, board) === STOPPED) break;
    const [fresh, old] = round & 1 ? [Pair.second, Pair.first] : [Pair.first, Pair.second];
    update(pair, fresh.get(pair), old.get(pair), journal, entry);
    board.round();
    if ((round & 63) !== 0 || performance.now() - burst < BURST_MS) continue;
    rcuIdleEnter();
    Pair.sleepers.wait(pair, Pair.sleepers.load(pair), pauseMs);
    rcuIdleExit();
    burst = performance.now();
  }
  heap.detach();
}

function update(
  pair: PairRef,
  fresh: Ref<"torture_litmus_element">,
  old: Ref<"torture_litmus_element">,
  journal: Ref<"array">,
  entry: number,
): void {
  Element.freed.store(fresh, 0);
  spin(LEAD);
  const held = Pair.lock.lock(pair);
  for (let word = 0; word < LINES; word++) arraySet(journal, journalWord(entry, word), fresh);
  Pair.current.assign(held, pair, fresh); // [A]
  const cookie = getStateSynchronizeRcu(); // [B]
  Pair.lock.unlock(pair);
  const started = startPollSynchronizeRcu();
  finish(cookie);
  Element.freed.store(old, 1);
  finish(started);
  Pair.stamp.set(pair, cookie);
}

/** Waits until the grace period is over: none shall be in progress when the next round begins. */
function finish(cookie: GpCookie): void {
  for (let n = 0; n < SPINS && !pollStateSynchronizeRcu(cookie); n++) rcuQuiescent();
  condSynchronizeRcu(cookie);
}

export function litmusReader(litmus: LitmusHandle, seed: number, board: LitmusBoard): void {
  const heap = Heap.attach(litmus);
  const pair = litmus.pair as PairRef;
  const random = new Random(seed);
  /** How long the updater takes to its stamp, in turns of `spin`, by who came last to the barrier. */
  const delays = [LEAD, LEAD, LEAD];
  let cookie = 0 as GpCookie;
  let last = 0;
  for (let round = 1; ; round++) {
    const met = meet(pair, round, board);
    if (met === STOPPED) break;
    // Its stamp of the last round tells who was first: the reader aims at the same moment.
    const step = ((Pair.stamp.get(pair) - cookie) | 0) > 0 ? 4 : -4;
    delays[last] = Math.min(MAX_DELAY, Math.max(0, delays[last]! + step));
    last = met;
    spin(delays[last]! + random.below(16));
    cookie = startPollSynchronizeRcu(); // [C]
    rcuQuiescent(); // [D] [E]
    const scope = rcuReadLock();
    const element = Pair.current.deref(scope, pair);
    for (let n = 0; n < 150 && element !== 0; n++) {
      if (Element.freed.load(element) === 0) continue;
      board.failed();
      break;
    }
    rcuReadUnlock();
    finish(cookie);
  }
  heap.detach();
}

/** Waits for the other thread; says who was there first, or that the run is stopped. */
function meet(pair: PairRef, round: number, board: LitmusBoard): number {
  const goal = 2 * round;
  if (Pair.arrived.add(pair, 1) + 1 === goal) {
    if (board.stopped()) return STOPPED;
    if (Pair.sleepers.load(pair) === 0) return LAST;
    Pair.arrived.notify(pair);
    return SLEPT;
  }
  for (let n = 0; n < SPINS; n++) {
    if (Pair.arrived.load(pair) >= goal) return board.stopped() ? STOPPED : FIRST;
    rcuQuiescent();
  }
  Pair.sleepers.add(pair, 1);
  rcuIdleEnter();
  while (!board.stopped()) {
    const seen = Pair.arrived.load(pair);
    if (seen >= goal) break;
    Pair.arrived.wait(pair, seen, 20);
  }
  rcuIdleExit();
  Pair.sleepers.add(pair, -1);
  return board.stopped() ? STOPPED : SLEPT;
}
