/** Processes: each worker grows trees of children of children, and waits for them all. */
import { Crew, Worker } from "../crew.ts";
import { program, type Steps } from "../program.ts";
import type { Sys } from "../sys.ts";
import { count, readOptions, report, usageError } from "../workload.ts";

const MAX_PROCESSES = 10_000;

export default program(
  function* (sys, argv) {
    const options = yield* readOptions(sys, argv, {
      name: "fork-tree",
      about:
        "Each worker forks a tree of processes, every one of which waits for its children. A round is a tree.",
      options: {
        workers: count("trees at once", (yield* sys.cpus()).length, 1, 64),
        depth: count("generations below the worker", 3, 1, 12),
        width: count("children of each process", 3, 1, 100),
      },
    });
    if (typeof options === "number") return options;
    const { workers, depth, width, iterations, seconds } = options;
    const size = Array.from({ length: depth }, (_, i) => width ** (i + 1)).reduce((a, b) => a + b);
    if (size * workers > MAX_PROCESSES)
      return yield* usageError(
        sys,
        "fork-tree",
        `${size * workers} processes at once are more than ${MAX_PROCESSES}`,
      );
    const crew = yield* Crew.create(sys, { workers, iterations, counters: 1 });
    for (let i = 0; i < workers; i++) yield* crew.add("grow", [depth, width, size]);
    const result = yield* crew.run(seconds);
    if (result === null) return 1;
    yield* report(sys, {
      workload: "fork-tree",
      unit: "processes",
      operations: result.operations,
      seconds: result.seconds,
      workers,
      cpus: crew.cpus.length,
      details: { trees: result.counters[0]!, size },
    });
    return 0;
  },
  {
    *grow(sys, argv) {
      const worker = new Worker(sys, argv);
      const [depth, width, size] = worker.args.map(Number) as [number, number, number];
      const alive = yield* sys.ok(sys.mapShared(4096));
      let trees = 0;
      yield* worker.begin();
      while (worker.goesOn()) {
        sys.memory.store(alive, 0);
        yield* branch(sys, depth, width, alive);
        const ran = sys.memory.load(alive);
        if (ran !== size) throw new Error(`${ran} of ${size} processes ran`);
        worker.operations += ran;
        trees++;
      }
      return yield* worker.end(trees);
    },
  },
);

/** Forks `width` children, each with a tree below it, and waits for them. */
function* branch(sys: Sys, depth: number, width: number, alive: number): Steps<void> {
  const children = new Set<number>();
  for (let i = 0; i < width; i++) {
    const pid = yield* sys.ok(
      sys.fork(function* (child) {
        child.memory.add(alive, 1);
        if (depth > 1) yield* branch(child, depth - 1, width, alive);
      }),
    );
    children.add(pid);
  }
  while (children.size > 0) {
    const { pid, status } = yield* sys.ok(sys.waitpid());
    if (!children.delete(pid) || status !== 0)
      throw new Error(`child ${pid} ended with wait status ${status}`);
  }
}
