/**
 * Where a collection is changed by a test while workers read it. The test's thread makes a collection, the readers open it and
 * look at it without pause (looks.ts), and say what they saw that must not be: the next command of the test then fails,
 * so that fast-check shrinks the commands and prints the seed. One reader dereferences plainly, one by Atomics.load.
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import {
  atomic,
  fixed,
  freeString,
  Heap,
  liveObjects,
  type Ref,
  rcuBarrier,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLockHeld,
  rcuReadUnlock,
  rcuRunCallbacks,
  stringText,
  struct,
  tryAlloc,
  tryAllocString,
} from "../../../rcu/index.ts";
import { Item } from "./values.ts";

export const Board = struct("property board", {
  /** Number of the run whose collection the readers look at; negative: they leave it; STOP: they end. */
  run: atomic(),
  /** Readers that have opened, or left, the collection. */
  acks: atomic(),
  /** Newest version that was published or is about to be. */
  version: atomic(),
  /** What a reader saw that must not be: a string. */
  failure: atomic(),
  /** While this is not 0, the key in its low bits is only being updated: nobody may miss it. */
  must: atomic(),
  /** Looks taken, by all readers. */
  looks: atomic(),
  /** Which look (a name), and its collections: constant during a run. */
  look: fixed<Ref<"string">>(),
  at: fixed(),
  at2: fixed(),
});
export type BoardRef = Ref<"property board">;
export const STOP = 0x7fffffff;

export interface ReaderData {
  readonly buffer: SharedArrayBuffer;
  readonly board: BoardRef;
}

export class Arena {
  readonly heap: Heap;
  readonly board: BoardRef;
  readonly #workers: Worker[] = [];
  #run = 0;

  private constructor(debug: boolean) {
    this.heap = Heap.create({ bytes: 16 << 20, debug });
    this.board = tryAlloc(Board) as BoardRef;
  }

  static async open(debug: boolean): Promise<Arena> {
    const arena = new Arena(debug);
    const workerData: ReaderData = { buffer: arena.heap.buffer, board: arena.board };
    for (const strict of ["0", "1"])
      arena.#workers.push(
        new Worker(new URL("./reader.ts", import.meta.url), {
          workerData,
          env: { ...process.env, STERNIX_RCU_STRICT: strict, STERNIX_PROVE_RCU: strict },
        }),
      );
    await Promise.all(arena.#workers.map((worker) => once(worker, "message")));
    return arena;
  }

  async close(): Promise<void> {
    const ends = this.#workers.map((worker) => once(worker, "exit"));
    this.#tell(STOP);
    await Promise.all(ends);
    this.heap.detach();
  }

  #tell(run: number): void {
    Board.acks.store(this.board, 0);
    Board.run.store(this.board, run);
    Board.run.notify(this.board);
  }
  #allAcknowledge(): void {
    rcuIdleEnter();
    const all = this.#workers.length;
    for (let acks = 0; acks < all; acks = Board.acks.load(this.board))
      if (!Board.acks.wait(this.board, acks, 20_000)) throw new Error("a reader does not answer");
    rcuIdleExit();
  }

  /** Runs `body` while the readers look at the collections, then takes them away from the readers. */
  during(look: string, at: number, at2: number, body: () => void): void {
    const name = tryAllocString(look) as Ref<"string">;
    Board.failure.store(this.board, 0);
    Board.must.store(this.board, 0);
    Board.look.init(this.board, name);
    Board.at.init(this.board, at);
    Board.at2.init(this.board, at2);
    this.#tell(++this.#run);
    this.#allAcknowledge();
    try {
      body();
    } finally {
      this.#tell(-this.#run);
      this.#allAcknowledge();
      freeString(name);
    }
    this.verify();
  }

  /** A version that nobody has used, announced to the readers. */
  next(): number {
    return Board.version.add(this.board, 1) + 1;
  }
  /** The key stays while `body` runs. */
  staying(key: number, body: () => void): void {
    Board.must.store(this.board, this.next() * 1024 + key);
    body();
    Board.must.store(this.board, 0);
  }

  /** Throws what a reader complained about. */
  verify(): void {
    const failure = Board.failure.load(this.board);
    if (failure !== 0) throw new Error(`a reader saw ${stringText(failure as Ref<"string">)}`);
  }
  pause(): void {
    rcuQuiescent();
    rcuRunCallbacks();
  }
  /** After everything was destroyed: no object is left. */
  settle(): void {
    for (let n = 0; n < 3; n++) rcuBarrier();
    const left = liveObjects(Item);
    if (left !== 0) throw new Error(`${left} objects were never freed`);
  }
}

/** A command: `can` says whether it makes sense for the model, `act` changes model and collection and compares them. */
export class Step<M extends object, R extends { readonly arena: Arena }> implements fc.Command<M, R> {
  readonly #name: string;
  readonly #act: (model: M, real: R) => void;
  readonly #can: (model: M) => boolean;
  constructor(name: string, act: (model: M, real: R) => void, can: (model: M) => boolean = () => true) {
    this.#name = name;
    this.#act = act;
    this.#can = can;
  }
  check(model: Readonly<M>): boolean {
    return this.#can(model);
  }
  run(model: M, real: R): void {
    try {
      this.#act(model, real);
    } finally {
      while (rcuReadLockHeld()) rcuReadUnlock(); // Left open by an assertion that failed.
    }
    real.arena.verify();
  }
  toString(): string {
    return this.#name;
  }
}

/** The commands that every collection knows. */
export const pause = <M extends object, R extends { readonly arena: Arena }>(): Step<M, R> =>
  new Step<M, R>("pause", (_model, { arena }) => arena.pause());

export const assertEqual = (actual: unknown, expected: unknown, what: string): void => {
  if (!Object.is(actual, expected)) throw new Error(`${what}: ${String(actual)}, not ${String(expected)}`);
};

/** Asserts a property of lists of commands; what fails is shrunk, and the seed printed. */
export function holds<M extends object, R extends { readonly arena: Arena }>(
  steps: fc.Arbitrary<Step<M, R>>[],
  within: (body: (model: M, real: R) => void) => void,
  numRuns = 8,
): void {
  fc.assert(
    fc.property(fc.commands(steps, { maxCommands: 40, size: "max" }), (commands) => {
      within((model, real) => fc.modelRun(() => ({ model, real }), commands));
    }),
    { numRuns, includeErrorInReport: true },
  );
}

/** An arena with a plain heap, whose cells are used again at once, and one with a debug heap, which looks at every access. */
export async function openArenas(): Promise<{
  each(body: (arena: Arena) => void): void;
  close(): Promise<void>;
}> {
  const arenas = [await Arena.open(false), await Arena.open(true)];
  return {
    each(body) {
      for (const arena of arenas) {
        arena.heap.use();
        body(arena);
        arena.settle();
      }
    },
    async close() {
      for (const arena of arenas) {
        arena.heap.use();
        await arena.close();
      }
    },
  };
}
