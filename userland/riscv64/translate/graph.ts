import type { Block } from "./discover.ts";

/** The control-flow graph of a unit in reverse postorder, with what structured code generation needs. */
export interface Graph {
  /** Blocks in reverse postorder: node i is order[i], the entry is node 0. */
  readonly order: Block[];
  /** Node of a block's pc; absent for pcs outside the unit. */
  readonly node: Map<number, number>;
  /** Children in the dominator tree, ascending. */
  readonly children: number[][];
  /** Reached by two or more forward edges: needs a label of its own. */
  readonly merge: boolean[];
  /** Reached by a backward edge. */
  readonly loopHeader: boolean[];
  /** False when some backward edge enters a loop elsewhere than at its header. */
  readonly reducible: boolean;
}

export function successors(block: Block): number[] {
  const end = block.end;
  if (end.kind === "branch") return [end.taken, end.fall];
  return end.kind === "jump" ? [end.target] : [];
}

export function buildGraph(entry: number, blocks: Map<number, Block>): Graph {
  const order = reversePostorder(entry, blocks);
  const node = new Map(order.map((block, i) => [block.pc, i]));
  const predecessors: number[][] = order.map(() => []);
  order.forEach((block, i) => {
    for (const pc of successors(block)) {
      const to = node.get(pc);
      if (to !== undefined) predecessors[to]!.push(i);
    }
  });
  const idom = dominators(predecessors);
  const children: number[][] = order.map(() => []);
  for (let i = 1; i < order.length; i++) children[idom[i]!]!.push(i);

  const merge = order.map(() => false);
  const loopHeader = order.map(() => false);
  let reducible = true;
  predecessors.forEach((from, to) => {
    let forward = 0;
    for (const source of from) {
      if (source < to) forward++;
      else {
        loopHeader[to] = true;
        if (!dominates(idom, to, source)) reducible = false;
      }
    }
    merge[to] = forward > 1;
  });
  return { order, node, children, merge, loopHeader, reducible };
}

function reversePostorder(entry: number, blocks: Map<number, Block>): Block[] {
  const postorder: Block[] = [];
  const seen = new Set<number>([entry]);
  const first = blocks.get(entry)!;
  const stack: { block: Block; next: number; out: number[] }[] = [
    { block: first, next: 0, out: successors(first) },
  ];
  while (stack.length > 0) {
    const top = stack[stack.length - 1]!;
    if (top.next === top.out.length) {
      postorder.push(top.block);
      stack.pop();
      continue;
    }
    const pc = top.out[top.next++]!;
    const block = blocks.get(pc);
    if (block === undefined || seen.has(pc)) continue;
    seen.add(pc);
    stack.push({ block, next: 0, out: successors(block) });
  }
  return postorder.reverse();
}

/** Immediate dominators (Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm"). */
function dominators(predecessors: number[][]): number[] {
  const idom: number[] = predecessors.map(() => -1);
  idom[0] = 0;
  for (let changed = true; changed; ) {
    changed = false;
    for (let i = 1; i < predecessors.length; i++) {
      let best = -1;
      for (const p of predecessors[i]!) {
        if (idom[p] === -1) continue;
        best = best === -1 ? p : intersect(idom, p, best);
      }
      if (best !== idom[i]) {
        idom[i] = best;
        changed = true;
      }
    }
  }
  return idom;
}

function intersect(idom: number[], a: number, b: number): number {
  let x = a;
  let y = b;
  while (x !== y) {
    while (x > y) x = idom[x]!;
    while (y > x) y = idom[y]!;
  }
  return x;
}

function dominates(idom: number[], a: number, b: number): boolean {
  let x = b;
  while (x > a) x = idom[x]!;
  return x === a;
}
