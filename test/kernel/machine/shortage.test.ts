/** Programs are started although memory is full: they wait for what comes back. */
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import test from "ava";
import type { Machine } from "../../../kernel/machine/machine.ts";
import { allocFrame, putFrame } from "../../../kernel/mm/frame.ts";
import { findTask } from "../../../kernel/task/pid.ts";
import { Group, TASK_SLEEPING, Task } from "../../../kernel/task/task.ts";
import { SIGUSR1 } from "../../../kernel/uapi/signal.ts";
import { rcuReadLock, rcuReadUnlock } from "../../../rcu/index.ts";
import { fixture } from "../../guest/cases.ts";
import { bootTestMachine, plainWorker } from "./boot-machine.ts";

/** Takes all of RAM from the host's thread. */
function takeAll(machine: Machine): number[] {
  const taken: number[] = [];
  machine.run(() => {
    for (let frame = allocFrame(); frame !== 0; frame = allocFrame()) taken.push(frame);
  });
  return taken;
}

/** Looks until the task waits for memory, without a turn of the event loop in which time could pass, and gives all of it back. */
function giveBack(machine: Machine, pid: number, taken: readonly number[]): void {
  machine.run(() => {
    const end = performance.now() + 20_000;
    for (let waits = false; !waits; ) {
      if (performance.now() > end) throw new Error("the task does not wait for memory");
      const scope = rcuReadLock();
      const task = findTask(scope, pid);
      if (task === 0) throw new Error("the task ended without memory");
      waits = Task.shortSince.get(task) !== 0;
      rcuReadUnlock();
    }
    for (const frame of taken) putFrame(frame);
  });
}

/** The program "later" is ready when it cannot be killed for its memory and sleeps. */
async function sleeps(machine: Machine, pid: number): Promise<void> {
  for (let ready = false; !ready; await delay(5))
    machine.run(() => {
      const task = findTask(rcuReadLock(), pid);
      ready =
        task !== 0 &&
        Group.oomScoreAdj.load(Task.group.get(task)) === -1000 &&
        Task.state.load(task) === TASK_SLEEPING;
      rcuReadUnlock();
    });
}

for (const cpus of [1, 2]) {
  test(`a program that the host starts when memory is full waits for memory, CPUs: ${cpus}`, async (t) => {
    const { machine, startElf } = await bootTestMachine(cpus, plainWorker);
    t.teardown(() => machine.shutdown());
    // The file is in the page cache from here on; what is short is the memory of the process.
    t.is((await startElf(readFileSync(fixture("hello"))).exited).code, 0);
    const taken = takeAll(machine);
    const process = machine.spawn({ path: "/bin/test-0", argv: ["hello"], env: [], tty: false });
    giveBack(machine, process.pid, taken);
    t.is((await process.exited).code, 0);
  });

  test(`execve waits for memory when it is full, CPUs: ${cpus}`, async (t) => {
    const { machine, startElf } = await bootTestMachine(cpus, plainWorker);
    t.teardown(() => machine.shutdown());
    const process = startElf(readFileSync(fixture("bombs")), ["later", "0"]);
    await sleeps(machine, process.pid);
    const taken = takeAll(machine);
    machine.kill(process.pid, SIGUSR1);
    giveBack(machine, process.pid, taken);
    t.is((await process.exited).code, 0);
  });
}
