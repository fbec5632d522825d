/** What a benchmark measures and when it gives up: axes, limits, hangs. */
import test from "ava";
import { combinations } from "../../userland/bench/axes.ts";
import { Budget } from "../../userland/bench/budget.ts";
import { Retries } from "../../userland/bench/disturbance.ts";
import { HangWatch } from "../../userland/bench/hang.ts";
import { parseBenchOptions } from "../../userland/bench/options.ts";
import { Failure } from "../../userland/cli/failure.ts";

const usually = (values: number[], usual: number) => ({ values, usual, asked: false });
const asked = (values: number[], usual: number) => ({ values, usual, asked: true });
const words = (found: readonly Readonly<Record<string, number>>[]): string[] =>
  found.map((each) => Object.values(each).join(" "));

test("one axis at a time departs from its usual value", (t) => {
  const found = combinations({ entries: usually([64, 4096], 4096), writes: usually([0, 1, 50], 1) });
  t.deepEqual(words(found), ["64 1", "4096 0", "4096 1", "4096 50"]);
});

test("an axis that was asked for is measured whole, with all that remains of the others", (t) => {
  const entries = usually([64, 4096], 4096);
  const writes = usually([0, 1], 1);
  t.deepEqual(words(combinations({ entries, threads: asked([1, 2], 2), writes })), [
    ...["64 1 1", "64 2 1"],
    ...["4096 1 0", "4096 1 1", "4096 2 0", "4096 2 1"],
  ]);
  t.is(
    combinations({ entries: asked([64, 4096], 4096), threads: asked([1, 2], 2), writes: asked([0, 1], 1) })
      .length,
    8,
  );
  t.deepEqual(
    words(combinations({ entries: asked([100], 4096), writes })),
    ["100 0", "100 1"],
    "no usual value among those asked for",
  );
});

test("who is late measures one round, and the reader is told how to have all", (t) => {
  const late = new Budget(0.001, 4);
  late.step();
  t.is(late.rounds(3), 1);
  t.regex(late.remark!, /^rounds, in 1 of 4 steps: .*--limit/);
  t.true(late.fits(0));
  t.false(late.fits(1));
  t.regex(late.remark!, /^passes after 1, and rounds: .*--limit/);
  const endless = new Budget(Number.POSITIVE_INFINITY, 4);
  endless.step();
  t.is(endless.rounds(3), 3);
  t.true(endless.fits(1));
  t.is(endless.remark, null);
});

test("a disturbed measurement is made again until the time for that is gone, which is said", async (t) => {
  let beats = 0;
  const retries = new Retries(0, () => beats++);
  t.is((await retries.leastDisturbed(async () => ({ share: 0.5 }))).share, 0.5);
  t.is(beats, 1);
  t.regex(retries.remark!, /^second tries of 1 disturbed measurements: /);
  const shares = [0.5, 0.6, 1, 0.7];
  const patient = new Retries(10_000, () => beats++);
  t.is((await patient.leastDisturbed(async () => ({ share: shares.shift()! }))).share, 1);
  t.is(patient.remark, null);
});

test("limits: there is one unless it is told how much to measure, and 0 is none", (t) => {
  const of = (...argv: string[]) => parseBenchOptions(argv);
  t.is(of("tables", "--quick").limitMs, 24_000);
  t.is(of("tables").limitMs, 720_000);
  for (const more of [["--full"], ["--rounds", "9"], ["--limit", "0"]])
    t.is(of("tables", ...more).limitMs, Number.POSITIVE_INFINITY);
  t.is(of("tables", "--limit", "5").limitMs, 5000);
  t.is(of("rcu").limitMs, 720_000);
  t.is(of("rcu", "--limit", "0").retryMs, Number.POSITIVE_INFINITY);
  t.true(of("rcu").retryMs < 1e6);
  t.throws(() => of("rcu", "--full"), { instanceOf: Failure, message: /--full: bench rcu has no use/ });
  t.throws(() => of("tables", "--full", "--quick"), { instanceOf: Failure, message: /give one of them/ });
});

const report = (watch: (end: (text: string) => void) => HangWatch): Promise<string> =>
  new Promise((resolve) => {
    const made = watch(resolve);
    made.beat("fd-churn, 2 CPUs");
    made.explain(() => "  CPU 0: idle");
  });

test("without a beat for so long, what was measured and the state of the machine are reported, once", async (t) => {
  let reports = 0;
  const alive = setInterval(() => {}, 1000);
  const text = await report(
    (end) =>
      new HangWatch(
        3,
        (line) => {
          reports++;
          end(line);
        },
        1,
      ),
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  clearInterval(alive);
  t.is(text, "no progress for 3 s (--stall): fd-churn, 2 CPUs\n  CPU 0: idle");
  t.is(reports, 1);
});

test("time in which this thread could not run does not count", async (t) => {
  let reports = 0;
  const watch = new HangWatch(20, () => reports++, 1);
  const until = performance.now() + 60;
  while (performance.now() < until);
  await new Promise((resolve) => setTimeout(resolve, 1));
  watch.stop();
  t.is(reports, 0);
});
