/** What Linux answered to the calls of vectors.ts and contents.ts (record.ts): per system call, its answers in order. */
import { readFileSync } from "node:fs";

export const ANSWERS = new URL("boundary.json", import.meta.url);
export const CONTENTS = new URL("contents.json", import.meta.url);
/** By call: the answers as boundary.c prints them; "e22*5" stands for five times "e22". */
export type Answers = Readonly<Record<string, string>>;

export function pack(answers: readonly string[]): string {
  const runs: [string, number][] = [];
  for (const answer of answers) {
    const last = runs.at(-1);
    if (last !== undefined && last[0] === answer) last[1]++;
    else runs.push([answer, 1]);
  }
  return runs.map(([answer, count]) => (count === 1 ? answer : `${answer}*${count}`)).join(" ");
}

export const unpack = (packed: string): string[] =>
  packed.split(" ").flatMap((part) => {
    const [answer, count = "1"] = part.split("*");
    return new Array<string>(Number(count)).fill(answer!);
  });

export const recorded = (file: URL): Answers => JSON.parse(readFileSync(file, "utf8")) as Answers;
