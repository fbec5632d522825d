/** What fpu-digests.json records: for each operation, the hash of riscv64's answers to operands that a seed determines. */

import { createHash } from "node:crypto";
import { operands, Random } from "./fpu-operands.ts";
import type { FpCase } from "./fpu-oracle.ts";

export const DIGESTS: URL = new URL("./fpu-digests.json", import.meta.url);

const CASES_PER_OP = 3000;

/** The recorded operands of `op`, in all five rounding modes. */
export function casesOf(op: number): FpCase[] {
  const random = new Random(1000 + op);
  return Array.from({ length: CASES_PER_OP }, (_, i) => {
    const [a, b, c] = operands(random, op);
    return { op, rm: i % 5, a, b, c };
  });
}

export class Digest {
  readonly #hash = createHash("sha256");
  readonly #record = Buffer.alloc(9);

  add(result: bigint, flags: number): void {
    this.#record.writeBigInt64LE(result);
    this.#record.writeUInt8(flags, 8);
    this.#hash.update(this.#record);
  }

  hex(): string {
    return this.#hash.digest("hex");
  }
}
