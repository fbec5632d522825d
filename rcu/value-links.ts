/** What the queues and the stack without a lock share: nodes of one link and one value, and how values go in and come out. */

import { withRoom } from "./callback.ts";
import { Collection, type Handle, kindWord } from "./collection.ts";
import { HeapFullError, WrongTypeError } from "./error.ts";
import { type Kind, kindOr, type NeedsValue, show, type Value } from "./kind.ts";
import { i32 } from "./memory.ts";
import { openObject } from "./open.ts";
import type { Ref } from "./ref.ts";
import { atomic, fixed, free, type StructType, struct, tryAlloc } from "./struct.ts";

/** The link comes first: a node is named by the address of its link, and so is a collection that stands for one. */
export const LinkNode = struct("rcu_link_node", { next: atomic(), value: fixed() });
export type LinkNodeRef = Ref<"rcu_link_node">;
const VALUE = LinkNode.value.offset;

/** The same, of which a constructor asks more where values are no integers. */
export interface LinkOptions<V> {
  /** How values are kept. Default: 32-bit integers. */
  readonly value?: Kind<V>;
  /** Opens what another thread made. */
  readonly at?: number | Handle;
}
/** How an RcuLockFreeQueue, an RcuLockFreeStack or a WaitFreeQueue is made or opened. */
export type ValueLinksOptions<V extends Value = number> = LinkOptions<V> & NeedsValue<V>;

export abstract class ValueLinks<N extends string, V extends Value> extends Collection<N> {
  readonly #value: Kind<V>;
  /** What a word of the value names is the collection's own memory, which nobody else is given. */
  readonly #private: boolean;
  readonly #signature: string;

  /** `what` is the class, `kind` the offset of the word of `type` that says what kind of values it holds; `make` answers 0 when the heap is full. */
  constructor(
    type: StructType<N>,
    kind: number,
    what: string,
    options: LinkOptions<V>,
    make: () => Ref<N> | 0,
  ) {
    const signature = `${what}<${kindOr(options.value).name}>`;
    super(
      type,
      openObject(type, kind, options.at, signature, () => {
        const ref = make();
        if (ref !== 0) i32[ref + kind] = kindWord(signature);
        return ref;
      }),
    );
    this.#value = kindOr(options.value);
    this.#private = this.#value.owns && !this.#value.direct;
    this.#signature = signature;
  }

  /** A node that nobody can reach yet; 0 when the heap is full. Throws WrongTypeError. */
  protected tryMake(value: V): number {
    this.assertHeap();
    const word = this.#value.encode(value);
    if (word === 0 && this.#value.owns) return 0;
    const node = tryAlloc(LinkNode);
    if (node === 0) this.#value.drop(word);
    else i32[node + VALUE] = word;
    return node;
  }
  /** The same. Throws HeapFullError. */
  protected make(value: V): number {
    const node = this.tryMake(value) || withRoom(() => this.tryMake(value));
    if (node === 0) throw new HeapFullError(`${this.#signature}: ${show(value)}`);
    return node;
  }

  /** Adds a node that nobody can reach yet. */
  protected abstract append(node: number): void;
  /** Adds a value; false when the heap is full. */
  protected tryAdd(value: V): boolean {
    const node = this.tryMake(value);
    if (node !== 0) this.append(node);
    return node !== 0;
  }

  /** Throws WrongTypeError unless another collection keeps the same kind of values. */
  protected assertSame(other: ValueLinks<N, V>): void {
    if (other.#signature !== this.#signature || other.ref === this.ref)
      throw new WrongTypeError(
        `${this.#signature}.splice: ${other.ref === this.ref ? "a queue is not moved to itself" : `the other one is a ${other.#signature}`}`,
      );
  }

  protected lookAt(node: number): V {
    return this.#value.decode(i32[node + VALUE]!);
  }
  /** The value of a node that this thread has taken out: it is the caller's now. Readers may look at its memory for a grace period. */
  protected taken(node: number): V {
    const word = i32[node + VALUE]!;
    const value = this.#value.decode(word);
    if (this.#private) this.#value.retire(word);
    return value;
  }

  /** Frees nodes from one on, and the values that they hold, when no thread uses the collection any more. */
  protected dropNodes(first: number): void {
    let next = 0;
    for (let node = first; node !== 0; node = next) {
      next = i32[node]!;
      if (this.#value.owns) this.#value.retire(i32[node + VALUE]!);
      free(LinkNode, node as LinkNodeRef);
    }
  }
}
