import { program } from "../../../userland/programs/program.ts";

const THREADS = 3;
const ROUNDS = 50;

/** Threads share memory: a counter, a futex lock, and a join on the cleared tid. */
export default program(function* (sys) {
  const page = yield* sys.mmap(0, 4096, 3, 0x21, -1, 0);
  const [counter, lock, guarded, tids] = [page, page + 4, page + 8, page + 64];
  for (let i = 0; i < THREADS; i++) {
    const tid = yield* sys.thread(
      function* (self) {
        for (let round = 0; round < ROUNDS; round++) {
          self.memory.add(counter, 1);
          while (!self.memory.cas(lock, 0, 1)) yield* self.futexWait(lock, 1);
          const value = self.memory.load(guarded);
          yield* self.schedYield();
          self.memory.store(guarded, value + 1);
          self.memory.store(lock, 0);
          yield* self.futexWake(lock);
        }
      },
      tids + 4 * i,
    );
    if (tid < 0) return 1;
  }
  for (let i = 0; i < THREADS; i++) {
    for (let tid = sys.memory.load(tids + 4 * i); tid !== 0; tid = sys.memory.load(tids + 4 * i)) {
      yield* sys.futexWait(tids + 4 * i, tid);
    }
  }
  yield* sys.print(`counter ${sys.memory.load(counter)} guarded ${sys.memory.load(guarded)}\n`);
  // A child process shares the same page, since it is MAP_SHARED, and has memory of its own elsewhere.
  const own = yield* sys.mmap(0, 4096, 3, 0x22, -1, 0);
  sys.memory.store(own, 5);
  const child = yield* sys.fork(function* (self) {
    self.memory.store(own, self.memory.load(own) + 1);
    self.memory.store(counter, self.memory.load(own));
    yield* self.futexWake(counter);
  });
  yield* sys.waitpid(child);
  yield* sys.print(`shared ${sys.memory.load(counter)} private ${sys.memory.load(own)}\n`);
  yield* sys.print(`timeout ${yield* sys.futexWait(counter, 6, 10)}\n`);
  return 0;
});
