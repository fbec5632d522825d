/** Names for words and values, and interleavings in a form that can be read. */
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import {
  CACHE,
  CBLIST,
  CELL_HEADER,
  HEADER,
  MAGAZINE,
  PAGE_MAP,
  PAGE_SHIFT,
  POISON,
  RCU,
  SLOT,
  SLOT_RCU,
} from "../../../rcu/layout.ts";
import { applied, type Op } from "./access.ts";
import type { Library } from "./instance.ts";
import { buffered } from "./machine.ts";
import type { Program } from "./program.ts";
import type { Move } from "./steps.ts";

const inverse = (table: Readonly<Record<string, number>>): Map<number, string> =>
  new Map(Object.entries(table).map(([name, at]) => [at, name]));
const HEADER_NAMES = inverse(HEADER);
const RCU_NAMES = inverse(RCU);
const LIST_NAMES = inverse(CBLIST);
const SLOT_NAMES = new Map([
  ...inverse(SLOT_RCU),
  [SLOT.STATE, "STATE"],
  [SLOT.INCARNATION, "INCARNATION"],
  [SLOT.THREAD, "THREAD"],
]);

interface CellType {
  readonly name: string;
  /** Offsets and names, ascending. */
  readonly fields: readonly (readonly [number, string])[];
}

export class Names {
  readonly #image: Int32Array;
  readonly #types = new Map<number, CellType>();

  constructor(library: Library, image: Int32Array) {
    this.#image = image;
    for (const [name, type] of library.declaredStructs) {
      const fields = Object.entries(type)
        .map(([field, accessor]) => [(accessor as { offset: number }).offset, field] as const)
        .sort(([a], [b]) => a - b);
      this.#types.set(type[library.TYPE].cache, { name: name.replace(/^model_/, ""), fields });
    }
  }

  /** What the word at an address is called. */
  word(at: number): string {
    if (at < CACHE.BASE)
      return (
        RCU_NAMES.get(at) ??
        listName(at, RCU.ORPHAN_LIST, "ORPHAN_LIST") ??
        HEADER_NAMES.get(at) ??
        `header+${at}`
      );
    if (at < SLOT.BASE)
      return `cache ${Math.floor((at - CACHE.BASE) / CACHE.WORDS)}+${(at - CACHE.BASE) % CACHE.WORDS}`;
    if (at < MAGAZINE.BASE) {
      const slot = Math.floor((at - SLOT.BASE) / SLOT.WORDS);
      const offset = (at - SLOT.BASE) % SLOT.WORDS;
      return `slot[${slot}].${SLOT_NAMES.get(offset) ?? listName(offset, SLOT_RCU.LIST, "LIST") ?? offset}`;
    }
    const cell = this.#cell(at);
    if (cell === null) return `word ${at}`;
    const { type, name, offset } = cell;
    if (offset < 0) return `${name}.${offset === -2 ? "(state)" : "(link)"}`;
    if (type === undefined) return offset === 0 ? `${name}.length` : `${name}[${offset - 1}]`;
    const field = type.fields.findLast(([start]) => start <= offset);
    if (field === undefined) return `${name}+${offset}`;
    return `${name}.${field[1]}${offset > field[0] ? `+${offset - field[0]}` : ""}`;
  }

  /** A value, as the name of the cell that it refers to if it does. */
  value(value: number): string {
    if (value === POISON) return "poison";
    const cell = this.#cell(value);
    if (cell === null || cell.offset < 0) return String(value);
    if (cell.offset === 0) return `&${cell.name}`;
    return `&${this.word(value)}`;
  }

  /** The addresses of the words whose names begin so: of header words and slots. */
  words(names: readonly string[]): number[] {
    const found: number[] = [];
    if (names.length > 0)
      for (let at = 0; at < MAGAZINE.BASE; at++)
        if (names.some((name) => this.word(at).startsWith(name))) found.push(at);
    return found;
  }

  #cell(at: number): { type: CellType | undefined; name: string; offset: number } | null {
    const first = this.#image[HEADER.FIRST_PAGE]!;
    if (!Number.isInteger(at) || at < first || at >= this.#image.length) return null;
    const page = (at - first) >> PAGE_SHIFT;
    const entry = -this.#image[PAGE_MAP + page]!;
    const cache = (entry >> 8) - 1;
    if (cache < 0) return null;
    const run = first + ((page & -(1 << ((entry & 0xff) - 1))) << PAGE_SHIFT);
    const words = this.#image[CACHE.BASE + cache * CACHE.WORDS + CACHE.CELL_WORDS]!;
    const number = Math.floor((at - run) / words);
    const type = this.#types.get(cache);
    return {
      type,
      name: `${type?.name ?? "array"}#${number}`,
      offset: at - run - number * words - CELL_HEADER,
    };
  }
}

function listName(at: number, base: number, name: string): string | undefined {
  const offset = at - base;
  if (offset < 0 || offset >= CBLIST.WORDS) return undefined;
  return `${name}.${LIST_NAMES.get(offset) ?? `${LIST_NAMES.get(offset - 1)} tail`}`;
}

/** Where an access stands: the innermost function of rcu/ (or of the scenario), and who called it. */
function place(stack: string): { call: string; line: string } {
  const frames: { name: string; file: string; line: string }[] = [];
  for (const text of stack.split("\n")) {
    const match = /at (?:(.*?) \()?(file:\/\/[^?)]*?)(?:\?model=\d+)?:(\d+):\d+\)?$/.exec(text.trim());
    if (match === null) continue;
    const file = relative(root, fileURLToPath(match[2]!));
    if (file.startsWith("userland/check/") || file.startsWith("test/rcu/model-")) continue;
    frames.push({ name: (match[1] ?? "").replace(/^.*\./, ""), file, line: match[3]! });
  }
  const top = frames[0];
  if (top === undefined) return { call: "", line: "" };
  const calls = frames
    .filter((frame) => frame.file.startsWith("rcu/") && frame.name !== "")
    .map(({ name }) => name);
  const shown = calls.length > 3 ? [calls.at(-1)!, "..", calls[1]!, calls[0]!] : calls.slice().reverse();
  return { call: shown.join(" > "), line: `${top.file.replace(/^test\/rcu\/model\//, "")}:${top.line}` };
}
const root = fileURLToPath(new URL("../../../", import.meta.url));

/** One line per step: CPU, where, what; a blank line wherever another CPU goes on. */
export function print(moves: readonly Move[], programs: readonly Program[], names: Names): string[] {
  const last = moves.at(-1)?.to;
  if (last === undefined) return [];
  const places = programs.map((program, cpu) => {
    const found: { call: string; line: string }[] = [];
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 40;
    program.explain(last.nodes[cpu]!, ({ shared }) => {
      if (shared) found.push(place(new Error().stack ?? ""));
    });
    Error.stackTraceLimit = limit;
    return found;
  });
  const lines: string[] = [];
  const memory = new Map<number, number>();
  let nodes = programs.map((program) => program.root);
  let lag: readonly number[] = programs.map(() => 0);
  let before = -1;
  for (const move of moves) {
    const { cpu } = move;
    if (before !== cpu && before >= 0) lines.push("");
    before = cpu;
    const node = nodes[cpu]!;
    if (move.kind === "drain") {
      const store = buffered(node, lag[cpu]!)[0]!;
      lines.push(
        row(cpu, "", "", `${names.word(store.at)} = ${names.value(store.a | 0)} leaves the store buffer`),
      );
    } else {
      const where = places[cpu]![node.depth] ?? { call: "", line: "" };
      const what = move.kind === "time-out" ? "times out" : told(node.op!, move.value, names, move);
      lines.push(row(cpu, where.line, where.call, what));
    }
    nodes = move.to.nodes.slice();
    lag = move.to.lag;
  }
  memory.clear();
  return lines;
}

const row = (cpu: number, line: string, call: string, what: string): string =>
  `CPU ${cpu}  ${line.padEnd(26)} ${what.padEnd(58)} ${call}`.trimEnd();

export function told(op: Op, value: number, names: Names, move: Move): string {
  const word = names.word(op.at);
  const read = names.value(value);
  switch (op.kind) {
    case "load":
      return `${word} is ${read} (plain)`;
    case "atomic load":
      return `${word} is ${read}`;
    case "store":
    case "store bytes":
      return `${word} := ${names.value(op.a | 0)} (plain)`;
    case "atomic store":
      return `${word} := ${names.value(op.a | 0)}`;
    case "wait":
      return move.to.asleep.includes(move.cpu)
        ? `sleeps on ${word} = ${read}`
        : `does not sleep: ${word} is ${read}`;
    case "notify":
      return `wakes who sleeps on ${word}`;
    default: {
      const fresh = applied(op, value);
      return fresh === undefined
        ? `${word} is ${read}, stays`
        : `${word}: ${read} becomes ${names.value(fresh)}`;
    }
  }
}
