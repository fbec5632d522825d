/** What a copy of the code sees instead of Atomics, Int32Array, the clocks and the event loop. */
import { applied, type OpKind } from "./access.ts";
import type { Program } from "./program.ts";

/** What Atomics.wait answers, by the numbers of access.ts. */
const ANSWERS = ["ok", "not-equal", "timed-out"] as const;

/** The globals of a CPU's copy of the code: every access to the heap goes to the program. */
export function globalsOf(direct: () => boolean, program: () => Program) {
  const proxies = new WeakMap<SharedArrayBuffer, Int32Array>();
  const access = (words: Int32Array, kind: OpKind, at: number, a = 0, b = 0): number => {
    if (!direct()) return program().access(kind, at, a, b);
    const old = words[at]!;
    const fresh = applied({ kind, at, a, b }, old);
    if (fresh !== undefined) words[at] = fresh;
    if (kind === "wait") throw new Error("the model's boot sleeps");
    return kind === "notify" ? 0 : old;
  };
  // The heap's own words behind each proxy.
  const real = new WeakMap<object, Int32Array>();
  const wordsOf = (buffer: SharedArrayBuffer): Int32Array => {
    const known = proxies.get(buffer);
    if (known !== undefined) return known;
    const target = new Int32Array(buffer);
    const proxy: Int32Array = new Proxy(target, {
      get(_target, key) {
        const at = typeof key === "string" ? Number(key) : Number.NaN;
        if (Number.isInteger(at)) return access(target, "load", at);
        if (key === "length") return target.length;
        if (key === "buffer") return target.buffer;
        if (key === "fill")
          return (value: number, start: number, end: number) => {
            for (let at = start; at < end; at++) access(target, "store", at, value);
          };
        if (key === "copyWithin")
          return (to: number, from: number, end: number) => {
            for (let n = 0; n < end - from; n++)
              access(target, "store", to + n, access(target, "load", from + n));
          };
        throw new Error(`the model does not know Int32Array.${String(key)}`);
      },
      set(_target, key, value) {
        access(target, "store", Number(key), value as number);
        return true;
      },
    });
    proxies.set(buffer, proxy);
    real.set(proxy, target);
    return proxy;
  };
  const words = (proxy: Int32Array): Int32Array => {
    const target = real.get(proxy);
    if (target === undefined) throw new Error("Atomics on something that is not the heap");
    return target;
  };
  const Int32 = function (this: unknown, of: number | ArrayBuffer | SharedArrayBuffer) {
    return of instanceof SharedArrayBuffer ? wordsOf(of) : new Int32Array(of as ArrayBuffer);
  };
  return {
    Int32Array: Int32,
    Uint8Array: wordsOnly("Uint8Array", Uint8Array),
    Float64Array: wordsOnly("Float64Array", Float64Array),
    Date: { now: () => (direct() ? 1 : program().now()) },
    performance: { now: () => (direct() ? 1 : program().now()) },
    setImmediate: (turn: () => void) => program().later(turn),
    queueMicrotask: (turn: () => void) => program().later(turn),
    // No run lasts long enough for a timer to matter.
    setTimeout: () => ({ unref() {} }),
    Atomics: {
      load: (p: Int32Array, at: number) => access(words(p), "atomic load", at),
      store: (p: Int32Array, at: number, value: number) => {
        access(words(p), "atomic store", at, value);
        return value;
      },
      add: (p: Int32Array, at: number, value: number) => access(words(p), "add", at, value),
      sub: (p: Int32Array, at: number, value: number) => access(words(p), "add", at, -value),
      and: (p: Int32Array, at: number, value: number) => access(words(p), "and", at, value),
      or: (p: Int32Array, at: number, value: number) => access(words(p), "or", at, value),
      exchange: (p: Int32Array, at: number, value: number) => access(words(p), "exchange", at, value),
      compareExchange: (p: Int32Array, at: number, expected: number, value: number) =>
        access(words(p), "compare", at, expected, value),
      wait: (p: Int32Array, at: number, value: number) => ANSWERS[access(words(p), "wait", at, value)],
      notify: (p: Int32Array, at: number, count = 64) => access(words(p), "notify", at, count),
    },
  };
}

/** Views of other widths may exist, and may look at private memory, but not at the heap. */
function wordsOnly(
  name: string,
  real: Uint8ArrayConstructor | Float64ArrayConstructor,
): (...args: unknown[]) => unknown {
  return function (this: unknown, ...args: unknown[]) {
    if (!(args[0] instanceof SharedArrayBuffer)) return Reflect.construct(real, args);
    return new Proxy(
      {},
      {
        get(_target, key) {
          throw new Error(`the model has words of 32 bits only: ${name}.${String(key)} of the heap`);
        },
        set(_target, key) {
          throw new Error(`the model has words of 32 bits only: ${name}.${String(key)} of the heap`);
        },
      },
    );
  };
}
