/** Short runs of the real benchmarks: that they measure what they say, not how fast. */
import * as fs from "node:fs";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { atomicLoad } from "../../rcu/index.ts";
import { SCOPES } from "../../userland/bench/flavour-worker.ts";
import { FLAVOURS } from "../../userland/bench/flavours.ts";
import { LIBURCU, Liburcu } from "../../userland/bench/liburcu.ts";
import { fsOperations, loadMemfs } from "../../userland/bench/node-fs.ts";
import { parseBenchOptions } from "../../userland/bench/options.ts";
import { plot } from "../../userland/bench/plot.ts";
import { benchRcu } from "../../userland/bench/rcu.ts";
import { type Results, SCHEMA } from "../../userland/bench/results.ts";
import { machineContenders } from "../../userland/bench/syscall-contenders.ts";
import { benchSyscalls } from "../../userland/bench/syscalls.ts";
import { TABLES } from "../../userland/bench/tables/index.ts";
import { benchTables } from "../../userland/bench/tables.ts";
import { wasiOperations } from "../../userland/bench/wasi.ts";
import { benchWorkloads } from "../../userland/bench/workloads.ts";
import { Failure } from "../../userland/cli/failure.ts";
import { Machine } from "../../userland/index.ts";
import { fixture } from "../guest/cases.ts";
import { runLocks } from "./locks.ts";

const silent = { at: () => {}, beat: () => {}, explain: () => {}, clear: () => {} };
const short = ["--rounds", "2", "--ms", "2"];

/** What README.md promises of the JSON form. */
function checkSchema(
  t: { true(value: boolean, message?: string): void; is(a: unknown, b: unknown, message?: string): void },
  results: Results,
) {
  const { cells, machine, versions } = JSON.parse(JSON.stringify(results)) as Results;
  t.is(results.schema, SCHEMA);
  t.true(!Number.isNaN(Date.parse(results.date)));
  t.true(machine.referenceNs > 0);
  t.true(machine.cpus > 0 && machine.memoryBytes > 0 && machine.load.length === 2);
  t.true(["sternix", "node", "v8"].every((name) => typeof versions[name] === "string"));
  t.true(cells.length > 0);
  for (const cell of cells) {
    const what = JSON.stringify(cell);
    t.is(cell.samples.length, results.passes, what);
    for (const pass of cell.samples) {
      t.is(pass.length, results.rounds, what);
      t.true(
        pass.every((sample) => Number.isFinite(sample) && sample > 0),
        what,
      );
    }
    t.true(cell.low <= cell.median && cell.median <= cell.high, what);
    t.true(["less", "more"].includes(cell.better) && cell.unit !== "" && cell.name !== "", what);
  }
}

test.serial("every table runs under RCU and behind locks, and says what was reclaimed", async (t) => {
  const words = ["tables", ...short, "--passes", "1", "--threads", "2", "--writes", "10", "--entries", "64"];
  const options = parseBenchOptions([...words, "--contenders", "rcu,rcu-strict,rwlock,private Map"]);
  const results = (await benchTables(options, silent)).finish();
  checkSchema(t, results);
  for (const table of TABLES) {
    const own = results.cells.filter((cell) => cell.name === table.name);
    const expected = ["rcu", "rcu-strict", "rwlock", ...(table.integers ? ["private Map"] : [])];
    t.deepEqual(
      own.map((cell) => cell.contender),
      expected,
    );
    const rcu = own[0]!;
    t.deepEqual(rcu.conditions, { threads: 2, writes: 10, entries: 64 });
    // Handlers are changed in place, and futexes have no readers: nothing is deferred there.
    if (!["sighand", "futex", "Idr"].includes(table.name)) t.true(rcu.reclaim!.callbacks > 0, table.name);
  }
  const chart = plot(results);
  t.regex(chart, /^<svg [^>]+>[\s\S]+<\/svg>\n$/);
  t.notRegex(chart, /NaN|undefined|Infinity/);
  for (const table of TABLES) t.true(chart.includes(table.name), table.name);
});

test.serial("reclaim counts follow the writes: none without any", async (t) => {
  const options = parseBenchOptions([
    "tables",
    ...short,
    "--threads",
    "1",
    "--writes",
    "0,50",
    "--entries",
    "64",
    "--only",
    "pid",
    "--contenders",
    "rcu",
  ]);
  const results = (await benchTables(options, silent)).finish();
  checkSchema(t, results);
  t.is(results.passes, 2);
  const [reads, writes] = results.cells;
  t.is(reads!.reclaim!.callbacks, 0);
  t.true(writes!.reclaim!.callbacks > 0 && writes!.reclaim!.gracePeriods > 0);
});

test.serial(
  "bench rcu measures scopes, grace periods and callbacks, and compares them with the targets",
  async (t) => {
    const options = parseBenchOptions([
      "rcu",
      ...short,
      "--passes",
      "1",
      "--contenders",
      "rcu,percpu-mutex,mutex,rwlock,private Map",
    ]);
    const results = (await benchRcu(options, silent)).finish();
    checkSchema(t, results);
    t.is(results.targets.length, 11);
    const names = new Set(results.cells.map((cell) => cell.name));
    t.deepEqual(
      [...names],
      [
        "enter + exit",
        "enter + dereference + exit",
        "RcuHashMap",
        "RcuLockFreeMap",
        "synchronize",
        "callbacks",
      ],
    );
    t.notRegex(plot(results), /NaN|undefined/);
  },
);

test.serial("bench rcu has liburcu and other flavours beside, or says in a line why not", async (t) => {
  const contenders = ["rcu", ...LIBURCU, ...SCOPES];
  const once = ["--rounds", "1", "--ms", "1", "--passes", "1"];
  const words = ["rcu", ...once, "--contenders", contenders.join()];
  const parts = ["enter + exit", "RcuHashMap", FLAVOURS, "callbacks"].flatMap((name) => ["--only", name]);
  const results = (await benchRcu(parseBenchOptions([...words, ...parts]), silent)).finish();
  checkSchema(t, results);
  const of = (contender: string) => results.cells.filter((cell) => cell.contender === contender);
  for (const kind of SCOPES) t.deepEqual(of(kind)[0]?.conditions, { threads: 1 }, kind);
  t.deepEqual(
    of("callRcuHere").map(({ conditions }) => conditions),
    [{ cpus: 1 }, { cpus: 2 }],
  );
  const reasons = results.skipped.filter((line) => line.startsWith("liburcu: "));
  for (const name of LIBURCU) t.is(of(name).length, reasons.length === 1 ? 0 : 2, name);
  t.is(results.versions.liburcu === undefined, reasons.length === 1);
});

test("liburcu is left out with a line where there is no compiler, and where it is not installed", (t) => {
  const lines: string[] = [];
  const skip = (line: string) => void lines.push(line);
  t.is(Liburcu.build(skip, []), null);
  // A command that there is, and that builds nothing.
  t.is(Liburcu.build(skip, [process.execPath]), null);
  t.regex(lines[0]!, /^liburcu: no C compiler/);
  t.regex(lines[1]!, /^liburcu: not installed/);
});

const OPERATIONS = 17;

test.serial(
  "bench syscalls measures every call from a guest and from a program, and files from others",
  async (t) => {
    const others = ["node:fs", "memfs", "node:wasi", "central (shared memory)"];
    const options = parseBenchOptions([
      "syscalls",
      ...["--rounds", "1", "--passes", "1", "--ms", "1", "--threads", "1,2"],
      ...["--contenders", ["sternix guest", "sternix program", ...others].join()],
    ]);
    const results = (await benchSyscalls(options, silent)).finish();
    checkSchema(t, results);
    const of = (contender: string, unit: string) =>
      results.cells.filter((cell) => cell.contender === contender && cell.unit === unit);
    for (const contender of ["sternix guest", "sternix program"]) {
      t.is(of(contender, "ns").length, OPERATIONS);
      t.deepEqual(
        of(contender, "calls/s").map(({ name, conditions }) => [name, conditions.cpus]),
        [1, 2].flatMap((cpus) => SCALED.map((name) => [name, cpus])),
      );
    }
    t.deepEqual(
      ["node:fs", ...(loadMemfs() === null ? [] : ["memfs"]), "node:wasi"].map(
        (contender) => of(contender, "ns").length,
      ),
      [5, ...(loadMemfs() === null ? [] : [5]), 6],
    );
    t.is(of("central (shared memory)", "calls/s").length, 2);
    const chart = plot(results);
    t.notRegex(chart, /NaN|undefined|Infinity/);
    for (const name of SCALED) t.true(chart.includes(name));
  },
);
const SCALED = ["null calls a second", "1-byte pipe round trips a second", "opens and closes a second"];

// The sources and the built package have it under different names.
test.serial("a program executes the guest of bench syscalls whatever its file is called", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sternix-bench-test-"));
  const guest = join(folder, "another-name");
  fs.copyFileSync(fixture("syscalls"), guest);
  const machine = await Machine.boot({ cpus: 1 });
  try {
    const contenders = await machineContenders(machine, () => true, t.fail, guest);
    t.deepEqual(
      contenders.map(({ name }) => name),
      ["sternix guest", "sternix program"],
    );
    for (const contender of contenders) t.true((await contender.run("exec", 2, 1)).ns > 0);
  } finally {
    await machine.shutdown();
    fs.rmSync(folder, { recursive: true });
  }
});

test.serial("names that a benchmark does not know are refused before anything is measured", async (t) => {
  for (const [words, message] of [
    [["tables", "--only", "pids"], /^--only pids: there are pid, fd, dentry, /],
    [["tables", "--contenders", "rcu,spinlock"], /^--contenders spinlock: there are rcu, .*lmdb$/],
    [
      ["rcu", "--only", "pid"],
      /^--only pid: there are scope of a flavour, enter \+ exit, .*synchronize, callbacks$/,
    ],
    [["rcu", "--contenders", "x"], /^--contenders x: there are rcu,/],
    [["syscalls", "--only", "frob"], /^--only frob: there are null: null call/],
    [["workloads", "--only", "forks"], /^--only forks: there are fd-churn, /],
    [["syscalls", "--contenders", "qemu"], /^--contenders qemu: there are sternix guest, /],
  ] as const) {
    const options = parseBenchOptions(words);
    const bench = { tables: benchTables, rcu: benchRcu, syscalls: benchSyscalls, workloads: benchWorkloads }[
      options.suite
    ];
    await t.throwsAsync(bench(options, silent), { instanceOf: Failure, message });
  }
});

test.serial("bench workloads runs workloads and takes the rates that they print", async (t) => {
  const names = ["fd-churn", "stat-storm", "mix"];
  const options = parseBenchOptions([
    ...["workloads", "--rounds", "1", "--passes", "1", "--ms", "1", "--threads", "2"],
    ...names.flatMap((name) => ["--only", name]),
  ]);
  const results = (await benchWorkloads(options, silent)).finish();
  checkSchema(t, results);
  t.deepEqual(
    results.cells.map(({ name }) => name.split(",")[0]),
    names,
  );
  t.notRegex(plot(results), /NaN|undefined|Infinity/);
});

test("node:wasi reads and writes the file that it is given", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sternix-bench-test-"));
  fsOperations(fs, folder);
  const operations = wasiOperations(folder)!;
  operations.file64k!(2);
  t.is(fs.statSync(join(folder, "f")).size, 65536);
  operations.stat8!(1);
  fs.rmSync(join(folder, "d"), { recursive: true });
  t.throws(() => operations.stat8!(1), { message: /node:wasi: error/ });
  fs.rmSync(folder, { recursive: true });
});

for (const protocol of ["mutex", "rwlock", "seqlock", "percpu-mutex", "wasm-mutex", "wasm-rwlock"] as const)
  test.serial(`${protocol}: writers exclude each other, and readers see no half-made change`, async (t) => {
    const { counter, torn, writes } = await runLocks(protocol);
    t.is(counter, writes);
    t.is(torn, 0);
  });

test.serial("reading makes no atomic operation", async (t) => {
  const { Heap, RcuHashMap, rcuReadLock, rcuReadUnlock } = await import("../../rcu/index.ts");
  const heap = Heap.create({ bytes: 8 << 20 });
  const map = new RcuHashMap();
  map.insert(1, 2);
  let calls = 0;
  const names = [
    "load",
    "store",
    "add",
    "sub",
    "and",
    "or",
    "exchange",
    "compareExchange",
    "wait",
    "notify",
  ] as const;
  const original = new Map(names.map((name) => [name, Atomics[name]] as const));
  const set = (name: string, value: unknown) => Object.assign(Atomics, { [name]: value });
  for (const name of names)
    set(name, (...args: unknown[]) => {
      calls++;
      return (original.get(name) as (...all: unknown[]) => unknown)(...args);
    });
  try {
    atomicLoad(new Int32Array(new SharedArrayBuffer(4)), 0);
    t.is(calls, 1, "the counting itself");
    const scope = rcuReadLock();
    const value = map.get(scope, 1);
    map.lookup(scope, 7);
    rcuReadUnlock();
    t.is(value, 2);
    t.is(calls, 1);
  } finally {
    for (const name of names) set(name, original.get(name));
  }
  heap.detach();
});
