/** Reports as text. */
import type { Place } from "./lines.ts";
import type { ScenarioReport, ViolationReport } from "./run.ts";

const amount = (n: number): string => (n < 1e9 ? Math.round(n).toLocaleString("en-US") : n.toExponential(2));
const plural = (n: number, what: string): string => `${amount(n)} ${what}${n === 1 ? "" : "s"}`;

/** Accesses shown of a line, unless all are asked for. */
const SHOWN = 4;

/** What came of one scenario on one memory. */
export function printed(report: ScenarioReport, verbose: boolean): string {
  const head = `${report.scenario} (${report.memory})`;
  switch (report.verdict) {
    case "proved":
      return `${head}: proved: no interleaving shows a mistake (${plural(report.states, "state")}${
        report.interleavings > 0 ? `, ${plural(report.interleavings, "interleaving")}` : ""
      }, ${plural(report.outcomes, "outcome")})\n`;
    case "bounded":
      return `${head}: nothing found, not proved: ${tried(report)}\n`;
    default:
      return `${head}: ${shown(report, report.violation!, verbose)}`;
  }
}

function tried({ preemptions, states, schedules, seed, outcomes }: ScenarioReport): string {
  const explored =
    preemptions < 0
      ? states > 0
        ? `${plural(states, "state")} explored`
        : ""
      : `all interleavings with up to ${plural(preemptions, "preemption")} explored (${plural(states, "state")})`;
  const sampled =
    schedules > 0
      ? `${plural(schedules, "random schedule")} sampled (seeds ${seed} to ${seed + schedules - 1})`
      : "";
  return `${[explored, sampled].filter((text) => text !== "").join("; ")}; ${plural(outcomes, "outcome")}`;
}

function shown(report: ScenarioReport, violation: ViolationReport, verbose: boolean): string {
  const { kind, what, place, trace, preemptions, shortest, seed } = violation;
  const lines = [`${kind}: ${what}`];
  if (place !== null) lines.push(`  at ${at(place)}`);
  const how =
    seed === null
      ? shortest
        ? "the shortest interleaving"
        : "an interleaving"
      : `a random schedule (again: --memory ${report.memory} --replay ${seed})`;
  lines.push(`  ${how}, with ${plural(preemptions, "preemption")}:`);
  let width = 0;
  for (const { lines: all } of trace)
    for (const { place } of all) if (place !== null) width = Math.max(width, short(place).length);
  for (const block of trace) {
    lines.push("", `  ${block.thread}:`);
    for (const { place, accesses } of block.lines) {
      const mine = accesses.filter(({ inner }) => verbose || !inner);
      if (place === null && mine.length === 0) continue;
      lines.push(place === null ? "    (ends)" : `    ${short(place).padEnd(width)}  ${place.text}`);
      const some = verbose ? mine : mine.slice(0, SHOWN);
      for (const { text, calls } of some)
        lines.push(`    ${"".padEnd(width)}    ${text}${verbose && calls !== "" ? `  (${calls})` : ""}`);
      if (some.length < mine.length)
        lines.push(`    ${"".padEnd(width)}    ... and ${mine.length - some.length} more`);
    }
  }
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n\n`;
}

const short = (place: Place): string => `${place.file}:${place.line}`;
const at = (place: Place): string => `${short(place)}${place.text === "" ? "" : `: ${place.text}`}`;

/** The last line: what is known now. */
export function summary(reports: readonly ScenarioReport[]): string {
  const count = (verdict: ScenarioReport["verdict"]): number =>
    reports.filter((report) => report.verdict === verdict).length;
  const parts = [
    `${count("proved")} proved`,
    `${count("bounded")} explored in part`,
    `${count("violated")} with a mistake`,
  ];
  return `${parts.filter((part, n) => n === 0 || !part.startsWith("0 ")).join(", ")}\n`;
}
