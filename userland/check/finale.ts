/**
 * What comes after the threads: on the memory that they left, another thread reaps them, waits for all callbacks, and runs the
 * scenario's check. It has that memory for itself, so nothing of it is a scheduling point.
 */
import type { HeapHandle } from "../../rcu/index.ts";
import { CheckError, type Scenario, type Thread } from "./inside/check.ts";
import { applied, type OpKind } from "./model/access.ts";
import type { Runner } from "./model/globals.ts";
import type { Library } from "./model/instance.ts";
import type { Seat } from "./model/seat.ts";

/** More accesses than any check makes. */
const MOST = 5_000_000;

/** Accesses over a memory that stays as it is. */
export class Finale implements Runner {
  readonly #memory: (at: number) => number;
  readonly #turns: (() => void)[] = [];
  readonly words = new Map<number, number>();
  #accesses = 0;

  constructor(memory: (at: number) => number) {
    this.#memory = memory;
  }
  read(at: number): number {
    return this.words.get(at) ?? this.#memory(at);
  }
  access(kind: OpKind, at: number, a: number, b: number): number {
    if (++this.#accesses > MOST) throw new Error(`more than ${MOST} accesses: it runs in circles`);
    const old = this.read(at);
    if (kind === "wait") {
      if (old !== (a | 0)) return 1;
      throw new Error("waits for ever: all threads have ended");
    }
    const fresh = applied({ kind, at, a, b }, old);
    if (fresh !== undefined) this.words.set(at, fresh);
    return kind === "notify" ? 0 : old;
  }
  now(): number {
    return 1;
  }
  later(turn: () => void): void {
    this.#turns.push(turn);
  }
  print(): void {}
  endTurn(): void {
    for (const turn of this.#turns.splice(0)) turn();
  }
}

/** What the check and `observe` came to. */
export interface Finished {
  /** What the check threw. */
  readonly error: unknown;
  readonly observed: unknown;
  /** What the scenario made the threads share, as far as it refers to objects. */
  readonly finale: Finale;
}

/** Runs the end of a scenario on the host's copy. `slots`: of the threads that have ended. */
export function finish(
  host: Seat,
  handle: HeapHandle,
  scenario: Scenario,
  shared: unknown,
  slots: readonly number[],
  results: Readonly<Record<string, unknown>>,
  memory: (at: number) => number,
): Finished {
  const finale = new Finale(memory);
  let observed: unknown;
  try {
    host.run(finale, () => {
      const { library } = host;
      const heap = library.Heap.attach(handle);
      for (const slot of slots) heap.reap(slot);
      settle(library, finale);
      const thread = threadOf("check");
      const copy = structuredClone(shared);
      const handles = scenario.open === undefined ? copy : scenario.open(copy, thread);
      scenario.check?.(handles, results, thread);
      observed = scenario.observe?.(handles, thread);
      if (library.rcuNesting() > 0) throw new Error("check leaves a read scope open");
      settle(library, finale);
    });
    return { error: null, observed, finale };
  } catch (error) {
    return { error: error ?? new Error(String(error)), observed, finale };
  }
}

/** All callbacks and releases run. */
function settle(library: Library, finale: Finale): void {
  library.rcuQuiescent();
  for (let rounds = 0; rounds < 8; rounds++) {
    library.rcuBarrier();
    library.drainReleases(0 as never);
    finale.endTurn();
    if (library.pendingOwn() === 0 && !library.releasesPending()) return;
  }
}

const threadOf = (name: string): Thread => ({
  name,
  get domain(): never {
    throw new CheckError("ERR_CHECK_THREAD", "the check has no domain: use rcuReadLock and rcuReadUnlock");
  },
  assume(condition) {
    if (!condition) throw new Error("assume: it does not hold, and all threads have ended");
  },
  turn() {},
});
