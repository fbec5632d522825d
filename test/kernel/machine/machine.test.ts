import test from "ava";
import { notifyHost } from "../../../kernel/machine/state.ts";
import { ram } from "../../../kernel/mm/ram.ts";
import { Cpu, cpuOf } from "../../../kernel/sched/cpus.ts";
import { atomicLoad } from "../../../rcu/index.ts";
import { bootTestMachine, faultyWorker, plainWorker } from "./boot-machine.ts";
import { bnez, call, exit, SPIN } from "./tiny-elf.ts";

/** faulty-worker.ts counts there. */
const CHORES = 40;
const SIGKILL = 9;
const SIGTERM = 15;
const SIGSEGV = 11;
const A0 = 10;
const SYS_clone = 220;
const SYS_wait4 = 260;
const SYS_sched_yield = 124;
const SIGCHLD = 17;

/** Forks; the child runs `child`, the parent goes on behind it. Both lists end or fall through by themselves. */
const fork = (child: readonly number[]): number[] => [
  ...call(SYS_clone, SIGCHLD, 0, 0, 0, 0),
  bnez(A0, 4 + child.length * 4),
  ...child,
];

for (const cpus of [1, 2, 4, 8]) {
  test.serial(`${cpus} CPUs boot, run programs, fork, and shut down`, async (t) => {
    const { machine, start } = await bootTestMachine(cpus, plainWorker);
    const exits = await Promise.all([exit(42), exit(0), exit(7)].map((code) => start(code).exited));
    t.deepEqual(
      exits.map((end) => end.code),
      [42, 0, 7],
    );
    // The child exits with 5; the parent waits for it and exits with the child's pid minus its own.
    const parent = start([...fork(exit(5)), ...call(SYS_wait4, -1, 0, 0, 0), ...exit(9)]);
    t.is((await parent.exited).code, 9);
    t.is(machine.stats().cpus.length, cpus);
    await machine.shutdown();
  });
}

test.serial(
  "on one CPU a spinning program does not keep others from running, nor from being killed",
  async (t) => {
    const { machine, start } = await bootTestMachine(1, plainWorker);
    const spinning = start([SPIN]);
    const other = start([...call(SYS_sched_yield), ...exit(3)]);
    t.is((await other.exited).code, 3);
    t.true(machine.kill(spinning.pid, SIGTERM));
    const end = await spinning.exited;
    t.is(end.signal, SIGTERM);
    t.is(end.status, SIGTERM);
    t.false(machine.kill(spinning.pid, SIGTERM), "it is gone");
    await machine.shutdown();
  },
);

test.serial("a program that cannot be loaded says why and exits as a shell would", async (t) => {
  const { machine } = await bootTestMachine(1, plainWorker);
  const missing = await machine.spawn({ path: "/bin/none", argv: ["none"], env: [] }).exited;
  t.deepEqual([missing.code, missing.error], [127, 2]);
  const notProgram = await machine.spawn({ path: "/etc/passwd", argv: ["passwd"], env: [] }).exited;
  t.is(notProgram.code, 126);
  await machine.shutdown();
});

test.serial("shutdown kills what still runs and resolves its exit", async (t) => {
  const { machine, start } = await bootTestMachine(2, plainWorker);
  const spinning = start([SPIN]);
  // Waits for a child that never ends.
  const waiting = start([...fork([SPIN]), ...call(SYS_wait4, -1, 0, 0, 0), ...exit(0)]);
  await machine.shutdown();
  t.is((await spinning.exited).signal, SIGKILL);
  t.is((await waiting.exited).signal, SIGKILL);
});

test.serial("after the last task exits no object is left behind", async (t) => {
  const { machine, start } = await bootTestMachine(2, plainWorker);
  const program = [...fork(fork(exit(1)).concat(exit(2))), ...call(SYS_wait4, -1, 0, 0, 0), ...exit(0)];
  await start(program).exited;
  await machine.settle();
  const before = machine.liveObjects();
  for (let n = 0; n < 5; n++) {
    const running = [start(program), start([SPIN])];
    await running[0]!.exited;
    machine.kill(running[1]!.pid, SIGKILL);
    await running[1]!.exited;
  }
  await machine.settle();
  const after = machine.liveObjects();
  // Each start writes a new file into /bin: its inode and pages stay.
  for (const name of ["inode", "dentry", "dname", "mapping", "pagenode"]) {
    delete before[name];
    delete after[name];
  }
  t.deepEqual(after, before);
  await machine.shutdown();
});

test.serial(
  "an exception in a handler kills the process with a report, and the machine goes on",
  async (t) => {
    const { machine, log, start } = await bootTestMachine(1, faultyWorker);
    const end = await start([...call(500), ...exit(0)]).exited;
    t.is(end.signal, SIGSEGV);
    t.true(log.some((line) => line.includes("oops in a handler") && line.includes("pid")));
    t.is((await start(exit(4)).exited).code, 4);
    t.is(machine.stats().crashes, 0);
    await machine.shutdown();
  },
);

test.serial("a debug machine names a call that works long and asks nobody, and no other", async (t) => {
  const { machine, log, start } = await bootTestMachine(1, faultyWorker, { debug: true });
  t.is((await start([...call(503), ...call(502), ...call(502), ...exit(0)]).exited).code, 0);
  const reports = log.filter((line) => line.startsWith("Long call"));
  t.is(reports.length, 1, reports.join());
  t.regex(reports[0]!, /pid \d+ .* ms in drudge without/);
  await machine.shutdown();
});

for (const cpus of [1, 2]) {
  test.serial(
    `of ${cpus} CPUs one that dies with a lock held is replaced, and only its process dies`,
    async (t) => {
      const { machine, log, start } = await bootTestMachine(cpus, faultyWorker);
      const bystander = start([SPIN]);
      const end = await start([...call(501), ...exit(0)]).exited;
      t.is(end.signal, SIGKILL);
      t.true(log.some((line) => line.includes("crash in a handler")));
      t.is(machine.stats().crashes, 1);
      const after = await Promise.all(Array.from({ length: 4 }, () => start(exit(6)).exited));
      t.deepEqual(
        after.map((exited) => exited.code),
        [6, 6, 6, 6],
      );
      machine.kill(bystander.pid, SIGKILL);
      t.is((await bystander.exited).signal, SIGKILL);
      await machine.shutdown();
    },
  );
}

test.serial("a machine says what its CPUs and tasks do: who runs, who sleeps in which call", async (t) => {
  const { machine, start } = await bootTestMachine(2, plainWorker);
  const spinning = start([SPIN]);
  const parent = start([...fork([SPIN]), ...call(SYS_wait4, -1, 0, 0, 0), ...exit(0)]);
  const blocked = new RegExp(`task ${parent.pid} .*: sleeping, .*in call ${SYS_wait4}\\(-1, 0, 0, `);
  let state = "";
  while (!blocked.test(state)) {
    await new Promise((resolve) => setTimeout(resolve, 2));
    state = machine.showState();
  }
  t.regex(state, /^the host ticks, /);
  t.regex(state, /^ {2}CPU 0: /m);
  t.regex(state, /^ {2}CPU 1: /m);
  t.regex(state, new RegExp(`task ${spinning.pid} .* of process ${spinning.pid}: run`));
  await machine.shutdown();
});

test.serial(
  "a machine with events that never end still ticks, and lets the host's event loop turn",
  async (t) => {
    let endless = false;
    let events = 0;
    const { machine, start } = await bootTestMachine(1, plainWorker, {
      onEvent() {
        if (!endless) return;
        if (++events > 1_000_000) throw new Error("the event loop has not turned");
        notifyHost(); // Another event before this one is done with.
      },
    });
    endless = true;
    start([SPIN]);
    const other = start(exit(3)); // Runs only when the tick makes the first one give way.
    machine.run(() => notifyHost());
    const { promise, resolve } = Promise.withResolvers<void>();
    setTimeout(resolve, 5);
    await promise;
    t.true(events > 0);
    t.is((await other.exited).code, 3);
    endless = false;
    await machine.shutdown();
  },
);

test.serial(
  "a CPU that never sleeps does its chores all the same, such as closing descriptors",
  async (t) => {
    const { machine, start } = await bootTestMachine(1, faultyWorker);
    start([SPIN]);
    while (machine.run(() => Cpu.curr.load(cpuOf(0))) === 0)
      await new Promise((resolve) => setTimeout(resolve, 2));
    const done = (): number => machine.run(() => atomicLoad(ram.i32, CHORES));
    const before = done();
    for (const begin = Date.now(); done() < before + 3 && Date.now() - begin < 20_000; )
      await new Promise((resolve) => setTimeout(resolve, 2));
    t.true(done() >= before + 3);
    await machine.shutdown();
  },
);
