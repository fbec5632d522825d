/** How a collection is opened: what another thread has made, or a new one. */
import { withRoom } from "./callback.ts";
import { checkKind, checkObject, type Handle } from "./collection.ts";
import { HeapFullError } from "./error.ts";
import { i32 } from "./memory.ts";
import type { Ref } from "./ref.ts";
import type { StructType } from "./struct.ts";

/**
 * What is at `at`, whose word at `kind` must be that of `signature`; without `at` what `make` makes, which answers 0 when the heap is
 * full. Throws HeapFullError, StaleReferenceError, WrongHeapError, WrongTypeError.
 */
export function openObject<N extends string>(
  type: StructType<N>,
  kind: number,
  at: number | Handle | undefined,
  signature: string,
  make: () => Ref<N> | 0,
): Ref<N> {
  if (at === undefined) {
    const ref = withRoom(make);
    if (ref === 0) throw new HeapFullError(`new ${signature}`);
    return ref;
  }
  const ref = checkObject(type, at, signature);
  checkKind(i32[ref + kind]!, signature, ref);
  return ref;
}
