import { F, FIELDS, INSTRUCTIONS, X } from "../isa/decode.ts";
import { isCall, type Located, MAX_INSTRUCTIONS } from "./discover.ts";
import { type Graph, successors } from "./graph.ts";

/** A set of guest registers: bit n of `x` is x(n), bit n of `f` is f(n). */
export interface Registers {
  readonly x: number;
  readonly f: number;
}

const NOTHING: Registers = { x: 0, f: 0 };
const A0 = 1 << 10;

/** What an instruction is, as far as keeping registers in locals is concerned. */
const PLAIN = 0;
/** Everything may change; what is dirty is written first. */
const CALL = 1;
/** a0 changes; what is dirty is written first. */
const ECALL = 2;

/** Opcodes that can't fault or leave. */
const PURE = new Set([0x13, 0x1b, 0x33, 0x3b, 0x37, 0x17, 0x63, 0x6f, 0x0f]);

/** By index in INSTRUCTIONS: whether it may leave the unit before it has written its destination. */
const MAY_LEAVE: readonly boolean[] = INSTRUCTIONS.map((row) => !PURE.has(row.match & 0x7f));

/**
 * Which guest registers are where in a unit. A register's local is right where it is needed: it is read from the
 * register file on entry, and again after a call, if some path uses it before writing it. It is dirty from when it is written
 * until the next call, system call or exit, which store it.
 *
 * Exits share one chain of stores: an exit at level n stores the first n registers of `chain` (so it needs them, too).
 *
 * Instructions are numbered in the order of the graph's blocks; what is known of each is in arrays, since this is where a
 * translation spends its time.
 */
export class RegisterFlow {
  /** Every register that needs a local. */
  readonly used: Registers;
  /** Written registers in the order in which the unit first does. */
  readonly chain: Registers[] = [];
  private readonly graph: Graph;
  /** Number of each block's first instruction, and of the one behind the last. */
  private readonly first: Int32Array;
  private readonly kind: Uint8Array;
  private readonly leaves: Uint8Array;
  private readonly usesX: Int32Array;
  private readonly usesF: Int32Array;
  private readonly definesX: Int32Array;
  private readonly definesF: Int32Array;
  /** The first n registers of the chain. */
  private readonly prefixX: number[] = [0];
  private readonly prefixF: number[] = [0];
  /** By block: dirty registers where it begins, and registers needed there. */
  private readonly dirtyX: Int32Array;
  private readonly dirtyF: Int32Array;
  private readonly neededX: Int32Array;
  private readonly neededF: Int32Array;
  /** After each call instruction, by its number. */
  private readonly neededAfter = new Map<number, Registers>();

  constructor(graph: Graph) {
    this.graph = graph;
    const blocks = graph.order.length;
    this.first = new Int32Array(blocks + 1);
    graph.order.forEach((block, i) => {
      this.first[i + 1] = this.first[i]! + block.instructions.length;
    });
    const total = this.first[blocks]!;
    this.kind = new Uint8Array(total);
    this.leaves = new Uint8Array(total);
    this.usesX = new Int32Array(total);
    this.usesF = new Int32Array(total);
    this.definesX = new Int32Array(total);
    this.definesF = new Int32Array(total);
    this.dirtyX = new Int32Array(blocks);
    this.dirtyF = new Int32Array(blocks);
    this.neededX = new Int32Array(blocks);
    this.neededF = new Int32Array(blocks);
    let x = 0;
    let f = 0;
    let n = 0;
    for (const block of graph.order) {
      for (const located of block.instructions) {
        this.note(located, n);
        x |= this.usesX[n]!;
        f |= this.usesF[n]!;
        if (this.kind[n] !== ECALL) {
          x |= this.definesX[n]!;
          f |= this.definesF[n]!;
          this.extendChain(this.definesX[n]!, this.definesF[n]!);
        }
        n++;
      }
    }
    this.used = { x, f };
    this.solveDirty();
    this.solveNeeded();
  }

  private note({ decoded }: Located, n: number): void {
    if (decoded.index < 0) {
      this.leaves[n] = 1;
      return;
    }
    const fields = FIELDS[decoded.index]!;
    const { flow } = INSTRUCTIONS[decoded.index]!;
    const bit1 = 1 << decoded.rs1;
    const bit2 = 1 << decoded.rs2;
    let x = 0;
    let f = 0;
    if (fields.rs1 === X) x |= bit1;
    else if (fields.rs1 === F) f |= bit1;
    if (fields.rs2 === X) x |= bit2;
    else if (fields.rs2 === F) f |= bit2;
    if (fields.rs3 === F) f |= 1 << decoded.rs3;
    this.usesX[n] = x & ~1;
    this.usesF[n] = f;
    if (flow === "ecall") {
      this.kind[n] = ECALL;
      this.definesX[n] = A0;
      return;
    }
    if (fields.rd === X) this.definesX[n] = (1 << decoded.rd) & ~1;
    else if (fields.rd === F) this.definesF[n] = 1 << decoded.rd;
    if ((flow === "jal" || flow === "jalr") && isCall(decoded)) this.kind[n] = CALL;
    else if (MAY_LEAVE[decoded.index]!) this.leaves[n] = 1;
  }

  private extendChain(x: number, f: number): void {
    const last = this.chain.length;
    const allX = this.prefixX[last]!;
    const allF = this.prefixF[last]!;
    if ((x & ~allX) === 0 && (f & ~allF) === 0) return;
    this.chain.push({ x, f });
    this.prefixX.push(allX | x);
    this.prefixF.push(allF | f);
  }

  /** Dirty registers where a block begins. */
  dirtyAt(node: number): Registers {
    return { x: this.dirtyX[node]!, f: this.dirtyF[node]! };
  }

  /** Number of a block's first instruction. */
  firstOf(node: number): number {
    return this.first[node]!;
  }

  /** Dirty registers after instruction number n. */
  dirtyAfter(dirty: Registers, n: number): Registers {
    if (this.kind[n] !== PLAIN) return NOTHING;
    const x = dirty.x | this.definesX[n]!;
    const f = dirty.f | this.definesF[n]!;
    return x === dirty.x && f === dirty.f ? dirty : { x, f };
  }

  /** Registers to read where the unit is entered. */
  neededOnEntry(): Registers {
    return { x: this.neededX[0]!, f: this.neededF[0]! };
  }

  /** Registers to read again after the call that is instruction number n. */
  neededAfterCall(n: number): Registers {
    return this.neededAfter.get(n)!;
  }

  /** How many registers of the chain an exit with these dirty ones has to store. */
  level(dirty: Registers): number {
    return this.levelOf(dirty.x, dirty.f);
  }

  private levelOf(x: number, f: number): number {
    let level = this.chain.length;
    // A prefix is enough when it holds all that is dirty.
    while (level > 0 && (x & ~this.prefixX[level - 1]!) === 0 && (f & ~this.prefixF[level - 1]!) === 0)
      level--;
    return level;
  }

  /** Forward: a register is dirty when it is on any path. */
  private solveDirty(): void {
    const { order, node } = this.graph;
    const { first, dirtyX, dirtyF } = this;
    // What a block adds to the dirty registers, and whether it keeps those that come in.
    const keeps = new Uint8Array(order.length);
    const addsX = new Int32Array(order.length);
    const addsF = new Int32Array(order.length);
    for (let i = 0; i < order.length; i++) {
      let [keep, x, f] = [1, 0, 0];
      for (let n = first[i]!; n < first[i + 1]!; n++) {
        if (this.kind[n] !== PLAIN) keep = x = f = 0;
        else {
          x |= this.definesX[n]!;
          f |= this.definesF[n]!;
        }
      }
      keeps[i] = keep;
      addsX[i] = x;
      addsF[i] = f;
    }
    for (let changed = true; changed; ) {
      changed = false;
      for (let i = 0; i < order.length; i++) {
        const x = addsX[i]! | (keeps[i] === 1 ? dirtyX[i]! : 0);
        const f = addsF[i]! | (keeps[i] === 1 ? dirtyF[i]! : 0);
        for (const pc of successors(order[i]!)) {
          const to = node.get(pc);
          if (to === undefined || ((x & ~dirtyX[to]!) === 0 && (f & ~dirtyF[to]!) === 0)) continue;
          dirtyX[to]! |= x;
          dirtyF[to]! |= f;
          changed = true;
        }
      }
    }
  }

  /** Backward: a register is needed when it is used, or stored by an exit, on some path before it is written or read again. */
  private solveNeeded(): void {
    const { order } = this.graph;
    for (let changed = true; changed; ) {
      changed = false;
      for (let i = order.length - 1; i >= 0; i--) if (this.backwards(i)) changed = true;
    }
  }

  /** Works a block's needs out from those of its successors; whether they have changed. */
  private backwards(i: number): boolean {
    const { graph, first, prefixX, prefixF } = this;
    const from = first[i]!;
    const end = first[i + 1]!;
    const statesX = scratchX;
    const statesF = scratchF;
    let dirtyX = this.dirtyX[i]!;
    let dirtyF = this.dirtyF[i]!;
    for (let n = from; n < end; n++) {
      statesX[n - from] = dirtyX;
      statesF[n - from] = dirtyF;
      if (this.kind[n] !== PLAIN) dirtyX = dirtyF = 0;
      else {
        dirtyX |= this.definesX[n]!;
        dirtyF |= this.definesF[n]!;
      }
    }
    let x = 0;
    let f = 0;
    for (const pc of successors(graph.order[i]!)) {
      const to = graph.node.get(pc);
      const level = to === undefined ? this.levelOf(dirtyX, dirtyF) : 0;
      x |= to === undefined ? prefixX[level]! : this.neededX[to]!;
      f |= to === undefined ? prefixF[level]! : this.neededF[to]!;
    }
    for (let n = end - 1; n >= from; n--) {
      const beforeX = statesX[n - from]!;
      const beforeF = statesF[n - from]!;
      const kind = this.kind[n]!;
      if (kind === CALL) {
        this.neededAfter.set(n, { x, f });
        // Stored by the call itself, or by the exit in its stead; the link is written first.
        const link = this.definesX[n]!;
        const level = this.levelOf(beforeX | link, beforeF);
        x = prefixX[level]! & ~link;
        f = prefixF[level]!;
      } else {
        x &= ~this.definesX[n]!;
        f &= ~this.definesF[n]!;
        if (kind === ECALL) {
          x |= beforeX;
          f |= beforeF;
        }
        if (this.leaves[n] === 1) {
          const level = this.levelOf(beforeX, beforeF);
          x |= prefixX[level]!;
          f |= prefixF[level]!;
        }
      }
      x |= this.usesX[n]!;
      f |= this.usesF[n]!;
    }
    if (graph.loopHeader[i]) {
      // It may be left at its poll.
      const level = this.levelOf(this.dirtyX[i]!, this.dirtyF[i]!);
      x |= prefixX[level]!;
      f |= prefixF[level]!;
    }
    if (x === this.neededX[i] && f === this.neededF[i]) return false;
    this.neededX[i] = x;
    this.neededF[i] = f;
    return true;
  }
}

/** Dirty registers before each instruction of the block in hand. */
const scratchX = new Int32Array(MAX_INSTRUCTIONS);
const scratchF = new Int32Array(MAX_INSTRUCTIONS);
