/** Descriptors: open, dup, close, close, in processes on all CPUs, beside as many that stay open as one likes. */
import { Crew, Worker } from "../crew.ts";
import { program } from "../program.ts";
import { count, readOptions, report, text } from "../workload.ts";

export default program(
  function* (sys, argv) {
    const options = yield* readOptions(sys, argv, {
      name: "fd-churn",
      about: "Each worker opens a file, dups the descriptor and closes both. One cycle is four calls.",
      options: {
        workers: count("processes", (yield* sys.cpus()).length, 1, 256),
        held: count("descriptors that each worker keeps open meanwhile", 0, 0, 1000),
        path: text("the file", "/dev/null"),
      },
    });
    if (typeof options === "number") return options;
    const { workers, held, path, iterations, seconds } = options;
    const fd = yield* sys.open(path);
    if (fd < 0) {
      yield* sys.writeAll(2, `fd-churn: --path ${path}: cannot be opened (errno ${-fd})\n`);
      return 2;
    }
    yield* sys.close(fd);
    const crew = yield* Crew.create(sys, { workers, iterations });
    for (let i = 0; i < workers; i++) yield* crew.add("churn", [held, path]);
    const result = yield* crew.run(seconds);
    if (result === null) return 1;
    yield* report(sys, {
      workload: "fd-churn",
      unit: "cycles",
      operations: result.operations,
      seconds: result.seconds,
      workers,
      cpus: crew.cpus.length,
      details: { calls: 4 * result.operations, held },
    });
    return 0;
  },
  {
    *churn(sys, argv) {
      const worker = new Worker(sys, argv);
      const path = worker.args[1]!;
      for (let i = 0; i < Number(worker.args[0]); i++) yield* sys.ok(sys.open(path));
      const lowest = yield* sys.ok(sys.dup(0));
      yield* sys.ok(sys.close(lowest));
      yield* worker.begin();
      while (worker.goesOn()) {
        const fd = yield* sys.ok(sys.open(path));
        const copy = yield* sys.ok(sys.dup(fd));
        // open(2), dup(2): always the lowest that is free.
        if (fd !== lowest || copy !== lowest + 1)
          throw new Error(`descriptors ${fd}, ${copy} where ${lowest} was free`);
        yield* sys.ok(sys.close(copy));
        yield* sys.ok(sys.close(fd));
        worker.operations++;
      }
      return yield* worker.end();
    },
  },
);
