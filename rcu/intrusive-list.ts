/**
 * RcuIntrusiveList: a doubly linked list of structs through one of their own listNode fields, so that an object is put on it
 * without allocating. Readers walk it forwards in a scope while it changes: they see every object that was there
 * throughout, once, in order. The objects stay their owner's: one that was removed is freed through RCU.
 *
 *   const Job = struct("job", { link: listNode(), id: fixed() });
 *   const jobs = new RcuIntrusiveList(Job, Job.link);
 *   jobs.push(job);
 */
import { type At, Collection, isAt, kindWord } from "./collection.ts";
import {
  type ListNode,
  listAddHead,
  listAddTail,
  listAppendRcu,
  listCutRcu,
  listDelRcu,
  listFirst,
  listIsEmpty,
  listNext,
  listReplaceRcu,
} from "./list-node.ts";
import { INNERMOST } from "./lock-order.ts";
import { i32 } from "./memory.ts";
import { openObject } from "./open.ts";
import type { Held, RcuScope, Ref } from "./ref.ts";
import { fixed, free, listNode, type StructType, spinlock, struct, TYPE, tryAlloc } from "./struct.ts";
import { type RcuWalk, walkLinks } from "./walk.ts";

const Head = struct("rcu_list", { entries: listNode(), lock: spinlock(INNERMOST), kind: fixed() });

/** A doubly linked list of structs through one of their own listNode fields. */
export class RcuIntrusiveList<N extends string> extends Collection<"rcu_list"> {
  readonly #node: ListNode<N>;
  readonly #head: number;

  /** `node` is the field that links the objects of `type`: an object is on one list by it at a time. Throws HeapFullError. */
  constructor(type: StructType<N>, node: ListNode<N>, options?: At, signature?: string) {
    super(Head, openHead(signature ?? `RcuIntrusiveList<${type[TYPE].name}>`, options));
    this.#node = node;
    this.#head = Head.entries.at(this.ref);
  }

  /** Whether nothing is on it; a racy look. */
  isEmpty(): boolean {
    this.assertHeap();
    return listIsEmpty(this.#head);
  }

  /** The first object, 0 when there is none. */
  first(_scope: RcuScope): Ref<N> | 0 {
    this.beforeRead();
    return this.#owner(listFirst(this.#head));
  }
  /** The object after this one, 0 at the end. Works on an object that was removed meanwhile. */
  next(_scope: RcuScope, at: Ref<N>): Ref<N> | 0 {
    this.beforeRead();
    return this.#owner(listNext(this.#head, this.#node.at(at)));
  }
  /** For RcuList: before what it reads of an entry. */
  checkRead(): void {
    this.beforeRead();
  }
  /** For RcuList: before it makes an entry. */
  checkUpdate(): void {
    this.assertHeap();
  }
  #owner(address: number): Ref<N> | 0 {
    return address === 0 ? 0 : this.#node.owner(address);
  }

  /** Visits the objects in order; `visit` may change the list. */
  forEach(scope: RcuScope, visit: (object: Ref<N>) => void): void {
    for (let at = this.first(scope); at !== 0; at = this.next(scope, at)) visit(at);
  }

  /** Visits objects until `test` returns true: whether it did. */
  some(scope: RcuScope, test: (object: Ref<N>) => boolean): boolean {
    for (let at = this.first(scope); at !== 0; at = this.next(scope, at)) if (test(at)) return true;
    return false;
  }
  /** Iterates over the objects: `for (const job of jobs.values(scope))`. The loop may change the list. */
  values(scope: RcuScope): RcuWalk<Ref<N>> {
    this.beforeRead();
    return walkLinks<Ref<N>, Ref<N>>(
      scope,
      () => this.first(scope),
      (at) => this.next(scope, at),
      (at) => at,
    );
  }

  /** Takes the lock, for several changes and for looking without a scope. */
  lock(): Held<"lock"> {
    this.assertHeap();
    return Head.lock.lock(this.ref);
  }
  /** Gives back what lock() took. */
  unlock(): void {
    this.assertHeap();
    Head.lock.unlock(this.ref);
  }

  /** Adds an object that is on no list at the end. */
  push(object: Ref<N>): void {
    listAddTail(this.lock(), this.#head, this.#node.at(object));
    this.unlock();
  }
  /** Adds it at the front. */
  unshift(object: Ref<N>): void {
    listAddHead(this.lock(), this.#head, this.#node.at(object));
    this.unlock();
  }
  /** Adds it behind `place`; false when that was removed. In the scope (or with the count) that keeps `place` allocated. */
  insertAfter(place: Ref<N>, object: Ref<N>): boolean {
    const held = this.lock();
    const there = this.#linked(place);
    if (there) listAddHead(held, this.#node.at(place), this.#node.at(object));
    this.unlock();
    return there;
  }
  /** Adds it before `place`; false when that was removed. */
  insertBefore(place: Ref<N>, object: Ref<N>): boolean {
    const held = this.lock();
    const there = this.#linked(place);
    if (there) listAddTail(held, this.#node.at(place), this.#node.at(object));
    this.unlock();
    return there;
  }
  /** Puts `object`, which is on no list, in the place of `old`; false when that was removed. Readers find one of the two. */
  replace(old: Ref<N>, object: Ref<N>): boolean {
    const held = this.lock();
    const there = this.#linked(old);
    if (there) listReplaceRcu(held, this.#node.at(old), this.#node.at(object));
    this.unlock();
    return there;
  }
  /** Takes an object off; false when somebody else has. Readers may stand on it for a grace period. */
  remove(object: Ref<N>): boolean {
    const held = this.lock();
    const there = this.#linked(object);
    if (there) listDelRcu(held, this.#node.at(object));
    this.unlock();
    return there;
  }
  /** Takes all objects off in one step; `visit` gets each, in order. Readers may stand on them for a grace period. */
  clear(visit?: (object: Ref<N>) => void): void {
    const held = this.lock();
    try {
      const first = listFirst(this.#head);
      if (first !== 0) listCutRcu(held, this.#head, first, (node) => visit?.(this.#node.owner(node)));
    } finally {
      this.unlock();
    }
  }
  /** For RcuList: the list's objects from `first` on, or all of them. The lock is held. */
  tailLocked(first?: Ref<N>): Ref<N>[] {
    const objects: Ref<N>[] = [];
    let at = first === undefined ? listFirst(this.#head) : this.#node.at(first);
    for (; at !== 0; at = listNext(this.#head, at)) objects.push(this.#node.owner(at));
    return objects;
  }
  /** For RcuList: takes `first` and what is behind it off. The lock is held. */
  cutLocked(first: Ref<N>): void {
    listCutRcu(1 as Held, this.#head, this.#node.at(first), () => {});
  }
  /** For RcuList: adds objects that are on no list at the end, all in one step. The lock is held. */
  appendLocked(objects: readonly Ref<N>[]): void {
    listAppendRcu(
      1 as Held,
      this.#head,
      objects.map((object) => this.#node.at(object)),
    );
  }
  /** For RcuList: whether the object is on the list. The lock is held. */
  linkedLocked(object: Ref<N>): boolean {
    return this.#linked(object);
  }
  /** For RcuList: the locks of two lists, that of the lower address first. */
  lockBoth(other: RcuIntrusiveList<N>): void {
    this.assertHeap();
    other.assertHeap();
    Head.lock.lockBoth(this.ref, other.ref);
  }
  /** For RcuList: gives back what lockBoth took. */
  unlockBoth(other: RcuIntrusiveList<N>): void {
    Head.lock.unlockBoth(this.ref, other.ref);
  }
  /** A removed node has no prev. */
  #linked(object: Ref<N>): boolean {
    return i32[this.#node.at(object) + 1] !== 0;
  }

  /** Frees the list; `visit` gets each object that is still on it. No thread may use it any more. */
  destroy(visit?: (object: Ref<N>) => void): void {
    this.assertHeap();
    for (let at = listFirst(this.#head); at !== 0; ) {
      const object = this.#node.owner(at);
      at = listNext(this.#head, at);
      visit?.(object);
    }
    free(Head, this.ref);
    this.destroyed();
  }
}

function openHead(signature: string, options: At | undefined): Ref<"rcu_list"> {
  return openObject(Head, Head.kind.offset, isAt(options) ? options.at : undefined, signature, () => {
    const ref = tryAlloc(Head);
    if (ref === 0) return 0;
    Head.entries.init(ref);
    Head.kind.init(ref, kindWord(signature));
    return ref;
  });
}
