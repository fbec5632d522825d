/** Mutation of rcu/ (test/rcu/mutate/README.md): the rules, the list of explanations, and a sample of mutants that the model must find. */
import test from "ava";
import { explore } from "../../userland/check/model/checker.ts";
import { SCENARIOS } from "./model/scenarios/index.ts";
import { apply, derive, filesOf } from "./mutate/derive.ts";
import { RULES } from "./mutate/rules.ts";
import { SAMPLE } from "./mutate/sample.ts";
import { parseSource } from "./mutate/source.ts";
import { SURVIVORS } from "./mutate/survivors.ts";

const all = filesOf().flatMap((file) => derive(file));
const byId = new Map(all.map((mutant) => [mutant.id, mutant]));

test("rules change what they name, and nothing else", (t) => {
  const text = [
    "export function publish(ref: number, stamp: number): boolean {",
    "  lockWord(ref);",
    "  Atomics.store(i32, ref, 1);",
    "  i32[ref + 1] = 2;",
    "  unlockWord(ref);",
    "  if (Atomics.compareExchange(i32, ref, 1, 2) !== 1 || i32[ref]! > stamp) return false;",
    "  while (!seqDone(gpSeq(), stamp + 1)) wait();",
    "  callRcu(reclaimer, ref);",
    "  return true;",
    "}",
    "",
  ].join("\n");
  const mutants = derive("rcu/lock.ts", parseSource("rcu/lock.ts", text));
  const made = (id: string): string => {
    const mutant = mutants.find((one) => one.id === `lock/publish/${id}`);
    if (mutant === undefined) throw new Error(`no ${id} among\n${mutants.map((one) => one.id).join("\n")}`);
    const changed = apply(text, mutant.edits).split("\n");
    return text
      .split("\n")
      .flatMap((line, n) => (line === changed[n] ? [] : [changed[n]!.trim()]))
      .join(" | ");
  };
  t.is(made("weaken: Atomics.store(i32, ref, 1)"), "(i32[ref] = 1);");
  t.regex(made("weaken: Atomics.compareExchange(i32, ref, 1, 2)"), /\[at\] = was === \(1\) \? \(2\) : was/);
  t.regex(
    made("blind: Atomics.compareExchange(i32, ref, 1, 2)"),
    /^if \(\(Atomics\.store\(i32, ref, 2\), \(1\)\)/,
  );
  t.is(made("drop: Atomics.store(i32, ref, 1);"), ";");
  t.is(
    made("swap: Atomics.store(i32, ref, 1); <> i32[ref + 1] = 2;"),
    "i32[ref + 1] = 2; | Atomics.store(i32, ref, 1);",
  );
  t.is(made("unlocked: lockWord(ref)"), "(1 as never); | (1 as never);");
  t.is(made("immediate: callRcu(reclaimer, ref)"), "(reclaimer).run(ref);");
  t.is(made("sequence early: gpSeq()"), "while (!seqDone(((gpSeq() - 4) | 0), stamp + 1)) wait();");
  t.is(made("off-by-one more: 1"), "while (!seqDone(gpSeq(), stamp + 2)) wait();");
  t.regex(made("boundary: i32[ref]! > stamp"), /i32\[ref\] >= stamp/);
  t.regex(
    made("condition false: Atomics.compareExchange(i32, ref, 1, 2) !== 1 || i32[ref]! > stamp ?"),
    /^if \(false\)/,
  );
  t.is(
    made("operand left only: Atomics.compareExchange(i32, ref, 1, 2) !== 1 || i32[ref]! > stamp"),
    "if ((Atomics.compareExchange(i32, ref, 1, 2) !== 1)) return false;",
  );
  t.is(made("result: return true;"), "return false;");
});

test("every rule finds something in rcu/, and no two mutants have one id", (t) => {
  for (const { name } of RULES)
    t.true(
      all.some(({ rule }) => rule === name),
      name,
    );
  t.is(byId.size, all.length);
});

test("what survivors.ts explains, and what the sample tries, are mutants that there are", (t) => {
  t.deepEqual(
    [...Object.keys(SURVIVORS), ...SAMPLE.map(([id]) => id)].filter((id) => !byId.has(id)),
    [],
    "npm run mutate -- --list shows those of today",
  );
  t.deepEqual(
    SAMPLE.filter(([id]) => SURVIVORS[id] !== undefined),
    [],
  );
});

for (const [id, name, model] of SAMPLE)
  test.serial(`the model finds ${id}`, async (t) => {
    const mutant = byId.get(id)!;
    const { violation } = await explore(SCENARIOS.find((one) => one.name === name)!, {
      library: new URL("./model/library.ts", import.meta.url),
      edits: [{ name: id, file: mutant.file, apply: (text) => apply(text, mutant.edits) }],
      model,
      shortest: 0,
    });
    t.truthy(violation, `${mutant.file}:${mutant.line}: ${mutant.after} instead of ${mutant.before}`);
  });
