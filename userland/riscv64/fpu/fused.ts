/**
 * The machine's own fused multiply-add, through relaxed SIMD. `relaxed_madd` may round once or twice, as the hardware likes,
 * but an engine has to choose one way for good ("Relaxed SIMD" in the WebAssembly specification): so it can be tried once.
 */

import { assemble, type Code, F32, F64, type Fn, get } from "./assemble.ts";

/** Opcodes by width: splat, relaxed_madd, extract_lane 0. */
export const FUSED = {
  d: { splat: [0xfd, 0x14], madd: [0xfd, 0x87, 0x02], extract: [0xfd, 0x21, 0] },
  s: { splat: [0xfd, 0x13], madd: [0xfd, 0x85, 0x02], extract: [0xfd, 0x1f, 0] },
} as const;

/** x * y + z in the first lane. */
function madd(width: "s" | "d", x: Code, y: Code, z: Code): Code {
  const { splat, madd, extract } = FUSED[width];
  return [...x, ...splat, ...y, ...splat, ...z, ...splat, ...madd, ...extract];
}

function trial(width: "s" | "d", type: number): Fn {
  const body = madd(width, get(0), get(1), get(2));
  return { name: width, params: [type, type, type], results: [type], locals: [], body };
}

/** x * y + z by relaxed_madd, however that rounds here; undefined when the engine doesn't know it. */
export function fusedMultiplyAdd():
  | Record<"d" | "s", (x: number, y: number, z: number) => number>
  | undefined {
  const bytes = assemble([trial("d", F64), trial("s", F32)]);
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
