/** Makes the world of a scenario, explores it, and tells what came of it. */
import * as layout from "../../../rcu/layout.ts";
import { type Exploration, Explorer, type Rules, type Violation } from "./explore.ts";
import type { Code } from "./instance.ts";
import type { MemoryModel } from "./machine.ts";
import { Program, Restart } from "./program.ts";
import { follow, lengthsOf, type Plan, planOf } from "./sample.ts";
import type { Cast, Scenario } from "./scenario.ts";
import { borrow, type Seat } from "./seat.ts";
import { Sharing } from "./sharing.ts";
import { Steps } from "./steps.ts";
import { Names, print } from "./trace.ts";

const { CACHE, CELL_HEADER, HEADER, PAGE_MAP, PAGE_SHIFT, RCU, SLOT } = layout;

export interface Options extends Partial<Code> {
  readonly model?: MemoryModel;
  /** Explore without reduction: for comparison. */
  readonly reduce?: boolean;
  readonly limit?: number;
  /** Look for the violation with the fewest preemptions, among this many states. 0: print the one that was found. */
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
  /** When incomplete: interleavings with up to so many preemptions were explored, all of them. Else Infinity. */
  readonly preemptions: number;
}

const LIMIT = 4_000_000;

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
  const { model = scenario.models?.[0] ?? "tso", reduce = true } = options;
  const world = await World.make(scenario, variant, { ...options, weak: model === "weak" }, reduce);
  const limit = options.limit ?? scenario.limit ?? LIMIT;
  const found = world.explore(model, limit);
  const looked = found.violation !== null && options.shortest !== 0;
  const most = found.incomplete ? limit : (options.shortest ?? 300_000);
  const bounded = looked || found.incomplete ? world.bounded(model, most) : null;
  const violation = bounded?.violation ?? found.violation;
  return {
    ...found,
    scenario: scenario.name,
    model,
    violation: violation === null ? null : { ...world.told(violation), what: violation.what },
    nodes: world.programs.reduce((sum, program) => sum + program.nodes, 0),
    shared: world.sharing.words.length,
    passes: world.passes,
    preemptions: found.incomplete ? bounded!.preemptions : Number.POSITIVE_INFINITY,
  };
}

/** The heap, the programs, and what is known of them. */
export class World {
  readonly scenario: Scenario;
  readonly cast: Cast;
  readonly host: Seat;
  readonly programs: readonly Program[];
  readonly sharing: Sharing;
  /** The heap as the programs find it. */
  readonly image: Int32Array;
  readonly names: Names;
  readonly slots: readonly number[];
  readonly #reduce: boolean;
  readonly #cellOf: (at: number) => number;
  passes = 0;

  private constructor(
    scenario: Scenario,
    cast: Cast,
    host: Seat,
    programs: readonly Program[],
    sharing: Sharing,
    reduce: boolean,
    slots: readonly number[],
    cells: Cells,
  ) {
    this.scenario = scenario;
    this.cast = cast;
    this.host = host;
    this.programs = programs;
    this.sharing = sharing;
    this.image = cells.image;
    this.slots = slots;
    this.#reduce = reduce;
    this.#cellOf = (at) => cells.of(at);
    this.names = new Names(host.library, this.image);
    for (const program of programs) program.reset(this.image);
  }

  static async make(
    scenario: Scenario,
    variant: number,
    given: Partial<Code>,
    reduce = true,
  ): Promise<World> {
    const library = given.library ?? new URL("./library.ts", import.meta.url);
    const code: Code = { ...given, library };
    const host = await borrow(code, 0);
    host.create(scenario.heap ?? {});
    let cast: Cast;
    try {
      cast = scenario.build(host.library, variant, host.instance.subject);
    } finally {
      host.leave();
    }
    const sharing = new Sharing(!reduce);
    const cells = new Cells();
    const seats: Seat[] = [];
    for (let cpu = 1; cpu <= cast.cpus.length; cpu++) seats.push(await borrow(code, cpu));
    const programs = cast.cpus.map(
      (body, cpu) => new Program(cpu, seats[cpu]!.instance, body, sharing, (at) => cells.payload(at)),
    );
    const slots = programs.map((program, cpu) => seats[cpu]!.boot(program, host, cast.stock ?? ["rcu_head"]));
    cells.image = new Int32Array(host.heap!.buffer).slice();
    const make = () => new World(scenario, cast, host, programs, sharing, reduce, slots, cells);
    for (;;)
      try {
        return make();
      } catch (error) {
        if (!(error instanceof Restart)) throw error;
        sharing.learn();
      }
  }

  #rules(model: MemoryModel, limit: number): Rules {
    const { scenario, cast, names, image } = this;
    // The stall clock: starters of different grace periods, a stale one does no harm.
    const racing = new Set<number>([RCU.GP_STARTED, ...names.words(scenario.mayRace ?? [])]);
    return {
      model,
      reduce: this.#reduce,
      limit,
      timeouts: scenario.timeouts ?? 0,
      guarded: {
        payload: (at) => this.#cellOf(at) >= 0 && at - this.#cellOf(at) >= CELL_HEADER,
        updated: cast.updated ?? (() => false),
        mayRace: (at) => racing.has(at),
      },
      owners: this.slots.map((slot) => {
        const incarnation = image[SLOT.BASE + slot * SLOT.WORDS + SLOT.INCARNATION]!;
        return ((incarnation & 0x3fffff) << 8) | (slot + 1);
      }),
      name: (at) => names.word(at),
      cpu: (number) => cast.names?.[number] ?? `CPU ${number}`,
      judge: cast.judge,
    };
  }
  #explorer(model: MemoryModel, limit = 0): Explorer {
    const { programs, sharing, image } = this;
    return new Explorer(programs, sharing, image, this.#cellOf, this.#rules(model, limit));
  }
  #steps(model: MemoryModel): Steps {
    const { programs, sharing, image, scenario } = this;
    const { guarded } = this.#rules(model, 0);
    return new Steps(programs, sharing, image, this.#cellOf, model, scenario.timeouts ?? 0, guarded);
  }

  /** Does it again whenever a word turned out to be shared that was not known to be. */
  #settled<T>(work: () => T): T {
    for (let fresh = true; ; fresh = false)
      try {
        if (!fresh) for (const program of this.programs) program.reset(this.image);
        return work();
      } catch (error) {
        if (!(error instanceof Restart)) throw error;
        this.sharing.learn();
      }
  }
  #surprises(): number {
    return this.programs.reduce((sum, program) => sum + program.surprises, 0);
  }

  /** Every interleaving, unless there are more states than `limit`. */
  explore(model: MemoryModel, limit: number): Exploration {
    return this.#settled(() => {
      for (;;) {
        const before = this.#surprises();
        this.passes++;
        const found = this.#explorer(model, limit).explore();
        const grown = this.#reduce && this.#surprises() !== before;
        if (found.violation !== null || found.incomplete || !grown) return found;
      }
    });
  }
  /** The violation with the fewest preemptions; see Explorer.shortest. */
  bounded(model: MemoryModel, limit: number, most?: number): ReturnType<Explorer["shortest"]> {
    return this.#settled(() => {
      for (;;) {
        const before = this.#surprises();
        const found = this.#explorer(model).shortest(limit, most);
        if (found.violation !== null || this.#surprises() === before) return found;
      }
    });
  }
  /** Random schedules: those of `seed` and of the numbers behind it, until one of them shows something. */
  sample(
    model: MemoryModel,
    seed: number,
    count: number,
    depth: number,
  ): { violation: Violation; seed: number } | null {
    for (let n = 0; n < count; n++) {
      // What was learned of the programs fills the memory.
      if (this.programs.some((program) => program.nodes > 200_000))
        for (const program of this.programs) program.forget(this.image);
      const violation = this.#settled(() => {
        const steps = this.#steps(model);
        const explorer = this.#explorer(model);
        const lengths = (this.#lengths ??= lengthsOf(explorer, this.#steps("sc"), this.programs));
        const plan = planOf(seed + n, lengths, depth);
        const { violation } = follow(explorer, steps, plan);
        return violation === null ? null : this.#simpler(explorer, steps, plan, violation);
      });
      if (violation !== null) return { violation, seed: seed + n };
    }
    return null;
  }
  #lengths: number[] | null = null;
  /** Without those changes of priority that do not matter. */
  #simpler(explorer: Explorer, steps: Steps, plan: Plan, violation: Violation): Violation {
    for (const change of plan.changes) {
      const changes = plan.changes.filter((other) => other !== change);
      const again = follow(explorer, steps, { ...plan, changes }).violation;
      if (again?.kind === violation.kind) return this.#simpler(explorer, steps, { ...plan, changes }, again);
    }
    return violation;
  }
  /** What the judge says of the CPUs one after another, in every order in which none has to wait for a later one. */
  serially(visit: (judged: ReturnType<Explorer["failure"]>, order: readonly number[]) => void): void {
    for (const order of permutations(this.programs.map((_, cpu) => cpu))) {
      const { violation, moves } = this.#settled(() =>
        follow(this.#explorer("sc"), this.#steps("sc"), { seed: 0, order, changes: [] }),
      );
      const blocks = moves.filter((move, n) => n === 0 || move.cpu !== moves[n - 1]!.cpu).length;
      if (blocks <= order.length) visit(violation, order);
    }
  }

  /** A violation's lines, and how often it changes from one CPU to another. */
  told({ moves }: Violation): { trace: string[]; changes: number } {
    const steps = moves.filter((move) => move.kind !== "drain");
    const changes = steps.filter((move, n) => n > 0 && move.cpu !== steps[n - 1]!.cpu).length;
    return { trace: print(moves, this.programs, this.names), changes };
  }
}

function permutations(of: readonly number[]): number[][] {
  if (of.length <= 1) return [[...of]];
  return of.flatMap((first) =>
    permutations(of.filter((one) => one !== first)).map((rest) => [first, ...rest]),
  );
}

/** Which words are a cell. */
class Cells {
  image = new Int32Array(0);

  /** The cell that an address lies in; -1 when it is in none. */
  of(at: number): number {
    const { image } = this;
    const first = image[HEADER.FIRST_PAGE]!;
    if (!(at >= first && at < image.length)) return -1;
    const page = (at - first) >> PAGE_SHIFT;
    const entry = -image[PAGE_MAP + page]!;
    const cache = (entry >> 8) - 1;
    if (cache < 0) return -1;
    const run = first + ((page & -(1 << ((entry & 0xff) - 1))) << PAGE_SHIFT);
    const words = image[CACHE.BASE + cache * CACHE.WORDS + CACHE.CELL_WORDS]!;
    return run + Math.floor((at - run) / words) * words;
  }
  payload(at: number): boolean {
    const cell = this.of(at);
    return cell >= 0 && at - cell >= CELL_HEADER;
  }
}
