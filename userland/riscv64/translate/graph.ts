import type { Block } from "./discover.ts";

/** The control-flow graph of a unit in reverse postorder, with what structured code generation needs. It is reducible. */
export interface Graph {
  /** Blocks in reverse postorder: node i is order[i], the entry is node 0. */
  readonly order: Block[];
  /** Node of a block's pc; absent for pcs outside the unit. */
  readonly node: Map<number, number>;
  /** Where control comes from, inside the unit. */
  readonly predecessors: readonly (readonly number[])[];
  /** Children in the dominator tree, ascending. */
  readonly children: number[][];
  /** Reached by two or more forward edges: needs a label of its own. */
  readonly merge: boolean[];
  /** Reached by a backward edge. */
  readonly loopHeader: boolean[];
}

export function successors(block: Block): number[] {
  const end = block.end;
  if (end.kind === "branch") return [end.taken, end.fall];
  return end.kind === "jump" ? [end.target] : [];
}

/**
 * The graph of what can be reached from `entry`. A unit that begins in the middle of a nest of loops often has cycles with two ways in:
 * the block at which such a cycle closes is left out, and control leaves for the unit that begins there, where the cycle is a loop.
 * (A switch over all blocks in one loop, which also serves, is several times slower.)
 */
export function buildGraph(entry: number, blocks: ReadonlyMap<number, Block>): Graph {
  const kept = new Map(blocks);
  for (;;) {
    const order = reversePostorder(entry, kept);
    const node = new Map(order.map((block, i) => [block.pc, i]));
    const predecessors: number[][] = order.map(() => []);
    order.forEach((block, i) => {
      for (const pc of successors(block)) {
        const to = node.get(pc);
        if (to !== undefined) predecessors[to]!.push(i);
      }
    });
    const idom = dominators(predecessors);
    const entered = order.filter((_, to) =>
      predecessors[to]!.some((source) => source >= to && !dominates(idom, to, source)),
    );
    if (entered.length > 0) {
      for (const { pc } of entered) kept.delete(pc);
      continue;
    }
    const children: number[][] = order.map(() => []);
    for (let i = 1; i < order.length; i++) children[idom[i]!]!.push(i);
    return {
      order,
      node,
      predecessors,
      children,
      merge: predecessors.map((from, to) => from.filter((source) => source < to).length > 1),
      loopHeader: predecessors.map((from, to) => from.some((source) => source >= to)),
    };
  }
}

function reversePostorder(entry: number, blocks: ReadonlyMap<number, Block>): Block[] {
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

/** A backward edge and the nodes of its loop. */
export interface Loop {
  readonly source: number;
  readonly header: number;
  readonly body: ReadonlySet<number>;
}

/** A loop for each backward edge: loops that share a header differ in what they do. */
export function findLoops({ predecessors }: Graph): Loop[] {
  return predecessors.flatMap((from, header) =>
    from
      .filter((source) => source >= header)
      .map((source) => ({ source, header, body: bodyOf(source, header, predecessors) })),
  );
}

function bodyOf(source: number, header: number, predecessors: Graph["predecessors"]): Set<number> {
  const body = new Set([header]);
  const work = [source];
  for (let node = work.pop(); node !== undefined; node = work.pop()) {
    if (body.has(node)) continue;
    body.add(node);
    work.push(...predecessors[node]!);
  }
  return body;
}
