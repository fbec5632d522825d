/**
 * Idr: small integers as names. Allocates the lowest free id, or the next one in a cycle; maps id to value
 * through a radix tree of 64-way nodes that readers walk without a lock.
 */

import { kfreeRcu } from "./callback.ts";
import { HeapFullError, StaleReferenceError, WrongTypeError } from "./error.ts";
import { i32 } from "./memory.ts";
import type { RcuScope, Ref } from "./ref.ts";
import { cellIsAlive } from "./slab.ts";
import { alloc, atomic, fixed, free, locked, spinlock, struct, words } from "./struct.ts";

const BITS = 6;
const FANOUT = 1 << BITS;
/** Ids are below 2^30: five levels. */
const MAX_SHIFT = 24;

const Tree = struct("idr", { root: atomic(), lock: spinlock(), next: locked("lock"), count: locked("lock") });
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

/** No id: the range has none free, or the heap is full. */
export const NO_ID = -1;

function checkValue(value: number): void {
  if (value === 0)
    throw new WrongTypeError(
      "Idr: 0 means that an id is free; allocate for another value",
      "ERR_RCU_BAD_ARGUMENT",
    );
}

export class Idr {
  readonly ref: Ref<"idr">;

  constructor(options: { at?: number } = {}) {
    if (options.at !== undefined) {
      if (!cellIsAlive(options.at))
        throw new StaleReferenceError(`Idr: ${options.at} names no Idr of this heap`);
      this.ref = options.at as Ref<"idr">;
      return;
    }
    const root = alloc(Node);
    const ref = root === 0 ? 0 : alloc(Tree);
    if (root === 0 || ref === 0) {
      if (root !== 0) free(Node, root);
      throw new HeapFullError("new Idr");
    }
    Tree.root.init(ref, root);
    this.ref = ref;
  }

  get size(): number {
    return Tree.count.racy(this.ref);
  }

  /** The value of an id, 0 when it is not allocated. Lock-free. */
  get(_scope: RcuScope, id: number): number {
    let node = i32[this.ref]!;
    let shift = i32[node + SHIFT]!;
    if (id < 0 || id >>> shift >= FANOUT) return 0;
    for (; shift > 0; shift -= BITS) {
      node = i32[node + SLOTS + ((id >>> shift) & (FANOUT - 1))]!;
      if (node === 0) return 0;
    }
    return i32[node + SLOTS + (id & (FANOUT - 1))]!;
  }

  /** Allocates the lowest free id from `start` to below `end` for a value that is not 0; NO_ID when there is none. */
  alloc(value: number, start = 0, end = 1 << 30): number {
    checkValue(value);
    Tree.lock.lock(this.ref);
    const id = this.#allocLocked(value, start, end);
    Tree.lock.unlock(this.ref);
    return id;
  }

  /** Allocates the next free id after the last one given out this way, starting over at `start`. */
  allocCyclic(value: number, start = 0, end = 1 << 30): number {
    checkValue(value);
    const held = Tree.lock.lock(this.ref);
    const from = Math.max(Tree.next.get(held, this.ref), start);
    let id = from < end ? this.#allocLocked(value, from, end) : NO_ID;
    if (id === NO_ID) id = this.#allocLocked(value, start, Math.min(from, end));
    if (id !== NO_ID) Tree.next.set(held, this.ref, id + 1);
    Tree.lock.unlock(this.ref);
    return id;
  }

  #allocLocked(value: number, start: number, end: number): number {
    for (;;) {
      const root = Tree.root.load(this.ref) as NodeRef;
      const id = this.#lowest(root, start);
      if (id >= end) return NO_ID;
      if (id >>> Node.shift.get(root) < FANOUT) return this.#place(root, id, value) ? id : NO_ID;
      if (!this.#grow(root)) return NO_ID;
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

  /** Stores the value, making nodes on the way; false when the heap is full. */
  #place(root: NodeRef, id: number, value: number): boolean {
    const path: NodeRef[] = [root];
    for (let shift = Node.shift.get(root); shift > 0; shift -= BITS) {
      const node = path.at(-1)!;
      const slot = (id >>> shift) & (FANOUT - 1);
      let child = Node.slots.get(node, slot) as NodeRef | 0;
      if (child === 0) {
        child = alloc(Node);
        if (child === 0) return false;
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
    if (shift > MAX_SHIFT) return false;
    const top = alloc(Node);
    if (top === 0) return false;
    Node.shift.init(top, shift);
    Node.slots.set(top, 0, root);
    Node.used.init(top, 1);
    if (Node.full.get(root, 0) === -1 && Node.full.get(root, 1) === -1) Node.full.set(top, 0, 1);
    Tree.root.store(this.ref, top); // [A]
    return true;
  }

  /** Replaces the value of an allocated id; false when it is not allocated. */
  replace(id: number, value: number): boolean {
    checkValue(value);
    return this.#withLeaf(id, (leaf, slot) => {
      if (Node.slots.get(leaf, slot) === 0) return false;
      Node.slots.store(leaf, slot, value); // [A]
      return true;
    });
  }

  #withLeaf(id: number, change: (leaf: NodeRef, slot: number, path: NodeRef[]) => boolean): boolean {
    Tree.lock.lock(this.ref);
    try {
      const path: NodeRef[] = [];
      let node = Tree.root.load(this.ref) as NodeRef | 0;
      if (id < 0 || id >>> Node.shift.get(node as NodeRef) >= FANOUT) return false;
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

  /** Frees an id; returns its value, 0 when it was not allocated. Nodes that become empty are freed by RCU. */
  remove(id: number): number {
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
    return value;
  }

  /** Visits ids in ascending order. */
  forEach(_scope: RcuScope, visit: (id: number, value: number) => void): void {
    this.#walk(i32[this.ref]! as NodeRef, 0, visit);
  }
  #walk(node: NodeRef, base: number, visit: (id: number, value: number) => void): void {
    const shift = Node.shift.get(node);
    for (let slot = 0; slot < FANOUT; slot++) {
      const value = Node.slots.get(node, slot);
      if (value === 0) continue;
      if (shift === 0) visit(base + slot, value);
      else this.#walk(value as NodeRef, base + slot * 2 ** shift, visit);
    }
  }

  /** Frees the tree. No thread may use it any more; the values are the caller's. */
  destroy(): void {
    const nodes: NodeRef[] = [Tree.root.load(this.ref) as NodeRef];
    for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
      if (Node.shift.get(node) > 0)
        for (let slot = 0; slot < FANOUT; slot++) {
          const child = Node.slots.get(node, slot);
          if (child !== 0) nodes.push(child as NodeRef);
        }
      free(Node, node);
    }
    free(Tree, this.ref);
  }
}
