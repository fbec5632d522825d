/** The mutants of rcu/: every change that every rule finds in it. */
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import type { Edit } from "./rules.ts";
import { RULES } from "./rules.ts";
import { functionAround, ROOT, readSource, type Source, textOf, walk } from "./source.ts";

export interface Mutant {
  /**
   * `cblist/advance/drop: move(list, CBLIST.READY, CBLIST.WAIT);`: file, function, rule and the text that is changed, without a line
   * number, so that it names the same mistake when the file has changed elsewhere. Equal ones in a function are numbered from 2.
   */
  readonly id: string;
  /** Path from the root of the project. */
  readonly file: string;
  /** Place among the mutants of its file. */
  readonly number: number;
  readonly rule: string;
  readonly line: number;
  readonly edits: readonly Edit[];
  /** The text that is replaced and the one that replaces it. */
  readonly before: string;
  readonly after: string;
}

/** Files in which there is nothing to mistake: names, messages, types; what prints; what shows mistakes of others and has tests of its own. */
const OTHERS = new Set(
  (
    "index kernel error layout layout-text inject outcome owner alloc prove ref switch tag trace stats field-check " +
    "platform platform-web hash-seed kind lock-order stall struct preempt-words walk collection fields hashmap atomic memory"
  ).split(" "),
);

/** The files that mutants are made from. */
export function filesOf(): string[] {
  return readdirSync(new URL("rcu/", ROOT))
    .filter((name) => name.endsWith(".ts") && !OTHERS.has(name.slice(0, -3)))
    .map((name) => `rcu/${name}`)
    .sort();
}

const LONGEST = 72;
function shortened(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  if (line.length <= LONGEST) return line;
  return `${line.slice(0, LONGEST)}~${createHash("sha256").update(line).digest("hex").slice(0, 4)}`;
}

export function apply(text: string, edits: readonly Edit[]): string {
  let changed = text;
  for (const { start, end, text: fresh } of edits.toSorted((one, other) => other.start - one.start))
    changed = changed.slice(0, start) + fresh + changed.slice(end);
  return changed;
}

export function derive(file: string, source: Source = readSource(file)): Mutant[] {
  const mutants: Mutant[] = [];
  const seen = new Map<string, number>();
  walk(source, (spot) => {
    for (const rule of RULES)
      for (const { edits, how = "", what } of rule.apply(spot)) {
        const name = file.replace(/^rcu\/|\.ts$/g, "");
        const where = functionAround(spot) || "(module)";
        const text = shortened(what ?? textOf(source, spot.node));
        const bare = `${name}/${where}/${rule.name}${how === "" ? "" : ` ${how}`}: ${text}`;
        const count = (seen.get(bare) ?? 0) + 1;
        seen.set(bare, count);
        mutants.push({
          id: count === 1 ? bare : `${bare} #${count}`,
          file,
          number: mutants.length,
          rule: rule.name,
          line: source.text.slice(0, edits[0]!.start).split("\n").length,
          edits,
          before: edits.map(({ start, end }) => source.text.slice(start, end)).join(" … "),
          after: edits.map((edit) => edit.text).join(" … "),
        });
      }
  });
  return mutants;
}
