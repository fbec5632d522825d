/**
 * Value types of WebAssembly, twice: as the bytes of the binary format, and as TypeScript types that let the compiler check operands.
 *
 * An expression has no value while the code is being written: `c.get(PC)` has written its bytes when it returns, and what it returns only
 * says which type is now on top of the operand stack. So `i32.add(c.get(PC), 4)` writes its operands before itself because JavaScript
 * evaluates arguments first, and costs no more than three calls.
 *
 * An expression must be used once, in the order in which expressions are written. A variable may name one to make a long line
 * readable: `const depth = i32.sub(c.get(DEPTH), 1)` has written it there, and what uses `depth` must come next. What is to be written
 * later, or several times, is a function: `const depth = () => i32.sub(c.get(DEPTH), 1)`.
 */

declare const type: unique symbol;

/** An i32 on the operand stack. */
export interface I32 {
  readonly [type]: "i32";
}
/** An i64 on the operand stack. */
export interface I64 {
  readonly [type]: "i64";
}
/** An f32 on the operand stack. */
export interface F32 {
  readonly [type]: "f32";
}
/** An f64 on the operand stack. */
export interface F64 {
  readonly [type]: "f64";
}
/** A v128 on the operand stack. */
export interface V128 {
  readonly [type]: "v128";
}
/** Several results of one call on the operand stack. */
export interface Several<T extends readonly unknown[]> {
  readonly [type]: T;
}

/** What every method that leaves a value on the operand stack returns. */
export const PUSHED = undefined as never;

/** Value types as the binary format has them (core specification, "Types"). */
export const TYPE = { I32: 0x7f, I64: 0x7e, F32: 0x7d, F64: 0x7c, FUNCREF: 0x70, VOID: 0x40 } as const;

/** The byte of a number type. */
export type ValueType = 0x7f | 0x7e | 0x7d | 0x7c;

/** The expression type that belongs to the byte of a value type. */
export type ValueOf<B> = B extends 0x7f
  ? I32
  : B extends 0x7e
    ? I64
    : B extends 0x7d
      ? F32
      : B extends 0x7c
        ? F64
        : never;

declare const holds: unique symbol;

/** The index of a local variable that holds a T. */
export type Local<T> = number & { readonly [holds]: T };

/** The local variables of a list of value types. */
export type Locals<L extends readonly ValueType[]> = { readonly [K in keyof L]: Local<ValueOf<L[K]>> };

/** A function type. */
export interface Signature {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** The expression types of a list of value types. */
export type ValuesOf<L extends readonly ValueType[]> = { readonly [K in keyof L]: ValueOf<L[K]> };

/** What a call of a function of type S takes from the operand stack. */
export type Operands<S extends Signature> = ValuesOf<S["params"]>;

/** What such a call leaves there. */
export type Result<S extends Signature> = S["results"] extends readonly []
  ? undefined
  : S["results"] extends readonly [infer B]
    ? ValueOf<B>
    : Several<ValuesOf<S["results"]>>;

declare const signature: unique symbol;

/** The index of a function of type S. */
export type Func<S extends Signature> = number & { readonly [signature]: S };

/** The index of the function type S in a module. */
export type TypeIndex<S extends Signature> = number & { readonly [signature]: readonly [S] };

/** Declares a function type, so that its parameters are known to the compiler one by one. */
export function signatureOf<const P extends readonly ValueType[], const R extends readonly ValueType[]>(
  params: P,
  results: R,
): { readonly params: P; readonly results: R } {
  return { params, results };
}
