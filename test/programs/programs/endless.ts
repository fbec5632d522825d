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
      for (const cpu of cpus) yield* sys.ok(sys.forkOn(cpu, "loop", [marker]));
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
    // biome-ignore lint/correctness/useYield: that it makes no call is the point
    *loop(_sys, argv) {
      appendFileSync(argv[1]!, "x");
      for (;;);
    },
  },
);
