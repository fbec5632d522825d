/**
 * References that can be kept without a count and outside of any scope: a tagged reference remembers how often the cell had
 * been freed, so that it is known for stale even when the cell holds another object of the type by now.
 *
 *   const tagged = tagRef(Task, task);           // anywhere the task is known to live
 *   const scope = rcuReadLock();
 *   const same = tryUntagRef(scope, Task, tagged); // Ref<"task">, or 0 when that task is gone
 *   rcuReadUnlock();
 */
import { pageCache } from "./buddy.ts";
import { checkObject } from "./collection.ts";
import { StaleReferenceError } from "./error.ts";
import type { RcuScope, Ref } from "./ref.ts";
import { cellGeneration, cellIsAlive } from "./slab.ts";
import { cacheOf, type StructType, TYPE } from "./struct.ts";

declare const tagged: unique symbol;
/** generation * 2^29 + reference: an exact double, since a heap has at most 2^29 words and a generation 24 bits. */
export type TaggedRef<N extends string> = number & { readonly [tagged]: N };

const REFS = 2 ** 29;

/** Throws StaleReferenceError, WrongTypeError. */
export function tagRef<N extends string>(type: StructType<N>, ref: Ref<NoInfer<N>>): TaggedRef<N> {
  checkObject(type, ref, "tagRef");
  return (cellGeneration(ref) * REFS + ref) as TaggedRef<N>;
}

/** The object, good in the scope; 0 when it has been freed. */
export function tryUntagRef<N extends string>(
  _scope: RcuScope,
  type: StructType<N>,
  tag: TaggedRef<NoInfer<N>>,
): Ref<N> | 0 {
  const ref = tag % REFS;
  if (pageCache(ref) !== cacheOf(type)) return 0; // Its slab has given its page back.
  return cellIsAlive(ref) && cellGeneration(ref) === Math.floor(tag / REFS) ? (ref as Ref<N>) : 0;
}

/** The object, good in the scope. Throws StaleReferenceError when it has been freed. */
export function untagRef<N extends string>(
  scope: RcuScope,
  type: StructType<N>,
  tag: TaggedRef<NoInfer<N>>,
): Ref<N> {
  const ref = tryUntagRef(scope, type, tag);
  if (ref !== 0) return ref;
  const at = tag % REFS;
  const now =
    pageCache(at) === cacheOf(type) && cellIsAlive(at)
      ? "its memory holds another one"
      : "its memory is free";
  throw new StaleReferenceError(
    `struct ${type[TYPE].name}: the object at ${at} was freed, ${now}`,
    "ERR_RCU_USE_AFTER_FREE",
  );
}
