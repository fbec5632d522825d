/**
 * A benchmark that stands still says where, and ends: nobody is to find a terminal in the morning that waits for ever.
 *
 * Seconds are counted in which this thread was free to run, so building a large table on it is no hang, nor is a suspended process.
 */
import { leave } from "../leave.ts";

const STATUS = 1;

export class HangWatch {
  readonly #seconds: number;
  readonly #end: (report: string) => void;
  readonly #timer: NodeJS.Timeout;
  #still = 0;
  #what = "starting";
  #explain: (() => string) | null = null;

  /** `seconds` without a beat are a hang; 0: none is. `end` gets the report. */
  constructor(seconds: number, end: (report: string) => void = endProcess, tickMs = 1000) {
    this.#seconds = seconds;
    this.#end = end;
    this.#timer = setInterval(() => this.#tick(), tickMs);
    this.#timer.unref();
  }

  /** Something was measured, or (with `what`) is about to be. */
  beat(what?: string): void {
    this.#still = 0;
    if (what !== undefined) this.#what = what;
  }

  /** How those who work look from outside: what is added to the report. null: nobody works now. */
  explain(state: (() => string) | null): void {
    this.#explain = state;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    if (this.#seconds === 0 || ++this.#still < this.#seconds) return;
    this.stop();
    let state = "";
    try {
      state = this.#explain?.() ?? "";
    } catch (error) {
      state = `its state cannot be told: ${error instanceof Error ? error.message : String(error)}`;
    }
    const line = `no progress for ${this.#seconds} s (--stall): ${this.#what}`;
    this.#end(state === "" ? line : `${line}\n${state}`);
  }
}

/** What hangs cannot be asked to end. */
function endProcess(report: string): never {
  process.stderr.write(`\nsternix: ${report}\n`);
  leave(STATUS);
}
