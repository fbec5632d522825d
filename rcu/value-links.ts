/** What the queues and the stack without a lock share: nodes of one link and one value, and how values go in and come out. */

import { withRoom } from "./callback.ts";
import { Collection, checkKind, checkObject, type Handle, kindWord } from "./collection.ts";
import { HeapFullError, WrongTypeError } from "./error.ts";
import { type Kind, kindOr, type NeedsValue, show, type Value } from "./kind.ts";
import { i32 } from "./memory.ts";
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

/** "WaitFreeQueue<text>": what openers must declare. */
export const linkSignature = <V>(what: string, options: LinkOptions<V>): string =>
  `${what}<${kindOr(options.value).name}>`;

/** Opens what is at `at`, or makes a new one. Throws HeapFullError, StaleReferenceError, WrongTypeError. */
export function openLinks<N extends string>(
  type: StructType<N>,
  at: number | Handle | undefined,
  signature: string,
  kindOffset: number,
  make: () => Ref<N> | 0,
): Ref<N> {
  if (at !== undefined) {
    const ref = checkObject(type, at, signature);
    checkKind(i32[ref + kindOffset]!, signature, ref);
    return ref;
  }
  const ref = withRoom(make);
  if (ref === 0) throw new HeapFullError(`new ${signature}`);
  i32[ref + kindOffset] = kindWord(signature);
  return ref;
}

export abstract class ValueLinks<N extends string, V extends Value> extends Collection<N> {
  readonly #value: Kind<V>;
  /** What a word of the value names is the collection's own memory, which nobody else is given. */
  readonly #private: boolean;
  readonly #signature: string;

  constructor(type: StructType<N>, ref: Ref<N>, options: LinkOptions<V>, signature: string) {
    super(type, ref);
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

  /** Frees a node, and the value that it holds, when no thread uses the collection any more. */
  protected dropNode(node: number): void {
    if (this.#value.owns) this.#value.retire(i32[node + VALUE]!);
    free(LinkNode, node as LinkNodeRef);
  }
}
