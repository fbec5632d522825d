/** What the functions of the fast module are made with, and the ones that they call: error-free transformations. */

import type { Code } from "../wasm/code.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import {
  type F64,
  type Func,
  type I32,
  type Local,
  type Locals,
  type Signature,
  signatureOf,
  TYPE,
  type ValueType,
} from "../wasm/types.ts";

const { I32: i32Type, I64: i64Type, F64: f64Type } = TYPE;

const TWO = signatureOf([f64Type, f64Type], [f64Type]);
const THREE = signatureOf([f64Type, f64Type, f64Type], [f64Type]);
const ROUND = signatureOf([f64Type, i32Type], [f64Type]);

interface Internals {
  /** (x, y, s) -> (x + y) - s */
  readonly sumError: Func<typeof THREE>;
  /** (x, y, p) -> (x * y) - p */
  readonly productError: Func<typeof THREE>;
  /** (x, y) -> x + y rounded to odd */
  readonly sumToOdd: Func<typeof TWO>;
  /** (x, rm) -> x rounded to an integer, as a double */
  readonly integral: Func<typeof ROUND>;
}

function addInternals(module: ModuleBuilder): Internals {
  const sumError = module.function("", THREE, [f64Type], (c, [x, y, s], [t]) => {
    const { f64 } = c;
    c.set(t, f64.sub(c.get(s), c.get(x)));
    const restOfX = f64.sub(c.get(x), f64.sub(c.get(s), c.get(t)));
    f64.add(restOfX, f64.sub(c.get(y), c.get(t)));
  });
  const productError = addProductError(module);
  const sumToOdd = addSumToOdd(module, sumError);
  const integral = addIntegral(module);
  return { sumError, productError, sumToOdd, integral };
}

/** Veltkamp's splitting and Dekker's product. */
function addProductError(module: ModuleBuilder): Internals["productError"] {
  const locals = [f64Type, f64Type, f64Type, f64Type, f64Type] as const;
  return module.function("", THREE, locals, (c, [x, y, p], [scaled, xHigh, xLow, yHigh, yLow]) => {
    const { f64 } = c;
    const split = (from: Local<F64>, high: Local<F64>, low: Local<F64>) => {
      c.set(scaled, f64.mul(c.get(from), 2 ** 27 + 1));
      c.set(high, f64.sub(c.get(scaled), f64.sub(c.get(scaled), c.get(from))));
      c.set(low, f64.sub(c.get(from), c.get(high)));
    };
    const product = (a: Local<F64>, b: Local<F64>) => f64.mul(c.get(a), c.get(b));
    split(x, xHigh, xLow);
    split(y, yHigh, yLow);
    f64.sub(
      product(xLow, yLow),
      f64.sub(f64.sub(f64.sub(c.get(p), product(xHigh, yHigh)), product(xLow, yHigh)), product(xHigh, yLow)),
    );
  });
}

function addSumToOdd(module: ModuleBuilder, sumError: Internals["sumError"]): Internals["sumToOdd"] {
  return module.function("", TWO, [f64Type, f64Type, i64Type], (c, [x, y], [sum, error, bits]) => {
    const { i32, i64, f64 } = c;
    c.set(error, c.call(sumError, c.get(x), c.get(y), c.tee(sum, f64.add(c.get(x), c.get(y)))));
    c.set(bits, i64.reinterpretF64(c.get(sum)));
    const inexactAndEven = i32.and(f64.ne(c.get(error), 0), i64.eqz(i64.and(c.get(bits), 1)));
    f64.if(
      inexactAndEven,
      () => {
        const outwards = () => i32.eq(f64.gt(c.get(error), 0), f64.gt(c.get(sum), 0));
        const step = () =>
          i64.if(
            outwards(),
            () => i64.const(1),
            () => i64.const(-1),
          );
        return f64.reinterpretI64(i64.add(c.get(bits), step()));
      },
      () => c.get(sum),
    );
  });
}

function addIntegral(module: ModuleBuilder): Internals["integral"] {
  return module.function("", ROUND, [f64Type], (c, [x, rm], [truncated]) => {
    const { i32, f64 } = c;
    const inMode = (is: I32, rounded: () => F64) => c.if(is, () => c.return(rounded()));
    // RTZ first, it is what C and Go ask for.
    inMode(i32.eq(c.get(rm), 1), () => f64.trunc(c.get(x)));
    inMode(i32.eqz(c.get(rm)), () => f64.nearest(c.get(x)));
    inMode(i32.eq(c.get(rm), 2), () => f64.floor(c.get(x)));
    inMode(i32.eq(c.get(rm), 3), () => f64.ceil(c.get(x)));
    c.set(truncated, f64.trunc(c.get(x)));
    f64.if(
      f64.ge(f64.abs(f64.sub(c.get(x), c.get(truncated))), 0.5),
      () => f64.add(c.get(truncated), f64.copysign(f64.const(1), c.get(x))),
      () => c.get(truncated),
    );
  });
}

/** Whether all conditions hold. */
export function all(c: Code, first: () => I32, ...more: (() => I32)[]): I32 {
  let result = first();
  for (const condition of more) result = c.i32.and(result, condition());
  return result;
}

/** A function of the module. */
interface FastFunction {
  readonly name: string;
  readonly signature: Signature;
  readonly func: number;
}

/** The module while it is being made: its internal functions first. */
export class FastModule {
  readonly module = new ModuleBuilder();
  readonly internals = addInternals(this.module);
  readonly functions: FastFunction[] = [];

  /** Adds an exported function. */
  define<S extends Signature, const L extends readonly ValueType[]>(
    name: string,
    signature: S,
    locals: L,
    write: (c: Code, params: Locals<S["params"]>, locals: Locals<L>) => void,
  ): void {
    this.functions.push({ name, signature, func: this.module.function(name, signature, locals, write) });
  }
}
