/** The ways in which the engine is fuzzed: each is its own engine and host, used for one program after the other. */

import { createRiscvEngine, type EngineOptions } from "../../userland/riscv64/engine.ts";
import { FuzzHost, type Outcome } from "./fuzz-host.ts";

const OPTIONS: Record<string, EngineOptions> = {
  interpreter: { threshold: Number.POSITIVE_INFINITY },
  translator: { threshold: 0 },
  default: {},
};

export const MODES: readonly string[] = Object.keys(OPTIONS);

/** Returns a function that runs a program in `mode`. */
export function machine(mode: string): (elf: Uint8Array, seed: number) => Outcome {
  const host = new FuzzHost();
  const engine = createRiscvEngine(host, OPTIONS[mode]!);
  return (elf, seed) => host.run(engine, elf, seed);
}
