/**
 * What every collection is: an object of the shared heap that other threads open by its reference, or by a handle that also
 * names the heap. Opening checks that the object lives, is of the right struct and holds what the opener expects.
 */
import { pageCache } from "./buddy.ts";
import { StaleReferenceError, WrongHeapError, WrongTypeError } from "./error.ts";
import * as layout from "./layout.ts";
import { heapDebug, heapIdentity, i32 } from "./memory.ts";
import { PROVE_RCU } from "./prove.ts";
import { hashName, type Ref } from "./ref.ts";
import { assertScope } from "./scope.ts";
import { cellAround, cellIsAlive } from "./slab.ts";
import { cacheOf, type StructType, TYPE } from "./struct.ts";

const { HEADER } = layout;

const PROVE = PROVE_RCU;

/** Names a collection in a heap: goes through workerData or postMessage beside the heap's handle. */
export interface Handle {
  readonly ref: number;
  /** Identity of the heap. */
  readonly heap: number;
}

/** Opens what another thread made: by reference, or by handle, which is checked against the heap. */
export interface At {
  readonly at: number | Handle;
}
export const isAt = (init: unknown): init is At =>
  typeof init === "object" && init !== null && "at" in init && (init as At).at !== undefined;

/** Signatures that this thread has met, to name them in messages. */
const signatures = new Map<number, string>();

/** What a collection keeps in its kind word: openers must declare the same. */
export function kindWord(signature: string): number {
  const hash = hashName(signature);
  signatures.set(hash, signature);
  return hash;
}

/** Checks that a reference names a live object of the struct in this heap. `what` says who asks. */
export function checkObject<N extends string>(
  type: StructType<N>,
  at: number | Handle,
  what: string,
): Ref<N> {
  if (typeof at === "object" && at.heap !== heapIdentity) throw new WrongHeapError(`${what}: the handle`);
  const ref = typeof at === "object" ? at.ref : at;
  const { name } = type[TYPE];
  if (!Number.isInteger(ref) || ref < i32[HEADER.FIRST_PAGE]! || ref >= i32.length)
    throw new StaleReferenceError(
      `${what}: ${String(ref)} is no reference to a struct ${name} of this heap: pass the ref or handle() of one that lives in it`,
    );
  if (pageCache(ref) !== cacheOf(type))
    throw new WrongTypeError(`${what}: ${ref} is not an object of struct ${name}`, "ERR_RCU_WRONG_STRUCT");
  if (cellAround(ref) !== ref)
    throw new StaleReferenceError(`${what}: ${ref} points into a struct ${name}, not at one`);
  if (!cellIsAlive(ref))
    throw new StaleReferenceError(
      `${what}: the struct ${name} at ${ref} was freed`,
      "ERR_RCU_USE_AFTER_FREE",
    );
  return ref as Ref<N>;
}

/** Checks the kind word of what is opened against the opener's declaration. */
export function checkKind(found: number, signature: string, ref: number): void {
  if (found === kindWord(signature)) return;
  const other = signatures.get(found);
  throw new WrongTypeError(
    `${signature}: what is at ${ref} is ${other ?? "of another kind"}: open it with the kinds it was made with`,
  );
}

/** What `heapId` is once a collection was destroyed by its own object: no heap's identity. */
const DESTROYED = 0;

export abstract class Collection<N extends string> {
  /** The collection's address: another thread opens the same one with it. */
  declare readonly ref: Ref<N>; // Written once, by the constructor: V8 takes it for constant then, as the next two.
  /** Reads look for an open scope (PROVE_RCU), and for a living collection (debug heap). */
  declare protected readonly checked: boolean;
  /** Identity of its heap: every call compares it with that of the heap that the thread uses now. */
  declare protected heapId: number;
  readonly #type: StructType<N>;

  constructor(type: StructType<N>, ref: Ref<N>) {
    this.ref = ref;
    this.#type = type;
    this.heapId = heapIdentity;
    this.checked = PROVE || heapDebug;
  }

  /** What another thread opens this collection with: `new Same({ ..., at: handle })`. */
  handle(): Handle {
    if (this.heapId === DESTROYED) this.#wrongHeap();
    return { ref: this.ref, heap: this.heapId };
  }

  /** Before an update: this thread must work on the collection's own heap, and the collection must live. */
  protected assertHeap(): void {
    if (this.heapId !== heapIdentity) this.#wrongHeap();
    if (!cellIsAlive(this.ref)) this.#freed();
  }

  /** Before a read. */
  protected beforeRead(): void {
    if (this.checked || this.heapId !== heapIdentity) this.assertReadable();
  }

  /** beforeRead, where something was found. */
  protected assertReadable(): void {
    if (PROVE) assertScope();
    this.assertHeap();
  }

  /** At the end of destroy(): this object is of no use any more. */
  protected destroyed(): void {
    this.heapId = DESTROYED;
  }

  #wrongHeap(): never {
    if (this.heapId === DESTROYED) this.#freed();
    throw new WrongHeapError(this.constructor.name);
  }

  #freed(): never {
    throw new StaleReferenceError(
      `${this.constructor.name}: its struct ${this.#type[TYPE].name} at ${this.ref} was freed`,
      "ERR_RCU_USE_AFTER_FREE",
    );
  }
}
