/** A deliberate stall: a thread stays in a read scope, or a task is switched out in one, until somebody reports it. */
import { threadId } from "node:worker_threads";
import {
  type Heap,
  type RcuStall,
  rcuIdleEnter,
  rcuIdleExit,
  rcuReadLock,
  rcuReadUnlock,
  rcuTasksRegister,
  rcuTasksUnregister,
  Srcu,
  setRcuStallHandler,
  startPollSynchronizeRcu,
} from "../index.ts";
import { rcuSwitchIn, rcuSwitchOut } from "../kernel.ts";
import { nap } from "./chores.ts";
import { type ControlRef, stopped } from "./cpu.ts";
import { Control, FAIL, FLAVOURS, Task } from "./state.ts";

/** Grace periods that last longer are reported, by whoever waits for one. */
const STALL_MS = 150;
/** Time for the report to come. */
const PATIENCE_MS = 6000;
/** From one deliberate stall to the next; the first comes soon. */
const PAUSE_MS = 5000;
const FIRST_MS = 300;

const NAMED = 1;
const UNNAMED = 2;

/** Every thread of the run that waits for grace periods reports stalls here. */
export function watchStalls(control: ControlRef): void {
  setRcuStallHandler(STALL_MS, (stall) => noteStall(control, stall));
}

function noteStall(control: ControlRef, stall: RcuStall): void {
  Control.warnings.add(control, 1);
  const slot = Control.stallSlot.load(control) - 1;
  const task = Control.stallTask.load(control);
  if (slot < 0 && task === 0) return; // Not on purpose: a thread that lost its core, on a busy machine.
  const thread = Control.stallThread.load(control);
  const named =
    task === 0
      ? [...stall.laggards, ...stall.readers, ...stall.tasks].some(
          (late) => late.slot === slot && late.thread === thread,
        )
      : stall.blocked.some(({ record }) => record === task);
  // One that leaves it out may be about the grace period before, which began before the stall: others follow.
  if (named) Control.stallReported.store(control, NAMED);
  else Control.stallReported.cas(control, 0, UNNAMED);
  Control.stallReported.notify(control);
}

export function stallThread(control: ControlRef, _seed: number, heap: Heap): void {
  const record = Task.record.at(Control.stallRecord.get(control));
  nap(control, FIRST_MS);
  while (!stopped(control)) {
    stall(control, () => stallCpu(control, heap));
    nap(control, 1);
    stall(control, () => stallTask(control, record));
    nap(control, 1);
    stallFlavour(control, heap);
    nap(control, PAUSE_MS);
  }
}

/** The same for the flavour of the run, whose updaters wait for it. RCU itself does not. */
function stallFlavour(control: ControlRef, heap: Heap): void {
  const flavour = FLAVOURS[Control.flavour.get(control)];
  if (flavour !== "srcu" && flavour !== "tasks") return;
  Control.stallReported.store(control, 0);
  const srcu = flavour === "srcu" ? new Srcu({ at: Control.srcu.get(control) }) : null;
  const scope = srcu?.readLock();
  const member = flavour === "tasks" ? rcuTasksRegister() : 0;
  rcuIdleEnter();
  stallCpu(control, heap);
  rcuIdleExit();
  if (scope !== undefined) srcu?.readUnlock(scope);
  if (member !== 0) rcuTasksUnregister(member);
}

/** Keeps a scope open until `stand` returns, and sees to it that a grace period waits for it. */
function stall(control: ControlRef, stand: () => void): void {
  Control.stallReported.store(control, 0);
  rcuReadLock();
  startPollSynchronizeRcu();
  stand();
  rcuReadUnlock();
}

function stallCpu(control: ControlRef, heap: Heap): void {
  Control.stallThread.store(control, threadId);
  Control.stallSlot.store(control, heap.slot + 1);
  awaitReport(control);
  Control.stallSlot.store(control, 0);
}

/** The CPU is quiescent, and idle: the task alone holds grace periods up. */
function stallTask(control: ControlRef, record: number): void {
  rcuSwitchOut(record);
  rcuIdleEnter();
  Control.stallTask.store(control, record);
  awaitReport(control);
  Control.stallTask.store(control, 0);
  rcuIdleExit();
  rcuSwitchIn(record);
}

function awaitReport(control: ControlRef): void {
  const start = performance.now();
  let seen = 0;
  while (!stopped(control)) {
    Control.stallReported.wait(control, seen, 20);
    seen = Control.stallReported.load(control);
    if (seen === NAMED) {
      Control.stalls.add(control, 1);
      return;
    }
    if (performance.now() - start < PATIENCE_MS) continue;
    Control.failures.add(control, seen === UNNAMED ? FAIL.UNNAMED : FAIL.STALL, 1);
    return;
  }
}
