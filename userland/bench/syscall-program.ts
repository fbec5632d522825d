/**
 * The TypeScript program of `bench syscalls`: test/guest/src/syscalls.c again, as a generator. NAME N WARMUP CHILDREN GUEST: it prints
 * the nanoseconds that N rounds took after WARMUP ones, in each of CHILDREN processes at once, which the CPUs get in turns. With 0
 * children it makes the rounds itself. GUEST is the path of syscalls.c's program in the guest: what exec runs.
 */
import { Crew, Worker } from "../programs/crew.ts";
import { program, type Steps } from "../programs/program.ts";
import type { Sys } from "../programs/sys.ts";

const O_RDWR = 2;
const O_CREAT = 0o100;
const PAGE = 4096;
const PAGES = 64;
const READ_WRITE = 3;
const PRIVATE_ANONYMOUS = 0x22;
const SIGUSR1 = 10;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 1;
type Round = (sys: Sys) => Steps<number>;
/**
 * Prepares, and returns what one round is. `index`: which of the processes this is, for files of its own. `guest`: the path of a guest
 * program for exec, since a TypeScript module is no file of the guest.
 */
type Setup = (sys: Sys, index: number, guest: string) => Steps<Round>;

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
  *open(sys, index) {
    const path = `/tmp/bench-open${index}`;
    yield* sys.close(yield* sys.open(path, O_RDWR | O_CREAT, 0o644));
    return function* (self) {
      return yield* self.close(yield* self.open(path));
    };
  },
  stat1: statOf("/tmp"),
  stat8: statOf("/tmp/d/d/d/d/d/d/f"),
  dup: plain(function* (sys) {
    return yield* sys.close(yield* sys.dup(1));
  }),
  *epoll(sys) {
    const [epoll, fd] = [yield* sys.epollCreate(), yield* sys.eventfd()];
    yield* sys.ok(sys.epollCtl(epoll, EPOLL_CTL_ADD, fd, EPOLLIN));
    const one = new Uint8Array(8);
    one[0] = 1;
    return function* (self) {
      yield* self.write(fd, one);
      yield* self.epollWait(epoll, 1, -1);
      return (yield* self.read(fd, one)) as number;
    };
  },
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
  // biome-ignore lint/correctness/useYield: there is nothing to prepare.
  *exec(_sys, _index, guest) {
    return function* (sys) {
      yield* sys.ok(sys.spawn(guest, [guest, "exit"], []));
      const waited = yield* sys.ok(sys.waitpid(-1));
      if (waited.status !== 0) throw new Error(`${guest} ended with status ${waited.status}`);
      return 0;
    };
  },
  *switch(sys) {
    const [to, from] = [yield* sys.pipe(), yield* sys.pipe()];
    const byte = new Uint8Array(1);
    // The other process answers until nobody can write to it any more; it stays on this CPU, so every hand-over is a switch.
    yield* sys.fork(function* (child) {
      yield* child.close(to[1]);
      const own = new Uint8Array(1);
      while ((yield* child.read(to[0], own)) > 0) yield* child.write(from[1], own);
      return 0;
    });
    return function* (self) {
      yield* self.write(to[1], byte);
      return (yield* self.read(from[0], byte)) as number;
    };
  },
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

export default program(
  function* (sys, argv) {
    const [, name = "", rounds, warmup, children, guest] = argv;
    const setup = OPERATIONS[name];
    if (setup === undefined || guest === undefined) {
      yield* sys.print("usage: syscall-program NAME N WARMUP CHILDREN GUEST\n");
      return 2;
    }
    const workers = Number(children);
    if (workers > 0) {
      const crew = yield* Crew.create(sys, { workers, iterations: 0 });
      for (let n = 0; n < workers; n++)
        yield* crew.add("worker", [name, Number(rounds), Number(warmup), guest]);
      const result = yield* crew.run(0);
      if (result === null) return 1;
      yield* sys.print(`${Math.round(result.seconds * 1e9)}\n`);
      return 0;
    }
    const round = yield* setup(sys, 0, guest);
    for (let n = Number(warmup); n > 0; n--) yield* round(sys);
    const start = process.hrtime.bigint();
    for (let n = Number(rounds); n > 0; n--) yield* round(sys);
    yield* sys.print(`${process.hrtime.bigint() - start}\n`);
    return 0;
  },
  {
    *worker(sys, argv) {
      const worker = new Worker(sys, argv);
      const [name, rounds, warmup, guest] = worker.args as [string, string, string, string];
      const round = yield* OPERATIONS[name]!(sys, worker.index, guest);
      for (let n = Number(warmup); n > 0; n--) yield* round(sys);
      yield* worker.begin();
      for (let n = Number(rounds); n > 0; n--) yield* round(sys);
      return yield* worker.end();
    },
  },
);
