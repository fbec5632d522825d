/**
 * An address space to oneself. Some calls change it as a whole, and no other thread may see them half done: fork's copy, mprotect, a mapping
 * in the place of others, mremap's move. Where that takes long they work in parts, and other tasks have the CPU in between; for the tasks
 * that share the address space it is one step: none of them runs from takeMm() to releaseMm() (Linux holds mmap_lock for writing,
 * and stops who touches a page that is not there).
 *
 * [1] The taker stores Mm.owner, [2] then looks at what each CPU runs (Cpu.curr, and not Cpu.parked). A CPU [a] stores that its task runs,
 * [b] then looks at Mm.owner before the task does anything. All of it is sequentially consistent: either [b] sees the owner, and the task is
 * parked, or [2] sees the task, and the taker comes again. A task that does not run is in the middle of nothing, since no call has a stack.
 * Tasks that die pass: what they still do is to leave.
 */
import { type Ref, rcuIdleEnter, rcuIdleExit } from "../../rcu/index.ts";
import { Mm } from "../mm/mm-types.ts";
import { tlbLazyEnter, tlbLazyExit } from "../mm/tlb.ts";
import { Task } from "../task/task.ts";
import { EINTR } from "../uapi/errno.ts";
import { YIELD } from "./block.ts";
import { Cpu, cpuOf, nrCpus, setNeedResched } from "./cpus.ts";
import { current, thisCpu } from "./current.ts";
import { defineKept, KEPT_MM, keepForRestart, takeKept } from "./restart.ts";
import { fatalPending, mustYield } from "./yield.ts";

/** Areas that are dealt with in one piece, without all this: about a millisecond's work. */
export const WHOLE_AREAS = 1024;

/** Whether the current task has it. */
export const hasMm = (mm: Ref<"mm">): boolean => {
  const task = current();
  return task !== 0 && Mm.owner.load(mm) === task;
};

/** A parked CPU looks this often whether it is wanted. */
const NAP_MS = 1;

/**
 * Whether the current task has to wait, since another one has its address space: then it is parked, and has let a moment pass. Its CPU comes
 * again. It has stored the task in Cpu.curr.
 */
export function waitForMm(task: Ref<"task">, cpu: Ref<"cpu">): boolean {
  const mm = Task.mm.access(task);
  if (mm === 0) return false;
  if (Cpu.parked.peek(cpu) !== 0) Cpu.parked.store(cpu, 0); // [a]
  const owner = Mm.owner.load(mm); // [b]
  if (owner === 0 || owner === task || fatalPending(task)) return false;
  Cpu.parked.store(cpu, 1);
  makeWay(task);
  if (Cpu.queued.load(cpu) !== 0) return true;
  tlbLazyEnter();
  rcuIdleEnter();
  Mm.owner.wait(mm, owner, NAP_MS);
  rcuIdleExit();
  tlbLazyExit();
  return true;
}

/** The CPU leaves its task. */
export function unpark(cpu: Ref<"cpu">): void {
  if (Cpu.parked.peek(cpu) !== 0) Cpu.parked.store(cpu, 0);
}

/**
 * The current task, whose address space it is, has it to itself when this answers 0. YIELD: to be returned, since others are still in it.
 * -EINTR when the task dies first. The call keeps it (restart.ts): however it ends, others get it back.
 */
export function takeMm(mm: Ref<"mm">): number {
  const task = current();
  if (task === 0) return 0;
  if (Mm.owner.load(mm) !== task) {
    if (!Mm.owner.cas(mm, 0, task)) return giveWay(task);
    keepForRestart(KEPT_MM, mm); // [1]
  }
  if (Mm.users.load(mm) === 1) return 0;
  let alone = true;
  for (let number = 0; number < nrCpus(); number++) {
    if (number === thisCpu()) continue;
    const cpu = cpuOf(number);
    const other = Cpu.curr.load(cpu); // [2]
    if (other === 0 || Task.mm.access(other) !== mm || Cpu.parked.load(cpu) !== 0) continue;
    setNeedResched(number);
    alone = false;
  }
  return alone ? 0 : giveWay(task);
}

function giveWay(task: Ref<"task">): number {
  if (fatalPending(task)) return -EINTR;
  makeWay(task);
  return YIELD;
}

/** The task's turn is over if others wait for the CPU. */
function makeWay(task: Ref<"task">): void {
  Task.yielding.set(task, 1);
  if (thisCpu() >= 0) setNeedResched(thisCpu());
}

/** Others go on. */
export function releaseMm(mm: Ref<"mm">): void {
  const task = current();
  if (task === 0 || Mm.owner.load(mm) !== task) return;
  takeKept(task);
  giveBack(mm, task);
}

/** The call is over, perhaps before it was done. */
export function giveBack(mm: Ref<"mm">, task: Ref<"task">): void {
  if (Mm.owner.cas(mm, task, 0)) Mm.owner.notify(mm);
}

defineKept(KEPT_MM, (task, mm) => giveBack(mm as Ref<"mm">, task));

/** As yieldWhole, between parts of what others must not see half done: the end of the process waits until it is done. */
export function yieldOwned(done: number, also = 0): number {
  const task = current();
  if (task === 0 || !mustYield()) return 0;
  Task.partial.set(task, done);
  Task.partialAlso.set(task, also);
  return YIELD;
}
