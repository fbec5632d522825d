/** Futexes: two players hand a ball to each other through shared memory; whoever waits sleeps in the kernel. */
import { Crew, Worker } from "../crew.ts";
import { program, type Steps } from "../program.ts";
import type { Sys } from "../sys.ts";
import { choice, count, readOptions, report } from "../workload.ts";

// What the ball's word says.
const PING = 0;
const PONG = 1;
const OVER = 2;
/** Bytes of a table: the ball, and the hits that its holder counts without any atomic operation. */
const TABLE = 64;
const HITS = 4;

export default program(
  function* (sys, argv) {
    const options = yield* readOptions(sys, argv, {
      name: "futex-ping-pong",
      about: "Pairs of players hand a ball over with futex wait and wake. An iteration is there and back.",
      options: {
        pairs: count("pairs of players", 1, 1, 64),
        players: choice("processes on two CPUs, or threads on one", ["processes", "threads"]),
      },
    });
    if (typeof options === "number") return options;
    const { pairs, players, iterations, seconds } = options;
    const threads = players === "threads";
    const workers = threads ? pairs : 2 * pairs;
    const crew = yield* Crew.create(sys, { workers, iterations, counters: 0, bytes: TABLE * pairs });
    for (let i = 0; i < pairs; i++) {
      if (threads) yield* crew.add("both", [crew.shared + TABLE * i]);
      else for (const side of ["ping", "pong"]) yield* crew.add(side, [crew.shared + TABLE * i]);
    }
    const result = yield* crew.run(seconds);
    if (result === null) return 1;
    let hits = 0;
    for (let i = 0; i < pairs; i++) hits += sys.memory.load(crew.shared + TABLE * i + HITS);
    if (hits !== result.operations) {
      yield* sys.writeAll(
        2,
        `futex-ping-pong: ${hits} hits on the tables, ${result.operations} by the players\n`,
      );
      return 1;
    }
    yield* report(sys, {
      workload: "futex-ping-pong",
      unit: "hand-overs",
      operations: result.operations,
      seconds: result.seconds,
      workers,
      cpus: crew.cpus.length,
      details: { players, pairs, hits },
    });
    return 0;
  },
  {
    *ping(sys, argv) {
      const worker = new Worker(sys, argv);
      yield* worker.begin();
      worker.operations = yield* playPing(sys, worker, Number(worker.args[0]));
      return yield* worker.end();
    },
    *pong(sys, argv) {
      const worker = new Worker(sys, argv);
      yield* worker.begin();
      worker.operations = yield* playPong(sys, Number(worker.args[0]));
      return yield* worker.end();
    },
    /** One process, two threads. */
    *both(sys, argv) {
      const worker = new Worker(sys, argv);
      const table = Number(worker.args[0]);
      const tid = yield* sys.ok(sys.mapShared(4096));
      let pongs = 0;
      yield* worker.begin();
      yield* sys.ok(
        sys.thread(function* (other) {
          pongs = yield* playPong(other, table);
        }, tid),
      );
      const pings = yield* playPing(sys, worker, table);
      yield* sys.join(tid);
      worker.operations = pings + pongs;
      return yield* worker.end();
    },
  },
);

function* playPing(sys: Sys, worker: Worker, table: number): Steps<number> {
  let hits = 0;
  while (worker.goesOn()) {
    hits++;
    yield* handOver(sys, table, PONG);
    while (sys.memory.load(table) === PONG) yield* sys.futexWait(table, PONG);
  }
  sys.memory.store(table, OVER);
  yield* sys.futexWake(table);
  return hits;
}

function* playPong(sys: Sys, table: number): Steps<number> {
  for (let hits = 0; ; hits++) {
    while (sys.memory.load(table) === PING) yield* sys.futexWait(table, PING);
    if (sys.memory.load(table) === OVER) return hits;
    yield* handOver(sys, table, PING);
  }
}

/** Only the ball's holder is here, so a plain load and store suffice for the count. */
function* handOver(sys: Sys, table: number, next: number): Steps<void> {
  sys.memory.store(table + HITS, sys.memory.load(table + HITS) + 1);
  sys.memory.store(table, next);
  yield* sys.futexWake(table);
}
