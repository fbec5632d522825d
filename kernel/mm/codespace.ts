/**
 * Code space numbers: what the engine calls the code that an address space shows. Two address spaces may have the same
 * number when they show the same code, so that translations made for one serve the other: a program run many
 * times, a fork, and libraries loaded in the same order at the same places.
 *
 * Numbers are interned: (number, change) leads to the same next number whoever makes the change. A change is
 * described by numbers alone, the contents of a file by its mark (fileMark), which is given up when the file changes.
 * Changes that cannot be described (code written by the program itself) lead to a number of one's own.
 */
import {
  arrayGet,
  arraySet,
  fixed,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  tryAllocArray,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { Mapping, Mm } from "./mm-types.ts";
import { RamState, ramRef } from "./ram.ts";
import { showCodeSpace } from "./tlb.ts";

/** What kinds of change there are; the first word of a change. */
export const CODE_EXEC = 1;
export const CODE_MAP = 2;
export const CODE_PROTECT = 3;
export const CODE_UNMAP = 4;

/** A change to what code is visible: op, file mark, first page, end page, page of the file. */
export type CodeChange = readonly [op: number, mark: number, start: number, end: number, pgoff: number];

const SLOTS = 4096;
const WORDS = 8;
const CodeSpaces = struct("code_spaces", { lock: spinlock(86), table: fixed<Ref<"array">>() });
const codeSpaces = kernelGlobal<Ref<"code_spaces">>("code spaces");

/** Once per machine (mmInit). */
export function createCodeSpaces(): void {
  const ref = tryAlloc(CodeSpaces);
  const table = tryAllocArray(SLOTS * WORDS);
  if (ref === 0 || table === 0) throw new Error("no memory for code spaces");
  CodeSpaces.table.init(ref, table);
  codeSpaces.init(ref);
}

const freshSpace = (): number => RamState.nextSpace.add(ramRef, 1);

/** A number for the contents of a file as they are now. */
export function fileMark(mapping: Ref<"mapping">): number {
  const mark = Mapping.mark.load(mapping);
  if (mark !== 0) return mark;
  Mapping.mark.cas(mapping, 0, freshSpace());
  return Mapping.mark.load(mapping) || freshSpace();
}

/** The contents of a file change: what was translated from them is not used for the new ones. */
export function dropFileMark(mapping: Ref<"mapping">): void {
  if (Mapping.mark.peek(mapping) !== 0) Mapping.mark.store(mapping, 0);
}

/** The number after a change. */
function nextSpace(space: number, change: CodeChange): number {
  let hash = space;
  for (const word of change) hash = Math.imul(hash ^ word, 0x9e3779b1) ^ (hash >>> 15);
  const ref = codeSpaces.get();
  const table = CodeSpaces.table.get(ref);
  const at = (hash & (SLOTS - 1)) * WORDS;
  CodeSpaces.lock.lock(ref);
  let same = arrayGet(table, at) === space && arrayGet(table, at + 6) !== 0;
  for (let n = 0; same && n < 5; n++) same = arrayGet(table, at + 1 + n) === change[n];
  let next = arrayGet(table, at + 6);
  if (!same) {
    next = freshSpace();
    arraySet(table, at, space);
    for (let n = 0; n < 5; n++) arraySet(table, at + 1 + n, change[n]!);
    arraySet(table, at + 6, next);
  }
  CodeSpaces.lock.unlock(ref);
  return next;
}

/** Moves an address space that shares its number on to the number after `change`; it still shares. */
export function changeCodeSpace(mm: Ref<"mm">, change: CodeChange): void {
  Mm.codeSpace.store(mm, nextSpace(Mm.codeSpace.peek(mm), change));
  showCodeSpace(mm);
}

/** exec: the number of a program (and its interpreter) loaded at its place. The address space is not in use yet. */
export function execCodeSpace(mm: Ref<"mm">, changes: readonly CodeChange[]): void {
  let space = 0;
  for (const change of changes) space = nextSpace(space, change);
  Mm.codeSpace.init(mm, space);
  Mm.spaceShared.init(mm, 1);
}

/** Gives the address space a number of its own: code changed in a way nobody can follow, or fence.i. */
export function newCodeSpace(mm: Ref<"mm">): void {
  Mm.codeSpace.store(mm, freshSpace());
  Mm.spaceShared.store(mm, 0);
  showCodeSpace(mm);
}
