/** The life of a CPU: what a piscina worker runs from its boot message to shutdown. */

import {
  assertNoLocksHeld,
  drainSomeReleases,
  Heap,
  type HeapHandle,
  type Ref,
  setForceNotifier,
} from "../../rcu/index.ts";
import { abandonSrcuScopes, setGathering } from "../../rcu/kernel.ts";
import { bindGlobals } from "../global.ts";
import { klog } from "../klog.ts";
import { bindRam, cpuArea, ram } from "../mm/ram.ts";
import { tlbInit, tlbLazyEnter } from "../mm/tlb.ts";
import { reportOopses, traceOf } from "../oops.ts";
import { cpuLoop } from "../sched/cpu.ts";
import { CPU_OFFLINE, CPU_ONLINE, Cpu, cpuOf, kickCpu, nrCpus } from "../sched/cpus.ts";
import { setCurrent, setThisCpu } from "../sched/current.ts";
import { watchCalls, watchFaults } from "../sched/long-call.ts";
import { createProgramHost } from "../sched/program-host.ts";
import { CALLBACKS_GATHERED, checkSafePoints } from "../sched/safe-point.ts";
import { createUserModeHost } from "../sched/usermode-host.ts";
import { openSubsystems, type SubsystemUse } from "../subsystem/boot.ts";
import { installSubsystems, type SubsystemCalls } from "../subsystem/install.ts";
import type { SyscallEntry } from "../syscall-entry.ts";
import { watchHeap } from "../task/memory.ts";
import {
  CPU_AREA_BYTES,
  CPU_AREA_KEPT,
  type ProgramHost,
  type UserMode,
  type UserModeHost,
} from "../usermode.ts";
import "./modules.ts";
import { reportRcuStalls } from "./rcu-stall.ts";
import { awaitBootGo, notifyHost, STAGE_LOADED, STAGE_REFUSED, STAGE_UP, setBootStage } from "./state.ts";

/** The boot message. Everything in it can be posted to a worker. */
export interface CpuBoot {
  readonly cpu: number;
  readonly heap: HeapHandle;
  readonly memory: WebAssembly.Memory;
  /** The table of kernel globals (kernel/global.ts). */
  readonly globals: number;
  /** Host descriptor that strace lines go to; -1: the machine is not traced. */
  readonly strace: number;
  /** The modules of the machine's subsystems, and their options. */
  readonly subsystems: readonly SubsystemModule[];
}

/** Where a thread finds a subsystem: the URL of a module whose default export is one. */
export interface SubsystemModule {
  /** As the user wrote it, for reports. */
  readonly name: string;
  readonly url: string;
  readonly options: Readonly<Record<string, string | number | boolean>>;
}

/** What the worker entry hands to the kernel, which may not import it. */
export interface CpuParts {
  /** The user modes of this CPU, indexed by Task.kind. */
  createUserModes(host: UserModeHost, programs: ProgramHost): readonly UserMode[];
  /** The system-call table; `counts` are this CPU's counters, `subsystems` what subsystems add to it. */
  createSyscalls(counts: Ref<"syscall_counts">, subsystems: SubsystemCalls): SyscallEntry;
  /** The subsystems of CpuBoot, loaded. */
  readonly subsystems?: readonly SubsystemUse[];
}

/** What a CPU leaves behind when the machine stops. */
export interface CpuReport {
  readonly cpu: number;
  /** Counters of its engines. */
  readonly engine: Record<string, number>;
}

/**
 * Loads the machine's subsystems, one after the other, and waits until the host has made their tables. The host watches how
 * far this comes: a module that does not finish, or ends the thread, refuses the boot by its name. Nothing of the machine is bound
 * here yet, so that what hangs holds nothing.
 */
export async function loadSubsystems(
  boot: CpuBoot,
  load: (module: SubsystemModule) => Promise<SubsystemUse>,
): Promise<SubsystemUse[]> {
  if (boot.subsystems.length === 0) return [];
  const words = new Int32Array(boot.memory.buffer as unknown as SharedArrayBuffer);
  const uses: SubsystemUse[] = [];
  for (const [n, module] of boot.subsystems.entries()) {
    setBootStage(words, boot.cpu, n + 1);
    try {
      uses.push(await load(module));
    } catch (error) {
      setBootStage(words, boot.cpu, STAGE_REFUSED);
      throw error;
    }
  }
  setBootStage(words, boot.cpu, STAGE_LOADED);
  awaitBootGo(words);
  return uses;
}

/** Releases that a CPU runs when it has left its loop: all but what would keep it for ever. */
const LAST_RELEASES = 100_000;

/** Runs CPU `boot.cpu` until the machine stops. An exception that leaves here means that the CPU is lost. */
export function runCpu(boot: CpuBoot, parts: CpuParts): CpuReport {
  const heap = Heap.attach(boot.heap);
  bindGlobals(boot.globals as Ref<"array">);
  bindRam(boot.memory);
  setThisCpu(boot.cpu);
  setCurrent(0);
  const cpu = cpuOf(boot.cpu);
  Cpu.slot.store(cpu, heap.slot + 1);
  // A dead predecessor left TLB entries and jump targets that mean nothing to a new engine.
  if (Cpu.boots.add(cpu, 1) > 0) {
    const area = cpuArea(boot.cpu);
    ram.u8.fill(0, area, area + CPU_AREA_KEPT.START);
    ram.u8.fill(0, area + CPU_AREA_KEPT.END, area + CPU_AREA_BYTES);
  }
  reportOopses();
  setForceNotifier(kickSlot);
  reportRcuStalls();
  setGathering(CALLBACKS_GATHERED);
  if (heap.debug) checkSafePoints();
  watchHeap();
  const subsystems = pluggedIn(boot.cpu, parts.subsystems ?? []);
  let syscalls = parts.createSyscalls(Cpu.counts.get(cpu), subsystems);
  if (heap.debug) syscalls = checkedCalls(watchCalls(syscalls));
  const host = createUserModeHost(boot.cpu, syscalls);
  const modes = parts.createUserModes(heap.debug ? watchFaults(host) : host, createProgramHost(boot.cpu));
  tlbInit(boot.cpu, modes);
  Cpu.state.store(cpu, CPU_ONLINE);
  setBootStage(ram.i32, boot.cpu, STAGE_UP);
  try {
    cpuLoop(boot.cpu, modes, syscalls);
  } catch (error) {
    die(boot.cpu, heap, error);
  }
  Cpu.state.store(cpu, CPU_OFFLINE);
  tlbLazyEnter();
  for (const { name, scopes } of abandonSrcuScopes())
    klog(`${name}: ${scopes} read scope${scopes === 1 ? "" : "s"} entered on CPU ${boot.cpu} never left`);
  try {
    drainSomeReleases(0, LAST_RELEASES, 0); // Those that had to stay on this thread for want of memory.
    heap.detach();
  } catch (error) {
    die(boot.cpu, heap, error);
  }
  const engine: Record<string, number> = {};
  for (const mode of modes)
    for (const [name, count] of Object.entries(mode.stats())) engine[name] = (engine[name] ?? 0) + count;
  return { cpu: boot.cpu, engine };
}

/** The register of a system call's number. */
const X_A7 = 17;

/** In a debug heap a handler that leaves with a lock held is an oops, which names the lock. */
const checkedCalls = (entry: SyscallEntry): SyscallEntry => ({
  ...entry,
  call(task, regs) {
    const nr = ram.i32[regs / 4 + 2 * X_A7]!; // execve replaces it.
    const result = entry.call(task, regs);
    assertNoLocksHeld(`the end of system call ${nr}`);
    return result;
  },
});

function pluggedIn(cpu: number, uses: readonly SubsystemUse[]): SubsystemCalls {
  try {
    return installSubsystems(openSubsystems(uses));
  } catch (error) {
    setBootStage(ram.i32, cpu, STAGE_REFUSED);
    throw error;
  }
}

/**
 * What the CPU was changing is half-changed, and its module variables with it: the thread ends, so that the pool makes
 * a new one and the host buries this CPU (crash.ts).
 */
function die(cpu: number, heap: Heap, error: unknown): never {
  try {
    klog(`CPU ${cpu} died: ${traceOf(error)}`);
    notifyHost();
  } catch {
    // The log itself may be what is locked; the host still learns that the worker is gone.
  }
  heap.abandon(); // The host may be waiting for a lock of this CPU, and would not notice its end.
  process.exit(1);
}

/** RCU wants a quiescent state of the thread in this heap slot. */
function kickSlot(slot: number): void {
  for (let number = 0; number < nrCpus(); number++)
    if (Cpu.slot.load(cpuOf(number)) === slot + 1) kickCpu(number);
}
