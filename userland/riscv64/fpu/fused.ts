/**
 * The machine's own fused multiply-add, through relaxed SIMD. `relaxed_madd` may round once or twice, as the hardware likes,
 * but an engine has to choose one way for good ("Relaxed SIMD" in the WebAssembly specification): so it can be tried once.
 */

import { prebuilt } from "../prebuilt.ts";
import type { Floats } from "../wasm/floats.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import { signatureOf, TYPE } from "../wasm/types.ts";

const { F32, F64 } = TYPE;

/** x * y + z in the first lane. */
export function fused<T>(float: Floats<T>, x: () => T, y: () => T, z: () => T): T {
  return float.firstLane(float.relaxedMadd(float.splat(x()), float.splat(y()), float.splat(z())));
}

/** A module with `d` and `s`: x * y + z in each width. */
export function buildTrial(): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  module.function("d", signatureOf([F64, F64, F64], [F64]), [], (c, [x, y, z]) =>
    fused(
      c.f64,
      () => c.get(x),
      () => c.get(y),
      () => c.get(z),
    ),
  );
  module.function("s", signatureOf([F32, F32, F32], [F32]), [], (c, [x, y, z]) =>
    fused(
      c.f32,
      () => c.get(x),
      () => c.get(y),
      () => c.get(z),
    ),
  );
  return module.finish();
}

/** x * y + z by relaxed_madd, however that rounds here; undefined when the engine doesn't know it. */
export function fusedMultiplyAdd():
  | Record<"d" | "s", (x: number, y: number, z: number) => number>
  | undefined {
  const bytes = prebuilt("fused trial", buildTrial);
  if (!WebAssembly.validate(bytes)) return undefined;
  return new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as ReturnType<
    typeof fusedMultiplyAdd
  >;
}

let known: boolean | undefined;

/** Whether relaxed_madd is there and rounds once, for doubles and singles. */
export function hasFusedMultiplyAdd(): boolean {
  known ??= tryOut();
  return known;
}

function tryOut(): boolean {
  const functions = fusedMultiplyAdd();
  if (functions === undefined) return false;
  const { d, s } = functions;
  // Products whose last term only survives when they are not rounded.
  return (
    d(1 + 2 ** -30, 1 + 2 ** -30, -(1 + 2 ** -29)) === 2 ** -60 &&
    d(1 + 2 ** -52, 1 - 2 ** -52, -1) === -(2 ** -104) &&
    s(1 + 2 ** -13, 1 + 2 ** -13, -(1 + 2 ** -12)) === 2 ** -26 &&
    s(1 + 2 ** -23, 1 - 2 ** -23, -1) === -(2 ** -46)
  );
}
