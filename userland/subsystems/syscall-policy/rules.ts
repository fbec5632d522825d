/** The rules of a policy as text: one a line, the first that fits decides. */
import { EACCES, ERRNO } from "../../index.ts";

export interface Rule {
  /** -errno, or 0 to allow. */
  readonly verdict: number;
  /** null: everybody. */
  readonly uid: number | null;
  /** An absolute path without a slash at its end; "" is the root and everything below. */
  readonly prefix: string;
  /** null: all calls. */
  readonly calls: ReadonlySet<string> | null;
}

const LINE = /^(allow|deny)(?::(E[A-Z0-9]+))?\s+(\*|\d+)\s+(\/\S*)(?:\s+(\S+))?$/;

/** Throws RangeError that names the line. */
export function parseRules(text: string): Rule[] {
  const rules: Rule[] = [];
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.replace(/#.*/, "").trim();
    if (line === "") continue;
    const [, verb, error, uid, path, calls] = LINE.exec(line) ?? [];
    const errno = error === undefined ? EACCES : [...ERRNO].find(([, { name }]) => name === error)?.[0];
    if (verb === undefined || errno === undefined || (verb === "allow" && error !== undefined))
      throw new RangeError(`line ${index + 1}: give allow|deny[:ERRNO] UID|* /PATH [CALL,CALL...]`);
    rules.push({
      verdict: verb === "allow" ? 0 : -errno,
      uid: uid === "*" ? null : Number(uid),
      prefix: path!.replace(/\/+$/, ""),
      calls: calls === undefined || calls === "*" ? null : new Set(calls.split(",")),
    });
  }
  return rules;
}

/** Rules that can say something about this user's call; most calls end here. */
export const rulesFor = (rules: readonly Rule[], uid: number, call: string): Rule[] =>
  rules.filter((rule) => (rule.uid === null || rule.uid === uid) && (rule.calls?.has(call) ?? true));

/** Calls that give what lies below a path another name. */
const MOVES: ReadonlySet<string> = new Set(["renameat", "renameat2", "mount", "umount2", "pivot_root"]);

/**
 * 0 or -errno: of the first rule whose prefix holds the path. A call that moves folders is also denied by a rule about
 * something in them.
 */
export function judge(rules: readonly Rule[], call: string, path: string): number {
  const below = path === "/" ? "/" : `${path}/`;
  const moves = MOVES.has(call);
  for (const { prefix, verdict } of rules) {
    if (path === prefix || prefix === "" || path.startsWith(`${prefix}/`)) return verdict;
    if (moves && verdict < 0 && prefix.startsWith(below)) return verdict;
  }
  return 0;
}
