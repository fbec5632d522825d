/**
 * Taking pages out of an address space. Entries are cleared under ptl; frames are dropped only after every CPU has
 * forgotten its translations (tlb.ts), so the two halves are zapRange and zapFinish.
 */
import type { Held, Ref } from "../../rcu/index.ts";
import { newCodeSpace } from "./codespace.ts";
import { putFrame } from "./frame.ts";
import { Mm } from "./mm-types.ts";
import { PTE_ANON, PTE_EXEC, pteFrame, ptePart, pteTake, pteWalk } from "./pte.ts";
import { mmuNotify } from "./tlb.ts";

/** What a zap took out, until zapFinish. */
export interface Zapped {
  frames: number[];
  /** Range of pages in which something was, or rights were taken. */
  start: number;
  end: number;
  /** Some of it was executed. */
  code: boolean;
}

export const zapBegin = (): Zapped => ({ frames: [], start: Infinity, end: 0, code: false });

/** Notes that the translation of a page is stale. */
export function zapNote(zapped: Zapped, page: number, pte: number): void {
  if (page < zapped.start) zapped.start = page;
  if (page >= zapped.end) zapped.end = page + 1;
  if ((pte & PTE_EXEC) !== 0) zapped.code = true;
}

/** Clears the entries of pages [start, end) that have one of the bits of `which`. */
export function zapRange(
  held: Held<"ptl">,
  mm: Ref<"mm">,
  start: number,
  end: number,
  zapped: Zapped,
  which = -1,
): void {
  let anon = 0;
  let file = 0;
  pteWalk(Mm.pgd.get(mm), start, end, (table, page, pte) => {
    if ((pte & which) === 0) return;
    pteTake(table, page, 0);
    zapNote(zapped, page, pte);
    zapped.frames.push(pteFrame(pte));
    if ((pte & PTE_ANON) !== 0) anon++;
    else file++;
  });
  countRss(held, mm, -anon, -file);
}

/** One past the last page that has an entry. */
export const PAGES_END = 2 ** 20;

/** Takes out a part of the pages from `from` on, about a millisecond's work; returns where the next part begins, PAGES_END when all are gone. */
export function zapPart(mm: Ref<"mm">, from: number): number {
  const end = ptePart(Mm.pgd.get(mm), from, PAGES_END);
  const zapped = zapBegin();
  const held = Mm.ptl.lock(mm);
  zapRange(held, mm, from, end, zapped);
  Mm.ptl.unlock(mm);
  zapFinish(mm, zapped);
  return end;
}

/** Adjusts the resident counters. */
export function countRss(held: Held<"ptl">, mm: Ref<"mm">, anon: number, file: number): void {
  const nowAnon = Mm.rssAnon.get(held, mm) + anon;
  const nowFile = Mm.rssFile.get(held, mm) + file;
  Mm.rssAnon.set(held, mm, nowAnon);
  Mm.rssFile.set(held, mm, nowFile);
  if (nowAnon + nowFile > Mm.hiwaterRss.get(held, mm)) Mm.hiwaterRss.set(held, mm, nowAnon + nowFile);
}

/** Returns when no CPU uses what was taken out, and drops the frames. ptl is released. */
export function zapFinish(mm: Ref<"mm">, zapped: Zapped): void {
  if (zapped.start < zapped.end) {
    if (zapped.code) newCodeSpace(mm);
    mmuNotify(mm, zapped.start, zapped.end);
  }
  for (const frame of zapped.frames) putFrame(frame);
}
