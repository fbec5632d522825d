/** Signals: senders queue bursts of a real-time signal at receivers, which answer each burst with a standard one. */
import { EAGAIN } from "../../../kernel/uapi/errno.ts";
import { SIG_SETMASK, SIGRTMIN, SIGUSR1, SIGUSR2 } from "../../../kernel/uapi/signal.ts";
import { Crew, Worker } from "../crew.ts";
import { program } from "../program.ts";
import { count, readOptions, report } from "../workload.ts";

/** Queued, one delivery for each send; the first two of them are the C library's. */
const BURST = SIGRTMIN + 2;
/** A burst has arrived. One is on its way at a time, so that none merges with another. */
const ANSWER = SIGUSR1;
/** The sender has sent its last. */
const FINISH = SIGUSR2;
const bit = (signo: number): number => 2 ** (signo - 1);

export default program(
  function* (sys, argv) {
    const options = yield* readOptions(sys, argv, {
      name: "signal-storm",
      about: "Pairs of processes signal each other; handlers count. A round is a burst and its answer.",
      options: {
        pairs: count("senders, each with its receiver", 1, 1, 64),
        burst: count("queued signals in a burst", 8, 1, 1000),
      },
    });
    if (typeof options === "number") return options;
    const { pairs, burst, iterations, seconds } = options;
    const crew = yield* Crew.create(sys, { workers: 2 * pairs, iterations, counters: 3, bytes: 4 * pairs });
    for (let i = 0; i < pairs; i++) {
      const address = crew.shared + 4 * i;
      const sender = yield* crew.add("sender", [burst, address]);
      sys.memory.store(address, yield* crew.add("receiver", [burst, sender]));
    }
    const result = yield* crew.run(seconds);
    if (result === null) return 1;
    const [sent, received, answers] = result.counters as [number, number, number];
    if (sent !== received || answers * burst !== sent) {
      yield* sys.writeAll(
        2,
        `signal-storm: ${sent} signals sent, ${received} received, ${answers} answers\n`,
      );
      return 1;
    }
    yield* report(sys, {
      workload: "signal-storm",
      unit: "handlers",
      operations: result.operations,
      seconds: result.seconds,
      workers: 2 * pairs,
      cpus: crew.cpus.length,
      details: { sent, received, answers, burst },
    });
    return 0;
  },
  {
    *sender(sys, argv) {
      const worker = new Worker(sys, argv);
      const [burst, partner] = worker.args.map(Number) as [number, number];
      let sent = 0;
      let rounds = 0;
      let answers = 0;
      yield* sys.ok(
        sys.sigaction(ANSWER, () => {
          answers++;
        }),
      );
      // Only sigsuspend lets it in, so it cannot come between the look and the sleep.
      yield* sys.ok(sys.sigprocmask(SIG_SETMASK, bit(ANSWER)));
      yield* worker.begin();
      const receiver = sys.memory.load(partner);
      while (worker.goesOn()) {
        for (let i = 0; i < burst; i++) {
          // RLIMIT_SIGPENDING is reached: let the receiver run.
          while ((yield* sys.sigqueue(receiver, BURST, i)) === -EAGAIN) yield* sys.schedYield();
          sent++;
        }
        rounds++;
        while (answers < rounds) yield* sys.sigsuspend();
      }
      yield* sys.ok(sys.kill(receiver, FINISH));
      worker.operations = answers;
      return yield* worker.end(sent, 0, answers);
    },
    *receiver(sys, argv) {
      const worker = new Worker(sys, argv);
      const [burst, sender] = worker.args.map(Number) as [number, number];
      let received = 0;
      let finished = false;
      yield* sys.ok(
        sys.sigaction(BURST, function* () {
          if (++received % burst === 0) yield* sys.ok(sys.kill(sender, ANSWER));
        }),
      );
      yield* sys.ok(
        sys.sigaction(FINISH, () => {
          finished = true;
        }),
      );
      yield* sys.ok(sys.sigprocmask(SIG_SETMASK, bit(BURST) + bit(FINISH)));
      yield* worker.begin();
      while (!finished) yield* sys.sigsuspend();
      worker.operations = received;
      return yield* worker.end(0, received, 0);
    },
  },
);
