/** What the watch of long calls believes: CPU time, not elapsed time. */
import test from "ava";
import { LongCalls } from "../../../kernel/sched/long-call.ts";

function watch() {
  const reports: number[] = [];
  const now = { elapsed: 1000, cpu: 0 };
  const calls = new LongCalls((ms) => reports.push(ms), { elapsed: () => now.elapsed, cpu: () => now.cpu });
  /** Time goes by, of which this thread had the CPU for a part. */
  const pass = (elapsed: number, cpu = elapsed): void => {
    now.elapsed += elapsed;
    now.cpu += cpu;
  };
  return { calls, reports, pass };
}

test("a call that works long is reported with its CPU time", (t) => {
  const { calls, reports, pass } = watch();
  calls.begin();
  pass(400, 150);
  calls.look();
  t.deepEqual(reports, [150]);
});

test("a call that the host did not let run is not", (t) => {
  const { calls, reports, pass } = watch();
  calls.begin();
  pass(60_000, 90);
  calls.look();
  t.deepEqual(reports, []);
});

test("many short calls are none that is long, nor is one that asks in between", (t) => {
  const { calls, reports, pass } = watch();
  for (let n = 0; n < 1000; n++) {
    calls.begin();
    pass(3);
    calls.look();
  }
  calls.begin();
  for (let n = 0; n < 50; n++) {
    pass(90);
    calls.look();
  }
  t.deepEqual(reports, []);
});
