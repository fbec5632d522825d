/**
 * Rewrites fpu-digests.json from riscv64's own answers: node test/riscv64/fpu-record.ts
 * Needs qemu-riscv64-static and riscv64-linux-gnu-gcc. To be run again only when fpu-operands.ts changes.
 */

import { writeFileSync } from "node:fs";
import { casesOf, DIGESTS, Digest } from "./fpu-digest.ts";
import { OP_COUNT, OP_NAMES } from "./fpu-operands.ts";
import { askOracle, buildOracle } from "./fpu-oracle.ts";

const oracle = buildOracle();
if (oracle === "") {
  console.error("fpu-record: needs qemu-riscv64-static and riscv64-linux-gnu-gcc");
  process.exit(1);
}
const digests: Record<string, string> = {};
for (let op = 0; op < OP_COUNT; op++) {
  const digest = new Digest();
  for (const { result, flags } of askOracle(oracle, casesOf(op))) digest.add(result, flags);
  digests[OP_NAMES[op]!] = digest.hex();
}
writeFileSync(DIGESTS, `${JSON.stringify(digests, null, 2)}\n`);
