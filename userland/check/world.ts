/** A user's scenario as the engine explores it. */
import type { HeapHandle, RcuDomain } from "../../rcu/index.ts";
import * as layout from "../../rcu/layout.ts";
import { type Finished, finish } from "./finale.ts";
import { CheckError, type Scenario, type Thread } from "./inside/check.ts";
import { Reachable } from "./leaks.ts";
import { World } from "./model/checker.ts";
import type { Wrong } from "./model/explore.ts";
import type { Code, Library } from "./model/instance.ts";
import type { Body, Cpu, End } from "./model/program.ts";
import type { Cast } from "./model/scenario.ts";

const { HEADER } = layout;

/** What runs, for who watches: the top level of a module, the setup, the checker (0), the n-th thread, the check. */
export const LOADING = -2;
export const SETUP = -1;
export const CHECK = 100;

const HEAP_BYTES = 8 << 20;

/** What a run came to: the threads' results and what the scenario observes, as text. */
export type Outcome = string;

/** One scenario, with its world. */
export class Subject {
  readonly scenario: Scenario;
  readonly names: readonly string[];
  readonly outcomes = new Set<Outcome>();
  world!: World;
  /** What the last violation threw. */
  thrown: unknown = null;
  /** Outcomes of the threads one after another; null: any outcome will do. */
  #serial: Map<Outcome, readonly number[]> | null = null;
  #learning = false;
  readonly #pick: (module: unknown) => Scenario;
  #watch: (what: number) => void = () => {};
  #handle!: HeapHandle;
  #shared: unknown;
  #reachable: Reachable | null = null;

  private constructor(scenario: Scenario, pick: (module: unknown) => Scenario) {
    this.#pick = pick;
    this.scenario = scenario;
    this.names = Object.keys(scenario.threads);
  }

  /** `pick` finds the scenario in a copy of the module. */
  static async make(
    code: Code,
    scenario: Scenario,
    name: string,
    pick: (module: unknown) => Scenario,
    watch: (what: number) => void,
  ): Promise<Subject> {
    const subject = new Subject(scenario, pick);
    subject.#watch = watch;
    const flavour = scenario.flavour ?? "domain";
    subject.world = await World.make(
      {
        name,
        heap: { bytes: HEAP_BYTES, debug: true },
        timeouts: scenario.timeouts ?? 0,
        mayRace: scenario.mayRace ?? [],
        build: (lib, _variant, module) => {
          watch(SETUP);
          const cast = subject.#build(lib, pick(module), flavour, pick, watch);
          watch(0);
          return cast;
        },
      },
      0,
      code,
    );
    subject.#prepare();
    return subject;
  }

  #build(
    lib: Library,
    mine: Scenario,
    flavour: NonNullable<Scenario["flavour"]>,
    pick: (module: unknown) => Scenario,
    watch: (what: number) => void,
  ): Cast {
    const heap = lib.currentHeap()!;
    if (flavour === "announcing") heap.i32[HEADER.ANNOUNCING] = 1;
    this.#handle = heap.handle();
    let shared: unknown;
    try {
      shared = mine.setup();
    } catch (error) {
      throw new CheckError("ERR_CHECK_SETUP", `setup throws ${told(error)}`, { cause: error });
    }
    if (lib.currentHeap() !== heap)
      throw new CheckError(
        "ERR_CHECK_SETUP",
        "setup made a heap or a domain of its own: the checker has made one already, which it must use",
      );
    if (lib.rcuNesting() !== 0 || lib.locksHeld !== 0 || lib.mutexesHeld() !== 0)
      throw new CheckError("ERR_CHECK_SETUP", "setup returns with a read scope open or a lock held");
    const problem = unplain(shared, "it");
    if (problem !== null)
      throw new CheckError(
        "ERR_CHECK_SETUP",
        `what setup returns goes to other threads: ${problem}; return references (map.ref), and open the collections in open()`,
      );
    this.#shared = structuredClone(shared);
    lib.rcuBarrier();
    return {
      names: this.names,
      stock: ["*"],
      cpus: this.names.map((name, number) => this.#body(name, number, flavour, pick, watch)),
      judge: (_notes, word, ends) => this.#judge(word, ends),
      updated: (at) => this.#updated(at),
    };
  }

  #body(
    name: string,
    number: number,
    flavour: NonNullable<Scenario["flavour"]>,
    pick: (module: unknown) => Scenario,
    watch: (what: number) => void,
  ): Body {
    interface Booted {
      readonly handles: unknown;
      readonly thread: Thread;
      readonly domain: RcuDomain | null;
      readonly run: (handles: unknown, thread: Thread) => unknown;
    }
    return {
      reboot: "attached",
      boot: (lib, cpu): Booted => {
        const mine = pick(cpu.subject);
        const domain = flavour === "cpu" ? null : domainOf(lib);
        const thread = threadOf(name, lib, cpu, domain);
        const shared = structuredClone(this.#shared);
        watch(number + 1);
        try {
          const handles = mine.open === undefined ? shared : mine.open(shared, thread);
          return { handles, thread, domain, run: mine.threads[name]! };
        } finally {
          watch(0);
        }
      },
      run(lib, cpu, { handles, thread, domain, run }: Booted) {
        watch(number + 1);
        try {
          const result = run(handles, thread);
          if (typeof (result as { then?: unknown } | null | undefined)?.then === "function")
            throw new CheckError(
              "ERR_CHECK_THREAD",
              `thread ${name} returns a promise: threads run to their end, use synchronizeRcu or domain.synchronizeBlocking`,
            );
          const problem = unplain(result, "the result");
          if (problem !== null) throw new CheckError("ERR_CHECK_THREAD", `thread ${name}: ${problem}`);
          cpu.result(result);
          if (lib.locksHeld > 0 || lib.mutexesHeld() > 0)
            throw new Error(`thread ${name} ends with a lock held`);
          if (domain !== null) cpu.endTurn();
          else lib.rcuQuiescent();
          runCallbacks(lib, cpu, domain);
          if (domain === null) lib.rcuIdleEnter();
        } finally {
          watch(0);
        }
      },
    };
  }

  #prepare(): void {
    const { world, scenario } = this;
    if (scenario.leaks !== false)
      this.#reachable = new Reachable(world.image, numbersIn(this.#shared), Math.max(...world.slots) + 2);
    if (scenario.serializable !== true) return;
    const serial = new Map<Outcome, readonly number[]>();
    this.#learning = true;
    world.serially((wrong, order) => {
      if (wrong?.what.startsWith(OUTCOME) === true) serial.set(wrong.what.slice(OUTCOME.length), order);
    });
    this.#learning = false;
    if (serial.size > 0) this.#serial = serial;
  }

  #judge(word: (at: number) => number, ends: readonly End[]): Wrong | null {
    if (ends.some((end) => end.aborted)) return null;
    const results = Object.fromEntries(this.names.map((name, n) => [name, structuredClone(ends[n]!.result)]));
    const { host, slots } = this.world;
    this.#watch(CHECK);
    const finished = finish(
      host,
      this.#handle,
      this.#pick(host.instance.subject),
      this.#shared,
      slots,
      results,
      word,
    );
    this.#watch(0);
    const { error, observed } = finished;
    if (error !== null) {
      this.thrown = error;
      return { kind: "exception", what: `check throws ${told(error)}`, at: -1 };
    }
    const leak = this.#leak(finished, ends, word);
    if (leak !== null) return leak;
    const outcome = JSON.stringify({
      ...results,
      ...(this.scenario.observe === undefined ? {} : { observed }),
    });
    this.outcomes.add(outcome);
    if (this.#learning) return { kind: "broken rule", what: `${OUTCOME}${outcome}`, at: -1 };
    if (this.#serial === null || this.#serial.has(outcome)) return null;
    const orders = [...this.#serial].map(
      ([text, order]) => `${text} (${order.map((n) => this.names[n]).join(", ")})`,
    );
    return {
      kind: "lost update",
      what: `no order of the threads gives ${outcome}; they give ${orders.join(" or ")}`,
      at: -1,
    };
  }
  #leak({ finale }: Finished, ends: readonly End[], word: (at: number) => number): Wrong | null {
    if (this.#reachable === null) return null;
    const changed = new Set([...this.world.sharing.words, ...finale.words.keys()]);
    for (const end of ends) for (const at of end.words.keys()) changed.add(at);
    const roots = [...numbersIn(this.#shared), ...ends.flatMap((end) => numbersIn(end.result))];
    const read = (at: number): number => finale.words.get(at) ?? word(at);
    const lost = this.#reachable.lost(roots, changed, read);
    if (lost.length === 0) return null;
    const names = lost.map((ref) => this.world.names.value(ref).replace(/^&/, ""));
    return {
      kind: "leak",
      what: `never freed, and nobody refers to it any more: ${names.join(", ")}`,
      at: lost[0]!,
    };
  }

  /** Words of the user's own objects, and elements of arrays. */
  #updated(at: number): boolean {
    const name = this.world.names.word(at);
    if (!/^\w+#\d+[.[]/.test(name) || /\.\((state|link)\)$/.test(name)) return false;
    if (INTERNAL.test(name)) return false;
    const field = name.replace(/#\d+/, "").replace(/\[\d+\]$/, "");
    return !(this.scenario.mayOverwrite ?? []).includes(field);
  }
}

const OUTCOME = "outcome: ";
/** Structs of sternix/rcu: their rules are checked elsewhere. */
const INTERNAL = /^(rcu_|idr|srcu|percpu|check_)/;

function domainOf(lib: Library): RcuDomain {
  // Registers with the heap that this thread has attached to already.
  const Domain = lib.RcuDomain as unknown as new (heap: unknown, options: object) => RcuDomain;
  return new Domain(lib.currentHeap(), {});
}

function threadOf(name: string, lib: Library, cpu: Cpu, domain: RcuDomain | null): Thread {
  return {
    name,
    get domain(): RcuDomain {
      if (domain === null)
        throw new CheckError(
          "ERR_CHECK_THREAD",
          'the flavour "cpu" has no domain: use rcuReadLock and rcuReadUnlock',
        );
      return domain;
    },
    assume(condition) {
      if (!condition) cpu.abort();
    },
    turn() {
      if (domain !== null) cpu.endTurn();
      else {
        lib.rcuQuiescent();
        lib.rcuRunCallbacks();
      }
    },
  };
}

/** A thread lives on after what it does here: when their grace period is over it runs its callbacks. */
function runCallbacks(lib: Library, cpu: Cpu, domain: RcuDomain | null): void {
  const waiting = (): boolean => lib.pendingOwn() > 0 || cpu.closures > 0;
  if (!waiting()) return;
  if (domain !== null) lib.rcuIdleExit();
  while (waiting()) {
    lib.rcuRunCallbacks(); // Says which grace period they wait for.
    if (!waiting()) break;
    lib.synchronizeRcu();
    lib.rcuRunCallbacks();
  }
  if (domain !== null) lib.rcuIdleEnter();
}

/** What of a value does not survive the way to another thread; null when all does. */
function unplain(value: unknown, path: string): string | null {
  if (typeof value === "function" || typeof value === "symbol") return `${path} is a ${typeof value}`;
  if (typeof value !== "object" || value === null) return null;
  if (Array.isArray(value) || ArrayBuffer.isView(value))
    return Array.isArray(value) ? first(value.map((one, n) => unplain(one, `${path}[${n}]`))) : null;
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null)
    return `${path} is a ${(value as object).constructor?.name ?? "class"}`;
  return first(Object.entries(value).map(([key, one]) => unplain(one, `${path}.${key}`)));
}
const first = (problems: readonly (string | null)[]): string | null =>
  problems.find((problem) => problem !== null) ?? null;

function numbersIn(value: unknown): number[] {
  if (typeof value === "number") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap(numbersIn);
}

/** An error in one line. */
export const told = (error: unknown): string =>
  error instanceof Error
    ? `${error.name}: ${error.message}`
        .split("\n")
        .map((line) => line.trim())
        .filter((line) => line !== "")
        .join(" ")
    : String(error);
