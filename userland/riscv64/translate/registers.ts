import { F, FIELDS, INSTRUCTIONS, X } from "../isa/decode.ts";
import { isCall, type Located } from "./discover.ts";
import { type Graph, successors } from "./graph.ts";

/** A set of guest registers: bit n of `x` is x(n), bit n of `f` is f(n). */
export interface Registers {
  readonly x: number;
  readonly f: number;
}

const NOTHING: Registers = { x: 0, f: 0 };
const A0 = 1 << 10;

const or = (a: Registers, b: Registers): Registers => ({ x: a.x | b.x, f: a.f | b.f });
const without = (a: Registers, b: Registers): Registers => ({ x: a.x & ~b.x, f: a.f & ~b.f });
const equal = (a: Registers, b: Registers): boolean => a.x === b.x && a.f === b.f;
export const isEmpty = (a: Registers): boolean => (a.x | a.f) === 0;

/** What an instruction does to registers, as far as keeping them in locals is concerned. */
interface Effect {
  readonly uses: Registers;
  readonly defines: Registers;
  /** "call": everything may change; "ecall": a0 does; both write what is dirty first. */
  readonly kind: "plain" | "call" | "ecall";
  /** It may leave the unit before it has written its destination, or after (a jump that links). */
  readonly exits: "no" | "before" | "after";
}

/** Opcodes that can't fault or leave. */
const PURE = new Set([0x13, 0x1b, 0x33, 0x3b, 0x37, 0x17, 0x63, 0x6f, 0x0f]);

function effectOf({ decoded }: Located): Effect {
  if (decoded.index < 0) return { uses: NOTHING, defines: NOTHING, kind: "plain", exits: "before" };
  const fields = FIELDS[decoded.index]!;
  const row = INSTRUCTIONS[decoded.index]!;
  const one = (file: number, n: number): Registers =>
    file === X ? { x: n === 0 ? 0 : 1 << n, f: 0 } : file === F ? { x: 0, f: 1 << n } : NOTHING;
  const uses = or(
    one(fields.rs1, decoded.rs1),
    or(one(fields.rs2, decoded.rs2), one(fields.rs3, decoded.rs3)),
  );
  const defines = one(fields.rd, decoded.rd);
  const jumps = row.flow === "jal" || row.flow === "jalr";
  if (jumps && isCall(decoded)) return { uses, defines, kind: "call", exits: "after" };
  if (row.flow === "ecall") return { uses, defines: { x: A0, f: 0 }, kind: "ecall", exits: "no" };
  return { uses, defines, kind: "plain", exits: PURE.has(row.match & 0x7f) ? "no" : "before" };
}

/**
 * Which guest registers are where in a unit. A register's local is right where it is needed: it is read from the
 * register file on entry, and again after a call, if some path uses it before writing it. It is dirty from when it is written
 * until the next call, system call or exit, which store it.
 *
 * Exits share one chain of stores: an exit at level n stores the first n registers of `chain` (so it needs them, too).
 */
export class RegisterFlow {
  /** Every register that needs a local. */
  readonly used: Registers;
  /** Written registers in the order in which the unit first does. */
  readonly chain: readonly Registers[];
  private readonly graph: Graph;
  private readonly effects: Effect[][];
  private readonly dirtyIn: Registers[];
  private readonly neededIn: Registers[];
  /** After each call instruction, by pc. */
  private readonly neededAfter = new Map<number, Registers>();
  private readonly prefixes: Registers[] = [NOTHING];

  constructor(graph: Graph) {
    this.graph = graph;
    this.effects = graph.order.map((block) => block.instructions.map(effectOf));
    let used = NOTHING;
    let written = NOTHING;
    const chain: Registers[] = [];
    for (const { uses, defines, kind } of this.effects.flat()) {
      used = or(used, uses);
      if (kind === "ecall") continue;
      used = or(used, defines);
      if (isEmpty(without(defines, written))) continue;
      written = or(written, defines);
      chain.push(defines);
      this.prefixes.push(written);
    }
    this.used = used;
    this.chain = chain;
    this.dirtyIn = this.solveDirty();
    this.neededIn = this.solveNeeded();
  }

  /** Dirty registers where a block begins. */
  dirtyAt(node: number): Registers {
    return this.dirtyIn[node]!;
  }

  /** Dirty registers after an instruction. */
  dirtyAfter(dirty: Registers, located: Located): Registers {
    return dirtyAfter(dirty, effectOf(located));
  }

  /** Registers to read where the unit is entered. */
  neededOnEntry(): Registers {
    return this.neededIn[0]!;
  }

  /** Registers to read again after the call at `pc`. */
  neededAfterCall(pc: number): Registers {
    return this.neededAfter.get(pc)!;
  }

  /** How many registers of the chain an exit with these dirty ones has to store. */
  level(dirty: Registers): number {
    let level = this.chain.length;
    while (
      level > 0 &&
      (this.chain[level - 1]!.x & dirty.x) === 0 &&
      (this.chain[level - 1]!.f & dirty.f) === 0
    )
      level--;
    return level;
  }

  private exitNeeds(dirty: Registers): Registers {
    return this.prefixes[this.level(dirty)]!;
  }

  /** Forward: a register is dirty when it is on any path. */
  private solveDirty(): Registers[] {
    const { order, node } = this.graph;
    const dirty = order.map(() => NOTHING);
    for (let changed = true; changed; ) {
      changed = false;
      order.forEach((block, i) => {
        let out = dirty[i]!;
        for (const effect of this.effects[i]!) out = dirtyAfter(out, effect);
        for (const pc of successors(block)) {
          const to = node.get(pc);
          if (to === undefined) continue;
          const joined = or(dirty[to]!, out);
          if (equal(joined, dirty[to]!)) continue;
          dirty[to] = joined;
          changed = true;
        }
      });
    }
    return dirty;
  }

  /** Backward: a register is needed when it is used, or stored by an exit, on some path before it is written or read again. */
  private solveNeeded(): Registers[] {
    const { order, node } = this.graph;
    const needed = order.map(() => NOTHING);
    for (let changed = true; changed; ) {
      changed = false;
      for (let i = order.length - 1; i >= 0; i--) {
        const states = [this.dirtyIn[i]!];
        for (const effect of this.effects[i]!) states.push(dirtyAfter(states[states.length - 1]!, effect));
        let out = NOTHING;
        for (const pc of successors(order[i]!)) {
          const to = node.get(pc);
          out = or(out, to === undefined ? this.exitNeeds(states[states.length - 1]!) : needed[to]!);
        }
        const before = this.backwards(i, states, out);
        if (equal(before, needed[i]!)) continue;
        needed[i] = before;
        changed = true;
      }
    }
    return needed;
  }

  private backwards(i: number, states: Registers[], out: Registers): Registers {
    const block = this.graph.order[i]!;
    let needed = out;
    for (let k = block.instructions.length - 1; k >= 0; k--) {
      const { uses, defines, kind, exits } = this.effects[i]![k]!;
      const dirty = states[k]!;
      if (kind === "call") {
        this.neededAfter.set(block.instructions[k]!.pc, needed);
        // Stored by the call itself, or by the exit in its stead; the link is written first.
        needed = without(this.exitNeeds(or(dirty, defines)), defines);
      } else {
        needed = without(needed, defines);
        if (kind === "ecall") needed = or(needed, dirty);
        if (exits === "before") needed = or(needed, this.exitNeeds(dirty));
      }
      needed = or(needed, uses);
    }
    // A loop header may be left at its poll.
    return this.graph.loopHeader[i] ? or(needed, this.exitNeeds(states[0]!)) : needed;
  }
}

function dirtyAfter(dirty: Registers, { kind, defines }: Effect): Registers {
  return kind === "plain" ? or(dirty, defines) : NOTHING;
}
