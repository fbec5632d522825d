/** `--stats`: what the machine did, as a table for people and as JSON for programs. */
import type { MachineStats } from "../machine/stats.ts";

/** The JSON form. */
export interface Report extends MachineStats {
  /** What subsystems report of themselves, by their names. */
  readonly subsystems?: Readonly<Record<string, string>>;
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
