/**
 * syscall-policy: who may name which paths in system calls. The rules are one object that is replaced whole (RcuArc):
 * every call of every CPU reads them without a lock, while root writes new ones to /proc/syscall-policy.
 */
import { readFileSync } from "node:fs";
import {
  arcNew,
  fixed,
  free,
  freeString,
  kfreeStringRcu,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  spinlock,
  stringText,
  struct,
  tryAlloc,
  tryAllocString,
} from "../../../rcu/index.ts";
import { type ContextOf, defineSubsystem, EINVAL, ENOMEM, table } from "../../index.ts";
import { judge, parseRules, type Rule, rulesFor } from "./rules.ts";

/** What is replaced whole: the text of the rules, and a number that no other set has. */
const RuleSet = struct("policy_rules", { generation: fixed(), text: fixed<Ref<"string">>() });
const Policy = struct("policy", { lock: spinlock() });

const tables = {
  rules: table.arc(RuleSet),
  /** Orders writers; readers know nothing of it. */
  policy: table.one(Policy),
  generations: table.counter(),
  denied: table.counter(),
  RuleSet,
  Policy,
};
type Tables = ContextOf<typeof tables>["tables"];

/** Parsed rules of the generation that this CPU saw last: a cache, the truth is in the heap. */
let parsed: readonly Rule[] = [];
let parsedGeneration = 0;

function currentRules(rules: Tables["rules"]): readonly Rule[] {
  const scope = rcuReadLock();
  const set = rules.get(scope);
  const generation = set === 0 ? 0 : RuleSet.generation.get(set);
  if (generation !== parsedGeneration) {
    parsed = set === 0 ? [] : parseRules(stringText(RuleSet.text.get(set)));
    parsedGeneration = generation;
  }
  rcuReadUnlock();
  return parsed;
}

/** Publishes rules that were parsed: 0 or -errno. Calls that are being judged finish with the old ones. */
function replace({ rules, policy, generations }: Tables, text: string): number {
  const string = tryAllocString(text);
  const set = string === 0 ? 0 : tryAlloc(RuleSet);
  const arc = set === 0 ? 0 : arcNew(RuleSet, set);
  if (string === 0 || set === 0 || arc === 0) {
    if (string !== 0) freeString(string);
    if (set !== 0) free(RuleSet, set);
    return -ENOMEM;
  }
  RuleSet.text.init(set, string);
  RuleSet.generation.init(set, generations.add() + 1);
  Policy.lock.lock(policy);
  const scope = rcuReadLock();
  const old = rules.get(scope);
  const oldText = old === 0 ? 0 : RuleSet.text.get(old);
  rcuReadUnlock();
  rules.update(arc);
  Policy.lock.unlock(policy);
  if (oldText !== 0) kfreeStringRcu(oldText);
  return 0;
}

export default defineSubsystem({
  name: "syscall-policy",
  tables,
  options: {
    /** Host file with the rules to begin with. */
    file: "",
    /** Or the rules themselves, ";" between them. */
    rules: "",
  },
  // A policy that fails must not let things through.
  failClosed: true,
  init(context, { file, rules }) {
    const text = file === "" ? rules.replaceAll(";", "\n") : readFileSync(file, "utf8");
    parseRules(text);
    if (replace(context.tables, text) < 0) throw new Error("no memory for the rules");
  },
  exit: ({ tables: { rules } }) => {
    const scope = rcuReadLock();
    const set = rules.get(scope);
    const text = set === 0 ? 0 : RuleSet.text.get(set);
    rcuReadUnlock();
    rules.update(0);
    if (text !== 0) kfreeStringRcu(text);
  },
  hooks: {
    syscallEnter({ tables: { rules, denied } }, task, call) {
      if (call.pathArguments.length === 0) return 0;
      const concerned = rulesFor(currentRules(rules), task.uid, call.name);
      if (concerned.length === 0) return 0;
      for (const path of call.paths()) {
        const verdict = judge(concerned, call.name, path);
        if (verdict === 0) continue;
        denied.add();
        return verdict;
      }
      return 0;
    },
  },
  proc: {
    mode: 0o600,
    pollable: true,
    read({ tables: { rules } }) {
      const scope = rcuReadLock();
      const set = rules.get(scope);
      const text = set === 0 ? "" : stringText(RuleSet.text.get(set));
      rcuReadUnlock();
      return text;
    },
    write(context, text, position) {
      // The rest of a text that was written in parts: half a set of rules is none.
      if (position !== 0) return -EINVAL;
      try {
        parseRules(text);
      } catch (error) {
        context.log(`rules refused, the old ones stay: ${(error as Error).message}`);
        return -EINVAL;
      }
      const error = replace(context.tables, text);
      if (error === 0) context.notify("/proc/syscall-policy");
      return error;
    },
  },
  sys: { denied: { read: ({ tables: { denied } }) => `${denied.value}\n` } },
  report: ({ tables: { denied } }) => `calls denied: ${denied.value}\n`,
});
