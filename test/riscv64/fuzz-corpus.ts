/** The recorded corpus: programs by seed, and the hash of what riscv64 makes them write. */

import { createHash } from "node:crypto";

export const CORPUS: URL = new URL("./fuzz-corpus.json", import.meta.url);

export function digest(output: Uint8Array): string {
  return createHash("sha256").update(output).digest("hex");
}
