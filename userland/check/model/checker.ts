/** Runs a scenario: makes its world, explores it, and tells what came of it. */

import type { Heap, Ref } from "../../../rcu/index.ts";
import { CACHE, HEADER, PAGE_MAP, PAGE_SHIFT, RCU } from "../../../rcu/layout.ts";
import { type Exploration, Explorer, type Rules } from "./explore.ts";
import { globalsOf } from "./globals.ts";
import { type Edit, type Instance, instantiate, type Library } from "./instance.ts";
import type { MemoryModel } from "./machine.ts";
import { Program, Restart, Sharing } from "./program.ts";
import type { Scenario } from "./scenario.ts";
import type { Move } from "./steps.ts";
import { Names, print } from "./trace.ts";

export interface Options {
  readonly model?: MemoryModel;
  /** The module that gives scenarios what they call: of each CPU a copy. Default: sternix/rcu. */
  readonly library?: URL;
  /** Changes to make in the code that runs. */
  readonly edits?: readonly Edit[];
  /** Explore without reduction: for comparison. */
  readonly reduce?: boolean;
  readonly limit?: number;
  /** Look for the violation with the fewest changes of CPU, among this many states. 0: print the one that was found. */
  readonly shortest?: number;
}
export interface Verdict extends Omit<Exploration, "violation"> {
  readonly scenario: string;
  readonly model: MemoryModel;
  readonly violation: {
    readonly what: string;
    readonly trace: readonly string[];
    readonly changes: number;
  } | null;
  /** States of the programs, one by one. */
  readonly nodes: number;
  /** Words that are scheduling points. */
  readonly shared: number;
  /** Passes until nothing new was found. */
  readonly passes: number;
  /** When incomplete: interleavings with up to so many changes of CPU were explored, all of them. Else Infinity. */
  readonly changes: number;
}

const LIMIT = 4_000_000;
const HEAP_BYTES = 4 << 20;
/** 2^32 over the golden ratio: scenarios know which keys share a bucket. */
const GOLDEN = 0x9e3779b1 | 0;

/** Explores a scenario. One at a time: the copies of the code are used again. */
export async function explore(scenario: Scenario, options: Options = {}): Promise<Verdict> {
  let sum: Verdict | null = null;
  for (let variant = 0; variant < (scenario.variants ?? 1); variant++) {
    const one = await exploreOne(scenario, variant, options);
    sum = sum === null ? one : added(sum, one);
    if (one.violation !== null || one.incomplete) break;
  }
  return sum!;
}

const added = (sum: Verdict, one: Verdict): Verdict => ({
  ...one,
  states: sum.states + one.states,
  executions: sum.executions + one.executions,
  outcomes: new Set([...sum.outcomes, ...one.outcomes]),
  timeouts: Math.max(sum.timeouts, one.timeouts),
  nodes: sum.nodes + one.nodes,
  passes: sum.passes + one.passes,
});

async function exploreOne(scenario: Scenario, variant: number, options: Options): Promise<Verdict> {
  const library = options.library ?? new URL("./library.ts", import.meta.url);
  const { edits = [] } = options;
  const model = options.model ?? scenario.models?.[0] ?? "tso";
  const { reduce = true } = options;
  const host = await borrow(library, edits, 0);
  const seats: Seat[] = [];
  host.create();
  const cast = scenario.build(host.library, variant);
  host.leave();
  const sharing = new Sharing(!reduce);
  for (let cpu = 1; cpu <= cast.cpus.length; cpu++) seats.push(await borrow(library, edits, cpu));
  const programs = cast.cpus.map((body, cpu) => new Program(cpu, seats[cpu]!.instance, body, sharing));
  for (const [cpu, program] of programs.entries())
    seats[cpu]!.boot(program, host, cast.stock ?? ["rcu_head"]);
  const image = new Int32Array(host.heap!.buffer).slice();
  const names = new Names(host.library, image);
  const rules: Rules = {
    model,
    reduce,
    limit: options.limit ?? scenario.limit ?? LIMIT,
    timeouts: scenario.timeouts ?? 0,
    // The stall clock: starters of different grace periods, a stale one does no harm.
    mayRace: new Set([RCU.GP_STARTED, ...names.words(scenario.mayRace ?? [])]),
    name: (at) => names.word(at),
    judge: cast.judge,
  };
  let passes = 0;
  for (;;) {
    const explorer = (): Explorer => new Explorer(programs, sharing, image, cellOf(image), rules);
    try {
      for (const program of programs) program.reset(image);
      for (;;) {
        const before = surprises(programs);
        passes++;
        const found = explorer().explore();
        if (found.violation === null && !found.incomplete && reduce && surprises(programs) !== before)
          continue;
        const looked = found.violation !== null && options.shortest !== 0;
        const most = found.incomplete ? rules.limit : (options.shortest ?? 300_000);
        let bounded: ReturnType<Explorer["shortest"]> | null = null;
        if (looked || found.incomplete)
          for (let known = -1; bounded?.violation == null && known !== surprises(programs); ) {
            known = surprises(programs);
            bounded = explorer().shortest(most);
          }
        const violation = bounded?.violation ?? found.violation;
        return {
          ...found,
          scenario: scenario.name,
          model,
          violation: violation === null ? null : told(violation, programs, names),
          nodes: size(programs),
          shared: sharing.words.length,
          passes,
          changes: found.incomplete ? bounded!.changes : Number.POSITIVE_INFINITY,
        };
      }
    } catch (error) {
      if (!(error instanceof Restart)) throw error;
      sharing.learn();
    }
  }
}

const size = (programs: readonly Program[]): number =>
  programs.reduce((sum, program) => sum + program.nodes, 0);

const surprises = (programs: readonly Program[]): number =>
  programs.reduce((sum, program) => sum + program.surprises, 0);

function told(
  violation: { what: string; moves: readonly Move[] },
  programs: readonly Program[],
  names: Names,
): NonNullable<Verdict["violation"]> {
  const { moves } = violation;
  const steps = moves.filter((move) => move.kind !== "drain");
  const changes = steps.filter((move, n) => n > 0 && move.cpu !== steps[n - 1]!.cpu).length;
  return { what: violation.what, trace: print(moves, programs, names), changes };
}

/** The cell that an address lies in; -1 when it is in none. */
function cellOf(image: Int32Array): (at: number) => number {
  const first = image[HEADER.FIRST_PAGE]!;
  return (at) => {
    if (at < first || at >= image.length) return -1;
    const page = (at - first) >> PAGE_SHIFT;
    const entry = -image[PAGE_MAP + page]!;
    const cache = (entry >> 8) - 1;
    if (cache < 0) return -1;
    const run = first + ((page & -(1 << ((entry & 0xff) - 1))) << PAGE_SHIFT);
    const words = image[CACHE.BASE + cache * CACHE.WORDS + CACHE.CELL_WORDS]!;
    return run + Math.floor((at - run) / words) * words;
  };
}

/** A copy of the code, and the heap that it is bound to. Copies are kept: importing one takes longer than most scenarios. */
class Seat {
  readonly instance: Instance;
  readonly #mode: Mode;
  readonly #pristine: unknown[][];
  heap: Heap | null = null;

  constructor(instance: Instance, mode: Mode) {
    this.instance = instance;
    this.#mode = mode;
    this.#pristine = instance.checkpoint();
  }
  get library(): Library {
    return this.instance.library;
  }
  /** Makes the heap of a scenario and attaches to it; `leave` ends that. */
  create(): void {
    this.instance.rollback(this.#pristine);
    this.#mode.direct = true;
    this.heap = this.library.Heap.create({ bytes: HEAP_BYTES, hashSeed: GOLDEN });
    this.#warm();
  }
  leave(): void {
    this.heap!.detach();
    this.#mode.direct = false;
  }
  /** Boots the program of a CPU on the heap of `host`, with some cells of the given types in its magazines. */
  boot(program: Program, host: Seat, stock: readonly string[]): void {
    const handle = host.heap!.handle();
    const types = stock.map((name) => {
      const type = this.library.declaredStructs.get(name);
      if (type === undefined) throw new Error(`stock of ${name}: no struct has that name`);
      return type;
    });
    const attach = (): void => {
      this.heap = this.library.Heap.attach(handle);
      for (const type of types) this.library.free(type, this.library.alloc(type) as Ref<string>);
    };
    this.#mode.program = program;
    this.instance.rollback(this.#pristine);
    this.#mode.direct = true;
    attach();
    this.#warm();
    this.heap!.detach();
    program.boot(attach, () => new Int32Array(handle.buffer).slice());
    this.#mode.direct = false;
  }
  /** Makes every module look its caches up, which it does once per heap, and every cache take its first pages. */
  #warm(): void {
    const { library } = this;
    for (const type of library.declaredStructs.values())
      library.free(type, library.alloc(type) as Ref<string>);
    for (let words = 2; words <= 64; words *= 2) library.freeArray(library.allocArray(words) as Ref<"array">);
  }
}
interface Mode {
  /** Accesses go to the heap, not to the program. */
  direct: boolean;
  program: Program | null;
}

const seats = new Map<string, Promise<Seat>>();
function borrow(library: URL, edits: readonly Edit[], number: number): Promise<Seat> {
  const key = `${library.href}/${edits.map((edit) => edit.name).join()}/${number}`;
  let seat = seats.get(key);
  if (seat === undefined) {
    const mode: Mode = { direct: true, program: null };
    const globals = globalsOf(
      () => mode.direct,
      () => mode.program!,
    );
    seat = instantiate(library, globals, edits).then((instance) => new Seat(instance, mode));
    seats.set(key, seat);
  }
  return seat;
}
