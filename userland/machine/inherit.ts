/**
 * This process's own standard input for guests that inherit it, and its terminal: that is raw while such a guest lives, since the
 * guest's own line discipline echoes, edits and turns Ctrl-C into a signal.
 */
import { isatty } from "node:tty";
import {
  type ConsoleOptions,
  consoleEof,
  consoleInput,
  consoleInputRoom,
  consoleResize,
  machineConsole,
  STREAM_PLAIN,
  STREAM_TTY,
} from "../../kernel/drivers/console.ts";

const kind = (fd: number): number => (isatty(fd) ? STREAM_TTY : STREAM_PLAIN);

/** The stream that knows the size of the terminal. */
const screen = () => (process.stdout.isTTY ? process.stdout : process.stderr);
const size = () => ({ rows: screen().rows ?? 24, columns: screen().columns ?? 80 });

/** A console whose streams are what this process's are. */
export const ownConsole = (): ConsoleOptions => ({
  stdin: kind(0),
  stdout: kind(1),
  stderr: kind(2),
  ...size(),
});

/** Leads standard input to a machine's console, while somebody there has it. */
export class OwnInput {
  readonly #enter: (work: () => void) => void;
  /** How many processes inherit it. */
  #users = 0;
  /** What the console had no room for yet. */
  #rest: Uint8Array | null = null;
  #ended = false;

  /** `enter` runs work with the machine bound, and throws nothing: events of this process lead here. */
  constructor(enter: (work: () => void) => void) {
    this.#enter = enter;
  }

  attach(): void {
    if (this.#users++ > 0) return;
    const { stdin } = process;
    if (stdin.isTTY) stdin.setRawMode(true);
    stdin.on("data", this.#onData).on("end", this.#onEnd).on("error", this.#onEnd);
    screen().on("resize", this.#onResize);
    // It may have been resized, and the input may have ended, while nobody looked.
    this.#onResize();
    if (stdin.readableEnded || stdin.destroyed) this.#onEnd();
    else if (this.#rest === null) stdin.resume();
  }

  detach(): void {
    if (--this.#users > 0) return;
    const { stdin } = process;
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.off("data", this.#onData).off("end", this.#onEnd).off("error", this.#onEnd).pause();
    screen().off("resize", this.#onResize);
  }

  /** An event of the machine: the console may have room again. */
  pump(): void {
    if (this.#rest === null) return;
    this.#feed();
    if (this.#rest === null && this.#users > 0 && !this.#ended) process.stdin.resume();
  }

  readonly #onData = (bytes: Buffer | string): void => {
    this.#rest = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
    this.#feed();
    if (this.#rest !== null) process.stdin.pause();
  };
  readonly #onEnd = (): void => {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#rest === null) this.#enter(() => consoleEof(machineConsole()));
  };
  readonly #onResize = (): void => {
    const { rows, columns } = size();
    this.#enter(() => consoleResize(machineConsole(), rows, columns));
  };

  #feed(): void {
    this.#enter(() => {
      const console = machineConsole();
      while (this.#rest !== null && consoleInputRoom(console) > 0) {
        const taken = consoleInput(console, this.#rest);
        this.#rest = taken === this.#rest.length ? null : this.#rest.subarray(taken);
        if (taken === 0) break;
      }
      if (this.#rest === null && this.#ended) consoleEof(console);
    });
  }
}
