/**
 * References and the tokens that the type system checks: forgetting a scope or a lock should not compile.
 * All of them are plain integers at run time.
 */
import type { RcuReadScope } from "./guard.ts";

declare const struct: unique symbol;
declare const token: unique symbol;
// Of their own, or they would pass for a lock.
declare const scope: unique symbol;
declare const brand: unique symbol;

/** A reference to an object of the struct type N in the shared heap: a word index, never 0. */
export type Ref<N extends string> = number & { readonly [struct]: N };

/** A reference that may be NULL. */
export type Ptr<N extends string> = Ref<N> | 0;

/** Proof that a read scope is open on this thread: what rcuReadLock() returns, or an RcuReadScope. */
export type RcuScope = (number & { readonly [scope]: true }) | RcuReadScope;

/** Proof that the named lock is held: what acquiring it returns. */
export type Held<L extends string = string> = number & { readonly [token]: L };

/** FNV-1a over UTF-16 units: names of struct types, hash keys of strings. */
export function hashName(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash | 0;
}

/** An integer that only its own functions understand. */
export type Brand<B extends string> = number & { readonly [brand]: B };
