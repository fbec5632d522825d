import { EXIT } from "../../../kernel/usermode.ts";
import { AREA, CODE, DEPTH, HOST, Q0, REGS, SCRATCH_LOCALS } from "../emitter.ts";
import { INSTRUCTIONS } from "../isa/decode.ts";
import { leaveWhenWanted, lookUp } from "../jump.ts";
import { UNIT } from "../stubs.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import { CTL, I32, I64 } from "../wasm/opcodes.ts";
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
  const module = new ModuleBuilder(maxPages);
  const writer = new UnitWriter(module, graph, lean);
  writer.write();
  // Its function index is known once all imports are.
  for (const place of writer.selfCalls) writer.e.c.setCallee(place, module.importNames().length);
  module.function("f", UNIT, [...SCRATCH_LOCALS, ...writer.e.locals()], writer.e.c);
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
  private readonly unitType: number;
  /** Label to branch to for a node: the top of a loop, or the end of a block that the node follows. */
  private readonly loopLabel: number[] = [];
  private readonly blockLabel: number[] = [];
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
    const { e } = this;
    const c = e.c;
    e.fill(this.flow.neededOnEntry());
    e.toCode = c.block();
    e.toInterpreter = c.block();
    this.tree(0);
    c.end(); // toInterpreter: index 0 of the table
    c.get(AREA);
    c.get(REGS);
    c.get(CODE);
    c.get(DEPTH);
    c.i32(0);
    c.callIndirect(CTL.RETURN_CALL_INDIRECT, this.unitType);
    c.end(); // toCode
    leaveWhenWanted(c, CODE);
    c.get(AREA);
    c.get(REGS);
    c.get(CODE);
    c.get(DEPTH);
    lookUp(c, CODE, e.stub("find"));
    c.callIndirect(CTL.RETURN_CALL_INDIRECT, this.unitType);
  }

  /**
   * Structured control flow from the dominator tree (Ramsey, "Beyond Relooper: Recursive Translation of Unstructured
   * Control Flow to Structured Control Flow", ICFP 2022).
   */
  private tree(node: number): void {
    const c = this.e.c;
    const merges = this.graph.children[node]!.filter((child) => this.graph.merge[child]);
    if (!this.graph.loopHeader[node]) {
      this.within(node, merges);
      return;
    }
    this.loopLabel[node] = c.loop();
    this.e.forget();
    this.poll(node);
    this.within(node, merges);
    c.end();
  }

  /** The node itself inside one block for each merge node that it dominates; the earliest one is innermost. */
  private within(node: number, merges: number[]): void {
    const c = this.e.c;
    for (let i = merges.length - 1; i >= 0; i--) this.blockLabel[merges[i]!] = c.block();
    this.block(node);
    for (const merge of merges) {
      c.end();
      this.e.forget();
      this.tree(merge);
    }
  }

  /** Leaves at the start of a block when the kernel wants the CPU. */
  private poll(node: number): void {
    const { e } = this;
    const c = e.c;
    e.at = this.graph.order[node]!.pc;
    e.dirty = this.flow.dirtyAt(node);
    c.get(AREA);
    c.memory(I32.LOAD, 0);
    c.unlikely();
    c.if();
    e.leave(EXIT.PREEMPTED);
    c.end();
  }

  private block(node: number): void {
    const { e } = this;
    const { instructions, end } = this.graph.order[node]!;
    e.dirty = this.flow.dirtyAt(node);
    let n = this.flow.firstOf(node);
    for (const located of instructions) {
      if (this.flow.storesFirst(n)) {
        e.store();
        e.dirty = NOTHING;
      }
      this.instruction(located, n);
      e.dirty = this.flow.dirtyAfter(e.dirty, n++);
    }
    if (end.kind === "jump") this.edge(node, end.target);
    else if (end.kind === "branch") {
      // What is known of registers here is known on both ways, until they meet others.
      const { dirty, checked } = e;
      e.c.if();
      e.checked = new Set(checked);
      this.edge(node, end.taken);
      e.c.else();
      e.dirty = dirty;
      e.checked = checked;
      this.edge(node, end.fall);
      e.c.end();
      e.c.op(CTL.UNREACHABLE);
    }
  }

  /** Control passes from `node` to the block at `pc`, wherever that is. */
  private edge(node: number, pc: number): void {
    const { e } = this;
    const c = e.c;
    const to = this.graph.node.get(pc);
    if (to === undefined) {
      c.i32(pc | 0);
      e.jump();
      return;
    }
    e.spill(this.flow.storedOnEdge(node, to));
    e.fill(this.flow.loadedOnEdge(node, to));
    if (to <= node) c.br(this.loopLabel[to]!);
    else if (this.graph.merge[to]) c.br(this.blockLabel[to]!);
    else this.tree(to);
  }

  private instruction({ pc, decoded }: Located, n: number): void {
    const { e } = this;
    e.at = pc;
    e.decoded = decoded;
    if (decoded.index < 0) {
      e.leave(EXIT.ILLEGAL);
      return;
    }
    const row = INSTRUCTIONS[decoded.index]!;
    switch (row.flow) {
      case "jal":
        if (!isCall(decoded)) return;
        e.rd(() => e.nextPc());
        e.c.i32(((pc + decoded.imm) >>> 0) | 0);
        e.c.set(HOST);
        this.call(n, (pc + decoded.imm) >>> 0 === this.graph.order[0]!.pc);
        return;
      case "jalr":
        this.indirect(n);
        return;
      case "fencei":
        row.emit(e);
        e.c.i32(e.next() | 0);
        e.exit();
        return;
      default:
        row.emit(e);
        e.retire();
        if (row.flow === "ecall") e.forget();
    }
  }

  private indirect(n: number): void {
    const { e } = this;
    const isReturn = e.decoded.rd === 0 && (e.decoded.rs1 === 1 || e.decoded.rs1 === 5);
    const c = e.c;
    e.effectiveAddress();
    c.i64(-2);
    c.op(I64.AND);
    c.set(Q0);
    if (e.decoded.rd !== 0) {
      e.rd(() => e.nextPc());
      e.dirty = { x: e.dirty.x | (1 << e.decoded.rd), f: e.dirty.f };
    }
    c.get(Q0);
    c.i64(32);
    c.op(I64.SHR_U, I32.WRAP_I64);
    c.unlikely();
    c.if();
    c.get(AREA);
    c.get(REGS);
    c.get(Q0);
    e.call("badJump");
    e.exit();
    c.end();
    c.get(Q0);
    c.op(I32.WRAP_I64);
    if (isReturn) {
      e.exit();
      return;
    }
    if (e.decoded.rd === 0) {
      e.jump();
      return;
    }
    c.set(HOST);
    this.call(n);
  }

  /**
   * Calls the guest function at HOST; goes on when it returns to the next instruction, else passes its result up. A call of this
   * very unit needs no look-up: while it runs, its code is what it was made from.
   */
  private call(n: number, recursive = false): void {
    const { e } = this;
    const c = e.c;
    e.dirty = { x: e.dirty.x | (1 << e.decoded.rd), f: e.dirty.f };
    e.store();
    c.get(DEPTH);
    c.op(I32.EQZ);
    c.unlikely();
    c.if();
    c.get(HOST);
    c.op(CTL.RETURN);
    c.end();
    c.get(AREA);
    c.get(REGS);
    c.get(HOST);
    c.get(DEPTH);
    c.i32(1);
    c.op(I32.SUB);
    if (recursive) this.selfCalls.push(c.callLater());
    else {
      lookUp(c, HOST, e.stub("find"));
      c.callIndirect(CTL.CALL_INDIRECT, this.unitType);
    }
    c.tee(HOST);
    c.i32(e.next() | 0);
    c.op(I32.NE);
    c.unlikely();
    c.if();
    c.get(HOST);
    c.op(CTL.RETURN);
    c.end();
    e.fill(this.flow.neededAfterCall(n));
    e.forget();
  }
}
