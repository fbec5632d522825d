/** Doubly linked lists through structs: the node field, and what is done with nodes (Linux: list_head, rculist.h). */
import { CorruptionError } from "./error.ts";
import { Field } from "./fields.ts";
import { derefWord, i32 } from "./memory.ts";
import type { Held, Ref } from "./ref.ts";

const deref = derefWord; // V8 folds a constant of this module, not an imported one.

/**
 * Two words, next and prev: a node of, or the head of, a doubly linked list through structs. Links are *addresses*:
 * word indices of the node field itself; `owner` gets back to the struct. Updates need the list's lock;
 * `addTail`, `addHead` and `del` publish so that readers in a read scope may walk `next` (a deleted node keeps
 * its next pointer until it is freed, which takes a grace period).
 */
export class ListNode<N extends string> extends Field {
  /** Address of the node (or head) in this object. */
  at(ref: Ref<N>): number {
    return ref + this.offset;
  }
  /** The object that holds the node at this address. */
  owner(address: number): Ref<N> {
    return (address - this.offset) as Ref<N>;
  }
  /** Makes it an empty head, or an unlinked node. */
  init(ref: Ref<N>): void {
    const node = ref + this.offset;
    i32[node] = node;
    i32[node + 1] = node;
  }
}

/** Whether the list with this head (ListNode.at) has no node. */
export function listIsEmpty(head: number): boolean {
  const next = i32[head]!;
  return next === head || next === 0;
}
/** First node, or 0. */
export function listFirst(head: number): number {
  const next = deref(head);
  return next === head ? 0 : next;
}
/** Node after `node`, or 0 at the end. */
export function listNext(head: number, node: number): number {
  const next = deref(node);
  return next === head ? 0 : next;
}
/** A head that was never initialised, or a node that is on no list: its links lead to the first words of the heap. */
function unlinked(node: number): never {
  throw new CorruptionError(
    "ERR_RCU_CORRUPTION",
    `list node ${node} leads to 0: a head is initialised (ListNode.init) before it is used, and a node is taken off once`,
  );
}
function insertBetween(node: number, prev: number, next: number): void {
  if (prev === 0 || next === 0 || node === 0) unlinked(node === 0 ? 0 : prev === 0 ? next : prev);
  i32[node] = next;
  i32[node + 1] = prev;
  i32[next + 1] = node;
  Atomics.store(i32, prev, node);
}
/** Adds an unlinked node at the end; publishes it. The lock of the list is held. */
export function listAddTail(_held: Held, head: number, node: number): void {
  insertBetween(node, i32[head + 1]!, head);
}
/** Adds an unlinked node at the front (or behind the node `head`); publishes it. The lock of the list is held. */
export function listAddHead(_held: Held, head: number, node: number): void {
  insertBetween(node, head, i32[head]!);
}
/** Unlinks the node; its own next pointer stays for readers that stand on it. */
export function listDelRcu(_held: Held, node: number): void {
  const next = i32[node]!;
  const prev = i32[node + 1]!;
  if (prev === 0 || next === 0) unlinked(node);
  i32[next + 1] = prev;
  Atomics.store(i32, prev, next);
  i32[node + 1] = 0;
}
/** Unlinks the node and makes it an unlinked node again: for lists without RCU readers. */
export function listDelInit(_held: Held, node: number): void {
  const next = i32[node]!;
  const prev = i32[node + 1]!;
  if (prev === 0 || next === 0) unlinked(node);
  i32[next + 1] = prev;
  i32[prev] = next;
  i32[node] = node;
  i32[node + 1] = node;
}
/**
 * Puts an unlinked node in the place of another, whose own next pointer stays for readers that stand on it: readers find the one or the
 * other, and none misses both. The lock of the list is held. (Linux: list_replace_rcu.)
 */
export function listReplaceRcu(_held: Held, old: number, fresh: number): void {
  const next = i32[old]!;
  const prev = i32[old + 1]!;
  if (prev === 0 || next === 0) unlinked(old);
  i32[fresh] = next;
  i32[fresh + 1] = prev;
  Atomics.store(i32, prev, fresh); // [A]
  i32[next + 1] = fresh;
  i32[old + 1] = 0;
}
/**
 * Moves all nodes of the list `from` behind the node or head `place` of another, in their order. `wait` waits for a grace period
 * (synchronizeRcu), after readers of `from` find it empty and before the nodes lead elsewhere: those that walk it shall find its
 * end. So the locks of both lists, which are held all the while, are mutexes. (Linux: list_splice_init_rcu; behind
 * `listPrev` of the head, list_splice_tail_init_rcu.)
 */
export function listSpliceInitRcu(_held: Held, from: number, place: number, wait: () => void): void {
  const first = i32[from]!;
  const last = i32[from + 1]!;
  if (first === from) return;
  if (first === 0) unlinked(from);
  if (i32[place] === 0) unlinked(place);
  i32[from + 1] = from;
  Atomics.store(i32, from, from);
  wait();
  const next = i32[place]!;
  i32[last] = next;
  i32[first + 1] = place;
  i32[next + 1] = last;
  Atomics.store(i32, place, first); // [A]
}
/**
 * Takes the node `first` and all behind it off, and calls `visit` for each, in order. Their own next pointers stay, so that readers who stand
 * on them find the end of the list; `visit` may not use the nodes again before a grace period has gone by. The lock of the list is held.
 */
export function listCutRcu(_held: Held, head: number, first: number, visit: (node: number) => void): void {
  const prev = i32[first + 1]!;
  if (prev === 0 || i32[first] === 0) unlinked(first);
  i32[head + 1] = prev;
  Atomics.store(i32, prev, head); // [A]
  for (let node = first; node !== head; ) {
    const next = i32[node]!; // Read first: others may free the node, if this thread is idle.
    i32[node + 1] = 0;
    visit(node);
    node = next;
  }
}
/**
 * Adds unlinked nodes at the end, all in one step: readers find all of them or none. The lock of the list is held.
 */
export function listAppendRcu(_held: Held, head: number, nodes: readonly number[]): void {
  if (nodes.length === 0) return;
  const last = i32[head + 1]!;
  if (last === 0) unlinked(head);
  for (const [n, node] of nodes.entries()) {
    i32[node] = nodes[n + 1] ?? head;
    i32[node + 1] = nodes[n - 1] ?? last;
  }
  i32[head + 1] = nodes.at(-1)!;
  Atomics.store(i32, last, nodes[0]!); // [A]
}
/** Node before `node`, or the head: with the list's lock held. */
export function listPrev(_held: Held, node: number): number {
  return i32[node + 1]!;
}
/** Whether an initialised node is on no list. */
export function listUnlinked(node: number): boolean {
  const next = i32[node]!;
  return next === node || next === 0;
}
