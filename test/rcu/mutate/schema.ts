/**
 * All mutants of a file in one text, each behind a number: `(sternixMutant === 7 ? mutated : original)`. To load the copies of the code
 * takes longer than most scenarios; so they are loaded once for a file, and the mutants in it take turns.
 */
import { derive, type Mutant } from "./derive.ts";
import { parseSource } from "./source.ts";

declare global {
  /** The mutant that is in force, by its place among those of its file; -1: none. */
  var sternixMutant: number;
}
globalThis.sternixMutant = -1;

/** Whether it can take turns: one expression, or one statement that is no declaration, in the place of another. */
export const takesTurns = ({ edits, rule }: Mutant): boolean =>
  edits.length === 1 && rule !== "swap" && rule !== "unlocked";

const isStatement = ({ rule }: Mutant): boolean => rule === "drop" || rule === "result";

interface Range {
  readonly start: number;
  readonly end: number;
  readonly mutants: [number: number, mutant: Mutant][];
  readonly inner: Range[];
}

/** Ranges of a tree, one in another. */
function nested(mutants: readonly Mutant[]): Range {
  const whole: Range = { start: 0, end: Number.POSITIVE_INFINITY, mutants: [], inner: [] };
  const numbered = [...mutants.entries()].filter(([, mutant]) => takesTurns(mutant));
  numbered.sort(
    (
      [
        ,
        {
          edits: [one],
        },
      ],
      [
        ,
        {
          edits: [other],
        },
      ],
    ) => one!.start - other!.start || other!.end - one!.end,
  );
  const open = [whole];
  for (const [number, mutant] of numbered) {
    const { start, end } = mutant.edits[0]!;
    while (end > open.at(-1)!.end || start >= open.at(-1)!.end) open.pop();
    const around = open.at(-1)!;
    if (around.start === start && around.end === end) around.mutants.push([number, mutant]);
    else {
      const range = { start, end, mutants: [[number, mutant]], inner: [] } satisfies Range as Range;
      around.inner.push(range);
      open.push(range);
    }
  }
  return whole;
}

/** The text of a file with all of its mutants. */
export function schemaOf(file: string, text: string): string {
  const write = ({ start, end, mutants, inner }: Range): string => {
    let original = "";
    let from = start;
    for (const range of inner) {
      original += text.slice(from, range.start) + write(range);
      from = range.end;
    }
    original += text.slice(from, Math.min(end, text.length));
    if (mutants.length === 0) return original;
    if (isStatement(mutants[0]![1])) {
      const branches = mutants.map(
        ([number, { edits }]) => `if (globalThis.sternixMutant === ${number}) {${edits[0]!.text}} else `,
      );
      return `{${branches.join("")}{${original}}}`;
    }
    const cases = mutants.map(
      ([number, { edits }]) => `globalThis.sternixMutant === ${number} ? (${edits[0]!.text}) : `,
    );
    return `(${cases.join("")}(${original}))`;
  };
  return write(nested(derive(file, parseSource(file, text))));
}
