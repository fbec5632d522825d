/** What a hanging machine says: without a lock, and without the CPU that hangs. */
import test from "ava";
import { findTask } from "../../../kernel/task/pid.ts";
import { Group, Task } from "../../../kernel/task/task.ts";
import { rcuReadLock, rcuReadUnlock } from "../../../rcu/index.ts";
import { bootTestMachine, plainWorker } from "./boot-machine.ts";
import { SPIN } from "./tiny-elf.ts";

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
