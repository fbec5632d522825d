/**
 * RcuList: a doubly linked list of integers (or references). Readers walk it forwards in a scope while it changes: they
 * see every entry that was there throughout, once, in order. For structs that are list nodes themselves, use
 * listNode() fields (fields.ts).
 */

import { kfreeRcu } from "./callback.ts";
import { HeapFullError, StaleReferenceError } from "./error.ts";
import {
  type ListNode,
  listAddHead,
  listAddTail,
  listDelRcu,
  listFirst,
  listIsEmpty,
  listNext,
} from "./fields.ts";
import { i32 } from "./memory.ts";
import type { Brand, RcuScope, Ref } from "./ref.ts";
import { cellIsAlive } from "./slab.ts";
import { alloc, fixed, free, listNode, spinlock, struct } from "./struct.ts";

const Head = struct("rcu_list", { entries: listNode(), lock: spinlock() });
const Entry = struct("rcu_list_entry", { node: listNode(), value: fixed() });
type EntryRef = Ref<"rcu_list_entry">;

/** A place in a list: good in the scope in which it was got. */
export type Cursor = Brand<"rcu list cursor">;

const node: ListNode<"rcu_list_entry"> = Entry.node;

export class RcuList {
  readonly ref: Ref<"rcu_list">;
  readonly #head: number;

  constructor(options: { at?: number } = {}) {
    if (options.at !== undefined) {
      if (!cellIsAlive(options.at))
        throw new StaleReferenceError(`RcuList: ${options.at} names no list of this heap`);
      this.ref = options.at as Ref<"rcu_list">;
    } else {
      const ref = alloc(Head);
      if (ref === 0) throw new HeapFullError("new RcuList");
      Head.entries.init(ref);
      this.ref = ref;
    }
    this.#head = Head.entries.at(this.ref);
  }

  #make(value: number): EntryRef {
    const entry = alloc(Entry);
    if (entry === 0) throw new HeapFullError("RcuList");
    Entry.value.init(entry, value);
    return entry;
  }

  /** Adds at the end. Throws HeapFullError. */
  push(value: number): void {
    const entry = this.#make(value);
    const held = Head.lock.lock(this.ref);
    listAddTail(held, this.#head, node.at(entry));
    Head.lock.unlock(this.ref);
  }
  /** Adds at the front. */
  unshift(value: number): void {
    const entry = this.#make(value);
    const held = Head.lock.lock(this.ref);
    listAddHead(held, this.#head, node.at(entry));
    Head.lock.unlock(this.ref);
  }

  isEmpty(): boolean {
    return listIsEmpty(this.#head);
  }

  /** The first entry, 0 when there is none. */
  first(_scope: RcuScope): Cursor | 0 {
    const at = listFirst(this.#head);
    return (at === 0 ? 0 : node.owner(at)) as Cursor | 0;
  }
  /** The entry after this one, 0 at the end. Works on an entry that was removed meanwhile. */
  next(_scope: RcuScope, cursor: Cursor): Cursor | 0 {
    const at = listNext(this.#head, node.at(cursor as unknown as EntryRef));
    return (at === 0 ? 0 : node.owner(at)) as unknown as Cursor | 0;
  }
  value(_scope: RcuScope, cursor: Cursor): number {
    return Entry.value.get(cursor as unknown as EntryRef);
  }

  /** Adds behind the entry; false when that was removed. */
  insertAfter(_scope: RcuScope, cursor: Cursor, value: number): boolean {
    const place = node.at(cursor as unknown as EntryRef);
    const entry = this.#make(value);
    const held = Head.lock.lock(this.ref);
    const there = i32[place + 1] !== 0;
    if (there) listAddHead(held, place, node.at(entry));
    Head.lock.unlock(this.ref);
    if (!there) free(Entry, entry);
    return there;
  }
  /** Removes the entry; false when somebody else has. Readers may stand on it for a grace period. */
  remove(_scope: RcuScope, cursor: Cursor): boolean {
    const entry = cursor as unknown as EntryRef;
    const held = Head.lock.lock(this.ref);
    const there = i32[node.at(entry) + 1] !== 0;
    if (there) listDelRcu(held, node.at(entry));
    Head.lock.unlock(this.ref);
    if (there) kfreeRcu(Entry, entry);
    return there;
  }

  /** Visits the values in order; `visit` may change the list. */
  forEach(scope: RcuScope, visit: (value: number, cursor: Cursor) => void): void {
    for (let cursor = this.first(scope); cursor !== 0; cursor = this.next(scope, cursor))
      visit(this.value(scope, cursor), cursor);
  }

  /** Frees the list and its entries. No thread may use it any more. */
  destroy(): void {
    for (let at = listFirst(this.#head); at !== 0; ) {
      const entry = node.owner(at);
      at = listNext(this.#head, at);
      free(Entry, entry);
    }
    free(Head, this.ref);
  }
}
