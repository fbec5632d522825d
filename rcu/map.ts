/**
 * RcuMap: a shared hash map whose keys are integers or byte strings and whose values are integers, doubles, strings or
 * byte arrays. Lock-free `get`; one lock for updates. Where RcuHashMap (integers only) suffices, it is faster.
 *
 *   const names = new RcuMap({ keys: "string", values: "double" });
 *   names.set("pi", 3.14159);
 *   const scope = rcuReadLock();
 *   names.get(scope, "pi");
 *   rcuReadUnlock();
 */

import { allocString, freeString, hashBytes, stringBytes, stringEquals, stringText } from "./array.ts";
import { kfreeRcu, kfreeStringRcu } from "./callback.ts";
import { HeapFullError } from "./error.ts";
import { createHashTable, HashCore, HashTable, NODE_KEY } from "./hash-table.ts";
import { checkTable, FULL, INSERTED, UPDATED } from "./hashmap.ts";
import { f64, i32 } from "./memory.ts";
import type { RcuScope, Ref } from "./ref.ts";
import { alloc, fixed, free, struct, wide, words } from "./struct.ts";

const Node = struct("rcu_map_node", {
  links: words(2),
  // Written before publication, constant afterwards: an update replaces the node.
  /** The integer key, or the hash of the bytes. */
  key: fixed(),
  /** The bytes of the key. */
  bytes: fixed<Ref<"string">>(),
  /** A double, or in the first word an integer or the string of the value. */
  value: wide(),
});
type NodeRef = Ref<"rcu_map_node">;

const BYTES = Node.bytes.offset;
const VALUE = Node.value.offset;
const TABLE = HashTable.table.offset;

interface Keys {
  int: number;
  string: string;
  bytes: Uint8Array;
}
interface Values {
  int: number;
  double: number;
  string: string;
  bytes: Uint8Array;
}
export type KeyKind = keyof Keys;
export type ValueKind = keyof Values;

const KEY_KINDS: KeyKind[] = ["int", "string", "bytes"];
const VALUE_KINDS: ValueKind[] = ["int", "double", "string", "bytes"];

export interface RcuMapOptions<K extends KeyKind, V extends ValueKind> {
  keys: K;
  values: V;
  /** Opens the map that another thread made; the kinds must be the same. */
  at?: number;
  buckets?: number;
}

const encoder = new TextEncoder();
const NO_BYTES = new Uint8Array(0);

export class RcuMap<K extends KeyKind, V extends ValueKind> extends HashCore {
  readonly keys: K;
  readonly values: V;
  // The key being looked for: its hash (or itself) and its bytes.
  #hash = 0;
  #bytes: Uint8Array = NO_BYTES;

  constructor(options: RcuMapOptions<K, V>) {
    const kind = 16 + KEY_KINDS.indexOf(options.keys) * 4 + VALUE_KINDS.indexOf(options.values);
    const ref =
      options.at === undefined
        ? createHashTable(kind, options.buckets ?? 16)
        : checkTable(options.at, kind, "RcuMap");
    if (ref === 0) throw new HeapFullError("new RcuMap");
    super(ref, null);
    this.keys = options.keys;
    this.values = options.values;
  }

  #setKey(key: Keys[K]): void {
    if (this.keys === "int") {
      this.#hash = (key as number) | 0;
      return;
    }
    this.#bytes = this.keys === "string" ? encoder.encode(key as string) : (key as Uint8Array);
    this.#hash = hashBytes(this.#bytes);
  }

  #find(): NodeRef | 0 {
    const tagged = i32[this.ref + TABLE]!;
    const table = tagged & ~1;
    const link = tagged & 1;
    const hash = this.#hash;
    let node = i32[table + this.bucketOf(hash, i32[table]!)]!;
    for (; node !== 0; node = i32[node + link]!) {
      if (i32[node + NODE_KEY] !== hash) continue;
      if (this.keys === "int" || stringEquals(i32[node + BYTES] as Ref<"string">, this.#bytes, hash)) break;
    }
    return node as NodeRef | 0;
  }

  #value(node: number): Values[V] {
    if (this.values === "int") return i32[node + VALUE] as Values[V];
    if (this.values === "double") return f64[(node + VALUE) >> 1] as Values[V];
    const string = i32[node + VALUE] as Ref<"string">;
    return (this.values === "string" ? stringText(string) : stringBytes(string)) as Values[V];
  }

  #key(node: number): Keys[K] {
    if (this.keys === "int") return i32[node + NODE_KEY] as Keys[K];
    const string = i32[node + BYTES] as Ref<"string">;
    return (this.keys === "string" ? stringText(string) : stringBytes(string)) as Keys[K];
  }

  get(_scope: RcuScope, key: Keys[K]): Values[V] | undefined {
    this.#setKey(key);
    const node = this.#find();
    return node === 0 ? undefined : this.#value(node);
  }

  has(_scope: RcuScope, key: Keys[K]): boolean {
    this.#setKey(key);
    return this.#find() !== 0;
  }

  forEach(_scope: RcuScope, visit: (key: Keys[K], value: Values[V]) => void): void {
    this.eachNode((node) => visit(this.#key(node), this.#value(node)));
  }

  /** Inserts or updates: INSERTED, UPDATED, or FULL, when nothing was changed. */
  trySet(key: Keys[K], value: Values[V]): number {
    this.#setKey(key);
    const node = this.#makeNode(value);
    if (node === 0) return FULL;
    this.acquire();
    const old = this.#find();
    if (old === 0) this.linkNode(node);
    else this.replaceNode(old, node);
    this.release();
    if (old === 0) return INSERTED;
    this.#retire(old);
    return UPDATED;
  }

  /** Inserts or updates; INSERTED or UPDATED. Throws HeapFullError. */
  set(key: Keys[K], value: Values[V]): number {
    const done = this.trySet(key, value);
    if (done === FULL) throw new HeapFullError(`RcuMap.set(${String(key)})`);
    return done;
  }

  /** Removes a key; says whether it was there. */
  delete(key: Keys[K]): boolean {
    this.#setKey(key);
    this.acquire();
    const node = this.#find();
    if (node !== 0) this.unlinkNode(node);
    this.release();
    if (node === 0) return false;
    this.#retire(node);
    return true;
  }

  /** Removes everything. */
  clear(): void {
    this.acquire();
    this.drainNodes((node) => this.#retire(node as NodeRef));
    this.release();
  }

  /** Frees the map and what it holds. No thread may use it any more. */
  destroy(): void {
    this.acquire();
    this.eachNode((node) => this.#freeNode(node as NodeRef));
    this.release();
    this.freeTable();
  }

  /** A node with the key that is set and this value; 0 when the heap is full. */
  #makeNode(value: Values[V]): NodeRef | 0 {
    const node = alloc(Node);
    if (node === 0) return 0;
    Node.key.init(node, this.#hash);
    if (this.keys !== "int") {
      const bytes = allocString(this.#bytes);
      if (bytes === 0) {
        free(Node, node);
        return 0;
      }
      Node.bytes.init(node, bytes);
    }
    if (this.values === "double") f64[(node + VALUE) >> 1] = value as number;
    else if (this.values === "int") i32[node + VALUE] = value as number;
    else {
      const string = allocString(value as string | Uint8Array);
      if (string === 0) {
        if (this.keys !== "int") freeString(Node.bytes.get(node));
        free(Node, node);
        return 0;
      }
      i32[node + VALUE] = string;
    }
    return node;
  }

  #retire(node: NodeRef): void {
    if (this.keys !== "int") kfreeStringRcu(Node.bytes.get(node));
    if (this.values === "string" || this.values === "bytes")
      kfreeStringRcu(i32[node + VALUE] as Ref<"string">);
    kfreeRcu(Node, node);
  }

  #freeNode(node: NodeRef): void {
    if (this.keys !== "int") freeString(Node.bytes.get(node));
    if (this.values === "string" || this.values === "bytes") freeString(i32[node + VALUE] as Ref<"string">);
    free(Node, node);
  }
}
