/**
 * The TypeScript program of `bench syscalls`: test/guest/src/syscalls.c again, as a generator. It prints the nanoseconds
 * that N rounds took after WARMUP ones.
 */
import { program, type Steps } from "../programs/program.ts";
import type { Sys } from "../programs/sys.ts";

const O_RDWR = 2;
const O_CREAT = 0o100;
const PAGE = 4096;
const PAGES = 64;
const READ_WRITE = 3;
const PRIVATE_ANONYMOUS = 0x22;
const SIGUSR1 = 10;

type Round = (sys: Sys) => Steps<number>;
/** Prepares, and returns what one round is. */
type Setup = (sys: Sys) => Steps<Round>;

/** Nothing to prepare. */
const plain = (round: Round): Setup =>
  // biome-ignore lint/correctness/useYield: what prepares something yields.
  function* () {
    return round;
  };

const pipeOf = (size: number): Setup =>
  function* (sys) {
    const [from, to] = yield* sys.pipe();
    const block = new Uint8Array(size);
    return function* (self) {
      yield* self.write(to, block);
      return (yield* self.read(from, block)) as number;
    };
  };
const fileOf = (size: number): Setup =>
  function* (sys) {
    const fd = yield* sys.open("/tmp/bench-io", O_RDWR | O_CREAT, 0o644);
    const block = new Uint8Array(size);
    return function* (self) {
      yield* self.pwrite(fd, block, 0);
      return yield* self.pread(fd, block, 0);
    };
  };
const statOf = (path: string): Setup =>
  function* (sys) {
    for (let at = path.indexOf("/", 5); at > 0; at = path.indexOf("/", at + 1))
      yield* sys.mkdir(path.slice(0, at), 0o755);
    if (path !== "/tmp") yield* sys.close(yield* sys.open(path, O_RDWR | O_CREAT, 0o644));
    return function* (self) {
      return typeof (yield* self.stat(path)) === "number" ? -1 : 0;
    };
  };

const OPERATIONS: Readonly<Record<string, Setup>> = {
  null: plain((sys) => sys.call("getppid")),
  pipe1: pipeOf(1),
  pipe64k: pipeOf(65536),
  file1: fileOf(1),
  file64k: fileOf(65536),
  *open(sys) {
    yield* sys.close(yield* sys.open("/tmp/bench-open", O_RDWR | O_CREAT, 0o644));
    return function* (self) {
      return yield* self.close(yield* self.open("/tmp/bench-open"));
    };
  },
  stat1: statOf("/tmp"),
  stat8: statOf("/tmp/d/d/d/d/d/d/f"),
  dup: plain(function* (sys) {
    return yield* sys.close(yield* sys.dup(1));
  }),
  *futex(sys) {
    const word = yield* sys.mmap(0, PAGE, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
    return (self) => self.futexWake(word, 1);
  },
  fork: plain(function* (sys) {
    // biome-ignore lint/correctness/useYield: it ends at once.
    yield* sys.fork(function* () {
      return 0;
    });
    return typeof (yield* sys.waitpid(-1)) === "number" ? -1 : 0;
  }),
  mmap: plain(function* (sys) {
    return yield* sys.munmap(yield* sys.mmap(0, PAGE, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0), PAGE);
  }),
  *fault(own) {
    let at = yield* own.mmap(0, PAGES * PAGE, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
    let page = 0;
    return function* (sys) {
      if (page === PAGES) {
        yield* sys.munmap(at, PAGES * PAGE);
        at = yield* sys.mmap(0, PAGES * PAGE, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
        page = 0;
      }
      sys.memory.store(at + page++ * PAGE, 1);
      return 0;
    };
  },
  *signal(sys) {
    const self = yield* sys.getpid();
    yield* sys.sigaction(SIGUSR1, function* () {});
    return (own) => own.kill(self, SIGUSR1);
  },
};

/** Names that the program knows. */
export const PROGRAM_OPERATIONS: readonly string[] = Object.keys(OPERATIONS);

export default program(function* (sys, argv) {
  const setup = OPERATIONS[argv[1] ?? ""];
  if (setup === undefined) {
    yield* sys.print("usage: syscall-program NAME N WARMUP\n");
    return 2;
  }
  const round = yield* setup(sys);
  const rounds = Number(argv[2]);
  for (let n = Number(argv[3]); n > 0; n--) yield* round(sys);
  const start = process.hrtime.bigint();
  for (let n = rounds; n > 0; n--) yield* round(sys);
  yield* sys.print(`${process.hrtime.bigint() - start}\n`);
  return 0;
});
