import { program } from "../../../userland/programs/program.ts";

/** Children on every CPU: they share mapped memory and descriptors with their parent, and start children of their own. */
export default program(
  function* (sys, argv) {
    const cpus = yield* sys.cpus();
    const page = yield* sys.ok(sys.mapShared(4096));
    const [from, to] = yield* sys.pipe();
    yield* sys.sigaction(10, () => {});
    const children = new Map<number, number>();
    for (const cpu of cpus)
      children.set(yield* sys.ok(sys.forkOn(cpu, "child", [page, to, cpu, argv[1]!])), cpu);
    yield* sys.close(to);
    const text = Buffer.from(yield* sys.ok(sys.readAll(from))).toString();
    yield* sys.print(text.trimEnd().split("\n").sort().join("\n") + "\n");
    let right = 0;
    for (const _ of cpus) {
      const waited = yield* sys.ok(sys.waitpid());
      if (waited.status === children.get(waited.pid)! << 8) right++;
    }
    yield* sys.print(`${right} of ${cpus.length} statuses, sum ${sys.memory.load(page)}\n`);
    yield* sys.print(`no such cpu ${yield* sys.forkOn(99, "child")}\n`);
    // The child's handlers are the default ones again, so this kills it.
    const pid = yield* sys.ok(sys.forkOn(cpus.at(-1)!, "sleeper"));
    yield* sys.sleep(5);
    yield* sys.kill(pid, 10);
    yield* sys.print(`killed by ${(yield* sys.ok(sys.waitpid(pid))).status}\n`);
    // Two children that are announced before either of them runs.
    for (const letter of ["a", "b"])
      yield* sys.fork(function* (child) {
        sys.memory.add(page + 4, 1);
        yield* child.print(`${letter}\n`);
      });
    while (typeof (yield* sys.waitpid()) !== "number") {}
    return sys.memory.load(page + 4);
  },
  {
    *child(sys, argv, env) {
      const [page, to, cpu] = argv.slice(1, 4).map(Number) as [number, number, number];
      sys.memory.add(page, cpu + 1);
      const word = yield* sys.mapShared(4096);
      yield* sys.fork(function* (child) {
        child.memory.store(word, (yield* child.ok(child.dup(to))) > to ? 7 : 0);
      });
      yield* sys.waitpid();
      const here = yield* sys.mmap(0, 4096, 3, 0x22, -1, 0);
      yield* sys.call("getcpu", here, 0, 0);
      const placed = sys.memory.load(here) === cpu;
      yield* sys.writeAll(to, `cpu ${cpu} ${placed} ${argv[4]} ${env.GREETING} ${sys.memory.load(word)}\n`);
      return cpu;
    },
    *sleeper(sys) {
      yield* sys.sleep(10_000);
    },
  },
);
