/** Two sides of an attack: a program that waits in a signal handler, and one that tries to get at it. */
import { program, uapi } from "../../../userland/index.ts";

const STACK_TOP = 0xfffe0000;
const PAGE = 4096;

export default program(function* (sys, argv) {
  if (argv[1] === "intruder") {
    const pid = Number(argv[2]);
    const mem = yield* sys.ok(sys.open(`/proc/${pid}/mem`, uapi.O_RDWR));
    yield* sys.lseek(mem, STACK_TOP - PAGE, 0);
    const read = yield* sys.read(mem, new Uint8Array(8));
    const write = yield* sys.write(mem, "x");
    const page = yield* sys.ok(sys.mapShared(PAGE));
    sys.memory.store(page, 3);
    const move = yield* sys.call("sched_setaffinity", pid, 8, page);
    const own = yield* sys.call("sched_setaffinity", 0, 8, page);
    yield* sys.print(`read ${read} write ${write} affinity ${move} own ${own}\n`);
    yield* sys.kill(pid, uapi.SIGUSR2);
    return 0;
  }
  let done = false;
  yield* sys.sigaction(uapi.SIGUSR2, () => {
    done = true;
  });
  yield* sys.sigaction(uapi.SIGUSR1, function* () {
    // What the handler interrupted is nowhere in this memory, and neither is the path of the module.
    const own = yield* sys.ok(sys.open("/proc/self/mem", uapi.O_RDONLY));
    const stack = new Uint8Array(65536);
    yield* sys.lseek(own, STACK_TOP - stack.length, 0);
    yield* sys.ok(sys.read(own, stack));
    const text = Buffer.from(stack).toString("latin1");
    const registers = text.includes("\x04\x20\0\0\0\0\0\0"); // The pc behind a call: 0x2004.
    yield* sys.print(
      `arguments ${text.includes("--marker")} path ${text.includes("/programs/trust.ts")} pc ${registers}\n`,
    );
    while (!done) yield* sys.sleep(60_000);
  });
  yield* sys.kill(yield* sys.getpid(), uapi.SIGUSR1);
  const garbage = yield* sys.call("rt_sigreturn");
  yield* sys.print(`never ${garbage}\n`);
  return 0;
});
