import { type Decoded, decode, FIELDS, INSTRUCTIONS, X } from "../isa/decode.ts";

/** An instruction where it is. */
export interface Located {
  readonly pc: number;
  readonly decoded: Decoded;
}

/** Where control goes at the end of a block. */
export type End =
  | { readonly kind: "branch"; readonly taken: number; readonly fall: number }
  | { readonly kind: "jump"; readonly target: number }
  /** Leaves the unit by itself: jalr, ebreak, fence.i, an illegal instruction. */
  | { readonly kind: "leave" };

/** Straight-line code: one entry, one end. Targets are pcs, of blocks in this unit or outside it. */
export interface Block {
  readonly pc: number;
  readonly instructions: Located[];
  readonly end: End;
}

/** Instructions in one unit: keeps functions near 15 KB of wasm; V8's compile time grows faster than its input. */
export const MAX_INSTRUCTIONS = 384;

/** Reads a halfword of code, or returns -1 when there is none to be had. */
export type Fetch = (va: number) => number;

/** The instruction at pc, or undefined when its bytes can't be read. */
export function decodeAt(fetch: Fetch, pc: number): Decoded | undefined {
  const low = fetch(pc);
  if (low < 0) return undefined;
  if ((low & 3) !== 3) return decode(low);
  const high = fetch((pc + 2) >>> 0);
  if (high < 0) return undefined;
  return decode(low | (high << 16));
}

/** A direct jump that is a call: it links, so control is expected back. */
export function isCall(decoded: Decoded): boolean {
  return FIELDS[decoded.index]!.rd === X && decoded.rd !== 0;
}

function endOf(located: Located): End | undefined {
  const { pc, decoded } = located;
  if (decoded.index < 0) return { kind: "leave" };
  const fall = (pc + decoded.length) >>> 0;
  const target = (pc + decoded.imm) >>> 0;
  switch (INSTRUCTIONS[decoded.index]!.flow) {
    case "branch":
      return { kind: "branch", taken: target, fall };
    case "jal":
      return isCall(decoded) ? undefined : { kind: "jump", target };
    case "jalr":
      return isCall(decoded) ? undefined : { kind: "leave" };
    case "ebreak":
    case "fencei":
      return { kind: "leave" };
    default:
      return undefined;
  }
}

/**
 * Finds the function-like region that starts at `entry`: everything reachable by direct branches, calls stepped over,
 * until MAX_INSTRUCTIONS; branches to what was never reached leave the region. Returns its blocks by pc, the entry's first; empty when nothing could be read.
 */
export function discover(entry: number, fetch: Fetch, reached: (va: number) => boolean): Map<number, Block> {
  const found = new Map<number, Located>();
  const ends = new Map<number, End>();
  const leaders = new Set<number>([entry]);
  const work = [entry];
  for (let next = 0; next < work.length && found.size < MAX_INSTRUCTIONS; next++) {
    let pc = work[next]!;
    while (!found.has(pc) && found.size < MAX_INSTRUCTIONS) {
      const decoded = decodeAt(fetch, pc);
      if (decoded === undefined) break;
      const located = { pc, decoded };
      found.set(pc, located);
      const end = endOf(located);
      if (end !== undefined) {
        ends.set(pc, end);
        const targets =
          end.kind === "branch" ? [end.fall, end.taken] : end.kind === "jump" ? [end.target] : [];
        for (const target of targets) {
          if (!leaders.has(target) && reached(target)) {
            leaders.add(target);
            work.push(target);
          }
        }
        break;
      }
      pc = (pc + decoded.length) >>> 0;
    }
  }
  const blocks = new Map<number, Block>();
  for (const leader of leaders) {
    if (!found.has(leader)) continue;
    const instructions: Located[] = [];
    let pc = leader;
    let end: End | undefined;
    for (;;) {
      const located = found.get(pc);
      if (located === undefined || (pc !== leader && leaders.has(pc))) {
        end = { kind: "jump", target: pc };
        break;
      }
      instructions.push(located);
      end = ends.get(pc);
      if (end !== undefined) break;
      pc = (pc + located.decoded.length) >>> 0;
    }
    blocks.set(leader, { pc: leader, instructions, end });
  }
  return blocks;
}
