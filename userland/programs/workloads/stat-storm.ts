/** Path walks: stat on random files of a tree that the program makes, some of them missing. */
import { ENOENT } from "../../../kernel/uapi/errno.ts";
import { O_CREAT, O_WRONLY } from "../../../kernel/uapi/fcntl.ts";
import { Crew, Worker } from "../crew.ts";
import { program, type Steps } from "../program.ts";
import type { Sys } from "../sys.ts";
import { count, readOptions, report, seeded, usageError } from "../workload.ts";

/** Names of files that are not there, in each folder: so many negative dentries. */
const MISSING = 8;
const MAX_FOLDERS = 100_000;

export default program(
  function* (sys, argv) {
    const options = yield* readOptions(sys, argv, {
      name: "stat-storm",
      about: "Workers call stat on random files of a tree of folders; some of the names do not exist.",
      options: {
        workers: count("processes", (yield* sys.cpus()).length, 1, 256),
        depth: count("folders above a file", 4, 1, 12),
        width: count("folders in a folder", 4, 1, 1000),
        miss: count("percent of the walks that end at a missing name", 20, 0, 100),
        seed: count("seed of the random walks", 1, 0),
      },
    });
    if (typeof options === "number") return options;
    const { workers, depth, width, miss, seed, iterations, seconds } = options;
    const folders = Array.from({ length: depth }, (_, i) => width ** (i + 1)).reduce((a, b) => a + b);
    if (folders > MAX_FOLDERS)
      return yield* usageError(
        sys,
        "stat-storm",
        `${folders} folders are more than ${MAX_FOLDERS}: lower --depth or --width`,
      );
    const root = `/tmp/stat-storm.${yield* sys.getpid()}`;
    yield* sys.ok(sys.mkdir(root));
    yield* make(sys, root, depth, width);
    const crew = yield* Crew.create(sys, { workers, iterations, counters: 2 });
    for (let i = 0; i < workers; i++) yield* crew.add("walk", [root, depth, width, miss, seed + i]);
    const result = yield* crew.run(seconds);
    yield* remove(sys, root, depth, width);
    if (result === null) return 1;
    const [hits, misses] = result.counters as [number, number];
    yield* report(sys, {
      workload: "stat-storm",
      unit: "walks",
      operations: result.operations,
      seconds: result.seconds,
      workers,
      cpus: crew.cpus.length,
      details: { hits, misses, components: depth + 3, folders },
    });
    return 0;
  },
  {
    *walk(sys, argv) {
      const worker = new Worker(sys, argv);
      const root = worker.args[0]!;
      const [depth, width, miss, seed] = worker.args.slice(1).map(Number) as [number, number, number, number];
      const random = seeded(seed);
      let hits = 0;
      let misses = 0;
      yield* worker.begin();
      while (worker.goesOn()) {
        let path = root;
        for (let level = 0; level < depth; level++) path += `/d${random() % width}`;
        const missing = random() % 100 < miss;
        const result = yield* sys.stat(missing ? `${path}/none${random() % MISSING}` : `${path}/file`);
        if (missing ? result !== -ENOENT : typeof result === "number")
          throw new Error(`stat of a ${missing ? "missing" : "present"} file: ${JSON.stringify(result)}`);
        if (missing) misses++;
        else hits++;
        worker.operations++;
      }
      return yield* worker.end(hits, misses);
    },
  },
);

/** Folders d0, d1 ... down to `depth`, and a file in each of the lowest. */
function* make(sys: Sys, path: string, depth: number, width: number): Steps<void> {
  if (depth === 0) {
    yield* sys.ok(sys.close(yield* sys.ok(sys.open(`${path}/file`, O_CREAT | O_WRONLY, 0o644))));
    return;
  }
  for (let i = 0; i < width; i++) {
    yield* sys.ok(sys.mkdir(`${path}/d${i}`));
    yield* make(sys, `${path}/d${i}`, depth - 1, width);
  }
}

function* remove(sys: Sys, path: string, depth: number, width: number): Steps<void> {
  if (depth === 0) yield* sys.ok(sys.unlink(`${path}/file`));
  else for (let i = 0; i < width; i++) yield* remove(sys, `${path}/d${i}`, depth - 1, width);
  yield* sys.ok(sys.rmdir(path));
}
