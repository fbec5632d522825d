/** What a machine has done so far, in numbers. */

import { type RcuStats, rcuStats } from "../../rcu/index.ts";
import { Cpu, cpuOf, nrCpus } from "../sched/cpus.ts";
import { sumSyscallCounts } from "../syscall-entry.ts";
import { listUnknownCalls, type UnknownCall } from "../unknown-calls.ts";

export interface CpuStats {
  readonly cpu: number;
  readonly syscalls: number;
  readonly contextSwitches: number;
  readonly preemptions: number;
  readonly steals: number;
  readonly busyNs: number;
  readonly idleNs: number;
}

export interface MachineStats {
  /** Calls by number. */
  readonly syscalls: readonly number[];
  /** Numbers that do not exist, with the arguments of the first try. */
  readonly unknownCalls: readonly UnknownCall[];
  readonly cpus: readonly CpuStats[];
  readonly rcu: RcuStats;
  /** CPUs that died and were booted again. */
  readonly crashes: number;
}

/** To be called as part of the machine. */
export function machineStats(crashes: number): MachineStats {
  const refs = [];
  const cpus: CpuStats[] = [];
  for (let number = 0; number < nrCpus(); number++) {
    const cpu = cpuOf(number);
    const counts = Cpu.counts.get(cpu);
    refs.push(counts);
    cpus.push({
      cpu: number,
      syscalls: sumSyscallCounts([counts]).reduce((sum, n) => sum + n, 0),
      contextSwitches: Cpu.switches.get(cpu),
      preemptions: Cpu.preemptions.get(cpu),
      steals: Cpu.steals.get(cpu),
      busyNs: Cpu.busyNs.get(cpu),
      idleNs: Cpu.idleNs.get(cpu),
    });
  }
  return {
    syscalls: sumSyscallCounts(refs),
    unknownCalls: listUnknownCalls(),
    cpus,
    rcu: rcuStats(),
    crashes,
  };
}
