import { F, FIELDS, INSTRUCTIONS, X } from "../isa/decode.ts";
import { isCall, type Located } from "./discover.ts";
import { findLoops, type Graph, type Loop, successors } from "./graph.ts";

/** A set of guest registers: bit n of `x` is x(n), bit n of `f` is f(n). */
export interface Registers {
  readonly x: number;
  readonly f: number;
}

export const NOTHING: Registers = { x: 0, f: 0 };
const A0 = 1 << 10;

/** What an instruction is, as far as keeping registers in locals is concerned. */
const PLAIN = 0;
/** Everything may change; what is dirty is written first. */
const CALL = 1;
/** a0 changes; what is dirty is written first. */
const ECALL = 2;

/** One set for each block, or for each instruction. */
class Sets {
  readonly x: Int32Array;
  readonly f: Int32Array;

  constructor(n: number) {
    this.x = new Int32Array(n);
    this.f = new Int32Array(n);
  }

  at(n: number): Registers {
    return { x: this.x[n]!, f: this.f[n]! };
  }

  /** Whether that changed anything. */
  put(n: number, x: number, f: number): boolean {
    if (this.x[n] === x && this.f[n] === f) return false;
    this.x[n] = x;
    this.f[n] = f;
    return true;
  }
}

/**
 * Which guest registers are where in a unit.
 *
 * A register is *held* where its local has its value on every way there: it was written, or read from the register file at entry or
 * after a call because some path uses it. It is *dirty* from when it is written until it is stored, which calls, system calls and exits
 * do, and some look-ups (`storesFirst`): exits then have little to store, and V8, which allocates machine registers for
 * exits as for everything else, is done sooner.
 *
 * Where paths meet, what is dirty on one and not held on another is stored on the edge. A loop that dirties a register goes the other
 * way: it is read on the edges where it isn't held, so that the loop need not store it each time.
 *
 * Instructions are numbered in the order of the graph's blocks; what is known of each is in arrays, since this is where a
 * translation spends its time.
 */
export class RegisterFlow {
  /** Every register that needs a local. */
  readonly used: Registers;
  private readonly graph: Graph;
  /** Number of each block's first instruction, and of the one behind the last. */
  private readonly first: Int32Array;
  private readonly kind: Uint8Array;
  private readonly stores: Uint8Array;
  private readonly uses: Sets;
  private readonly defines: Sets;
  /** By block, where it begins. */
  private readonly live: Sets;
  private readonly held: Sets;
  private readonly dirty: Sets;
  /** By block, what a loop reads on its edges. */
  private readonly loaded: Sets;
  /** By block, where it ends. */
  private readonly heldOut: Sets;
  private readonly dirtyOut: Sets;
  /** After each call instruction, by its number. */
  private readonly neededAfter = new Map<number, Registers>();

  /** `looksUp` says whether an instruction looks a page up, and may leave the unit instead. */
  constructor(graph: Graph, looksUp: (located: Located) => boolean) {
    this.graph = graph;
    const blocks = graph.order.length;
    this.first = new Int32Array(blocks + 1);
    graph.order.forEach((block, i) => {
      this.first[i + 1] = this.first[i]! + block.instructions.length;
    });
    const total = this.first[blocks]!;
    this.kind = new Uint8Array(total);
    this.stores = new Uint8Array(total);
    this.uses = new Sets(total);
    this.defines = new Sets(total);
    this.live = new Sets(blocks);
    this.held = new Sets(blocks);
    this.dirty = new Sets(blocks);
    this.loaded = new Sets(blocks);
    this.heldOut = new Sets(blocks);
    this.dirtyOut = new Sets(blocks);
    let x = 0;
    let f = 0;
    let n = 0;
    for (const block of graph.order) {
      for (const located of block.instructions) {
        this.note(located, n);
        x |= this.uses.x[n]!;
        f |= this.uses.f[n]!;
        if (this.kind[n] !== ECALL) {
          x |= this.defines.x[n]!;
          f |= this.defines.f[n]!;
        }
        n++;
      }
    }
    this.used = { x, f };
    const loops = findLoops(graph).filter(({ body }) => ![...body].some((node) => this.calls(node)));
    const inLoop = new Set(loops.flatMap(({ body }) => [...body]));
    graph.order.forEach((block, i) => {
      if (inLoop.has(i)) return;
      block.instructions.forEach((located, at) => {
        if (looksUp(located)) this.stores[this.first[i]! + at] = 1;
      });
    });
    this.solveLive();
    this.solveDirty(() => -1);
    this.chooseLoads(loops);
    this.solveHeld();
    this.dirty.x.fill(0);
    this.dirty.f.fill(0);
    this.solveDirty((set, node) => this.held[set][node]!);
  }

  private note({ decoded }: Located, n: number): void {
    if (decoded.index < 0) return;
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
    this.uses.put(n, x & ~1, f);
    if (flow === "ecall") {
      this.kind[n] = ECALL;
      this.defines.x[n] = A0;
      return;
    }
    if (fields.rd === X) this.defines.x[n] = (1 << decoded.rd) & ~1;
    else if (fields.rd === F) this.defines.f[n] = 1 << decoded.rd;
    if ((flow === "jal" || flow === "jalr") && isCall(decoded)) this.kind[n] = CALL;
  }

  private calls(node: number): boolean {
    for (let n = this.first[node]!; n < this.first[node + 1]!; n++) if (this.kind[n] !== PLAIN) return true;
    return false;
  }

  /** Dirty registers where a block begins. */
  dirtyAt(node: number): Registers {
    return this.dirty.at(node);
  }

  /** Number of a block's first instruction. */
  firstOf(node: number): number {
    return this.first[node]!;
  }

  /** Whether instruction number n is to find nothing dirty. */
  storesFirst(n: number): boolean {
    return this.stores[n] === 1;
  }

  /** Dirty registers after instruction number n. */
  dirtyAfter(dirty: Registers, n: number): Registers {
    if (this.kind[n] !== PLAIN) return NOTHING;
    const x = dirty.x | this.defines.x[n]!;
    const f = dirty.f | this.defines.f[n]!;
    return x === dirty.x && f === dirty.f ? dirty : { x, f };
  }

  /** Registers to read where the unit is entered. */
  neededOnEntry(): Registers {
    return { x: this.live.x[0]! | this.loaded.x[0]!, f: this.live.f[0]! | this.loaded.f[0]! };
  }

  /** Registers to read again after the call that is instruction number n. */
  neededAfterCall(n: number): Registers {
    return this.neededAfter.get(n)!;
  }

  /** Registers to store where control passes from one block to another. */
  storedOnEdge(from: number, to: number): Registers {
    const { dirty, dirtyOut } = this;
    return { x: dirtyOut.x[from]! & ~dirty.x[to]!, f: dirtyOut.f[from]! & ~dirty.f[to]! };
  }

  /** Registers to read there. */
  loadedOnEdge(from: number, to: number): Registers {
    const { loaded, heldOut } = this;
    return { x: loaded.x[to]! & ~heldOut.x[from]!, f: loaded.f[to]! & ~heldOut.f[from]! };
  }

  /** Backward: a register is live when some path uses it before writing it. */
  private solveLive(): void {
    const { order } = this.graph;
    for (let changed = true; changed; ) {
      changed = false;
      for (let i = order.length - 1; i >= 0; i--) if (this.backwards(i)) changed = true;
    }
  }

  /** Works out what is live where a block begins from what is where its successors do; whether that has changed. */
  private backwards(i: number): boolean {
    const { graph, live, uses, defines } = this;
    let x = 0;
    let f = 0;
    for (const pc of successors(graph.order[i]!)) {
      const to = graph.node.get(pc);
      if (to === undefined) continue;
      x |= live.x[to]!;
      f |= live.f[to]!;
    }
    for (let n = this.first[i + 1]! - 1; n >= this.first[i]!; n--) {
      if (this.kind[n] === CALL) {
        this.neededAfter.set(n, { x, f });
        x = f = 0;
      } else {
        x &= ~defines.x[n]!;
        f &= ~defines.f[n]!;
      }
      x |= uses.x[n]!;
      f |= uses.f[n]!;
    }
    return live.put(i, x, f);
  }

  /** Forward: a register is dirty when it is on any path, as far as `most` allows where a block begins. */
  private solveDirty(most: (set: "x" | "f", node: number) => number): void {
    const { dirty, dirtyOut, defines } = this;
    const blocks = this.graph.order.length;
    for (let changed = true; changed; ) {
      changed = false;
      for (let i = 0; i < blocks; i++) {
        let x = 0;
        let f = 0;
        for (const from of this.graph.predecessors[i]!) {
          x |= dirtyOut.x[from]!;
          f |= dirtyOut.f[from]!;
        }
        x &= most("x", i);
        f &= most("f", i);
        dirty.put(i, x, f);
        for (let n = this.first[i]!; n < this.first[i + 1]!; n++) {
          if (this.stores[n] === 1) x = f = 0;
          if (this.kind[n] !== PLAIN) x = f = 0;
          else {
            x |= defines.x[n]!;
            f |= defines.f[n]!;
          }
        }
        if (dirtyOut.put(i, x, f)) changed = true;
      }
    }
  }

  /** A loop without calls holds what it dirties. */
  private chooseLoads(loops: readonly Loop[]): void {
    for (const { source, header } of loops) {
      this.loaded.x[header]! |= this.dirtyOut.x[source]!;
      this.loaded.f[header]! |= this.dirtyOut.f[source]!;
    }
  }

  /** Forward: a register is held when it is on all paths. */
  private solveHeld(): void {
    const { held, heldOut, loaded, live, defines } = this;
    const blocks = this.graph.order.length;
    heldOut.x.fill(-1);
    heldOut.f.fill(-1);
    for (let changed = true; changed; ) {
      changed = false;
      for (let i = 0; i < blocks; i++) {
        let x = i === 0 ? live.x[0]! : -1;
        let f = i === 0 ? live.f[0]! : -1;
        for (const from of this.graph.predecessors[i]!) {
          x &= heldOut.x[from]!;
          f &= heldOut.f[from]!;
        }
        x |= loaded.x[i]!;
        f |= loaded.f[i]!;
        held.put(i, x, f);
        for (let n = this.first[i]!; n < this.first[i + 1]!; n++) {
          if (this.kind[n] === CALL) {
            const needed = this.neededAfter.get(n)!;
            x = needed.x;
            f = needed.f;
          } else {
            x |= defines.x[n]!;
            f |= defines.f[n]!;
          }
        }
        if (heldOut.put(i, x, f)) changed = true;
      }
    }
  }
}
