import { READS, WRITES } from "./access.ts";

/** Which words are shared: found by watching who touches the others. */
export class Sharing {
  /** Shared words, to their dense numbers. */
  readonly index = new Map<number, number>();
  readonly words: number[] = [];
  readonly #users = new Map<number, { readers: number; writers: number }>();
  readonly #found = new Set<number>();
  /** All words that any CPU touches are scheduling points: for comparison. */
  readonly everything: boolean;

  constructor(everything: boolean) {
    this.everything = everything;
  }
  /** A CPU touches a word that is not known to be shared. */
  touch(cpu: number, at: number, how: number): void {
    let users = this.#users.get(at);
    if (users === undefined) this.#users.set(at, (users = { readers: 0, writers: 0 }));
    if ((how & READS) !== 0) users.readers |= 1 << cpu;
    if ((how & WRITES) !== 0) users.writers |= 1 << cpu;
    const all = users.readers | users.writers;
    if (this.everything || (users.writers !== 0 && (all & (all - 1)) !== 0)) this.#found.add(at);
  }
  /** Words that turned out to be shared are so from here on; says whether there were any. */
  learn(): boolean {
    const more = [...this.#found].filter((at) => !this.index.has(at));
    this.#found.clear();
    for (const at of more) {
      this.index.set(at, this.words.length);
      this.words.push(at);
    }
    return more.length > 0;
  }
  get pending(): boolean {
    return this.#found.size > 0;
  }
}
