/** Callbacks that do not come back: the host ends them, on a CPU with the CPU, and names them. */
import test from "ava";
import { CpuLostError, Machine, MachineError, SubsystemError } from "../../userland/index.ts";

const fixture = (name: string) => new URL(`fixtures/${name}`, import.meta.url);
const hello = new URL("../guest/bin/hello", import.meta.url);
/** A callback on a machine that others load heavily may lose its CPU for a while. */
const LIMIT = 500;

const LOOPS: Readonly<Record<string, RegExp>> = {
  loops:
    /^hook syscallEnter in pid \d+ \(faulty-program\.\) on CPU \d runs since \S+ s and does not return: its CPU is/,
  "loops-locked": /^hook syscallEnter in pid \d+ .* does not return: its CPU is restarted$/,
  "loops-exit": /^hook taskExit in pid \d+ .* does not return: its CPU is restarted$/,
  "loops-reclaimer": /^reclaimer drop( in pid \d+ .*)? on CPU \d .* does not return: its CPU is restarted$/,
  "ends-process": /^hook syscallEnter in pid \d+ .* on CPU \d took its CPU down: /,
};
/** Each kind on one CPU or two; what a CPU is restarted for takes the time of its restart. */
const BY_CPUS: Readonly<Record<number, readonly string[]>> = {
  1: ["loops-locked", "loops-exit"],
  2: ["loops", "loops-locked", "loops-reclaimer", "ends-process"],
};

for (const [cpus, names] of [1, 2].map((n) => [n, BY_CPUS[n]!] as const)) {
  test.serial(
    `a callback that does not return costs its task and its CPU, which comes back: ${cpus} CPU(s)`,
    async (t) => {
      const log: string[] = [];
      await using machine = await Machine.boot({
        cpus,
        memory: 64 << 20,
        subsystems: [...names, "loops-report"].map((name) => fixture(`faults/${name}.ts`)),
        subsystemTimeout: LIMIT,
        log: (line) => log.push(line.split("\n")[0]!),
      });
      for (const name of names) {
        // A reclaimer may run on any CPU, in any task: that one would not stand by.
        const bystander = name === "loops-reclaimer" ? null : machine.spawn(hello);
        const one = machine.spawn(fixture("faulty-program.ts"), { argv: ["program", name] });
        const failed = await one.output().then(
          () => null,
          (error: unknown) => error,
        );
        // Which task exits there first, and between which tasks a reclaimer runs, is chance.
        if (failed !== null || !["loops-exit", "loops-reclaimer"].includes(name)) {
          t.true(failed instanceof CpuLostError, String(failed));
          t.is((failed as CpuLostError).pid, one.pid);
        }
        if (bystander !== null) t.is((await bystander.output()).stdout, "hello from riscv64\n");
        t.is((await machine.spawn(hello).output()).stdout, "hello from riscv64\n", name);
        const said = (what: RegExp): boolean =>
          log.some(
            (line) => line.startsWith(`subsystem ${name}: `) && what.test(line.slice(12 + name.length)),
          );
        // A reclaimer may begin on the other CPU when these programs have ended already.
        for (const until = performance.now() + 30_000; performance.now() < until; )
          if (said(LOOPS[name]!) && said(/^switched off at once/)) break;
          else await new Promise((resolve) => setTimeout(resolve, 10));
        t.true(said(LOOPS[name]!), `${failed}\n${log.join("\n")}\n${machine.showState()}`);
        t.true(said(/^switched off at once/));
      }
      t.is(machine.stats().crashes, names.length);
      const reports = machine.reports();
      t.is(reports["loops-locked"], "the lock was free\n", "a lock whose owner is gone can be taken");
      t.false("loops-report" in reports);
      await machine.shutdown();
      const host = log.filter((line) => line.startsWith("subsystem loops-report: "));
      t.regex(host[0]!, /: report does not return: still running after 500 ms$/);
      t.regex(host.find((line) => line.includes(": exit"))!, /: exit does not return: still running/);
    },
  );
}

test.serial("a subsystem that cannot start refuses the boot, by name", async (t) => {
  const boot = (bug: string, options: object = {}) =>
    Machine.boot({
      cpus: 1,
      memory: 64 << 20,
      subsystemTimeout: LIMIT,
      subsystems: [{ module: fixture("faults/at-boot.ts"), options: { bug, ...options } }],
      log: () => {},
    });
  for (const [bug, message] of [
    ["throws", /^subsystem at-boot: init of a bad day$/],
    ["loops", /^subsystem at-boot: init does not return: still running after 500 ms$/],
    ["promise", /^subsystem at-boot: init returned a promise: it runs to its end, it cannot wait$/],
    ["scope", /^subsystem at-boot: init returned with a read scope open or a lock held$/],
    ["lock", /^subsystem at-boot: init returned with a read scope open or a lock held$/],
    ["number", /^subsystem at-boot: system call at_boot: numbers of subsystems are 448 to 510, not 64$/],
  ] as const)
    await t.throwsAsync(boot(bug), { instanceOf: SubsystemError, message }, bug);
  await t.throwsAsync(boot("cpu"), {
    instanceOf: MachineError,
    message: /^subsystem at-boot: on a CPU that boots$/,
  });
  await t.throwsAsync(boot("cpu-loops"), {
    instanceOf: SubsystemError,
    message: /^subsystem at-boot: syscalls does not return$/,
  });
});

test.serial(
  "a module that does not finish loading, or ends its thread, refuses the boot, by name",
  async (t) => {
    const log: string[] = [];
    const boot = async (name: string, message: RegExp) => {
      const { href } = fixture(`faults/${name}.ts`);
      const refused = await t.throwsAsync(
        Machine.boot({
          cpus: 1,
          memory: 64 << 20,
          subsystemTimeout: LIMIT,
          subsystems: ["kvcache", href],
          log: (line) => log.push(line),
        }),
        { instanceOf: SubsystemError },
      );
      t.is((refused as SubsystemError).subsystem, href);
      t.regex(refused.message.slice(`subsystem ${href}: `.length), message);
    };
    const loading =
      /^its module is still loading on CPU \d after \S+ s: what loops or waits at its top level belongs into/;
    await Promise.all([
      boot("module-loops", loading),
      boot("module-waits", loading),
      boot("module-exits", /^its module ended the thread of CPU \d, which loaded it: /),
      boot("module-throws", /^cannot be loaded: it will not have it$/),
    ]);
    t.deepEqual(log, []);
  },
);
