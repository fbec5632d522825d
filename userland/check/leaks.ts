/**
 * What was allocated and cannot be reached any more: found as a conservative collector would. Every word of the heap that
 * holds a cell's address, or one inside of it, refers to it.
 */
import * as layout from "../../rcu/layout.ts";

const { CACHE, CELL_DYING, CELL_HEADER, CELL_LIVE, HEADER, MAX_SLOTS, PAGE_MAP, PAGE_SHIFT, SLOT } = layout;

export type Read = (at: number) => number;

/** The cells of a heap as a scenario begins. */
export class Reachable {
  readonly #image: Int32Array;
  readonly #live: readonly number[];
  /** Live from the beginning without anybody who refers to them: the library's own. */
  readonly #roots: readonly number[];
  readonly #slots: number;

  /** `roots`: what the threads share. */
  constructor(image: Int32Array, roots: readonly number[], slots: number) {
    this.#image = image;
    this.#slots = Math.min(MAX_SLOTS, slots);
    this.#live = this.#all();
    const read: Read = (at) => image[at]!;
    const marked = this.#mark(roots, this.#live, read);
    this.#roots = this.#live.filter((cell) => !marked.has(cell));
  }

  /** The objects that live and that nobody refers to. `changed`: all words that differ from the beginning, at least. */
  lost(roots: readonly number[], changed: Iterable<number>, read: Read): number[] {
    const live = new Set(this.#live.filter((cell) => isLive(read(cell))));
    for (const at of changed) if (this.#cellOf(at) === at && isLive(read(at))) live.add(at);
    const marked = this.#mark([...roots, ...this.#roots], live, read);
    return [...live].filter((cell) => !marked.has(cell)).map((cell) => cell + CELL_HEADER);
  }

  #mark(roots: readonly number[], live: Iterable<number>, read: Read): Set<number> {
    const among = new Set(live);
    const marked = new Set<number>();
    const grey: number[] = [];
    const visit = (value: number): void => {
      const cell = this.#cellOf(value);
      if (cell < 0 || marked.has(cell) || !among.has(cell)) return;
      marked.add(cell);
      grey.push(cell);
    };
    for (const root of roots) visit(root);
    // The bounds of the page of layouts are addresses, but no references.
    for (let at = 0; at < CACHE.BASE; at++)
      if (at !== HEADER.LAYOUT_AT && at !== HEADER.LAYOUT_END) visit(read(at));
    for (let at = SLOT.BASE; at < SLOT.BASE + this.#slots * SLOT.WORDS; at++) visit(read(at));
    while (grey.length > 0) {
      const cell = grey.pop()!;
      const end = cell + this.#wordsOf(cell);
      for (let at = cell + 1; at < end; at++) visit(read(at)); // The link word too: callbacks are lists.
    }
    return marked;
  }

  #cacheOf(at: number): number {
    const first = this.#image[HEADER.FIRST_PAGE]!;
    if (!Number.isInteger(at) || at < first || at >= this.#image.length) return -1;
    const entry = -this.#image[PAGE_MAP + ((at - first) >> PAGE_SHIFT)]!;
    return (entry >> 8) - 1;
  }
  #wordsOf(at: number): number {
    return this.#image[CACHE.BASE + this.#cacheOf(at) * CACHE.WORDS + CACHE.CELL_WORDS]!;
  }
  #cellOf(at: number): number {
    if (this.#cacheOf(at) < 0) return -1;
    const first = this.#image[HEADER.FIRST_PAGE]!;
    const page = (at - first) >> PAGE_SHIFT;
    const entry = -this.#image[PAGE_MAP + page]!;
    const run = first + ((page & -(1 << ((entry & 0xff) - 1))) << PAGE_SHIFT);
    const words = this.#wordsOf(at);
    return run + Math.floor((at - run) / words) * words;
  }
  /** Headers of all live cells. */
  #all(): number[] {
    const image = this.#image;
    const first = image[HEADER.FIRST_PAGE]!;
    const found: number[] = [];
    for (let page = 0; first + ((page + 1) << PAGE_SHIFT) <= image.length; page++) {
      const start = first + (page << PAGE_SHIFT);
      if (this.#cacheOf(start) < 0) continue;
      const words = this.#wordsOf(start);
      let cell = this.#cellOf(start);
      if (cell < start) cell += words;
      for (; cell + words <= start + (1 << PAGE_SHIFT); cell += words)
        if (isLive(image[cell]!)) found.push(cell);
    }
    return found;
  }
}

const isLive = (state: number): boolean => (state & 0xff) === CELL_LIVE || (state & 0xff) === CELL_DYING;
