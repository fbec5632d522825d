/**
 * What the guest fixtures print and how they end. The answers in expected.json were recorded from qemu-riscv64 on
 * Linux (record.ts), except where user-mode emulation cannot do what a kernel does: those are written by hand.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export interface GuestCase {
  /** Fixture name, then its arguments. */
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** qemu's user mode gets it wrong; what the manual pages say was written into expected.json by hand. */
  readonly byHand?: boolean;
}

export interface Outcome {
  /** As a shell sees it: 128 + n for signal n. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const fault = (kind: string): GuestCase => ({ argv: ["fault", kind] });

export const cases: readonly GuestCase[] = [
  { argv: ["hello"] },
  { argv: ["exit"] },
  { argv: ["exit", "7"] },
  { argv: ["exit", "255"] },
  { argv: ["args", "a", "b c", ""], env: { GUEST: "x=y z" } },
  { argv: ["echo"], stdin: "one\ntwo\n" },
  { argv: ["fork"] },
  { argv: ["pipe"] },
  { argv: ["signal"] },
  // qemu's user mode looks at the handler twice and dies of SIGSEGV.
  { argv: ["handler"], byHand: true },
  { argv: ["thread"] },
  { argv: ["flight"] },
  { argv: ["memory"] },
  { argv: ["poll"] },
  { argv: ["files"] },
  // qemu's user mode hands execve to the host, which cannot run a riscv64 program.
  { argv: ["exec"], byHand: true },
  { argv: ["spin", "fork"] },
  { argv: ["spin", "thread"] },
  { argv: ["spin", "alarm"] },
  { argv: ["longcall"] },
  ...[
    "read",
    "write",
    "jump",
    "text",
    "illegal",
    "break",
    "high",
    "exec",
    "stack",
    "handled",
    "unaligned",
  ].map(fault),
];

export const labelOf = (guest: GuestCase) => guest.argv.join(" ").trim();

/** Path of a fixture's binary. */
export const fixture = (name: string) => fileURLToPath(new URL(`bin/${name}`, import.meta.url));

export function expectedOutcomes(): Record<string, Outcome> {
  return JSON.parse(readFileSync(new URL("expected.json", import.meta.url), "utf8"));
}
