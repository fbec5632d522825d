/** An interleaving as its author reads it: thread by thread, with the lines of the author's own files. */
import { existsSync, readFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import * as layout from "../../rcu/layout.ts";
import { applied, isPlainStore, type Op } from "./model/access.ts";
import { buffered } from "./model/machine.ts";
import type { Node, Program } from "./model/program.ts";
import type { Move } from "./model/steps.ts";
import { told as accessTold, type Names } from "./model/trace.ts";

const { CELL_LIVE, CELL_STATE, MAGAZINE } = layout;

export interface Place {
  /** Relative to the working directory, when it lies there. */
  readonly file: string;
  readonly line: number;
  /** The text of the line. */
  readonly text: string;
}
/** A line of a thread, and what it did to the memory before another thread went on. */
export interface Line {
  /** null: no line of the author's, the end of a turn. */
  readonly place: Place | null;
  readonly accesses: readonly { readonly text: string; readonly calls: string; readonly inner: boolean }[];
}
export interface Block {
  readonly thread: string;
  readonly lines: readonly Line[];
}

const root = new URL(import.meta.url.endsWith(".ts") ? "../../" : "./", import.meta.url).href;
/** Ours, and nobody's that uses it: in the project these folders, in the package all of its own folder. */
const OWN = import.meta.url.endsWith(".ts") ? ["rcu/", "kernel/", "syscalls/", "userland/check/"] : [""];
const isOwn = (url: string): boolean => OWN.some((folder) => url.startsWith(root + folder));

interface Frame {
  readonly name: string;
  readonly url: string;
  readonly line: number;
}
function framesOf(stack: string): Frame[] {
  const frames: Frame[] = [];
  for (const text of stack.split("\n")) {
    const match = /at (?:(.*?) \()?(file:\/\/[^?)]*?)(?:\?model=\d+)?:(\d+):\d+\)?$/.exec(text.trim());
    if (match !== null)
      frames.push({
        name: (match[1] ?? "").replace(/^(?:new |Object\.|Module\.)/, ""),
        url: match[2]!,
        line: Number(match[3]),
      });
  }
  return frames;
}

const texts = new Map<string, readonly string[]>();
function textOf(file: string, line: number): string {
  let lines = texts.get(file);
  if (lines === undefined)
    texts.set(file, (lines = existsSync(file) ? readFileSync(file, "utf8").split("\n") : []));
  return lines[line - 1]?.trim() ?? "";
}
function placeOf(frame: Frame | undefined): Place | null {
  if (frame === undefined) return null;
  const path = fileURLToPath(frame.url);
  const near = relative(process.cwd(), path);
  return { file: near.startsWith("..") ? path : near, line: frame.line, text: textOf(path, frame.line) };
}
/** The author's innermost line, and the functions of ours that it was in. */
function where(stack: string): { place: Place | null; calls: string } {
  const frames = framesOf(stack);
  const at = frames.findIndex((frame) => !isOwn(frame.url));
  const inner = (at < 0 ? frames : frames.slice(0, at)).map(({ name, url }) => ({ name, url }));
  const calls = inner
    .filter(
      ({ name, url }) =>
        name !== "" &&
        !name.includes("<") &&
        !url.includes("userland/check/") &&
        !/\/(check|sternix)[\w-]*\.js$/.test(url),
    )
    .map(({ name }) => name.replace(/^.*\.(?=#)/, ""))
    .reverse();
  return { place: placeOf(frames[at]), calls: calls.join(" > ") };
}
/** Where an error was thrown, in the author's files. */
export const placeOfError = (error: unknown): Place | null =>
  error instanceof Error ? where(error.stack ?? "").place : null;

/** Runs a program up to where the interleaving leaves it: the places of its shared accesses, and where it allocated `cell`. */
function explained(program: Program, node: Node, lost: number) {
  const shared: { place: Place | null; calls: string }[] = [];
  let allocated: Place | null = null;
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 60;
  try {
    program.explain(node, (seen) => {
      if (seen.shared) shared.push(where(new Error().stack ?? ""));
      if (seen.op.at === lost + CELL_STATE && (seen.op.a & 0xff) === CELL_LIVE && isPlainStore(seen.op))
        allocated = where(new Error().stack ?? "").place;
    });
  } finally {
    Error.stackTraceLimit = limit;
  }
  return { shared, allocated: allocated as Place | null };
}

/** `lost`: an object of which to say where it was allocated; -1: none. */
export function blocksOf(
  moves: readonly Move[],
  programs: readonly Program[],
  threads: readonly string[],
  names: Names,
  lost: number,
): { blocks: Block[]; allocated: { thread: string; place: Place } | null } {
  const last = moves.at(-1)?.to;
  const runs = programs.map((program, cpu) => explained(program, last?.nodes[cpu] ?? program.root, lost));
  const from = runs.findIndex((run) => run.allocated !== null);
  const blocks: { thread: string; lines: { place: Place | null; accesses: Line["accesses"][number][] }[] }[] =
    [];
  let nodes = programs.map((program) => program.root);
  let lag: readonly number[] = programs.map(() => 0);
  let before = -1;
  for (const move of moves) {
    const { cpu } = move;
    if (before !== cpu) blocks.push({ thread: threads[cpu]!, lines: [] });
    before = cpu;
    const { lines } = blocks.at(-1)!;
    const node = nodes[cpu]!;
    let place: Place | null = null;
    let calls = "";
    let text: string;
    let op: Op;
    if (move.kind === "drain") {
      op = buffered(node, lag[cpu]!)[0]!;
      text = `${names.word(op.at)} = ${names.value(applied(op, move.value) ?? op.a)} leaves the store buffer`;
      place = lines.at(-1)?.place ?? null;
    } else {
      op = node.op!;
      ({ place, calls } = runs[cpu]!.shared[node.depth] ?? { place, calls });
      text = move.kind === "time-out" ? "times out" : accessTold(op, move.value, names, move);
    }
    const same = lines.at(-1);
    const own = op.at < MAGAZINE.BASE && op.kind !== "wait" && op.kind !== "notify";
    const inner = own || op.trusted === true;
    const access = { text, calls, inner };
    if (same !== undefined && same.place?.file === place?.file && same.place?.line === place?.line)
      same.accesses.push(access);
    else lines.push({ place, accesses: [access] });
    nodes = move.to.nodes.slice();
    lag = move.to.lag;
  }
  const allocated = from < 0 ? null : { thread: threads[from]!, place: runs[from]!.allocated! };
  return { blocks, allocated };
}
