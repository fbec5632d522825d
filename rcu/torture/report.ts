/** What a torture run found, and whether that means anything. */
import { rcuStats } from "../index.ts";
import type { ControlRef } from "./cpu.ts";
import { AGES, Control, FAILURES } from "./state.ts";
import type { Chore, TortureOptions } from "./torture.ts";

/** How many threads host how many actors. */
export interface Cast {
  readonly cpus: number;
  readonly readers: number;
  readonly updaters: number;
}

export interface TortureReport extends Cast {
  readonly success: boolean;
  /** What went wrong, one line each. */
  readonly failures: readonly string[];
  readonly flavour: string;
  readonly mutant: string | null;
  readonly strict: boolean;
  /** Length of the run. */
  readonly seconds: number;
  /** Elements seen by readers, by age. */
  readonly ages: readonly number[];
  readonly reads: number;
  readonly updates: number;
  readonly gracePeriods: number;
  readonly callbacks: number;
  /** How often each chore was done. */
  readonly barriers: number;
  readonly floods: number;
  readonly sleeps: number;
  /** Threads, CPUs among them, that left the heap and came back. */
  readonly hotplugs: number;
  /** Tasks and threads that ended right after a read. */
  readonly exits: number;
  readonly crashes: number;
  /** Rounds of the litmus test RCU+sync+free. */
  readonly litmus: number;
  /** Deliberate stalls that were reported by name; and stall reports in all, which a busy machine may cause too. */
  readonly stalls: number;
  readonly warnings: number;
  /** The run was too short to mean anything; `missing` says of what there was too little. */
  readonly tooShort: boolean;
  readonly missing: readonly string[];
}

/** Fewer of each mean nothing. */
const LEAST = { gracePeriods: 50, reads: 500, updates: 25 };

const CHORE_COUNTS = {
  barrier: ["barriers", Control.barriers],
  flood: ["callback floods", Control.floods],
  hotplug: ["hotplugs", Control.hotplugs],
  sleeper: ["idle sleeps", Control.sleeps],
  stall: ["deliberate stalls", Control.stalls],
  exit: ["exits", Control.exits],
  litmus: ["litmus rounds", Control.litmus],
} as const satisfies Record<Chore, unknown>;

/** Of what there was too little so far for a success to mean anything. */
export function missing(control: ControlRef, chores: readonly Chore[], crashes: number | null): string[] {
  const counts: [what: string, count: number, least: number][] = [
    ["grace periods", rcuStats().gracePeriods, LEAST.gracePeriods],
    ["reads", Control.reads.load(control), LEAST.reads],
    ["updates", Control.updates.load(control), LEAST.updates],
    ...chores.map((chore): [string, number, number] => {
      const [what, counter] = CHORE_COUNTS[chore];
      return [what, counter.load(control), chore === "stall" ? 2 : 1]; // One by a CPU, one by a task.
    }),
  ];
  if (crashes !== null) counts.push(["crashes", crashes, 2]);
  return counts
    .filter(([, count, least]) => count < least)
    .map(([what, count, least]) => `${count} of at least ${least} ${what}`);
}

export function reportOf(
  control: ControlRef,
  options: TortureOptions & Cast,
  seconds: number,
  failures: readonly string[],
  crashes: number,
  tooFew: readonly string[],
): TortureReport {
  const all = [...failures];
  for (const [n, text] of FAILURES.entries()) {
    const times = Control.failures.load(control, n);
    if (times > 0) all.push(`${text} (${times} times)`);
  }
  const stats = rcuStats();
  return {
    success: all.length === 0,
    failures: all,
    flavour: options.flavour ?? "qsbr",
    cpus: options.cpus,
    readers: options.readers,
    updaters: options.updaters,
    mutant: options.mutant ?? null,
    strict: options.strict === true,
    seconds,
    ages: Array.from({ length: AGES }, (_, age) => Control.ages.load(control, age)),
    reads: Control.reads.load(control),
    updates: Control.updates.load(control),
    gracePeriods: stats.gracePeriods,
    callbacks: stats.callbacksRun,
    barriers: Control.barriers.load(control),
    floods: Control.floods.load(control),
    sleeps: Control.sleeps.load(control),
    hotplugs: Control.hotplugs.load(control),
    exits: Control.exits.load(control),
    crashes,
    litmus: Control.litmus.load(control),
    stalls: Control.stalls.load(control),
    warnings: Control.warnings.load(control),
    tooShort: tooFew.length > 0,
    missing: tooFew,
  };
}

/** The report as text: histogram, rates, verdict. */
export function formatReport(report: TortureReport): string {
  const rate = (count: number): string => `${count} (${Math.round(count / report.seconds)}/s)`;
  const lines = [
    `${report.flavour}, ${report.seconds.toFixed(1)} s: CPUs ${report.cpus}, readers ${report.readers}, updaters ${report.updaters}`,
    `Reader ages (in grace periods): ${report.ages.map((count, age) => `${age}:${count}`).join(" ")}`,
    `reads ${rate(report.reads)}, updates ${rate(report.updates)}, grace periods ${rate(report.gracePeriods)}`,
    `callbacks ${rate(report.callbacks)}, barriers ${report.barriers}, floods ${report.floods}, ` +
      `idle sleeps ${report.sleeps}, hotplugs ${report.hotplugs}, exits ${report.exits}, crashes ${report.crashes}, ` +
      `deliberate stalls reported ${report.stalls}, litmus rounds ${report.litmus}`,
    ...report.failures.map((failure) => `!!! ${failure}`),
  ];
  if (report.success && report.tooShort)
    lines.push(`This run was too short to mean anything: ${report.missing.join(", ")}.`);
  if (report.mutant !== null)
    lines.push(
      report.success
        ? `The mutant ${report.mutant} was NOT caught in ${report.seconds.toFixed(1)} s.`
        : `The mutant ${report.mutant} was caught after ${report.seconds.toFixed(2)} s.`,
    );
  lines.push(`End of test: ${report.success ? "SUCCESS" : "FAILURE"}`);
  return lines.join("\n");
}
