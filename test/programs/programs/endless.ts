/**
 * Makes a file of the host, whose path is its last argument, and then never makes a call again: in its own code, in a handler, in
 * its memory, or in workers on all CPUs.
 */
import { appendFileSync } from "node:fs";
import { program, uapi } from "../../../userland/index.ts";

export default program(
  function* (sys, [, how, marker = ""]) {
    const ready = () => appendFileSync(marker, "x");
    if (how === "caught") yield* sys.sigaction(uapi.SIGINT, () => {});
    if (how === "handler") {
      yield* sys.sigaction(uapi.SIGUSR1, () => {
        ready();
        for (;;);
      });
      yield* sys.kill(yield* sys.getpid(), uapi.SIGUSR1);
    }
    if (how === "workers") {
      const cpus = yield* sys.cpus();
      // None begins before all are there: a worker on this CPU would not let this task fork the next one.
      const [from, to] = yield* sys.pipe();
      for (const cpu of cpus) yield* sys.ok(sys.forkOn(cpu, "loop", [marker, from]));
      yield* sys.write(to, "x".repeat(cpus.length));
      for (const _ of cpus) yield* sys.waitpid();
      return 3;
    }
    if (how === "waits") {
      ready();
      for (;;) yield* sys.sleep(60_000);
    }
    const page = yield* sys.ok(sys.mapShared(4096));
    ready();
    if (how === "memory") for (;;) sys.memory.add(page, 1);
    for (;;);
  },
  {
    *loop(sys, argv) {
      yield* sys.read(Number(argv[2]), new Uint8Array(1));
      appendFileSync(argv[1]!, "x");
      for (;;);
    },
  },
);
