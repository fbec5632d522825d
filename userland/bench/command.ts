/** What `sternix bench --help` says. The words themselves are read by options.ts. */
import { type ArgsDef, defineCommand } from "citty";
import { SUITES } from "./options.ts";

const text = (valueHint: string, description: string) =>
  ({ type: "string", valueHint, description }) as const;

export const bench = defineCommand<ArgsDef>({
  meta: {
    name: "bench",
    description: "Measure kernel tables, RCU, system calls or workloads beside what else there is",
  },
  args: {
    suite: { type: "positional", description: SUITES.join(", ") },
    quick: { type: "boolean", description: "fewer conditions and rounds: under 30 seconds" },
    full: {
      type: "boolean",
      description:
        "tables: every combination of threads, writes and entries (default: one at a time departs from the usual)",
    },
    json: text("FILE", "write the results as JSON (userland/bench/README.md describes them)"),
    plot: text("FILE.svg", "draw a chart"),
    compare: text("OLD.json", "say what changed since a run that --json wrote"),
    only: text("NAME", "only what has NAME in its name; may be repeated"),
    contenders: text("A,B", "only these, such as rcu,mutex,rwlock"),
    threads: text("1,2,4", "numbers of threads, or of CPUs (default: powers of two up to this machine's)"),
    writes: text("0,1,10,50", "tables: shares of writes in per cent"),
    entries: text("64,4096", "tables: numbers of entries (default: what suits each table)"),
    passes: text("N", "fresh starts; how far they differ is the noise floor (default 2)"),
    rounds: text("N", "measurements of each contender in a pass, in turns (default 4, quick 3)"),
    ms: text("N", "length of one measurement in milliseconds (default 25, quick 6)"),
    seed: text("N", "seed of the random keys (default 1)"),
    limit: text(
      "SECONDS",
      "fewer rounds where it would take longer; 0: none (default: quick 24, else 720 unless it is told how much to measure)",
    ),
    stall: text(
      "SECONDS",
      "without progress for so long it says where it stands and ends; 0: never (default 120)",
    ),
    clock: text(
      "wall|cpu",
      "cpu counts only the time that threads had a CPU: for busy machines; hides waiting for locks",
    ),
  },
});
