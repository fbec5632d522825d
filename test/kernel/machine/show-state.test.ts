/** What a hanging machine says: without a lock, and without the CPU that hangs. */
import test from "ava";
import { findTask } from "../../../kernel/task/pid.ts";
import { Group, Task } from "../../../kernel/task/task.ts";
import { rcuReadLock, rcuReadUnlock } from "../../../rcu/index.ts";
import { Machine } from "../../../userland/index.ts";
import { bootTestMachine, plainWorker } from "./boot-machine.ts";
import { SPIN } from "./tiny-elf.ts";

test.serial("a task that sleeps is shown with its call and the queue that it waits on", async (t) => {
  await using machine = await Machine.boot({ cpus: 1, memory: 64 << 20 });
  const waiting = machine.spawn(new URL("../../guest/bin/echo", import.meta.url), { stdin: "pipe" });
  const line = new RegExp(`^ {2}task ${waiting.pid} .*sleeping.* in read\\(0, .* waits on (\\S+)$`, "m");
  let channel: string | undefined;
  while (channel === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 2));
    channel = line.exec(machine.showState())?.[1];
  }
  t.regex(channel, /^pipe\.\w+$/);
  const wchan = machine.spawn(new URL("./wchan-program.ts", import.meta.url), {
    args: [String(waiting.pid)],
  });
  t.is((await wchan.output()).stdout, channel);
  t.true(waiting.kill("SIGKILL"));
});

test.serial("the state names who holds a lock, and needs none itself", async (t) => {
  const { machine, start } = await bootTestMachine(1, plainWorker);
  const { pid } = start([SPIN]);
  const said = machine.run(() => {
    const scope = rcuReadLock();
    const group = Task.group.get(findTask(scope, pid) as Parameters<typeof Task.group.get>[0]);
    rcuReadUnlock();
    Group.lock.lock(group);
    try {
      return machine.showState();
    } finally {
      Group.lock.unlock(group);
    }
  });
  t.regex(said, /^ {2}group\.lock of \d+ is held by the host$/m);
  t.regex(said, /^ {2}RCU: .*\d+ callbacks wait$/m);
  t.regex(said, new RegExp(`^ {2}task ${pid} `, "m"));
  t.notRegex(machine.showState(), /group\.lock/);
  t.false(machine.signalWaits(pid));
  await machine.shutdown();
});
