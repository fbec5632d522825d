import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import test, { type ExecutionContext } from "ava";
import { Machine } from "../../userland/index.ts";
import { kernelOf } from "../../userland/machine/machine.ts";
import { MIX_CALLS } from "../../userland/programs/workloads/mix/calls.ts";
import { ALIASES } from "../../userland/programs/workloads/mix/names.ts";
import { mixOf } from "../../userland/programs/workloads/mix.ts";
import { DEFAULT_SUMMARY, parseSummary } from "../../userland/programs/workloads/strace-summary.ts";
import { run as runOn, testCpus } from "../guest/run.ts";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "sternix-workloads-"));
test.after.always(() => rmSync(folder, { recursive: true, force: true }));

const machines = new Map<number, Machine>();
const CPUS = testCpus([1, 2, 4]);
test.before("boot", async () => {
  for (const cpus of CPUS) machines.set(cpus, await Machine.boot({ cpus, memory: 256 * 1024 ** 2 }));
});
test.after.always("shut down", async () => {
  for (const machine of machines.values()) await machine.shutdown();
});

const start = (cpus: number, name: string, args: string) =>
  runOn(machines.get(cpus)!, new URL(`../../userland/programs/workloads/${name}.ts`, import.meta.url), {
    args: args.split(" ").filter((arg) => arg !== ""),
  });

/** Runs a workload that is to end well; its JSON line. */
async function outcome(t: ExecutionContext, cpus: number, name: string, args: string) {
  const { stdout, stderr, status } = await start(cpus, name, args);
  t.deepEqual({ stderr, status }, { stderr: "", status: 0 }, `${name} ${args}`);
  const result = JSON.parse(stdout.trimEnd().split("\n").at(-1)!);
  t.like(result, { version: 1, workload: name, cpus });
  t.true(result.rate > 0 && result.seconds > 0);
  return result;
}

/** Hits of stat-storm: the walks are random, but not their seed. */
const hits = new Set<number>();

const RUNS: Readonly<Record<string, (t: ExecutionContext, cpus: number) => Promise<void>>> = {
  async "fd-churn finds the lowest descriptor free, however many are held"(t, cpus) {
    const result = await outcome(t, cpus, "fd-churn", "--workers 3 --iterations 50 --held 100");
    t.like(result, { operations: 150, workers: 3, details: { calls: 600, held: 100 } });
  },
  async "stat-storm walks to what is there and what is not"(t, cpus) {
    const { operations, details } = await outcome(
      t,
      cpus,
      "stat-storm",
      "--workers 3 --iterations 60 --depth 3 --width 3 --miss 30 --seed 7",
    );
    t.is(operations, 180);
    t.is(details.hits + details.misses, 180);
    hits.add(details.hits);
    t.is(hits.size, 1);
  },
  async "pipe-ring loses no token"(t, cpus) {
    const result = await outcome(t, cpus, "pipe-ring", "--processes 5 --tokens 3 --iterations 20");
    t.like(result, { operations: 100, workers: 5, details: { tokens: 3, laps: 20, counted: 100 } });
    t.is((await outcome(t, cpus, "pipe-ring", "--processes 1 --iterations 3")).operations, 3);
  },
  async "fork-tree waits for every process"(t, cpus) {
    const result = await outcome(t, cpus, "fork-tree", "--workers 2 --depth 3 --width 2 --iterations 2");
    t.like(result, { operations: 56, details: { trees: 4, size: 14 } });
  },
  async "futex-ping-pong hands over in turns"(t, cpus) {
    for (const players of ["processes", "threads"]) {
      const args = `--pairs 2 --iterations 30 --players ${players}`;
      t.like(await outcome(t, cpus, "futex-ping-pong", args), { operations: 120, details: { hits: 120 } });
    }
  },
  async "signal-storm runs a handler for each signal sent"(t, cpus) {
    const result = await outcome(t, cpus, "signal-storm", "--pairs 2 --burst 5 --iterations 6");
    t.like(result, { operations: 72, details: { sent: 60, received: 60, answers: 12 } });
  },
  async "epoll-server answers every request"(t, cpus) {
    for (const transport of ["unix", "pipe"]) {
      const args = `--clients 5 --iterations 10 --size 100 --transport ${transport}`;
      t.like(await outcome(t, cpus, "epoll-server", args), {
        operations: 50,
        workers: 6,
        details: { echoed: 5000 },
      });
    }
  },
  async "mix makes as many calls as it was asked for"(t, cpus) {
    const { operations, data } = await outcome(t, cpus, "mix", "--workers 2 --iterations 300");
    t.is(operations, 600);
    const sum = (counts: Record<string, number>) => Object.values(counts).reduce((a, b) => a + b, 0);
    t.is(sum(data.made), 600);
    t.true(data.failed.epoll_ctl > 0 && data.failed.epoll_ctl <= data.made.epoll_ctl);
    t.is(data.failed.fcntl, 0);
  },
};

/** What must be gone when the processes are. */
const MORTAL = [
  ...["task", "group", "sighand", "mm", "vma", "files", "file", "fsinfo", "pipe", "eventpoll", "epitem"],
  ...["sock", "sigqueue", "wait_entry", "futex_waiter"],
];
const live = (machine: Machine) => {
  const objects = kernelOf(machine).liveObjects();
  return Object.fromEntries(MORTAL.map((name) => [name, objects[name]]));
};

for (const cpus of CPUS) {
  for (const [name, run] of Object.entries(RUNS)) test.serial(`${name}, ${cpus} CPUs`, (t) => run(t, cpus));

  test.serial(`the workloads used every CPU and left nothing behind, ${cpus} CPUs`, async (t) => {
    const machine = machines.get(cpus)!;
    for (const { cpu, syscalls } of machine.stats().cpus) t.true(syscalls > 100, `CPU ${cpu}`);
    await kernelOf(machine).settle();
    const before = live(machine);
    t.true(Object.values(before).every(Number.isInteger));
    for (const run of ["fork-tree", "pipe-ring", "signal-storm", "epoll-server"])
      await outcome(t, cpus, run, "--iterations 3");
    await kernelOf(machine).settle();
    t.deepEqual(live(machine), before);
  });
}

test.serial("a workload ends when its time is over", async (t) => {
  for (const name of ["fd-churn", "pipe-ring", "futex-ping-pong", "epoll-server", "signal-storm"])
    t.true((await outcome(t, 2, name, "--seconds 0.02")).operations > 0);
});

test.serial("--help names every option and its default", async (t) => {
  const { stdout, status } = await start(2, "epoll-server", "--help");
  t.is(status, 0);
  for (const option of ["--clients N", "--transport unix|pipe", "--seconds N", "--iterations N"])
    t.true(stdout.includes(option), option);
});

test.serial("a mistake in the arguments is one line and status 2", async (t) => {
  for (const [name, args, message] of [
    ["fd-churn", "--workers 0", /^fd-churn: --workers 0: give a whole number from 1 to 256; see --help\n$/],
    ["fd-churn", "--workers", /^fd-churn: --workers needs a value; .*\n$/],
    ["fd-churn", "--path /nowhere", /^fd-churn: --path \/nowhere: cannot be opened .*\n$/],
    ["pipe-ring", "--frob", /^pipe-ring: unknown argument --frob; .*\n$/],
    ["stat-storm", "--depth 12 --width 1000", /^stat-storm: .* folders are more than 100000: .*\n$/],
    ["fork-tree", "--seconds 0", /^fork-tree: --seconds 0 needs --iterations: .*\n$/],
    ["epoll-server", "--transport udp", /^epoll-server: --transport udp: give unix or pipe; .*\n$/],
    ["mix", "--from /nowhere", /^mix: --from \/nowhere: cannot be read, .*\n$/],
    ["mix", "--from /proc/version", /^mix: --from \/proc\/version: holds no summary of system calls; .*\n$/],
  ] as const) {
    const { stdout, stderr, status } = await start(2, name, args);
    t.is(status, 2, `${name} ${args}`);
    t.regex(stderr, message);
    t.is(stdout, "");
  }
});

test.serial("every call of the mix succeeds in its safe form, and fails as it should", async (t) => {
  const header = "% time     seconds  usecs/call     calls    errors syscall";
  const table = [...MIX_CALLS.keys()].map(
    (name) => `  1.00    0.000001           1        10         5 ${name}`,
  );
  const file = join(folder, "all.txt");
  writeFileSync(file, [header, ...table].join("\n"));
  const { data } = await outcome(t, 2, "mix", `--from ${file} --workers 2 --iterations 3000`);
  for (const [name, call] of MIX_CALLS) {
    t.true(data.made[name] > 0, name);
    t.is(data.failed[name] > 0, call.failing !== undefined, `${name} ${data.failed[name]}`);
  }
  t.is(data.covered, 1);
});

test.serial("sternix run mix.ts --from takes a summary of strace, or the statistics of a run", (t) => {
  const main = at("../../userland/cli/main.ts");
  const mix = at("../../userland/programs/workloads/mix.ts");
  const sternix = (...args: string[]) =>
    spawnSync(process.execPath, [main, "run", ...args], { cwd: folder, encoding: "utf8" });
  writeFileSync(
    join(folder, "summary.txt"),
    `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.004579           7       600       300 open
 30.00    0.003764           7       300           fstat
 10.00    0.003764           7        99           frobnicate
  0.00    0.000000           0         1           execve
------ ----------- ----------- --------- --------- ----------------
100.00    0.016419           5      1000       300 total
`,
  );
  const first = sternix(
    "--stats=stats.json",
    mix,
    "--from",
    "summary.txt",
    "--iterations",
    "100",
    "--workers",
    "1",
  );
  t.is(first.stderr, "");
  t.is(first.status, 0);
  t.regex(first.stdout, /^2 calls of summary\.txt: 90\.0 % of the 1,000 that it counts\n/);
  t.regex(first.stdout, /\n {2}left out: frobnicate \(9\.9 %\), not in Sternix\n/);
  t.regex(first.stdout, /\n {2}left out: execve \(0\.1 %\), replaces the program\n/);
  const { data } = JSON.parse(first.stdout.trimEnd().split("\n").at(-1)!);
  t.deepEqual(Object.keys(data.made), ["openat", "fstat"]);
  t.is(data.made.openat + data.made.fstat, 100);
  t.true(data.failed.openat > 0 && data.failed.openat < data.made.openat);
  const second = sternix(mix, "--from=stats.json", "--iterations", "50", "--workers", "1");
  t.is(second.status, 0, second.stderr);
  t.regex(second.stdout, /calls of stats\.json/);
});

test("a summary is read by its header, added up by name, and sorted", (t) => {
  t.deepEqual(parseSummary("nothing here\n1 2 3 4 read\n"), []);
  t.deepEqual(parseSummary("{}"), []);
  t.deepEqual(parseSummary("{ not json"), []);
  const twice = `calls errors syscall\n 5 1 read\n 2 write\n\ncalls syscall\n7 write\n`;
  t.deepEqual(parseSummary(twice), [
    { name: "write", calls: 9, errors: 0 },
    { name: "read", calls: 5, errors: 1 },
  ]);
  const rows = parseSummary(DEFAULT_SUMMARY);
  t.is(
    rows.reduce((sum, { calls }) => sum + calls, 0),
    Number(/(\d+) +\d+ total/.exec(DEFAULT_SUMMARY)![1]),
  );
});

test("the mix knows its aliases, and counts what it leaves out", (t) => {
  for (const name of Object.values(ALIASES)) t.true(MIX_CALLS.has(name), name);
  const mix = mixOf([
    { name: "stat", calls: 30, errors: 3 },
    { name: "newfstatat", calls: 20, errors: 1 },
    { name: "exit_group", calls: 50, errors: 0 },
  ]);
  t.deepEqual(mix.rows, [{ name: "newfstatat", calls: 50, errors: 4 }]);
  t.is(mix.covered, 0.5);
  t.deepEqual(mix.leftOut, [{ name: "exit_group", share: 0.5, reason: "comes with every clone" }]);
});

test.serial("the tutorial's program does what the README says", async (t) => {
  const readme = readFileSync(at("../../userland/programs/README.md"), "utf8");
  const code = /```ts\n([\s\S]*?)```/.exec(readme)![1]!;
  const [, found, missing] = /```console\n\$ .*\n(.*\n)\$ .*\n(.*\n)```/.exec(readme)!;
  const path = join(folder, "wc.ts");
  t.true(code.includes('from "sternix"'));
  writeFileSync(path, code.replace('"sternix"', JSON.stringify(at("../../userland/index.ts"))));
  const docs = mkdtempSync(join(folder, "docs-"));
  for (const [name, text] of [
    ["a.md", "one two three\n"],
    ["b.md", "four\n\tfive  six"],
    ["c.md", "\nseven eight\n"],
  ] as const)
    writeFileSync(join(docs, name), text);
  await using machine = await Machine.boot({ cpus: 4, mounts: [{ host: docs, guest: "/docs" }] });
  t.like(await runOn(machine, pathToFileURL(path), { args: ["/docs"] }), {
    stdout: found,
    stderr: "",
    status: 0,
  });
  t.like(await runOn(machine, pathToFileURL(path), { args: ["/nowhere"] }), {
    stdout: "",
    stderr: missing,
    status: 2,
  });
});
