import { program } from "../../../userland/programs/program.ts";

const SIGUSR1 = 10;
const SIGUSR2 = 12;
const SIGALRM = 14;
const SIGTERM = 15;
const SA_RESTART = 0x10000000;
const EINTR = 4;

/** Handlers are generators: they may block, and they interrupt what the program waits in. */
export default program(function* (sys) {
  const seen: string[] = [];
  const me = yield* sys.getpid();
  yield* sys.sigaction(SIGUSR1, function* (signo) {
    seen.push(`usr${signo}`);
    yield* sys.kill(me, SIGUSR2);
    seen.push("after kill");
  });
  yield* sys.sigaction(SIGUSR2, function* () {
    yield* sys.getpid();
    seen.push("nested");
  });
  yield* sys.kill(me, SIGUSR1);
  yield* sys.print(`${seen.join(", ")}\n`);

  yield* sys.sigaction(SIGALRM, function* (signo) {
    yield* sys.print(`alarm ${signo}\n`);
  });
  yield* sys.setitimer(20);
  yield* sys.print(`suspended ${(yield* sys.sigsuspend()) === -EINTR}\n`);
  yield* sys.setitimer(20);
  yield* sys.print(`sleep interrupted ${(yield* sys.sleep(5000)) === -EINTR}\n`);

  const [from, to] = yield* sys.pipe();
  yield* sys.sigaction(
    SIGALRM,
    function* () {
      yield* sys.write(to, "!");
    },
    SA_RESTART,
  );
  yield* sys.setitimer(20);
  yield* sys.print(`restarted read ${yield* sys.read(from, new Uint8Array(1))}\n`);

  const child = yield* sys.fork(function* (self) {
    yield* self.sleep(10_000);
    return 0;
  });
  yield* sys.kill(child, SIGTERM);
  const waited = yield* sys.waitpid(child);
  yield* sys.print(`child killed by ${typeof waited === "number" ? waited : waited.status & 0x7f}\n`);
});
