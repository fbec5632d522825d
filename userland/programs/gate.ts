/**
 * The way into a program's own code and out of it. Where the CPU is stands in words that the host reads: when a program that is
 * to die does not come back, the host first has the CPU held here, on the way into the kernel, and only then ends it. So a
 * CPU is never ended in the middle of kernel code (kernel/machine/stuck-program.ts).
 */
import {
  CPU_PROGRAM,
  PROGRAM_HELD_IN,
  PROGRAM_HELD_OUT,
  PROGRAM_IN,
  PROGRAM_OUT,
  type UserModeHost,
} from "../../kernel/usermode.ts";
import { atomicLoad, atomicStore, atomicWait } from "../../rcu/index.ts";
import type { Call, Steps } from "./program.ts";

export class Gate {
  readonly #host: UserModeHost;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #state: number;
  readonly #resumed: number;
  readonly #hold: number;

  constructor(host: UserModeHost) {
    this.#host = host;
    this.#words = new Int32Array(host.memory.buffer as unknown as SharedArrayBuffer);
    const word = (offset: number): number => (host.cpuArea + offset) / 4;
    this.#state = word(CPU_PROGRAM.STATE);
    this.#resumed = word(CPU_PROGRAM.RESUMED);
    this.#hold = word(CPU_PROGRAM.HOLD);
  }

  /** Resumes a program. */
  run(steps: Steps<number>, value: number): IteratorResult<Call, number> {
    const words = this.#words;
    words[this.#resumed] = words[this.#resumed]! + 1;
    words[this.#state] = PROGRAM_IN;
    try {
      return steps.next(value);
    } finally {
      words[this.#state] = PROGRAM_OUT;
      if (words[this.#hold] !== 0) this.#wait(PROGRAM_HELD_OUT);
    }
  }

  /** The kernel's translate, called from the program's own code. */
  translate(va: number, access: number): number {
    const words = this.#words;
    words[this.#state] = PROGRAM_OUT;
    if (words[this.#hold] !== 0) this.#wait(PROGRAM_HELD_IN);
    const frame = this.#host.translate(va, access);
    words[this.#state] = PROGRAM_IN;
    return frame;
  }

  #wait(state: number): void {
    atomicStore(this.#words, this.#state, state);
    for (let hold = atomicLoad(this.#words, this.#hold); hold !== 0; ) {
      atomicWait(this.#words, this.#hold, hold);
      hold = atomicLoad(this.#words, this.#hold);
    }
    atomicStore(this.#words, this.#state, PROGRAM_OUT);
  }
}
