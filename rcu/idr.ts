/**
 * Idr: small integers as names. Allocates the lowest free id, or the next one in a cycle; maps id to value
 * through a radix tree of 64-way nodes that readers walk without a lock.
 *
 *   const pids = new Idr<Ref<"task">>({ value: ref(Task) });
 *   const pid = pids.allocCyclic(task, 1, 32768);
 */
import { kfreeRcu, makeRoom, withRoom } from "./callback.ts";
import { Collection, type Handle, kindWord } from "./collection.ts";
import { HeapFullError, WrongTypeError } from "./error.ts";
import { type Kind, kindOr, type NeedsValue, type NoOptions, type Value } from "./kind.ts";
import { INNERMOST } from "./lock-order.ts";
import { derefWord, i32 } from "./memory.ts";
import { openObject } from "./open.ts";
import type { RcuScope, Ref } from "./ref.ts";
import { atomic, fixed, free, locked, spinlock, struct, tryAlloc, words } from "./struct.ts";
import { END, RcuWalk } from "./walk.ts";

const deref = derefWord; // V8 folds a constant of this module, not an imported one.

const BITS = 6;
const FANOUT = 1 << BITS;
/** Ids are below 2^30: five levels. */
const MAX_SHIFT = 24;

const Tree = struct("idr", {
  root: atomic(),
  lock: spinlock(INNERMOST),
  next: locked("lock"),
  count: locked("lock"),
  kind: fixed(),
});
const Node = struct("idr_node", {
  /** Bits of the id below this node's six. 0 in a leaf. */
  shift: fixed(),
  /** Children, or values in a leaf; published by atomic stores. */
  slots: words(FANOUT),
  /** A bit for each slot under which no id is free. Under the lock. */
  full: words(2),
  /** Slots in use. Under the lock. */
  used: locked("lock"),
});
type NodeRef = Ref<"idr_node">;

const SHIFT = Node.shift.offset;
const SLOTS = Node.slots.offset;

/** No id: the range has none free. */
export const NO_ID = -1;
/** What allocation found inside: the heap is full. */
const NO_ROOM = -2;

export interface TreeOptions<V> {
  /** How values are kept. Default: 32-bit integers other than 0. */
  readonly value?: Kind<V>;
  /** Opens the Idr that another thread made. */
  readonly at?: number | Handle;
}
/** How an Idr is made or opened. */
export type IdrOptions<V extends Value = number> = TreeOptions<V> & NeedsValue<V>;

/** Small integers for values, in a radix tree: lock-free lookup, allocation under its lock. */
export class Idr<V extends Value = number> extends Collection<"idr"> {
  readonly #value: Kind<V>;
  /** Words are the values. */
  readonly #direct: boolean;

  /** Throws HeapFullError. */
  constructor(...none: NoOptions<V>);
  constructor(options: IdrOptions<V>);
  constructor(options: TreeOptions<V> = {}) {
    const value = kindOr(options.value);
    const signature = `Idr<${value.name}>`;
    super(
      Tree,
      openObject(Tree, Tree.kind.offset, options.at, signature, () => createTree(signature)),
    );
    this.#value = value;
    this.#direct = value.direct;
  }

  /** Number of ids in use; a racy look. */
  get size(): number {
    this.assertHeap();
    return Tree.count.racy(this.ref);
  }

  /** The value of an id, undefined when it is not allocated. Lock-free. */
  get(scope: RcuScope, id: number): V | undefined {
    const word = this.#find(scope, id);
    if (word === 0) return undefined;
    return this.#direct ? (word as V) : this.#value.decode(word);
  }
  /** The value of an id, 0 when it is not allocated: for references and integers. Lock-free. */
  lookup(scope: RcuScope, id: number): V | 0 {
    const word = this.#find(scope, id);
    return this.#direct ? (word as V | 0) : word === 0 ? 0 : this.#value.decode(word);
  }

  #find(_scope: RcuScope, id: number): number {
    this.beforeRead();
    let node = deref(this.ref);
    let shift = i32[node + SHIFT]!;
    if (id >>> 0 !== id || id >>> shift >= FANOUT) return 0;
    for (; shift > 0; shift -= BITS) {
      node = deref(node + SLOTS + ((id >>> shift) & (FANOUT - 1)));
      if (node === 0) return 0;
    }
    return deref(node + SLOTS + (id & (FANOUT - 1)));
  }

  /**
   * Allocates the lowest free id from `start` to below `end` for a value (an integer other than 0); NO_ID when there is none.
   * Throws HeapFullError, WrongTypeError.
   */
  alloc(value: V, start = 0, end = 1 << 30): number {
    return this.#allocateOrWait(value, start, end, false);
  }
  /** The same; a full heap is NO_ID too. */
  tryAlloc(value: V, start = 0, end = 1 << 30): number {
    return Math.max(this.#allocate(value, start, end, false), NO_ID);
  }

  /** Allocates the next free id after the last one given out this way, starting over at `start`. */
  allocCyclic(value: V, start = 0, end = 1 << 30): number {
    return this.#allocateOrWait(value, start, end, true);
  }

  #allocateOrWait(value: V, start: number, end: number, cyclic: boolean): number {
    let id = this.#allocate(value, start, end, cyclic);
    if (id === NO_ROOM && makeRoom()) id = this.#allocate(value, start, end, cyclic);
    return this.#thrown(id);
  }

  #thrown(id: number): number {
    if (id === NO_ROOM) throw new HeapFullError(`Idr<${this.#value.name}>.alloc`);
    return id;
  }

  #allocate(value: V, start: number, end: number, cyclic: boolean): number {
    if (!(Number.isInteger(start) && Number.isInteger(end) && start >= 0 && end <= 1 << 30))
      throw new WrongTypeError(`Idr: ids from ${start} to ${end} are not within 0 to 2^30`, BAD);
    this.assertHeap();
    const word = this.#encode(value);
    if (word === 0) return NO_ROOM;
    const held = Tree.lock.lock(this.ref);
    let id: number;
    if (cyclic) {
      const from = Math.max(Tree.next.get(held, this.ref), start);
      id = from < end ? this.#allocLocked(word, from, end) : NO_ID;
      if (id === NO_ID) id = this.#allocLocked(word, start, Math.min(from, end));
      if (id >= 0) Tree.next.set(held, this.ref, id + 1);
    } else id = this.#allocLocked(word, start, end);
    Tree.lock.unlock(this.ref);
    if (id < 0) this.#value.drop(word);
    return id;
  }

  /** 0 when the heap is full. */
  #encode(value: V): number {
    const word = this.#value.encode(value);
    if (word === 0 && !this.#value.owns)
      throw new WrongTypeError("Idr: 0 means that an id is free; allocate for another value", BAD);
    return word;
  }

  #allocLocked(value: number, start: number, end: number): number {
    for (;;) {
      const root = Tree.root.load(this.ref) as NodeRef;
      const id = this.#lowest(root, start);
      if (id >= end) return NO_ID;
      if (id >>> Node.shift.get(root) < FANOUT) return this.#place(root, id, value) ? id : NO_ROOM;
      if (Node.shift.get(root) === MAX_SHIFT) return NO_ID;
      if (!this.#grow(root)) return NO_ROOM;
    }
  }

  /** Lowest id that is at least `start` and free below this node, or the first beyond it. */
  #lowest(node: NodeRef, start: number): number {
    const shift = Node.shift.get(node);
    let from = start;
    for (let slot = start >>> shift; slot < FANOUT; slot++, from = slot * 2 ** shift) {
      if (((Node.full.get(node, slot >> 5) >>> (slot & 31)) & 1) !== 0) continue;
      const child = Node.slots.get(node, slot);
      if (shift === 0 || child === 0) return from;
      const base = slot * 2 ** shift;
      const found = this.#lowest(child as NodeRef, from - base);
      if (found < 2 ** shift) return base + found;
    }
    return Math.max(start, FANOUT * 2 ** shift);
  }

  /** Stores the value, making nodes on the way; false when the heap is full, and nothing was changed then. */
  #place(root: NodeRef, id: number, value: number): boolean {
    const path: NodeRef[] = [root];
    const spare = makeSpare(root, id);
    if (spare === null) return false;
    for (let shift = Node.shift.get(root); shift > 0; shift -= BITS) {
      const node = path.at(-1)!;
      const slot = (id >>> shift) & (FANOUT - 1);
      let child = Node.slots.get(node, slot) as NodeRef | 0;
      if (child === 0) {
        child = spare.pop()!;
        Node.shift.init(child, shift - BITS);
        Node.slots.store(node, slot, child); // [A]
        Node.used.init(node, Node.used.racy(node) + 1);
      }
      path.push(child);
    }
    const leaf = path.at(-1)!;
    Node.slots.store(leaf, id & (FANOUT - 1), value); // [A]
    Node.used.init(leaf, Node.used.racy(leaf) + 1);
    Tree.count.init(this.ref, Tree.count.racy(this.ref) + 1);
    // Full from the leaf upwards.
    for (let level = path.length - 1; level >= 0; level--) {
      const node = path[level]!;
      const slot = (id >>> Node.shift.get(node)) & (FANOUT - 1);
      Node.full.set(node, slot >> 5, Node.full.get(node, slot >> 5) | (1 << (slot & 31)));
      if (Node.full.get(node, 0) !== -1 || Node.full.get(node, 1) !== -1) break;
    }
    return true;
  }

  #grow(root: NodeRef): boolean {
    const shift = Node.shift.get(root) + BITS;
    const top = tryAlloc(Node);
    if (top === 0) return false;
    Node.shift.init(top, shift);
    Node.slots.set(top, 0, root);
    Node.used.init(top, 1);
    if (Node.full.get(root, 0) === -1 && Node.full.get(root, 1) === -1) Node.full.set(top, 0, 1);
    Tree.root.store(this.ref, top); // [A]
    return true;
  }

  /** Replaces the value of an allocated id; false when it is not allocated. Throws HeapFullError, WrongTypeError. */
  replace(id: number, value: V): boolean {
    this.assertHeap();
    const word = withRoom(() => this.#encode(value));
    this.#thrown(word === 0 ? NO_ROOM : 0);
    let old = 0;
    const done = this.#withLeaf(id, (leaf, slot) => {
      if (Node.slots.get(leaf, slot) === 0) return false;
      old = Node.slots.get(leaf, slot);
      Node.slots.store(leaf, slot, word); // [A]
      return true;
    });
    if (!done) this.#value.drop(word);
    else if (old !== word) this.#value.retire(old);
    return done;
  }

  #withLeaf(id: number, change: (leaf: NodeRef, slot: number, path: NodeRef[]) => boolean): boolean {
    Tree.lock.lock(this.ref);
    try {
      const path: NodeRef[] = [];
      let node = Tree.root.load(this.ref) as NodeRef | 0;
      if (id >>> 0 !== id || id >>> Node.shift.get(node as NodeRef) >= FANOUT) return false;
      for (let shift = Node.shift.get(node as NodeRef); shift > 0; shift -= BITS) {
        path.push(node as NodeRef);
        node = Node.slots.get(node as NodeRef, (id >>> shift) & (FANOUT - 1)) as NodeRef | 0;
        if (node === 0) return false;
      }
      path.push(node as NodeRef);
      return change(node as NodeRef, id & (FANOUT - 1), path);
    } finally {
      Tree.lock.unlock(this.ref);
    }
  }

  /** Frees an id; returns its value, undefined when it was not allocated. Nodes that become empty are freed by RCU. */
  remove(id: number): V | undefined {
    this.assertHeap();
    let value = 0;
    this.#withLeaf(id, (leaf, leafSlot, path) => {
      value = Node.slots.get(leaf, leafSlot);
      if (value === 0) return false;
      Tree.count.init(this.ref, Tree.count.racy(this.ref) - 1);
      let drop = true;
      for (let level = path.length - 1; level >= 0; level--) {
        const node = path[level]!;
        const slot = (id >>> Node.shift.get(node)) & (FANOUT - 1);
        Node.full.set(node, slot >> 5, Node.full.get(node, slot >> 5) & ~(1 << (slot & 31)));
        if (!drop) continue;
        Node.slots.store(node, slot, 0); // [A]
        const used = Node.used.racy(node) - 1;
        Node.used.init(node, used);
        drop = used === 0 && level > 0;
        if (drop) kfreeRcu(Node, node);
      }
      return true;
    });
    if (value === 0) return undefined;
    const last = this.#value.decode(value);
    this.#value.retire(value);
    return last;
  }

  /** Visits ids in ascending order. */
  forEach(_scope: RcuScope, visit: (id: number, value: V) => void): void {
    this.beforeRead();
    this.#walk(deref(this.ref) as NodeRef, 0, visit);
  }
  #walk(node: NodeRef, base: number, visit: (id: number, value: V) => void): void {
    const shift = i32[node + SHIFT]!;
    for (let slot = 0; slot < FANOUT; slot++) {
      const word = deref(node + SLOTS + slot);
      if (word === 0) continue;
      if (shift === 0) visit(base + slot, this.#value.decode(word));
      else this.#walk(word as NodeRef, base + slot * 2 ** shift, visit);
    }
  }

  /** Visits ids in ascending order until `test` returns true: whether it did. */
  some(scope: RcuScope, test: (id: number, value: V) => boolean): boolean {
    return this.entries(scope).some(([id, value]) => test(id, value));
  }

  /** Iterates over [id, value] in ascending order of the ids. */
  entries(scope: RcuScope): RcuWalk<[number, V]> {
    this.beforeRead();
    // The way down to where it is: nodes, the next slot in each, the id of their first slots.
    const nodes = [deref(this.ref)];
    const slots = [0];
    const bases = [0];
    return new RcuWalk(scope, () => {
      while (nodes.length > 0) {
        const node = nodes.at(-1)!;
        const slot = slots[nodes.length - 1]!++;
        if (slot === FANOUT) {
          for (const stack of [nodes, slots, bases]) stack.pop();
          continue;
        }
        const word = deref(node + SLOTS + slot);
        if (word === 0) continue;
        const shift = i32[node + SHIFT]!;
        const id = bases.at(-1)! + slot * 2 ** shift;
        if (shift === 0) return [id, this.#value.decode(word)];
        nodes.push(word);
        slots.push(0);
        bases.push(id);
      }
      return END;
    });
  }

  /** Frees the tree and what it owns. No thread may use it any more; values that are references stay the caller's. */
  destroy(): void {
    this.assertHeap();
    const nodes: NodeRef[] = [Tree.root.load(this.ref) as NodeRef];
    for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
      if (Node.shift.get(node) > 0)
        for (let slot = 0; slot < FANOUT; slot++) {
          const child = Node.slots.get(node, slot);
          if (child !== 0) nodes.push(child as NodeRef);
        }
      else if (this.#value.owns)
        for (let slot = 0; slot < FANOUT; slot++) {
          const word = Node.slots.get(node, slot);
          if (word !== 0) this.#value.retire(word);
        }
      free(Node, node);
    }
    free(Tree, this.ref);
    this.destroyed();
  }
}

const BAD = "ERR_RCU_BAD_ARGUMENT";

/** The nodes that the way to an id lacks, unlinked; null when the heap is full. */
function makeSpare(root: NodeRef, id: number): NodeRef[] | null {
  const spare: NodeRef[] = [];
  let node: number = root;
  for (let shift = Node.shift.get(root); shift > 0; shift -= BITS) {
    if (node !== 0) node = Node.slots.get(node as NodeRef, (id >>> shift) & (FANOUT - 1));
    if (node !== 0) continue;
    const made = tryAlloc(Node);
    if (made === 0) {
      for (const each of spare) free(Node, each);
      return null;
    }
    spare.push(made);
  }
  return spare;
}

function createTree(signature: string): Ref<"idr"> | 0 {
  const root = tryAlloc(Node);
  const tree = root === 0 ? 0 : tryAlloc(Tree);
  if (root === 0 || tree === 0) {
    if (root !== 0) free(Node, root);
    return 0;
  }
  Tree.root.init(tree, root);
  Tree.kind.init(tree, kindWord(signature));
  return tree;
}
