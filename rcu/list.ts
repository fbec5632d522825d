/**
 * RcuList: a doubly linked list of values. Readers walk it forwards in a scope while it changes: they see every entry
 * that was there throughout, once, in order. For structs that are list nodes themselves: RcuIntrusiveList.
 *
 *   const log = new RcuList<string>({ value: text() });
 *   log.push("first");
 */
import { kfreeRcu, withRoom } from "./callback.ts";
import type { Handle } from "./collection.ts";
import { HeapFullError, WrongTypeError } from "./error.ts";
import { RcuIntrusiveList } from "./intrusive-list.ts";
import { type Kind, kindOr, type NeedsValue, type NoOptions, type Value } from "./kind.ts";
import type { Brand, RcuScope, Ref } from "./ref.ts";
import { fixed, free, listNode, struct, tryAlloc } from "./struct.ts";
import { type RcuWalk, walkLinks } from "./walk.ts";

const Entry = struct("rcu_list_entry", { node: listNode(), value: fixed() });
type EntryRef = Ref<"rcu_list_entry">;

/** A place in a list: good in the scope in which it was got. */
export type Cursor = Brand<"rcu list cursor">;
const entryOf = (cursor: Cursor): EntryRef => cursor as unknown as EntryRef;

export interface ListOptions<V> {
  /** How values are kept. Default: 32-bit integers. */
  readonly value?: Kind<V>;
  /** Opens the list that another thread made. */
  readonly at?: number | Handle;
}
/** How an RcuList is made or opened. */
export type RcuListOptions<V extends Value = number> = ListOptions<V> & NeedsValue<V>;

/** A doubly linked list of values that readers walk while it changes. */
export class RcuList<V extends Value = number> {
  readonly #list: RcuIntrusiveList<"rcu_list_entry">;
  readonly #value: Kind<V>;
  readonly #signature: string;
  /** Words are the values. */
  readonly #direct: boolean;

  /** Throws HeapFullError. */
  constructor(...none: NoOptions<V>);
  constructor(options: RcuListOptions<V>);
  constructor(options: ListOptions<V> = {}) {
    this.#value = kindOr(options.value);
    this.#direct = this.#value.direct;
    this.#signature = `RcuList<${this.#value.name}>`;
    const at = options.at === undefined ? undefined : { at: options.at };
    this.#list = new RcuIntrusiveList(Entry, Entry.node, at, this.#signature);
  }

  /** The list's address: another thread opens the same list with it. */
  get ref(): Ref<"rcu_list"> {
    return this.#list.ref;
  }
  /** What another thread opens the list with. */
  handle(): Handle {
    return this.#list.handle();
  }

  #make(value: V): EntryRef {
    this.#list.checkUpdate();
    const entry = withRoom(() => {
      const word = this.#value.encode(value);
      if (word === 0 && this.#value.owns) return 0;
      const made = tryAlloc(Entry);
      if (made === 0) this.#value.drop(word);
      else Entry.value.init(made, word);
      return made;
    });
    if (entry === 0) throw new HeapFullError(this.#signature);
    return entry;
  }

  /** Adds at the end. Throws HeapFullError. */
  push(value: V): void {
    this.#list.push(this.#make(value));
  }
  /** Adds at the front. Throws HeapFullError. */
  unshift(value: V): void {
    this.#list.unshift(this.#make(value));
  }

  /** Whether nothing is on it; a racy look. */
  isEmpty(): boolean {
    return this.#list.isEmpty();
  }

  /** The first entry, 0 when there is none. */
  first(scope: RcuScope): Cursor | 0 {
    return this.#list.first(scope) as unknown as Cursor | 0;
  }
  /** The entry after this one, 0 at the end. Works on an entry that was removed meanwhile. */
  next(scope: RcuScope, cursor: Cursor): Cursor | 0 {
    return this.#list.next(scope, entryOf(cursor)) as unknown as Cursor | 0;
  }
  /** The value at a cursor. */
  value(_scope: RcuScope, cursor: Cursor): V {
    this.#list.checkRead();
    const word = Entry.value.get(entryOf(cursor));
    return this.#direct ? (word as V) : this.#value.decode(word);
  }

  /** Adds behind the entry; false when that was removed. Throws HeapFullError. */
  insertAfter(_scope: RcuScope, cursor: Cursor, value: V): boolean {
    const entry = this.#make(value);
    const there = this.#list.insertAfter(entryOf(cursor), entry);
    if (!there) {
      this.#value.drop(Entry.value.get(entry));
      free(Entry, entry);
    }
    return there;
  }
  /** Removes the entry; false when somebody else has. Readers may stand on it for a grace period. */
  remove(_scope: RcuScope, cursor: Cursor): boolean {
    const entry = entryOf(cursor);
    if (!this.#list.remove(entry)) return false;
    this.#value.retire(Entry.value.get(entry));
    kfreeRcu(Entry, entry);
    return true;
  }

  /** Visits the values in order; `visit` may change the list. */
  forEach(scope: RcuScope, visit: (value: V, cursor: Cursor) => void): void {
    for (let cursor = this.first(scope); cursor !== 0; cursor = this.next(scope, cursor))
      visit(this.value(scope, cursor), cursor);
  }

  /** Visits values until `test` returns true: whether it did. */
  some(scope: RcuScope, test: (value: V, cursor: Cursor) => boolean): boolean {
    for (let cursor = this.first(scope); cursor !== 0; cursor = this.next(scope, cursor))
      if (test(this.value(scope, cursor), cursor)) return true;
    return false;
  }
  /** Iterates over the values: `for (const value of list.values(scope))`. The loop may change the list. */
  values(scope: RcuScope): RcuWalk<V> {
    return this.#walk(scope, (cursor) => this.value(scope, cursor));
  }
  /** Iterates over [cursor, value]. */
  entries(scope: RcuScope): RcuWalk<[Cursor, V]> {
    return this.#walk(scope, (cursor) => [cursor, this.value(scope, cursor)]);
  }
  #walk<T>(scope: RcuScope, read: (cursor: Cursor) => T): RcuWalk<T> {
    this.#list.checkRead();
    return walkLinks<Cursor, T>(
      scope,
      () => this.first(scope),
      (at) => this.next(scope, at),
      read,
    );
  }

  /** Removes all entries, in one step: readers find all of them or none. */
  clear(): void {
    this.#list.clear((entry) => {
      this.#value.retire(Entry.value.get(entry));
      kfreeRcu(Entry, entry);
    });
  }

  /**
   * Moves all entries of another list to the end of this one: they appear there in one step, then leave the other list in one step. Nobody
   * waits. A reader may find them in both; one that looks at the other list, does an atomic load, and then looks at this one finds them
   * in one at least (without the load that holds on x86 only). Throws HeapFullError, and changes nothing then; WrongTypeError when the lists keep different kinds.
   */
  append(other: RcuList<V>): void {
    if (other.#signature !== this.#signature)
      throw new WrongTypeError(`${this.#signature}.append: the other one is an ${other.#signature}`);
    if (other.ref === this.ref)
      throw new WrongTypeError(`${this.#signature}.append: a list is not appended to itself`);
    this.#list.lockBoth(other.#list);
    try {
      const old = other.#list.tailLocked();
      if (old.length === 0) return;
      this.#list.appendLocked(this.#copies(old, "append"));
      other.#list.cutLocked(old[0]!);
      for (const entry of old) kfreeRcu(Entry, entry);
    } finally {
      this.#list.unlockBoth(other.#list);
    }
  }

  /**
   * Moves the entry and all behind it to a new list, which is returned; null when the entry was removed. Readers who stand on one of them
   * walk on to the end. Throws HeapFullError, and changes nothing then.
   */
  split(_scope: RcuScope, cursor: Cursor): RcuList<V> | null {
    const first = entryOf(cursor);
    const tail = new RcuList<V>({ value: this.#value } as RcuListOptions<V>);
    this.#list.lock();
    let moved = false;
    try {
      if (this.#list.linkedLocked(first)) {
        const old = this.#list.tailLocked(first);
        tail.#list.appendLocked(this.#copies(old, "split"));
        this.#list.cutLocked(first);
        for (const entry of old) kfreeRcu(Entry, entry);
        moved = true;
      }
    } finally {
      this.#list.unlock();
      if (!moved) tail.destroy();
    }
    return moved ? tail : null;
  }

  /** Entries with the same words, which belong to them once the old ones are off their list. */
  #copies(old: readonly EntryRef[], what: string): EntryRef[] {
    const copies: EntryRef[] = [];
    for (const entry of old) {
      const copy = tryAlloc(Entry);
      if (copy === 0) {
        for (const made of copies) free(Entry, made);
        throw new HeapFullError(`${this.#signature}.${what}`);
      }
      Entry.value.init(copy, Entry.value.get(entry));
      copies.push(copy);
    }
    return copies;
  }

  /** Frees the list and its entries. No thread may use it any more. */
  destroy(): void {
    this.#list.destroy((entry) => {
      this.#value.retire(Entry.value.get(entry));
      free(Entry, entry);
    });
  }
}
