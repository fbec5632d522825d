/** The modules that every engine of a thread starts with: compiled once. V8 compiles equal modules of a process once, too. */

import { buildFast } from "./fpu/fast-module.ts";
import { buildTrial, hasFusedMultiplyAdd } from "./fpu/fused.ts";
import { buildInterpreter } from "./interpreter.ts";
import { prebuilt } from "./prebuilt.ts";
import { buildRuntime } from "./runtime.ts";

/** Arrivals at a target before it is translated. */
export const THRESHOLD = 5120;

/** 4 GiB: no less than the maximum of any memory, which is what an importing module has to declare. */
export const MAX_PAGES = 65536;

const interpreterName = (threshold: number, fused: boolean): string =>
  `interpreter ${threshold}${fused ? " fused" : ""}`;

const modules = new Map<string, WebAssembly.Module>();

function moduleOf(name: string, build: () => Uint8Array<ArrayBuffer>): WebAssembly.Module {
  let module = modules.get(name);
  if (module === undefined) {
    module = new WebAssembly.Module(prebuilt(name, build));
    modules.set(name, module);
  }
  return module;
}

export function runtimeModule(): WebAssembly.Module {
  return moduleOf("runtime", () => buildRuntime(MAX_PAGES));
}

/** The interpreter that asks for a translation after `threshold` arrivals. */
export function interpreterModule(threshold: number): WebAssembly.Module {
  const fused = hasFusedMultiplyAdd();
  return moduleOf(interpreterName(threshold, fused), () => buildInterpreter(MAX_PAGES, threshold, fused));
}

/** What build.mjs puts into dist/: names and bytes of the modules that engines start with, whichever machine that is on. */
export function prebuild(): Record<string, Uint8Array<ArrayBuffer>> {
  return {
    "fused trial": buildTrial(),
    "fast fpu": buildFast(),
    runtime: buildRuntime(MAX_PAGES),
    [interpreterName(THRESHOLD, false)]: buildInterpreter(MAX_PAGES, THRESHOLD, false),
    [interpreterName(THRESHOLD, true)]: buildInterpreter(MAX_PAGES, THRESHOLD, true),
  };
}
