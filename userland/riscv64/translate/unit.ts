import { EXIT, USER_REGS } from "../../../kernel/usermode.ts";
import { AREA, CODE, DEPTH, PC, Q0, REGS, SCRATCH_LOCALS } from "../emitter.ts";
import { INSTRUCTIONS } from "../isa/decode.ts";
import { lookUp } from "../jump.ts";
import { UNIT } from "../stubs.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import { CTL, I32, I64 } from "../wasm/opcodes.ts";
import { type Block, discover, type Fetch, isCall, type Located } from "./discover.ts";
import { NODE, TAIL, UnitEmitter } from "./emitter.ts";
import { buildGraph, type Graph } from "./graph.ts";

/** A translated function-like region. */
export interface Translation {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Names of the stubs that the module imports. */
  readonly imports: string[];
  /** Virtual addresses of the code it was made from, as [start, end). */
  readonly ranges: ReadonlyArray<readonly [number, number]>;
  readonly instructions: number;
}

/** Translates the region that starts at `entry`; undefined when not even its first instruction can be read. */
export function translate(entry: number, fetch: Fetch, maxPages: number): Translation | undefined {
  const blocks = discover(entry, fetch);
  if (!blocks.has(entry)) return undefined;
  const graph = buildGraph(entry, blocks);
  const module = new ModuleBuilder(maxPages);
  const writer = new UnitWriter(module, graph);
  writer.write();
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
  private readonly unitType: number;
  private tailLabel = 0;
  /** Label to branch to for a node: the top of a loop, or the end of a block that the node follows. */
  private readonly loopLabel: number[] = [];
  private readonly blockLabel: number[] = [];
  /** Label of the dispatch loop of an irreducible unit. */
  private dispatch = 0;

  constructor(module: ModuleBuilder, graph: Graph) {
    this.graph = graph;
    this.unitType = module.type(UNIT);
    this.e = new UnitEmitter(module, graph.order);
  }

  write(): void {
    const { e } = this;
    const c = e.c;
    e.loadDeltas();
    e.fill();
    e.exitLabel = c.block();
    this.tailLabel = c.block();
    e.illegalLabel = c.block();
    e.faultLabel = c.block();
    if (this.graph.reducible) this.tree(0);
    else this.dispatched();
    for (const reason of [EXIT.FAULT, EXIT.ILLEGAL]) {
      c.end(); // PC holds the pc
      c.get(REGS);
      c.get(PC);
      c.op(I64.EXTEND_I32_U);
      c.memory(I64.STORE, USER_REGS.PC);
      c.i32(reason * 2 + 1);
      e.exit();
    }
    c.end(); // tail: CODE holds the next pc
    c.i32(1);
    c.set(TAIL);
    c.end(); // exit: CODE holds the result
    e.spill();
    c.get(TAIL);
    c.if();
    c.get(AREA);
    c.memory(I32.LOAD, 0);
    c.unlikely();
    c.if();
    c.get(REGS);
    c.get(CODE);
    c.op(I64.EXTEND_I32_U);
    c.memory(I64.STORE, USER_REGS.PC);
    c.i32(EXIT.PREEMPTED * 2 + 1);
    c.op(CTL.RETURN);
    c.end();
    c.get(AREA);
    c.get(REGS);
    c.get(CODE);
    c.get(DEPTH);
    lookUp(c, CODE, e.stub("find"));
    c.callIndirect(CTL.RETURN_CALL_INDIRECT, this.unitType);
    c.end();
    c.get(CODE);
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
    this.poll(this.graph.order[node]!.pc);
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
      this.tree(merge);
    }
  }

  /** Irreducible: every block is a case of one switch in a loop. */
  private dispatched(): void {
    const c = this.e.c;
    const nodes = this.graph.order.length;
    this.dispatch = c.loop();
    const labels: number[] = [];
    for (let node = nodes - 1; node >= 0; node--) labels[node] = c.block();
    c.get(NODE);
    c.brTable(labels.slice(0, nodes - 1), labels[nodes - 1]!);
    for (let node = 0; node < nodes; node++) {
      c.end();
      if (this.graph.loopHeader[node]) this.poll(this.graph.order[node]!.pc);
      this.block(node);
    }
    c.end();
    c.op(CTL.UNREACHABLE);
  }

  /** Leaves when the kernel wants the CPU. */
  private poll(pc: number): void {
    const { e } = this;
    const c = e.c;
    c.get(AREA);
    c.memory(I32.LOAD, 0);
    c.unlikely();
    c.if();
    c.get(REGS);
    c.i64(pc);
    c.memory(I64.STORE, USER_REGS.PC);
    c.i32(EXIT.PREEMPTED * 2 + 1);
    e.exit();
    c.end();
  }

  private block(node: number): void {
    const { e } = this;
    const { instructions, end } = this.graph.order[node]!;
    e.forget();
    for (const located of instructions) this.instruction(located);
    if (end.kind === "jump") this.edge(node, end.target);
    else if (end.kind === "branch") {
      e.c.if();
      this.edge(node, end.taken);
      e.c.else();
      this.edge(node, end.fall);
      e.c.end();
      e.c.op(CTL.UNREACHABLE);
    }
  }

  /** Control passes from `node` to the block at `pc`, wherever that is. */
  private edge(node: number, pc: number): void {
    const c = this.e.c;
    const to = this.graph.node.get(pc);
    if (to === undefined) {
      c.i32(pc | 0);
      c.set(CODE);
      c.br(this.tailLabel);
    } else if (!this.graph.reducible) {
      c.i32(to);
      c.set(NODE);
      c.br(this.dispatch);
    } else if (to <= node) c.br(this.loopLabel[to]!);
    else if (this.graph.merge[to]) c.br(this.blockLabel[to]!);
    else this.tree(to);
  }

  private instruction({ pc, decoded }: Located): void {
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
        e.c.set(CODE);
        this.call();
        return;
      case "jalr":
        this.indirect(decoded.rd === 0 && (decoded.rs1 === 1 || decoded.rs1 === 5));
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

  private indirect(isReturn: boolean): void {
    const { e } = this;
    const c = e.c;
    e.effectiveAddress();
    c.i64(-2);
    c.op(I64.AND);
    c.set(Q0);
    if (e.decoded.rd !== 0) e.rd(() => e.nextPc());
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
    c.set(CODE);
    if (e.decoded.rd === 0) c.br(this.tailLabel);
    else this.call();
  }

  /** Calls the guest function at CODE; goes on when it returns to the next instruction, else passes its result up. */
  private call(): void {
    const { e } = this;
    const c = e.c;
    c.get(DEPTH);
    c.op(I32.EQZ);
    c.unlikely();
    c.brIf(e.exitLabel);
    e.spill();
    c.get(AREA);
    c.get(REGS);
    c.get(CODE);
    c.get(DEPTH);
    c.i32(1);
    c.op(I32.SUB);
    lookUp(c, CODE, e.stub("find"));
    c.callIndirect(CTL.CALL_INDIRECT, this.unitType);
    c.tee(CODE);
    c.i32(e.next() | 0);
    c.op(I32.NE);
    c.unlikely();
    c.if();
    c.get(CODE);
    c.op(CTL.RETURN);
    c.end();
    e.fill();
    e.forget();
  }
}
