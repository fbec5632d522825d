import test from "ava";
import { reportRcuStalls } from "../../../kernel/machine/rcu-stall.ts";
import { checkStall, startPollSynchronizeRcu } from "../../../rcu/index.ts";
import { bootTestMachine, plainWorker } from "./boot-machine.ts";
import { SPIN } from "./tiny-elf.ts";

test.serial(
  "a stall is in the kernel log, with the CPU that holds the grace period up and the task that it runs",
  async (t) => {
    const { machine, log, start } = await bootTestMachine(1, plainWorker);
    const { pid } = start([SPIN]);
    const line = new RegExp(
      `rcu: INFO: RCU grace period \\d+ waits .* running CPU 0, task ${pid} \\(test-0\\)`,
    );
    reportRcuStalls(0); // Whatever has not ended at once is a stall.
    // The CPU passes a safe point every few milliseconds: look until it was caught between two.
    while (!log.some((text) => line.test(text))) {
      machine.run(() => {
        startPollSynchronizeRcu();
        checkStall();
      });
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    reportRcuStalls();
    await machine.shutdown();
    t.pass();
  },
);
