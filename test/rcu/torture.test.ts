import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { tortureMain } from "../../rcu/torture/cli.ts";
import { MUTANTS, mutate } from "../../rcu/torture/mutants.ts";
import { type TortureOptions, torture } from "../../rcu/torture/torture.ts";

const RUNS: Readonly<Record<string, TortureOptions>> = {
  "the kernel's CPUs": {},
  "one CPU for all": { cpus: 1, readers: 2, updaters: 2 },
  "eight CPUs": { cpus: 8 },
  "strict dereference": { strict: true },
  "readers that are terminated": { readers: 1, crash: true },
  "tasks preempted in their scopes": { flavour: "preempt" },
  SRCU: { flavour: "srcu" },
  "Tasks RCU": { flavour: "tasks" },
  "readers in their event loops": { flavour: "domain" },
};

for (const [name, options] of Object.entries(RUNS)) {
  test.serial(`torture finds nothing: ${name}`, async (t) => {
    const report = await torture({ seconds: 1, ...options, untilMeaningful: true });
    t.deepEqual(report.failures, []);
    t.deepEqual(report.missing, [], JSON.stringify(report));
    t.is(
      report.ages.slice(2).reduce((sum, count) => sum + count),
      0,
    );
    t.true(report.stalls >= 1, "a deliberate stall was reported by name");
  });
}

test("every mutant finds the text that it replaces", (t) => {
  for (const mutant of MUTANTS) {
    const source = readFileSync(new URL(`../../rcu/${mutant.file}`, import.meta.url), "utf8");
    t.not(mutate(mutant, source), source, mutant.name);
  }
});

// A mistake of each kind; the model checker's test has more of them, and rcu/torture/README.md a run of all.
for (const name of [
  "local-stamp",
  "idle-late",
  "orphans-lost",
  "barrier-noop",
  "stamp-early",
  "preempted-forgotten",
  "srcu-one-bank",
  "tasks-any-switch",
  "tasks-seq-unmoved",
  "turn-never-begins",
]) {
  const mutant = MUTANTS.find((candidate) => candidate.name === name)!;
  test.serial(`torture catches ${name}: ${mutant.why}`, async (t) => {
    const report = await torture({
      ...mutant.options,
      seconds: 60,
      mutant: name,
      flavour: mutant.flavour ?? "qsbr",
    });
    t.false(report.success);
    t.log(`${report.seconds.toFixed(2)} s: ${report.failures[0]}`);
  });
}

const main = fileURLToPath(new URL("../../userland/cli/main.ts", import.meta.url));

function sternixTorture(...args: string[]): Promise<{ status: number; stdout: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, "torture", ...args], (error, stdout) =>
      resolve({ status: error === null ? 0 : (error.code as number), stdout }),
    );
  });
}

test.serial("sternix torture says what is wrong with its arguments, and ends with status 2", async (t) => {
  const wrong: [args: string[], complaint: RegExp][] = [
    [["--seconds", "0"], /--seconds 0: a number above 0/],
    [["--cpus", "1.5"], /--cpus 1\.5: a whole number from 1 to 48/],
    [["--cpus", "49"], /--cpus 49/],
    [["--readers", "many"], /--readers many/],
    [["--updaters", "0"], /--updaters 0/],
    [["--flavour", "vanilla"], /--flavour vanilla: one of qsbr, preempt, srcu, tasks, domain/],
    [["--mutant", "none"], /no mutant none: one of synchronize-noop/],
    [["--mutant", "srcu-hands-lost"], /within a few instructions; the model checker finds it/],
    [["--mutant", "srcu-one-bank", "--flavour", "tasks"], /harms the flavour srcu/],
    [["--json", "/nowhere/report.json"], /ENOENT.*\/nowhere\/report\.json/],
    [["--fast"], /--fast/],
  ];
  for (const [args, complaint] of wrong) {
    const said: string[] = [];
    const original = console.error;
    console.error = (text: string) => said.push(text);
    try {
      t.is(await tortureMain(args), 2, args.join(" "));
    } finally {
      console.error = original;
    }
    t.regex(said.join("\n"), complaint);
  }
});

test("sternix torture ends with its verdict: of a run too short, and of a mutant", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "torture-"));
  try {
    const json = join(folder, "report.json");
    const short = await sternixTorture("--seconds", "0.001", "--cpus", "1", "--json", json);
    t.is(short.status, 0);
    t.regex(short.stdout, /too short to mean anything: .*grace periods/);
    t.true(short.stdout.endsWith("End of test: SUCCESS\n"));
    const report = JSON.parse(readFileSync(json, "utf8"));
    t.true(report.success && report.tooShort);
    t.is(report.cpus, 1);
    const mutant = await sternixTorture("--seconds", "60", "--mutant", "synchronize-noop");
    t.is(mutant.status, 1);
    // Whichever of its checks sees it first: the updaters' own, or a litmus test.
    t.regex(mutant.stdout, /^!!! .*grace period/m);
    t.regex(mutant.stdout, /synchronize-noop was caught after/);
    t.true(mutant.stdout.endsWith("End of test: FAILURE\n"));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
