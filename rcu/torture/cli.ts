/** `sternix torture`: runs the torture test and prints what rcutorture would. */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { findMutant, MUTANTS } from "./mutants.ts";
import { FLAVOURS, type Flavour, type TortureReport, torture } from "./torture.ts";

const USAGE = `usage: sternix torture [--seconds N] [--cpus N] [--readers N] [--updaters N]
    [--flavour ${FLAVOURS.join("|")}] [--strict] [--crash] [--mutant NAME] [--list-mutants] [--json FILE]`;

/** Runs with the given arguments; returns the exit status: 0 success, 1 failure, 2 wrong usage. */
export async function tortureMain(args: string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(USAGE);
    return 0;
  }
  let values: ReturnType<typeof parse>["values"];
  try {
    ({ values } = parse(args));
    if (values.mutant !== undefined) findMutant(values.mutant);
    if (!FLAVOURS.includes(values.flavour as Flavour)) throw new Error(`no flavour ${values.flavour}`);
    for (const name of ["seconds", "cpus", "readers", "updaters"] as const)
      if (values[name] !== undefined && !(Number(values[name]) > 0 && Number(values[name]) < 1e6))
        throw new Error(`--${name} ${values[name]}: give a positive number`);
  } catch (error) {
    console.error(`sternix torture: ${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  if (values["list-mutants"] === true) {
    for (const mutant of MUTANTS) console.log(`${mutant.name.padEnd(22)} ${mutant.why}`);
    return 0;
  }
  const mutant = values.mutant ?? null;
  const cpus = Number(values.cpus ?? 2);
  const seconds = Number(values.seconds ?? 10);
  const report = await torture({
    ...(mutant === null ? {} : findMutant(mutant).options),
    seconds,
    readers: Number(values.readers ?? cpus),
    ...(values.updaters === undefined ? {} : { updaters: Number(values.updaters) }),
    flavour: (mutant === null ? undefined : findMutant(mutant).flavour) ?? (values.flavour as Flavour),
    strict: values.strict === true,
    crash: values.crash === true,
    mutant,
    progress: progressLine(seconds),
  });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  console.log(formatReport(report));
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
  return report.success ? 0 : 1;
}

function parse(args: string[]) {
  return parseArgs({
    args,
    options: {
      seconds: { type: "string" },
      cpus: { type: "string" },
      readers: { type: "string" },
      updaters: { type: "string" },
      flavour: { type: "string", default: "qsbr" },
      strict: { type: "boolean" },
      crash: { type: "boolean" },
      mutant: { type: "string" },
      "list-mutants": { type: "boolean" },
      json: { type: "string" },
    },
  });
}

function progressLine(seconds: number): (ms: number, gracePeriods: number) => void {
  let next = 0;
  return (ms, gracePeriods) => {
    if (!process.stderr.isTTY || ms < next) return;
    next = ms + 100;
    process.stderr.write(
      `\r\x1b[Ktorture: ${(ms / 1000).toFixed(1)} of ${seconds} s, ${gracePeriods} grace periods`,
    );
  };
}

/** The report as text: histogram, rates, verdict. */
export function formatReport(report: TortureReport): string {
  const rate = (count: number): string => `${count} (${Math.round(count / report.seconds)}/s)`;
  const lines = [
    `Reader ages (in grace periods): ${report.ages.map((count, age) => `${age}:${count}`).join(" ")}`,
    `reads ${rate(report.reads)}, updates ${rate(report.updates)}, grace periods ${rate(report.gracePeriods)}`,
    `callbacks ${rate(report.callbacks)}, barriers ${report.barriers}, floods ${report.floods}, ` +
      `idle sleeps ${report.sleeps}, hotplugs ${report.hotplugs}, crashes ${report.crashes}`,
    ...report.failures.map((failure) => `!!! ${failure}`),
  ];
  if (report.success && report.tooShort) lines.push("This run was too short to mean anything.");
  lines.push(`End of test: ${report.success ? "SUCCESS" : "FAILURE"}`);
  return lines.join("\n");
}

if (import.meta.main) process.exit(await tortureMain(process.argv.slice(2)));
