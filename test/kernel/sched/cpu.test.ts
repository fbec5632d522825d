import test from "ava";
import { filesCreate } from "../../../kernel/fs/fdtable.ts";
import { fsCreate } from "../../../kernel/fs/fsinfo.ts";
import { stopMachine } from "../../../kernel/machine/state.ts";
import { mmCreate, mmPut } from "../../../kernel/mm/mm.ts";
import { activeMm, tlbInit } from "../../../kernel/mm/tlb.ts";
import { BLOCK, BLOCK_KILLABLE } from "../../../kernel/sched/block.ts";
import { cpuLoop } from "../../../kernel/sched/cpu.ts";
import { onIdleAndTick } from "../../../kernel/sched/idle.ts";
import { clearRestart } from "../../../kernel/sched/restart.ts";
import { enqueueTask } from "../../../kernel/sched/runqueue.ts";
import { finishWait, prepareToWait } from "../../../kernel/sched/waitqueue.ts";
import { clone } from "../../../kernel/task/fork.ts";
import { findTask, nextPid } from "../../../kernel/task/pid.ts";
import { TASK_RUNNABLE, TASK_SLEEPING, Task } from "../../../kernel/task/task.ts";
import { CLONE_VFORK, CLONE_VM } from "../../../kernel/uapi/sched.ts";
import { EXIT, type UserMode } from "../../../kernel/usermode.ts";
import { type Held, type Ref, rcuBarrier, rcuReadLock, rcuReadUnlock } from "../../../rcu/index.ts";
import { as, bootSolo, makeProcess, pidOf } from "./solo.ts";

const OWNER = 1 as Held;
bootSolo();

/**
 * The interleaving: a task blocks on this CPU, which goes idle; the task wakes on another CPU and exits there, and a grace
 * period later its address space is gone. A CPU that still pointed there would look at it when it answers TLB requests.
 */
test.serial("a CPU that idles holds on to no address space", (t) => {
  const task = makeProcess();
  const mm = mmCreate() as Ref<"mm">;
  Task.mm.assign(OWNER, task, mm);
  const mode: UserMode = {
    enter: () => EXIT.SYSCALL,
    tlbFlush() {},
    tlbInvalidate() {},
    setSpace() {},
    stats: () => ({}),
  };
  tlbInit(0, [mode]);
  const steps: string[] = [];
  const syscalls = {
    call() {
      steps.push("blocks");
      t.is(activeMm, mm);
      prepareToWait();
      return BLOCK;
    },
    needsFullRegs: () => false,
    nameOf: String,
  };
  onIdleAndTick(() => {
    if (Task.state.load(task) !== TASK_SLEEPING) return;
    steps.push(activeMm === 0 ? "idles" : "idles in an address space");
    Task.mm.exchange(task, 0);
    mmPut(mm);
    rcuBarrier();
    stopMachine();
  });
  Task.state.store(task, TASK_RUNNABLE);
  enqueueTask(task);
  cpuLoop(0, [mode], syscalls);
  t.deepEqual(steps, ["blocks", "idles"]);
});

test.serial("a task killed in vfork(2) leaves its child no parent to wake", (t) => {
  const parent = makeProcess();
  Task.mm.assign(OWNER, parent, mmCreate() as Ref<"mm">);
  Task.files.assign(OWNER, parent, filesCreate() as Ref<"files">);
  Task.fs.assign(OWNER, parent, fsCreate() as Ref<"fsinfo">);
  const args = { flags: CLONE_VM | CLONE_VFORK, exitSignal: 0, stack: 0, parentTid: 0, childTid: 0, tls: 0 };
  as(parent, () => {
    t.is(clone(parent, args), BLOCK_KILLABLE);
    const scope = rcuReadLock();
    const child = findTask(scope, nextPid(scope, pidOf(parent) + 1)) as Ref<"task">;
    t.is(Task.vforkParent.load(child), parent);
    // What exit does first.
    finishWait(parent);
    clearRestart(parent);
    t.is(Task.vforkParent.load(child), 0);
    rcuReadUnlock();
  });
});
