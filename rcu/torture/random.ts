/** A small fast random number source, seeded so that threads differ. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  }
  /** An integer from 0 to n - 1. */
  below(n: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % n;
  }
  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }
}

let sink = 0;
/** Burns about n ns. */
export function spin(n: number): void {
  for (let i = 0; i < n; i++) sink = (sink + i) | 0;
}
