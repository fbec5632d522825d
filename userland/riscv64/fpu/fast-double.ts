/** The common cases of double precision: see fast-module.ts. */

import type { Code } from "../wasm/code.ts";
import { type F64, type I32, type Local, signatureOf, TYPE } from "../wasm/types.ts";
import { all, type FastModule } from "./fast-functions.ts";

const { I32: i32Type, F64: f64Type } = TYPE;

const UNARY = signatureOf([f64Type], [f64Type, i32Type]);
const BINARY = signatureOf([f64Type, f64Type], [f64Type, i32Type]);
const TERNARY = signatureOf([f64Type, f64Type, f64Type], [f64Type, i32Type]);

/** Operands up to here can be split, and sums of three stay finite. */
const LARGE = 2 ** 990;
/** Products from here have an error term that is a number. */
const SMALL = 2 ** -900;

// Conditions on a local, as functions: `all` writes them where they belong.
const below = (c: Code, x: Local<F64>, bound: number) => (): I32 => c.f64.lt(c.f64.abs(c.get(x)), bound);
const notLarge = (c: Code, x: Local<F64>) => below(c, x, LARGE);
const notSmall = (c: Code, x: Local<F64>) => (): I32 => c.f64.gt(c.f64.abs(c.get(x)), SMALL);
const isZero = (c: Code, x: Local<F64>) => (): I32 => c.f64.eq(c.get(x), 0);
const eitherZero = (c: Code, x: Local<F64>, y: Local<F64>) => (): I32 =>
  c.i32.or(isZero(c, x)(), isZero(c, y)());

/** Returns `x` without flags when all conditions hold. */
function exactWhen(c: Code, x: () => F64, ...conditions: [() => I32, ...(() => I32)[]]): void {
  c.if(all(c, ...conditions), () => c.return(x(), c.i32.const(0)));
}

/** Leaves the case to the exact software unless all conditions hold. */
function slowUnless(c: Code, ...conditions: [() => I32, ...(() => I32)[]]): void {
  c.if(c.i32.eqz(all(c, ...conditions)), () => c.return(c.f64.const(0), c.i32.const(-1)));
}

export function addDoubles(fast: FastModule): void {
  addSum(fast, "fadd_d", (c, y) => c.get(y));
  addSum(fast, "fsub_d", (c, y) => c.f64.neg(c.get(y)));
  addProduct(fast);
  addQuotient(fast);
  addSquareRoot(fast);
  addFused(fast);
}

/** x + term of y. No UF: a tiny sum is exact. */
function addSum(fast: FastModule, name: string, term: (c: Code, y: Local<F64>) => F64): void {
  const { sumError } = fast.internals;
  fast.define(name, BINARY, [f64Type], (c, [x, y], [r]) => {
    c.set(r, c.f64.add(c.get(x), term(c, y)));
    slowUnless(c, notLarge(c, x), notLarge(c, r));
    c.get(r);
    c.f64.ne(c.call(sumError, c.get(x), term(c, y), c.get(r)), 0);
  });
}

function addProduct(fast: FastModule): void {
  const { productError } = fast.internals;
  fast.define("fmul_d", BINARY, [f64Type], (c, [x, y], [r]) => {
    c.set(r, c.f64.mul(c.get(x), c.get(y)));
    exactWhen(c, () => c.get(r), isZero(c, r), eitherZero(c, x, y));
    slowUnless(c, notLarge(c, x), notLarge(c, y), notLarge(c, r), notSmall(c, r));
    c.get(r);
    c.f64.ne(c.call(productError, c.get(x), c.get(y), c.get(r)), 0);
  });
}

/** x / y: the remainder x - r * y is a number, and zero for exact quotients. `product` is r * y rounded. */
function addQuotient(fast: FastModule): void {
  const { productError } = fast.internals;
  fast.define("fdiv_d", BINARY, [f64Type, f64Type], (c, [x, y], [r, product]) => {
    const { f64 } = c;
    c.set(r, f64.div(c.get(x), c.get(y)));
    exactWhen(c, () => c.get(r), isZero(c, r), isZero(c, x));
    const ordinary = [x, y, r].flatMap((local) => [notLarge(c, local), notSmall(c, local)]);
    slowUnless(c, ...(ordinary as [() => I32]));
    c.set(product, f64.mul(c.get(r), c.get(y)));
    c.get(r);
    f64.ne(f64.sub(c.get(x), c.get(product)), c.call(productError, c.get(r), c.get(y), c.get(product)));
  });
}

function addSquareRoot(fast: FastModule): void {
  const { productError } = fast.internals;
  fast.define("fsqrt_d", UNARY, [f64Type, f64Type], (c, [x], [r, square]) => {
    const { f64 } = c;
    exactWhen(c, () => c.get(x), isZero(c, x));
    slowUnless(
      c,
      () => f64.gt(c.get(x), SMALL),
      () => f64.lt(c.get(x), LARGE),
    );
    c.set(square, f64.mul(c.tee(r, f64.sqrt(c.get(x))), c.get(r)));
    c.get(r);
    f64.ne(f64.sub(c.get(x), c.get(square)), c.call(productError, c.get(r), c.get(r), c.get(square)));
  });
}

/** x * y + z, with the names of native.ts. */
function addFused(fast: FastModule): void {
  const { sumError, productError, sumToOdd } = fast.internals;
  const locals = [f64Type, f64Type, f64Type, f64Type, f64Type, f64Type] as const;
  fast.define("fmadd_d", TERNARY, locals, (c, [x, y, z], [p, e, uh, th, v, r]) => {
    const { f64 } = c;
    const sum = (a: Local<F64>, b: Local<F64>) => f64.add(c.get(a), c.get(b));
    const errorOf = (a: Local<F64>, b: Local<F64>, s: Local<F64>) =>
      c.call(sumError, c.get(a), c.get(b), c.get(s));
    c.set(p, f64.mul(c.get(x), c.get(y)));
    exactWhen(c, () => sum(p, z), isZero(c, p), eitherZero(c, x, y), below(c, z, Number.POSITIVE_INFINITY));
    slowUnless(c, notLarge(c, x), notLarge(c, y), notLarge(c, z), notLarge(c, p), notSmall(c, p));
    c.set(e, c.call(productError, c.get(x), c.get(y), c.get(p)));
    c.set(uh, sum(z, e));
    c.set(th, sum(p, uh));
    c.set(v, c.call(sumToOdd, errorOf(p, uh, th), errorOf(z, e, uh)));
    c.set(r, sum(th, v));
    slowUnless(c, () => f64.ne(c.get(r), 0));
    c.get(r);
    f64.ne(errorOf(th, v, r), 0);
  });
}
