/** Finds a small part of a failing program that still fails. */

import { disassemble } from "../../userland/riscv64/isa/disassemble.ts";
import { writeElf } from "./fuzz-elf.ts";
import type { Program } from "./fuzz-program.ts";

/**
 * Drops items in ever smaller runs while `fails` says that what remains still fails.
 * Returns the indices that are left, the fixed items apart.
 */
export function shrink(program: Program, fails: (elf: Uint8Array) => boolean): number[] {
  let kept = program.items.flatMap((item, n) => (item.fixed ? [] : [n]));
  for (let run = Math.ceil(kept.length / 2); run >= 1; run = run === 1 ? 0 : Math.ceil(run / 2)) {
    for (let at = 0; at < kept.length; ) {
      const without = [...kept.slice(0, at), ...kept.slice(at + run)];
      const set = new Set(without);
      if (fails(writeElf(program.items, program.data, (n) => set.has(n)))) kept = without;
      else at += run;
    }
  }
  return kept;
}

/** The kept items, disassembled, targets as item numbers. */
export function listing(program: Program, kept: readonly number[]): string {
  return kept
    .map((n) => {
      const { what, code } = program.items[n]!;
      const lines = code.map((instruction) =>
        typeof instruction === "number"
          ? `    ${instruction.toString(16).padStart(8)}  ${disassemble(instruction)}`
          : `    ${instruction.encode(0).toString(16).padStart(8)}  ${disassemble(instruction.encode(0))}  -> ${instruction.to}`,
      );
      return `${n}: ${what}\n${lines.join("\n")}`;
    })
    .join("\n");
}

const name = (at: number): string => {
  if (at < 256) return `x${at >> 3}`;
  if (at < 512) return `f${(at - 256) >> 3}`;
  return at < 520 ? "fcsr" : `data+${at.toString(16)}`;
};

/** Where two outputs differ: register names for the closing dump. */
export function differences(ours: Uint8Array, theirs: Uint8Array, dumpBytes: number): string {
  if (ours.length !== theirs.length) return `lengths ${ours.length} and ${theirs.length}`;
  const start = ours.length - dumpBytes;
  const a = new DataView(ours.buffer, ours.byteOffset, ours.length);
  const b = new DataView(theirs.buffer, theirs.byteOffset, theirs.length);
  const lines: string[] = [];
  for (let at = 0; at < start; at++) if (a.getUint8(at) !== b.getUint8(at)) lines.push(`written byte ${at}`);
  for (let at = Math.max(0, start); at < ours.length; at += 8) {
    const [x, y] = [a.getBigUint64(at, true), b.getBigUint64(at, true)];
    if (x !== y) lines.push(`${name(at - start)}: ours ${x.toString(16)}, riscv64 ${y.toString(16)}`);
  }
  return lines.slice(0, 20).join("\n");
}
