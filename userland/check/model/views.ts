/**
 * Typed arrays over the heap, as a copy of the code sees them: every element is words of 32 bits, or a part of one, that are
 * accessed one by one. A double is two words, which another CPU may see half-written (ECMAScript promises no more).
 */
import type { OpKind } from "./access.ts";

export type Access = (words: Int32Array, kind: OpKind, at: number, a?: number, b?: number) => number;
export type Element =
  | "Int8Array"
  | "Uint8Array"
  | "Int16Array"
  | "Uint16Array"
  | "Int32Array"
  | "Uint32Array"
  | "Float32Array"
  | "Float64Array"
  | "BigInt64Array"
  | "BigUint64Array";
export const ELEMENTS: readonly Element[] = [
  "Int8Array",
  "Uint8Array",
  "Int16Array",
  "Uint16Array",
  "Int32Array",
  "Uint32Array",
  "Float32Array",
  "Float64Array",
  "BigInt64Array",
  "BigUint64Array",
];

interface Plain {
  [index: number]: unknown;
  readonly length: number;
}
type Real = new (...args: unknown[]) => Plain & ArrayBufferView;
const REAL = globalThis as unknown as Readonly<
  Record<Element, Real & { readonly BYTES_PER_ELEMENT: number }>
>;

const scratch = new Int32Array(2);
const sized = new Map<Element, Plain>(
  ELEMENTS.map((name) => [name, new REAL[name](scratch.buffer) as unknown as Plain]),
);

/** A view of the heap: `words` is the heap itself. */
export interface Seen {
  readonly words: Int32Array;
  /** First element, in elements of this kind. */
  readonly start: number;
  readonly length: number;
}

/** Makes the views of one CPU. */
export function viewsOf(access: Access, direct: () => boolean) {
  const known = new WeakMap<object, Seen>();

  const read = (words: Int32Array, name: Element, index: number): unknown => {
    const size = REAL[name].BYTES_PER_ELEMENT;
    if (name === "Int32Array") return access(words, "load", index);
    const byte = index * size;
    scratch[0] = access(words, "load", byte >> 2);
    if (size === 8) scratch[1] = access(words, "load", (byte >> 2) + 1);
    return sized.get(name)![(byte & 3) / Math.min(size, 4)];
  };
  const write = (words: Int32Array, name: Element, index: number, value: unknown): void => {
    const size = REAL[name].BYTES_PER_ELEMENT;
    const byte = index * size;
    const at = byte >> 2;
    const within = (byte & 3) / Math.min(size, 4);
    sized.get(name)![within] = value;
    if (size === 8) {
      const high = scratch[1]!; // The first store may change the scratch words.
      access(words, "store", at, scratch[0]);
      access(words, "store", at + 1, high);
    } else if (size === 4) access(words, "store", at, scratch[0]);
    else {
      const mask = ((1 << (8 * size)) - 1) << (8 * (byte & 3));
      access(words, "store bytes", at, scratch[0]! & mask, mask);
    }
  };

  const view = (name: Element, words: Int32Array, start: number, length: number): object => {
    const size = REAL[name].BYTES_PER_ELEMENT;
    const clamp = (n: number | undefined, otherwise: number): number =>
      n === undefined ? otherwise : n < 0 ? Math.max(0, length + n) : Math.min(n, length);
    const copy = (): Plain => {
      const plain = new REAL[name](length);
      for (let n = 0; n < length; n++) plain[n] = read(words, name, start + n);
      return plain;
    };
    const methods: Record<string, unknown> = {
      length,
      byteLength: length * size,
      byteOffset: start * size,
      BYTES_PER_ELEMENT: size,
      buffer: words.buffer,
      fill(value: unknown, from?: number, to?: number) {
        if (name === "Int32Array" && direct()) {
          words.fill(value as number, start + clamp(from, 0), start + clamp(to, length));
          return proxy;
        }
        for (let n = clamp(from, 0); n < clamp(to, length); n++) write(words, name, start + n, value);
        return proxy;
      },
      copyWithin(target: number, from: number, to?: number) {
        const values: unknown[] = [];
        const end = Math.min(clamp(to, length), clamp(from, 0) + length - clamp(target, 0));
        // Forwards or backwards makes no difference to the copy, and word by word is how it is made.
        if (target < from)
          for (let n = clamp(from, 0); n < end; n++)
            write(words, name, start + target + n - from, read(words, name, start + n));
        else {
          for (let n = clamp(from, 0); n < end; n++) values.push(read(words, name, start + n));
          for (const [n, value] of values.entries()) write(words, name, start + target + n, value);
        }
        return proxy;
      },
      set(from: ArrayLike<unknown>, offset = 0) {
        if (from.length + offset > length) throw new RangeError("offset is out of bounds");
        for (let n = 0; n < from.length; n++) write(words, name, start + offset + n, from[n]);
      },
      subarray(from?: number, to?: number) {
        const first = clamp(from, 0);
        return view(name, words, start + first, Math.max(0, clamp(to, length) - first));
      },
    };
    const proxy: object = new Proxy(new REAL[name](0), {
      get(_target, key) {
        const at = typeof key === "string" ? Number(key) : Number.NaN;
        if (Number.isInteger(at)) return at >= 0 && at < length ? read(words, name, start + at) : undefined;
        if (typeof key === "string" && Object.hasOwn(methods, key)) return methods[key];
        // What only reads works on a copy, element by element.
        const inherited = (REAL[name].prototype as unknown as Record<string | symbol, unknown>)[key];
        if (typeof inherited !== "function")
          return Reflect.get(REAL[name].prototype, key, new REAL[name](0)) as unknown;
        if (["reverse", "sort"].includes(String(key)))
          throw new Error(`the model does not know ${name}.${String(key)} of the heap`);
        return (...args: unknown[]) => (inherited as (...args: unknown[]) => unknown).apply(copy(), args);
      },
      set(_target, key, value) {
        const at = Number(key);
        if (at >= 0 && at < length) write(words, name, start + at, value);
        return true;
      },
    });
    known.set(proxy, { words, start, length });
    return proxy;
  };

  const targets = new WeakMap<SharedArrayBuffer, Int32Array>();
  const whole = new WeakMap<ArrayBufferLike, Map<Element, object>>();
  /** The constructor that a copy of the code sees. */
  const constructorOf = (name: Element): unknown => {
    const size = REAL[name].BYTES_PER_ELEMENT;
    const make = (...args: unknown[]): unknown => {
      const [source, offset, length] = args as [unknown, number | undefined, number | undefined];
      const seen = typeof source === "object" && source !== null ? known.get(source) : undefined;
      if (seen !== undefined) return new REAL[name](source as never); // A copy: read through the proxy's iterator.
      if (!(source instanceof SharedArrayBuffer)) return Reflect.construct(REAL[name], args);
      let words = targets.get(source);
      if (words === undefined) targets.set(source, (words = new Int32Array(source)));
      if (offset !== undefined || length !== undefined)
        return view(name, words, (offset ?? 0) / size, length ?? (source.byteLength - (offset ?? 0)) / size);
      let views = whole.get(source);
      if (views === undefined) whole.set(source, (views = new Map()));
      let mine = views.get(name);
      if (mine === undefined) views.set(name, (mine = view(name, words, 0, source.byteLength / size)));
      return mine;
    };
    return new Proxy(REAL[name], {
      construct: (_target, args) => make(...args) as object,
    });
  };
  return {
    constructors: Object.fromEntries(ELEMENTS.map((name) => [name, constructorOf(name)])) as Record<
      Element,
      unknown
    >,
    /** The heap's own words behind a proxy, and where it begins there. */
    seen(proxy: object): Seen {
      const found = known.get(proxy);
      if (found === undefined) throw new Error("Atomics on something that is not the heap");
      return found;
    },
  };
}
