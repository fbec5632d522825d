/** `--stats`: what the machine did, as a table for people and as JSON for programs. */
import type { MachineStats } from "../../kernel/machine/machine-stats.ts";
import { hexWord } from "../../syscalls/args.ts";
import { syscallName, syscalls } from "../../syscalls/table.ts";

/** The JSON form. `version` changes when a field changes its meaning or goes away. */
export interface Report {
  readonly version: 1;
  /** Wall-clock nanoseconds from boot to the end of the program. */
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
  readonly cpus: readonly {
    readonly cpu: number;
    readonly syscalls: number;
    readonly contextSwitches: number;
    readonly preemptions: number;
    readonly steals: number;
    readonly busyNs: number;
    readonly idleNs: number;
  }[];
  /** Counters of the user-mode engines, summed over the CPUs. */
  readonly engine: Readonly<Record<string, number>>;
  /** What subsystems report of themselves, by their names. */
  readonly subsystems?: Readonly<Record<string, string>>;
}

const hex = (value: number): string => `0x${value.toString(16)}`;
const known = new Set(syscalls.map((call) => call.nr));

export function createReport(
  stats: MachineStats,
  engine: Readonly<Record<string, number>>,
  elapsedNs: number,
  subsystems: Readonly<Record<string, string>> = {},
): Report {
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
  const sum = (pick: (cpu: MachineStats["cpus"][number]) => number) =>
    stats.cpus.reduce((total, cpu) => total + pick(cpu), 0);
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
    engine,
    subsystems,
  };
}

const SHOWN_CALLS = 30;
const count = (n: number) => n.toLocaleString("en-US");
const milliseconds = (ns: number) => `${(ns / 1e6).toFixed(1)} ms`;
const percent = (part: number, whole: number) =>
  whole === 0 ? "-" : `${((100 * part) / whole).toFixed(1)} %`;

/** Columns of text, the first to the left and the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `  ${line}\n`)
    .join("");
}

export function formatReport(report: Report): string {
  const calls = Object.entries(report.syscalls).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const total = calls.reduce((sum, [, n]) => sum + n, 0);
  const rest = calls.slice(SHOWN_CALLS);
  const rows = calls.slice(0, SHOWN_CALLS).map(([name, n]) => [name, count(n), percent(n, total)]);
  if (rest.length > 0) {
    const others = rest.reduce((sum, [, n]) => sum + n, 0);
    rows.push([`${rest.length} others`, count(others), percent(others, total)]);
  }
  const unknown = Object.entries(report.unknownSyscalls).map(
    ([nr, n]) => `syscall_${nr}(${report.unknownArguments[nr]?.join(", ") ?? ""}) ${count(n)} times`,
  );
  return [
    `system calls: ${count(total)}\n`,
    table(rows),
    unknown.length > 0 ? `not in Sternix, answered ENOSYS: ${unknown.join(", ")}\n` : "",
    "CPUs:\n",
    table([
      ["cpu", "syscalls", "share", "switches", "preempted", "stolen", "busy", "idle"],
      ...report.cpus.map((cpu) => [
        String(cpu.cpu),
        count(cpu.syscalls),
        percent(cpu.syscalls, total),
        count(cpu.contextSwitches),
        count(cpu.preemptions),
        count(cpu.steals),
        milliseconds(cpu.busyNs),
        milliseconds(cpu.idleNs),
      ]),
    ]),
    `context switches: ${count(report.contextSwitches)}, of which preemptions: ${count(report.preemptions)}\n`,
    `RCU: ${count(report.rcu.gracePeriods)} grace periods, ${count(report.rcu.callbacksRun)} callbacks run`,
    ` (${count(report.rcu.callbacksPending)} pending), ${count(report.rcu.delayedReleases)} delayed releases\n`,
    ...Object.entries(report.engine).map(([name, n]) => `${name}: ${count(n)}\n`),
    `elapsed: ${milliseconds(report.elapsedNs)}\n`,
    ...Object.entries(report.subsystems ?? {}).map(([name, text]) => `\n${name}:\n${text}`),
  ].join("");
}
