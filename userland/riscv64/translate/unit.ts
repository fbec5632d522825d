import { EXIT } from "../../../kernel/usermode.ts";
import { INSTRUCTIONS } from "../isa/decode.ts";
import { leaveWhenWanted, lookUp, wanted } from "../jump.ts";
import { AREA, CODE, DEPTH, HOST, Q0, REGS, SCRATCH_LOCALS } from "../locals.ts";
import { UNIT, type Unit } from "../stubs.ts";
import type { Label } from "../wasm/code.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import type { I32, TypeIndex } from "../wasm/types.ts";
import { type Block, discover, type Fetch, isCall, type Located } from "./discover.ts";
import { UnitEmitter } from "./emitter.ts";
import { buildGraph, type Graph } from "./graph.ts";
import { findGroups, looksUp } from "./groups.ts";
import { LeanEmitter } from "./lean.ts";
import { NOTHING, RegisterFlow } from "./registers.ts";

/** A translated function-like region. */
export interface Translation {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Names of the stubs that the module imports. */
  readonly imports: string[];
  /** Virtual addresses of the code it was made from, as [start, end). */
  readonly ranges: ReadonlyArray<readonly [number, number]>;
  readonly instructions: number;
}

/**
 * Translates the region that starts at `entry`; undefined when not even its first instruction can be read. A lean unit leaves to the
 * interpreter for every access that the TLB doesn't serve at once; one that isn't is larger, and for code that does so often.
 */
export function translate(
  entry: number,
  fetch: Fetch,
  reached: (va: number) => boolean,
  maxPages: number,
  lean = true,
): Translation | undefined {
  const blocks = discover(entry, fetch, reached);
  if (!blocks.has(entry)) return undefined;
  const graph = buildGraph(entry, blocks);
  const module = new ModuleBuilder({ maxPages });
  const writer = new UnitWriter(module, graph, lean);
  writer.write();
  // Its function index is known once all imports are.
  for (const place of writer.selfCalls) writer.e.c.setCallee(place, module.importNames().length);
  module.add("f", UNIT, [...SCRATCH_LOCALS, ...writer.e.locals()], writer.e.c);
  let instructions = 0;
  for (const block of graph.order) instructions += block.instructions.length;
  return {
    bytes: module.finish(),
    imports: module.importNames(),
    ranges: rangesOf(graph.order),
    instructions,
  };
}

function rangesOf(blocks: Block[]): [number, number][] {
  const ranges: [number, number][] = [];
  for (const { pc, instructions } of [...blocks].sort((a, b) => a.pc - b.pc)) {
    const last = instructions[instructions.length - 1]!;
    const end = last.pc + last.decoded.length;
    const previous = ranges[ranges.length - 1];
    if (previous !== undefined && previous[1] >= pc) previous[1] = Math.max(previous[1], end);
    else ranges.push([pc, end]);
  }
  return ranges;
}

/** Writes the one function of a unit: fill, body, shared exit. */
class UnitWriter {
  readonly e: UnitEmitter;
  private readonly graph: Graph;
  private readonly flow: RegisterFlow;
  private readonly unitType: TypeIndex<Unit>;
  /** Label to branch to for a node: the top of a loop, or the end of a block that the node follows. */
  private readonly loopLabel: Label[] = [];
  private readonly blockLabel: Label[] = [];
  /** Places of calls of the unit itself. */
  readonly selfCalls: number[] = [];

  constructor(module: ModuleBuilder, graph: Graph, lean: boolean) {
    this.graph = graph;
    this.unitType = module.type(UNIT);
    const groups = new Map(lean ? graph.order.flatMap((block) => [...findGroups(block.instructions)]) : []);
    this.flow = new RegisterFlow(graph, (located) => looksUp(located, groups.get(located.pc)));
    this.e = lean ? new LeanEmitter(module, this.flow, groups) : new UnitEmitter(module, this.flow);
  }

  write(): void {
    const { e, unitType } = this;
    const { c, i32 } = e;
    e.fill(this.flow.neededOnEntry());
    c.block((toCode) => {
      e.toCode = toCode;
      c.block((toInterpreter) => {
        e.toInterpreter = toInterpreter;
        this.tree(0);
      });
      // The interpreter is index 0 of the table.
      c.returnCallIndirect(unitType, c.get(AREA), c.get(REGS), c.get(CODE), c.get(DEPTH), i32.const(0));
    });
    leaveWhenWanted(c, CODE);
    const code = () => lookUp(c, CODE, e.stub("find"));
    c.returnCallIndirect(unitType, c.get(AREA), c.get(REGS), c.get(CODE), c.get(DEPTH), code());
  }

  /**
   * Structured control flow from the dominator tree (Ramsey, "Beyond Relooper: Recursive Translation of Unstructured
   * Control Flow to Structured Control Flow", ICFP 2022).
   */
  private tree(node: number): void {
    const merges = this.graph.children[node]!.filter((child) => this.graph.merge[child]);
    if (!this.graph.loopHeader[node]) {
      this.within(node, merges, merges.length);
      return;
    }
    this.e.c.loop((start) => {
      this.loopLabel[node] = start;
      this.e.forget();
      this.poll(node);
      this.within(node, merges, merges.length);
    });
  }

  /** The node itself inside one block for each of the first `count` merge nodes that it dominates; the earliest one is innermost. */
  private within(node: number, merges: readonly number[], count: number): void {
    if (count === 0) {
      this.block(node);
      return;
    }
    const merge = merges[count - 1]!;
    this.e.c.block((end) => {
      this.blockLabel[merge] = end;
      this.within(node, merges, count - 1);
    });
    this.e.forget();
    this.tree(merge);
  }

  /** Leaves at the start of a block when the kernel wants the CPU. */
  private poll(node: number): void {
    const { e } = this;
    e.at = this.graph.order[node]!.pc;
    e.dirty = this.flow.dirtyAt(node);
    e.c.if(wanted(e.c), () => e.leave(EXIT.PREEMPTED));
  }

  private block(node: number): void {
    const { e } = this;
    const { instructions, end } = this.graph.order[node]!;
    e.dirty = this.flow.dirtyAt(node);
    let n = this.flow.firstOf(node);
    let condition: I32 | undefined;
    for (const located of instructions) {
      if (this.flow.storesFirst(n)) {
        e.storeDirty();
        e.dirty = NOTHING;
      }
      condition = this.instruction(located, n);
      e.dirty = this.flow.dirtyAfter(e.dirty, n++);
    }
    if (end.kind === "jump") this.edge(node, end.target);
    else if (end.kind === "branch") this.branch(node, condition!, end);
  }

  private branch(node: number, condition: I32, { taken, fall }: { taken: number; fall: number }): void {
    const { e } = this;
    // What is known of registers here is known on both ways, until they meet others.
    const { dirty, checked } = e;
    e.c.if(
      condition,
      () => {
        e.checked = new Set(checked);
        this.edge(node, taken);
      },
      () => {
        e.dirty = dirty;
        e.checked = checked;
        this.edge(node, fall);
      },
    );
    e.c.unreachable();
  }

  /** Control passes from `node` to the block at `pc`, wherever that is. */
  private edge(node: number, pc: number): void {
    const { e } = this;
    const { c } = e;
    const to = this.graph.node.get(pc);
    if (to === undefined) {
      e.jump(e.i32.const(pc | 0));
      return;
    }
    e.spill(this.flow.storedOnEdge(node, to));
    e.fill(this.flow.loadedOnEdge(node, to));
    if (to <= node) c.br(this.loopLabel[to]!);
    else if (this.graph.merge[to]) c.br(this.blockLabel[to]!);
    else this.tree(to);
  }

  /** The condition if it is a branch. */
  private instruction({ pc, decoded }: Located, n: number): I32 | undefined {
    const { e } = this;
    e.at = pc;
    e.decoded = decoded;
    if (decoded.index < 0) {
      e.leave(EXIT.ILLEGAL);
      return;
    }
    const row = INSTRUCTIONS[decoded.index]!;
    switch (row.flow) {
      case "branch":
        return row.condition(e);
      case "jal": {
        if (!isCall(decoded)) return;
        const target = (pc + decoded.imm) >>> 0;
        e.rd(() => e.nextPc());
        e.c.set(HOST, e.i32.const(target | 0));
        this.call(n, target === this.graph.order[0]!.pc);
        return;
      }
      case "jalr":
        this.indirect(n);
        return;
      case "fencei":
        row.emit(e);
        e.exit(e.i32.const(e.next() | 0));
        return;
      default:
        row.emit(e);
        e.retire();
        if (row.flow === "ecall") e.forget();
    }
  }

  private indirect(n: number): void {
    const { e } = this;
    const { c, i32, i64 } = e;
    const { rd, rs1 } = e.decoded;
    const isReturn = rd === 0 && (rs1 === 1 || rs1 === 5);
    c.set(Q0, i64.and(e.effectiveAddress(), -2));
    if (rd !== 0) {
      e.rd(() => e.nextPc());
      e.dirty = { x: e.dirty.x | (1 << rd), f: e.dirty.f };
    }
    c.if(c.unlikely(i32.wrapI64(i64.shrU(c.get(Q0), 32))), () =>
      e.exit(e.call("badJump", c.get(AREA), c.get(REGS), c.get(Q0))),
    );
    const target = i32.wrapI64(c.get(Q0));
    if (isReturn) e.exit(target);
    else if (rd === 0) e.jump(target);
    else {
      c.set(HOST, target);
      this.call(n);
    }
  }

  /**
   * Calls the guest function at HOST; goes on when it returns to the next instruction, else passes its result up. A call of this
   * very unit needs no look-up: while it runs, its code is what it was made from.
   */
  private call(n: number, recursive = false): void {
    const { e, unitType } = this;
    const { c, i32 } = e;
    e.dirty = { x: e.dirty.x | (1 << e.decoded.rd), f: e.dirty.f };
    e.storeDirty();
    c.if(c.unlikely(i32.eqz(c.get(DEPTH))), () => c.return(c.get(HOST)));
    const depth = () => i32.sub(c.get(DEPTH), 1);
    const code = () => lookUp(c, HOST, e.stub("find"));
    const result = recursive
      ? c.callLater(unitType, this.selfCalls, c.get(AREA), c.get(REGS), c.get(HOST), depth())
      : c.callIndirect(unitType, c.get(AREA), c.get(REGS), c.get(HOST), depth(), code());
    c.if(c.unlikely(i32.ne(c.tee(HOST, result), e.next() | 0)), () => c.return(c.get(HOST)));
    e.fill(this.flow.neededAfterCall(n));
    e.forget();
  }
}
