import { FIELDS, INSTRUCTIONS, X } from "../isa/decode.ts";
import { isCall, type Located } from "./discover.ts";

/** Accesses through one unchanged base register in straight-line code: they share one look at the TLB. */
export interface Group {
  readonly base: number;
  /** Lowest displacement, and bytes from there to the end of the last access. */
  min: number;
  span: number;
  /** Some access is a store. A page that may be stored to may be loaded from at the same place. */
  write: boolean;
  /** pcs of the accesses, in order. */
  readonly pcs: number[];
  /** Which of the unit's group locals holds the host address of base + min, or 0 when each access is on its own. */
  slot: number;
}

/** Groups that may be open at once. */
export const GROUP_SLOTS = 6;

/** Most accesses of a structure or a stack frame are closer than this; a wider group would cross pages more often. */
const MAX_SPAN = 512;

/** log2 of the bytes that an instruction accesses at imm(rs1), or -1; atomics and the rest are none of ours. */
function accessOf({ decoded }: Located): number {
  if (decoded.index < 0) return -1;
  const { match } = INSTRUCTIONS[decoded.index]!;
  switch (match & 0x7f) {
    case 0x03: // loads: the upper half of funct3's values is unsigned
    case 0x07:
    case 0x23:
    case 0x27:
      return (match >> 12) & 3;
    default:
      return -1;
  }
}

/** Whether an instruction, of this group if of any, looks a page up in the TLB. */
export function looksUp(located: Located, group: Group | undefined): boolean {
  if (group !== undefined) return group.pcs[0] === located.pc;
  const { decoded } = located;
  return (
    accessOf(located) >= 0 || (decoded.index >= 0 && (INSTRUCTIONS[decoded.index]!.match & 0x7f) === 0x2f)
  );
}

/** The groups of a block by the pcs of their accesses; a group of one is none. */
export function findGroups(instructions: readonly Located[]): Map<number, Group> {
  const found = new Map<number, Group>();
  const open = new Map<number, Group>();
  const busy: (Group | undefined)[] = [];
  const close = (group: Group | undefined) => {
    if (group === undefined) return;
    open.delete(group.base);
    busy[group.slot] = undefined;
    if (group.pcs.length > 1) for (const pc of group.pcs) found.set(pc, group);
  };
  for (const located of instructions) {
    const { decoded, pc } = located;
    const log2 = accessOf(located);
    if (log2 >= 0 && decoded.rs1 !== 0) {
      const bytes = 1 << log2;
      let group = open.get(decoded.rs1);
      if (group !== undefined) {
        const min = Math.min(group.min, decoded.imm);
        const span = Math.max(group.min + group.span, decoded.imm + bytes) - min;
        if (span > MAX_SPAN) {
          close(group);
          group = undefined;
        } else {
          group.min = min;
          group.span = span;
        }
      }
      if (group === undefined) {
        let slot = 0;
        while (slot < GROUP_SLOTS && busy[slot] !== undefined) slot++;
        if (slot < GROUP_SLOTS) {
          group = { base: decoded.rs1, min: decoded.imm, span: bytes, write: false, pcs: [], slot };
          busy[slot] = group;
          open.set(decoded.rs1, group);
        }
      }
      if (group !== undefined) {
        group.pcs.push(pc);
        group.write ||= (INSTRUCTIONS[decoded.index]!.match & 0x20) !== 0;
      }
    }
    if (decoded.index < 0) break;
    const { flow } = INSTRUCTIONS[decoded.index]!;
    // Calls and system calls may change mappings.
    if (flow === "ecall" || ((flow === "jal" || flow === "jalr") && isCall(decoded))) {
      for (const group of [...open.values()]) close(group);
    }
    if (FIELDS[decoded.index]!.rd === X) close(open.get(decoded.rd));
  }
  for (const group of [...open.values()]) close(group);
  return found;
}
