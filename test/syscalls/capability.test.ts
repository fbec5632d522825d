/** Capability sets, as capabilities(7) and prctl(2) have them. */
import test from "ava";
import { changeAmbient, commitCaps, execCapabilities } from "../../kernel/task/capability.ts";
import { type CapSet, type CapWords, commitCred, credOf } from "../../kernel/task/cred.ts";
import { Cred, Task } from "../../kernel/task/task.ts";
import { EINVAL, EPERM } from "../../kernel/uapi/errno.ts";
import type { Ref } from "../../rcu/index.ts";
import { prctl } from "../../syscalls/task/system.ts";
import { as, bootSolo, makeProcess } from "../kernel/sched/solo.ts";

bootSolo();
const FULL: CapWords = [-1, 0x1ff];
const NONE: CapWords = [0, 0];
const NET_BIND: CapWords = [1 << 10, 0];
const [BIND, CHOWN] = [10, 0];
const [KEEPCAPS, BOUNDED, DROP, AMBIENT] = [8, 23, 24, 47];
const [IS_SET, RAISE, LOWER, CLEAR] = [1, 2, 3, 4];

const sets = (task: Ref<"task">, ...names: CapSet[]): CapWords[] =>
  names.map((name) => [Cred[name].get(credOf(task), 0), Cred[name].get(credOf(task), 1)]);
const call = (task: Ref<"task">, ...args: number[]): number =>
  as(task, () => (prctl.handler as (task: Ref<"task">, ...args: number[]) => number)(task, ...args));
const become = (task: Ref<"task">, uid: number): number =>
  commitCred(task, { uid, euid: uid, suid: uid, fsuid: uid });

test("what root gives up by capset it gets back by execve, as far as it is in bounds", (t) => {
  const task = makeProcess();
  t.is(call(task, BOUNDED, BIND, 0, 0, 0), 1);
  t.is(call(task, DROP, CHOWN, 0, 0, 0), 0);
  t.is(call(task, BOUNDED, CHOWN, 0, 0, 0), 0);
  t.is(call(task, DROP, 41, 0, 0, 0), -EINVAL);
  t.is(commitCaps(task, NONE, NET_BIND, NONE), 0);
  t.is(commitCaps(task, NONE, FULL, NONE), -EPERM);
  t.is(call(task, DROP, BIND, 0, 0, 0), -EPERM);
  execCapabilities(task, false);
  t.deepEqual(sets(task, "effective", "permitted"), [
    [-2, 0x1ff],
    [-2, 0x1ff],
  ]);
});

test("leaving root drops what is permitted, unless PR_SET_KEEPCAPS says to keep it until execve", (t) => {
  const [dropped, kept] = [makeProcess(), makeProcess()];
  become(dropped, 1000);
  t.deepEqual(sets(dropped, "effective", "permitted"), [NONE, NONE]);
  t.is(call(kept, KEEPCAPS, 1, 0, 0, 0), 0);
  t.is(call(kept, KEEPCAPS - 1, 0, 0, 0, 0), 1);
  become(kept, 1000);
  t.deepEqual(sets(kept, "effective", "permitted"), [NONE, FULL]);
  t.is(commitCaps(kept, NET_BIND, NET_BIND, NONE), 0);
  execCapabilities(kept, false);
  t.deepEqual(sets(kept, "effective", "permitted"), [NONE, NONE]);
  t.is(call(kept, KEEPCAPS - 1, 0, 0, 0, 0), 0);
});

test("the ambient set takes what is permitted and inheritable, and outlives execve but not a set-id program", (t) => {
  const task = makeProcess();
  t.is(call(task, AMBIENT, RAISE, BIND, 0, 0), -EPERM);
  t.is(commitCaps(task, FULL, FULL, NET_BIND), 0);
  t.is(call(task, AMBIENT, RAISE, BIND, 0, 0), 0);
  t.is(call(task, AMBIENT, IS_SET, BIND, 0, 0), 1);
  t.is(call(task, AMBIENT, RAISE, BIND, 0, 1), -EINVAL);
  call(task, KEEPCAPS, 1, 0, 0, 0);
  become(task, 1000);
  t.deepEqual(sets(task, "ambient"), [NONE]);
  t.is(changeAmbient(task, RAISE, BIND), 0);
  execCapabilities(task, false);
  t.deepEqual(sets(task, "effective", "permitted", "ambient"), [NET_BIND, NET_BIND, NET_BIND]);
  t.is(call(task, AMBIENT, LOWER, BIND, 0, 0), 0);
  t.is(call(task, AMBIENT, IS_SET, BIND, 0, 0), 0);
  changeAmbient(task, RAISE, BIND);
  t.is(call(task, AMBIENT, CLEAR, 0, 0, 0), 0);
  changeAmbient(task, RAISE, BIND);
  execCapabilities(task, true);
  t.deepEqual(sets(task, "effective", "permitted", "ambient"), [NONE, NONE, NONE]);
  t.is(Task.flags.get(task) & 64, 0);
});
