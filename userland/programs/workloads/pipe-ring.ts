/** Processes in a ring of pipes pass tokens. A token counts its hops, so none can get lost or be made unseen. */
import { Crew, Worker } from "../crew.ts";
import { program } from "../program.ts";
import { count, readOptions, report } from "../workload.ts";

export default program(
  function* (sys, argv) {
    const options = yield* readOptions(sys, argv, {
      name: "pipe-ring",
      about: "Processes in a ring of pipes pass tokens of 8 bytes. An iteration is a token's lap.",
      options: {
        processes: count("members of the ring", Math.max(2, (yield* sys.cpus()).length), 1, 256),
        // All of them fit into one pipe: nobody can block on a full one while it holds up the others.
        tokens: count("tokens that travel at once", 1, 1, 4096),
      },
    });
    if (typeof options === "number") return options;
    const { processes, tokens, iterations, seconds } = options;
    const crew = yield* Crew.create(sys, { workers: processes, iterations, counters: 2 });
    const [first, close] = yield* sys.pipe();
    let from = first;
    for (let i = 1; i < processes; i++) {
      const [next, to] = yield* sys.pipe();
      yield* crew.add("member", [from, to, close, next]);
      yield* sys.close(from);
      yield* sys.close(to);
      from = next;
    }
    yield* crew.add("head", [from, close, tokens]);
    yield* sys.close(from);
    yield* sys.close(close);
    const result = yield* crew.run(seconds);
    if (result === null) return 1;
    const [home, counted] = result.counters as [number, number];
    if (counted !== result.operations) {
      const hops = `${counted} hops, the members ${result.operations}`;
      yield* sys.writeAll(2, `pipe-ring: ${home} tokens came home and counted ${hops}\n`);
      return 1;
    }
    yield* report(sys, {
      workload: "pipe-ring",
      unit: "hops",
      operations: result.operations,
      seconds: result.seconds,
      workers: processes,
      cpus: crew.cpus.length,
      details: { tokens: home, laps: result.each.at(-1)!, counted },
    });
    return 0;
  },
  {
    /** Passes on what comes, until the one before it has gone. */
    *member(sys, argv) {
      const worker = new Worker(sys, argv);
      const [from, to, ...others] = worker.args.map(Number) as [number, number, ...number[]];
      for (const fd of others) yield* sys.ok(sys.close(fd));
      const token = new Float64Array(1);
      const bytes = new Uint8Array(token.buffer);
      yield* worker.begin();
      while ((yield* sys.ok(sys.read(from, bytes))) === bytes.length) {
        token[0]!++;
        worker.operations++;
        yield* sys.ok(sys.write(to, bytes));
      }
      yield* sys.ok(sys.close(to));
      return yield* worker.end();
    },
    /** Sends the tokens out, and takes them off the ring when it is over; then the ring closes, pipe by pipe. */
    *head(sys, argv) {
      const worker = new Worker(sys, argv);
      const [from, to, tokens] = worker.args.map(Number) as [number, number, number];
      const token = new Float64Array(1);
      const bytes = new Uint8Array(token.buffer);
      let home = 0;
      let hops = 0;
      yield* worker.begin();
      let sent = 0;
      for (; sent < tokens && worker.goesOn(); sent++) yield* sys.ok(sys.write(to, bytes));
      while (home < sent) {
        if ((yield* sys.ok(sys.read(from, bytes))) !== bytes.length) throw new Error("the ring broke");
        token[0]!++;
        worker.operations++;
        if (worker.goesOn()) yield* sys.ok(sys.write(to, bytes));
        else {
          home++;
          hops += token[0]!;
        }
      }
      yield* sys.ok(sys.close(to));
      if ((yield* sys.ok(sys.read(from, bytes))) !== 0) throw new Error("a token came after the last one");
      return yield* worker.end(home, hops);
    },
  },
);
