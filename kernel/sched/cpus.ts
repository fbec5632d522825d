/**
 * The CPUs of the machine: one struct each, found by number. A CPU is a piscina worker that runs kernel/sched/cpu.ts.
 */
import {
  arrayGet,
  arrayLength,
  arraySet,
  atomic,
  atomicLoad,
  atomicStore,
  fixed,
  listNode,
  owned,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  tryAllocArray,
  wide,
  words,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { cpuArea, ram } from "../mm/ram.ts";
import { CPU_NEED_RESCHED } from "../usermode.ts";

/** CPUs that a machine may have at most. */
export const MAX_CPUS = 48;

export const CPU_OFFLINE = 0;
export const CPU_ONLINE = 1;

/** Values of Cpu.idle. */
export const CPU_BUSY = 0;
export const CPU_IDLE = 1;

export const Cpu = struct("cpu", {
  number: fixed(),

  // Any CPU, any time.
  state: atomic(),
  /** Heap slot of the worker, plus one; 0 before it attached. */
  slot: atomic(),
  /** Times that it came up. */
  boots: atomic(),
  /** CPU_IDLE while the CPU sleeps, or is about to, on this word (sched/idle.ts). */
  idle: atomic(),
  /** The task that runs here; 0 for none. */
  /** Its task waits for another one that has their address space to itself (hold.ts). */
  parked: atomic(),
  curr: atomic<Ref<"task"> | 0>(),
  /** Tasks on `queue`. */
  queued: atomic(),

  // This lock: the run queue.
  lock: spinlock(94),
  queue: listNode(),

  // Written by the CPU itself; read by the host.
  /** "syscall_counts" of this CPU. */
  counts: fixed<Ref<"syscall_counts">>(),
  /** Monotonic time since which the current task runs here. */
  runStart: wide(),
  switches: wide(),
  preemptions: wide(),
  steals: wide(),
  busyNs: wide(),
  idleNs: wide(),
  idleCount: wide(),
  oopses: owned(),
  /** Callbacks of subsystems entered, and the one that runs now (subsystem/place.ts); 0: none. */
  entries: owned(),
  inside: owned(),
  /** Keeps the words above off the cache line of the next CPU. */
  pad: words(10),
});

const table = kernelGlobal<Ref<"array">>("cpus");

/** Makes the CPU structs, all offline. */
export function cpusInit(count: number, newCounts: () => Ref<"syscall_counts"> | 0): void {
  const array = tryAllocArray(count);
  if (array === 0) throw new Error("no memory for the CPU table");
  for (let number = 0; number < count; number++) {
    const cpu = tryAlloc(Cpu);
    const counts = newCounts();
    if (cpu === 0 || counts === 0) throw new Error("no memory for the CPU table");
    Cpu.number.init(cpu, number);
    Cpu.queue.init(cpu);
    Cpu.counts.init(cpu, counts);
    arraySet(array, number, cpu);
  }
  table.init(array);
}

export function nrCpus(): number {
  return arrayLength(table.get());
}

export function cpuOf(number: number): Ref<"cpu"> {
  return arrayGet(table.get(), number) as Ref<"cpu">;
}

const reschedWord = (cpu: number): number => (cpuArea(cpu) + CPU_NEED_RESCHED) / 4;

/** Asks what runs on the CPU to leave user mode soon. */
export function setNeedResched(cpu: number): void {
  atomicStore(ram.i32, reschedWord(cpu), 1);
}
export function clearNeedResched(cpu: number): void {
  atomicStore(ram.i32, reschedWord(cpu), 0);
}
export function needResched(cpu: number): boolean {
  return atomicLoad(ram.i32, reschedWord(cpu)) !== 0;
}

/** Wakes the CPU if it sleeps; says whether it did. */
export function wakeCpu(cpu: Ref<"cpu">): boolean {
  if (Cpu.idle.load(cpu) === CPU_BUSY || !Cpu.idle.cas(cpu, CPU_IDLE, CPU_BUSY)) return false;
  Cpu.idle.notify(cpu, 1);
  return true;
}

/** Makes the CPU pass a safe point soon, whatever it does now. */
export function kickCpu(number: number): void {
  setNeedResched(number);
  wakeCpu(cpuOf(number));
}
