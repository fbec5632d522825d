/** Random numbers that a seed determines, and the choices made of them. */

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 32 bits (mulberry32). */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** 0 to `end` - 1. */
  below(end: number): number {
    return Math.floor((this.word() / 2 ** 32) * end);
  }

  /** True in `percent` of 100. */
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  big(): bigint {
    return (BigInt(this.word()) << 32n) | BigInt(this.word());
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.word());
  }

  shuffle<T>(items: T[]): T[] {
    for (let n = items.length - 1; n > 0; n--) {
      const other = this.below(n + 1);
      [items[n], items[other]] = [items[other]!, items[n]!];
    }
    return items;
  }
}
