import test from "ava";
import fc from "fast-check";
import {
  defineTimer,
  freeTimer,
  newTimer,
  nextTimer,
  runTimers,
  timerArm,
  timerCancel,
} from "../../../kernel/time/timer.ts";
import type { Ref } from "../../../rcu/index.ts";
import { bootSolo } from "../sched/solo.ts";

bootSolo();
const FN = 60;
const fired: number[] = [];
defineTimer(FN, (arg) => fired.push(arg));

const COUNT = 100;
const timers = Array.from({ length: COUNT }, (_, n) => newTimer(FN, n) as Ref<"timer">);

test.serial(
  "timers fire in the order of their deadlines, whatever was armed, moved and cancelled before",
  (t) => {
    const operation = fc.record({
      timer: fc.nat(COUNT - 1),
      deadline: fc.integer({ min: 1, max: 50 }),
      kind: fc.constantFrom("arm", "arm", "arm", "cancel", "run"),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
        const model = new Map<number, number>();
        const expectRun = (now: number): void => {
          fired.length = 0;
          runTimers(now);
          const due = [...model].filter(([, deadline]) => deadline <= now);
          t.deepEqual(
            fired.toSorted((a, b) => a - b),
            due.map(([timer]) => timer).toSorted((a, b) => a - b),
          );
          const deadlines = fired.map((timer) => model.get(timer)!);
          t.deepEqual(
            deadlines,
            deadlines.toSorted((a, b) => a - b),
          );
          for (const [timer] of due) model.delete(timer);
          t.is(nextTimer(), Math.min(Number.POSITIVE_INFINITY, ...model.values()));
        };
        for (const { timer, deadline, kind } of operations) {
          if (kind === "arm") {
            t.is(timerArm(timers[timer]!, deadline), 0);
            model.set(timer, deadline);
          } else if (kind === "cancel") {
            t.is(timerCancel(timers[timer]!), model.delete(timer));
          } else expectRun(deadline);
        }
        expectRun(50);
      }),
      { numRuns: 60 },
    );
  },
);

test.serial("a freed timer fires no more and cannot be armed by its own late function", (t) => {
  const timer = newTimer(FN, 777) as Ref<"timer">;
  timerArm(timer, 5);
  freeTimer(timer);
  timerArm(timer, 6);
  fired.length = 0;
  runTimers(100);
  t.deepEqual(fired, []);
  t.is(nextTimer(), Number.POSITIVE_INFINITY);
});
