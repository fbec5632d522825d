/** What a machine did: `machine.stats()`, and the JSON of `sternix run --stats=FILE`. */
import type { CpuStats, MachineStats as KernelStats } from "../../kernel/machine/machine-stats.ts";
import { hexWord } from "../../syscalls/args.ts";
import { syscallName, syscalls } from "../../syscalls/table.ts";

/** `version` changes when a field changes its meaning or goes away. */
export interface MachineStats {
  readonly version: 1;
  /** Wall-clock nanoseconds since the machine began to boot. */
  readonly elapsedNs: number;
  /** System calls made, by name; a call that blocked and ran again counts each time. */
  readonly syscalls: Readonly<Record<string, number>>;
  /** Numbers without a call in Sternix, as hexadecimal, and how often each was tried; each answered ENOSYS. */
  readonly unknownSyscalls: Readonly<Record<string, number>>;
  /** The arguments of the first try, for those numbers whose arguments were kept (64 of them). */
  readonly unknownArguments: Readonly<Record<string, readonly string[]>>;
  readonly contextSwitches: number;
  readonly preemptions: number;
  readonly rcu: {
    readonly gracePeriods: number;
    readonly callbacksRun: number;
    readonly callbacksPending: number;
    readonly delayedReleases: number;
  };
  readonly cpus: readonly CpuStats[];
  /** CPUs that died and were booted again. */
  readonly crashes: number;
  /** Counters of the user-mode engines, summed over the CPUs, which tell them when the machine is shut down: empty before. */
  readonly engine: Readonly<Record<string, number>>;
}

const hex = (value: number): string => `0x${value.toString(16)}`;
const known = new Set(syscalls.map((call) => call.nr));

export function createStats(
  stats: KernelStats,
  engine: Readonly<Record<string, number>>,
  elapsedNs: number,
): MachineStats {
  const named: Record<string, number> = {};
  const unknown: Record<string, number> = {};
  for (const [nr, calls] of stats.syscalls.entries()) {
    if (calls === 0) continue;
    if (known.has(nr)) named[syscallName(nr)] = calls;
    // The last counter is shared by all higher numbers: those are counted where their arguments are.
    else if (nr < stats.syscalls.length - 1) unknown[hex(nr)] = calls;
  }
  const unknownArguments: Record<string, readonly string[]> = {};
  for (const { nr, tries, args } of stats.unknownCalls) {
    unknownArguments[hex(nr)] = args.map(hexWord);
    unknown[hex(nr)] = tries;
  }
  const sum = (pick: (cpu: CpuStats) => number) => stats.cpus.reduce((total, cpu) => total + pick(cpu), 0);
  return {
    version: 1,
    elapsedNs,
    syscalls: named,
    unknownSyscalls: unknown,
    unknownArguments,
    contextSwitches: sum((cpu) => cpu.contextSwitches),
    preemptions: sum((cpu) => cpu.preemptions),
    rcu: {
      gracePeriods: stats.rcu.gracePeriods,
      callbacksRun: stats.rcu.callbacksRun,
      callbacksPending: stats.rcu.callbacksPending,
      delayedReleases: stats.rcu.releasesRun,
    },
    cpus: stats.cpus,
    crashes: stats.crashes,
    engine,
  };
}
