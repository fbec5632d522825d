/** The ways in which the engine is fuzzed: each is its own engine and host, used for one program after the other. */

import { createRiscvEngine, type EngineOptions } from "../../userland/riscv64/engine.ts";
import { FuzzHost, type Outcome } from "./fuzz-host.ts";

const OPTIONS: Record<string, EngineOptions> = {
  interpreter: { threshold: Number.POSITIVE_INFINITY },
  translator: { threshold: 0 },
  careful: { threshold: 0, lean: false },
  default: {},
};

export const MODES: readonly string[] = Object.keys(OPTIONS);

/** Runs programs beside each other; the seed decides when they are interrupted. */
export type Run = (elfs: readonly Uint8Array[], seed: number) => Outcome[];

/** A machine in `mode`: an engine with its own memory, for one run after the other. */
export function machine(mode: string): Run {
  const host = new FuzzHost();
  const engine = createRiscvEngine(host, OPTIONS[mode]!);
  return (elfs, seed) => host.run(engine, elfs, seed);
}
