/**
 * RcuList: a doubly linked list of values. Readers walk it forwards in a scope while it changes: they see every entry
 * that was there throughout, once, in order. For structs that are list nodes themselves: RcuIntrusiveList.
 *
 *   const log = new RcuList<string>({ value: text() });
 *   log.push("first");
 */
import { kfreeRcu, withRoom } from "./callback.ts";
import type { Handle } from "./collection.ts";
import { HeapFullError } from "./error.ts";
import { RcuIntrusiveList } from "./intrusive-list.ts";
import { type Kind, kindOr, type NeedsValue, type NoOptions, type Value } from "./kind.ts";
import type { Brand, RcuScope, Ref } from "./ref.ts";
import { fixed, free, listNode, struct, tryAlloc } from "./struct.ts";

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

  /** Frees the list and its entries. No thread may use it any more. */
  destroy(): void {
    this.#list.destroy((entry) => {
      this.#value.retire(Entry.value.get(entry));
      free(Entry, entry);
    });
  }
}
