/** An exception in the kernel stays where it arises: its machine goes on or ends itself, other machines and this process go on. */
import test from "ava";
import { OopsError, PanicError } from "../../../kernel/machine/error.ts";
import { OOPS_LIMIT } from "../../../kernel/machine/host-entry.ts";
import { rcuIsWatching, releasesPending } from "../../../rcu/index.ts";
import { locksHeld, mutexesHeld } from "../../../rcu/kernel.ts";
import { bootTestMachine, faultsWorker, plainWorker, type TestMachine } from "./boot-machine.ts";
import { FAULTS, fault, NR_CHAIN, NR_HOLD, queueChain } from "./faults.ts";
import { call, exit, SPIN } from "./tiny-elf.ts";

const SIGKILL = 9;

/** What an exception must not reach. */
let other: TestMachine;
const uncaught: unknown[] = [];
const note = (error: unknown): void => void uncaught.push(error);
test.before("boot", async () => {
  process.on("uncaughtException", note).on("unhandledRejection", note);
  other = await bootTestMachine(1, plainWorker);
});
test.after.always("shut down", async () => {
  await other?.machine.shutdown();
  process.off("uncaughtException", note).off("unhandledRejection", note);
});

/** Both machines run programs, and nothing is left behind on this thread. */
async function goesOn({ start }: TestMachine): Promise<boolean> {
  const ends = await Promise.all([start(exit(4)).exited, other.start(exit(5)).exited]);
  await new Promise((resolve) => setTimeout(resolve, 10));
  return (
    ends[0].code === 4 &&
    ends[1].code === 5 &&
    locksHeld === 0 &&
    mutexesHeld() === 0 &&
    !rcuIsWatching() &&
    uncaught.length === 0
  );
}

const logged = async ({ machine, log, start }: TestMachine, what: string): Promise<boolean> => {
  for (let tries = 0; tries < 500; tries++) {
    if (log.some((line) => line.includes(what) && line.includes("faults.ts"))) return true;
    machine.run(() => {});
    if (tries % 10 === 0) await start(exit(0)).exited; // A closure waits for its CPU to be awake.
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return false;
};

for (const cpus of [1, 2])
  test.serial(`of ${cpus} CPUs one on which the kernel fails goes on, with a report`, async (t) => {
    const made = await bootTestMachine(cpus, faultsWorker);
    for (const [where, { nr }] of Object.entries(FAULTS)) {
      t.is((await made.start([...call(nr), ...exit(3)]).exited).code, 3, where);
      t.true(await logged(made, `fault in ${where}`), where);
      t.true(await goesOn(made), where);
    }
    t.is(made.machine.stats().crashes, 0);
    await made.machine.shutdown();
  });

test.serial(
  "the host thread: scopes and locks are free again, who asked gets an OopsError, events go on",
  async (t) => {
    const made = await bootTestMachine(1, faultsWorker);
    const { machine } = made;
    const error = t.throws(() => machine.run(() => fault("a request")), { instanceOf: OopsError });
    t.is(error.code, "ERR_MACHINE_OOPS");
    t.true(await logged(made, "fault in a request"));
    t.is(
      machine.attempt("a test", () => fault("an event"), 7),
      7,
    );
    t.true(await logged(made, "a test on the host thread"));
    // In an inner request, of this machine and of another one, the outer one keeps what it has.
    machine.run(() => {
      t.throws(() => machine.run(() => fault("an inner request")), { instanceOf: OopsError });
      t.throws(() => other.machine.run(() => fault("a request of another machine")), {
        instanceOf: OopsError,
      });
      t.true(rcuIsWatching());
      t.is(made.machine.heap.buffer.byteLength, 128 << 20);
    });
    for (const { inject } of Object.values(FAULTS)) machine.run(() => inject(0));
    for (const where of ["a releaser", "a reclaimer", "a closure"])
      t.true(await logged(made, `fault in ${where}`), where);
    t.true(await goesOn(made));
    await machine.shutdown();
  },
);

test.serial("a log reader that throws is the embedder's: the machine goes on and shuts down", async (t) => {
  const warned = new Promise((resolve) => process.once("warning", resolve));
  const made = await bootTestMachine(1, faultsWorker, {
    log() {
      throw new Error("a log reader that throws");
    },
  });
  t.is((await made.start([...call(FAULTS["a releaser"]!.nr), ...exit(3)]).exited).code, 3);
  t.regex(String(await warned), /a log reader that throws/);
  t.true(await goesOn(made));
  await made.machine.shutdown();
});

for (const cpus of [1, 2])
  test.serial(
    `a chain of 60 000 releases comes to its end on ${cpus} CPUs, and everybody goes on meanwhile`,
    async (t) => {
      const made = await bootTestMachine(cpus, faultsWorker);
      const { machine, log } = made;
      t.is((await made.start([...call(NR_CHAIN), ...exit(3)]).exited).code, 3);
      const turns = performance.eventLoopUtilization();
      machine.run(() => queueChain(60_000)); // Of the host: CPUs take it over.
      t.true(performance.eventLoopUtilization(turns).active < 2000, "the host does not do it in one turn");
      t.true(await goesOn(made));
      while (machine.run(() => releasesPending())) await new Promise((resolve) => setTimeout(resolve, 5));
      t.deepEqual(log, []);
      // And one that nobody has finished when the machine ends.
      machine.run(() => queueChain(60_000));
      await machine.shutdown();
      t.deepEqual(log, []);
    },
  );

test.serial(
  "a lock that is never given back ends its machine, which says so; the others and shutdown go on",
  async (t) => {
    const made = await bootTestMachine(2, faultsWorker, { lockPatience: 300 });
    const { machine, log, start } = made;
    const bystander = start([SPIN]);
    const holder = start([...call(NR_HOLD), ...exit(0)]);
    // To ask for a process group takes the lock.
    while (log.length === 0 && !machine.kill(-12345, SIGKILL))
      await new Promise((resolve) => setTimeout(resolve, 20));
    t.regex(log[0]!, /Kernel panic: .*lock/);
    const ended = await machine.ended;
    t.true(ended instanceof PanicError);
    t.is(ended?.code, "ERR_MACHINE_PANIC");
    for (const { exited } of [bystander, holder]) await t.throwsAsync(exited, { instanceOf: PanicError });
    t.throws(() => start(exit(0)), { instanceOf: PanicError });
    t.false(machine.kill(bystander.pid, SIGKILL));
    t.is((await other.start(exit(5)).exited).code, 5);
    t.deepEqual(await machine.shutdown(), {});
    t.deepEqual(uncaught, []);
  },
);

test.serial("a machine whose host thread fails all the time ends itself", async (t) => {
  const { machine, log, start } = await bootTestMachine(1, faultsWorker);
  const running = start([SPIN]);
  for (let n = 0; n < OOPS_LIMIT; n++) machine.attempt("a test", () => fault("an event"), null);
  t.true((await machine.ended) instanceof PanicError);
  await t.throwsAsync(running.exited, { instanceOf: PanicError });
  t.true(log.some((line) => line.includes("Kernel panic")));
  t.is((await other.start(exit(5)).exited).code, 5);
  await machine.shutdown();
});

test.serial("machines come and go, and leave no thread behind", async (t) => {
  const count = (): number => process.getActiveResourcesInfo().filter((name) => name !== "Timeout").length;
  const before = count();
  for (let n = 0; n < 4; n++) {
    const { machine, start } = await bootTestMachine(1, faultsWorker);
    t.is((await start(exit(3)).exited).code, 3);
    if (n % 2 === 1)
      for (let at = 0; at < OOPS_LIMIT; at++) machine.attempt("a test", () => fault("an event"), null);
    await machine.shutdown();
    t.is((await machine.ended) === null, n % 2 === 0);
  }
  t.true(count() <= before, process.getActiveResourcesInfo().join(" "));
  t.deepEqual(uncaught, []);
});
