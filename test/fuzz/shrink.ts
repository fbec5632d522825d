/** Makes a failing script short: leaves operations out, then programs, repeats and arguments, as long as it still fails. */
import type { Op, Script } from "./script.ts";
import { usedData } from "./script.ts";

/** Whether a script still fails in the same way. */
export type Fails = (script: Script) => Promise<boolean>;

/** `deadline`: when to be content with what there is (Date.now()). */
export async function shrink(script: Script, fails: Fails, deadline: number): Promise<Script> {
  let best = script;
  const attempt = async (programs: readonly (readonly Op[])[]): Promise<boolean> => {
    if (Date.now() > deadline) return false;
    const candidate = { ...best, programs };
    if (!(await fails(candidate))) return false;
    best = candidate;
    return true;
  };
  const change = (program: number, ops: readonly Op[]) =>
    best.programs.map((old, n) => (n === program ? ops : old));
  for (let before: Script | null = null; before !== best && Date.now() < deadline; ) {
    before = best;
    // Whole programs, then halves, quarters, and single operations.
    for (let program = best.programs.length - 1; program >= 0; program--) {
      for (let part = best.programs[program]!.length; part >= 1; part = Math.floor(part / 2)) {
        for (let at = 0; at < best.programs[program]!.length && Date.now() < deadline; ) {
          const ops = best.programs[program]!;
          if (!(await attempt(change(program, [...ops.slice(0, at), ...ops.slice(at + part)])))) at += part;
        }
      }
    }
    for (let program = 0; program < best.programs.length; program++)
      for (let at = 0; at < best.programs[program]!.length; at++)
        for (const simpler of simplify(best.programs[program]![at]!)) {
          const ops = [...best.programs[program]!];
          ops[at] = simpler;
          if (await attempt(change(program, ops))) break;
        }
  }
  return { ...best, data: usedData(best) };
}

function simplify(op: Op): Op[] {
  if (op.op === "repeat" && op.count > 2)
    return [
      { ...op, count: 2 },
      { ...op, count: op.count >> 1 },
    ];
  if (op.op !== "call") return [];
  return op.args.flatMap((arg, n) => (arg === "0x0" ? [] : [{ ...op, args: op.args.with(n, "0x0") }]));
}
