/** Host ends of pipes as web streams. They never block: the machine's events say when to try again. */

import { type HostPipe, hostPipeClose, hostPipeRead, hostPipeWrite } from "../../kernel/machine/host-pipe.ts";
import { EAGAIN, EPIPE } from "../../kernel/uapi/errno.ts";

/** Runs work with the machine bound. */
export type Enter = <T>(work: () => T) => T;

const CHUNK = 65536;
const buffer = new Uint8Array(CHUNK);

/** What a program writes. Reading on is what lets it write on. */
export class OutputPipe {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  closed = false;
  /** Whether it leads to a stream that was given: nobody else can read it. */
  taken = false;
  readonly #enter: Enter;
  readonly #pipe: HostPipe;
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  #wanted: (() => void) | null = null;

  constructor(enter: Enter, pipe: HostPipe) {
    this.#enter = enter;
    this.#pipe = pipe;
    this.stream = new ReadableStream<Uint8Array<ArrayBuffer>>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => {
          if (this.#read()) return undefined;
          return new Promise<void>((resolve) => {
            this.#wanted = resolve;
          });
        },
        cancel: () => this.#close(),
      },
      { highWaterMark: 0 },
    );
  }

  /** An event of the machine. */
  pump(): void {
    if (this.#wanted === null) return;
    try {
      if (!this.#read()) return;
    } catch (error) {
      this.#fail(error);
    }
    const wanted = this.#wanted;
    this.#wanted = null;
    wanted();
  }

  /** The machine ends: takes what is left, whether somebody asked for it or not. */
  finish(): void {
    try {
      while (!this.closed && this.#read());
      if (!this.closed) {
        this.#close();
        this.#controller.close();
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#wanted?.();
    this.#wanted = null;
  }

  /** The kernel failed, and has reported it: who reads is told. */
  #fail(error: unknown): void {
    this.closed = true;
    this.#controller.error(error);
  }

  /** False when there is nothing yet. */
  #read(): boolean {
    if (this.closed) return true;
    const count = this.#enter(() => hostPipeRead(this.#pipe, buffer));
    if (count === -EAGAIN) return false;
    if (count > 0) this.#controller.enqueue(buffer.slice(0, count));
    else {
      this.#close();
      if (count === 0) this.#controller.close();
      else this.#controller.error(new Error(`reading the program's output: errno ${-count}`));
    }
    return true;
  }

  #close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#enter(() => hostPipeClose(this.#pipe));
  }
}

/** What a program reads. */
export class InputPipe {
  readonly stream: WritableStream<Uint8Array | string>;
  closed = false;
  readonly #enter: Enter;
  readonly #pipe: HostPipe;
  #rest: Uint8Array | null = null;
  #done: { resolve: () => void; reject: (error: Error) => void } | null = null;

  constructor(enter: Enter, pipe: HostPipe) {
    this.#enter = enter;
    this.#pipe = pipe;
    this.stream = new WritableStream<Uint8Array | string>({
      write: (chunk) => {
        if (typeof chunk !== "string" && !((chunk as unknown) instanceof Uint8Array)) {
          this.close();
          throw new TypeError("a program's input is strings and Uint8Arrays");
        }
        this.#rest = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
        return new Promise<void>((resolve, reject) => {
          this.#done = { resolve, reject };
          this.pump();
        });
      },
      close: () => this.close(),
      abort: () => this.close(),
    });
  }

  pump(): void {
    if (this.#done === null || this.#rest === null) return;
    while (this.#rest.length > 0) {
      const rest: Uint8Array = this.#rest;
      let count: number;
      try {
        count = this.closed ? -EPIPE : this.#enter(() => hostPipeWrite(this.#pipe, rest));
      } catch (error) {
        this.#fail(error as Error); // The kernel failed, and has reported it.
        return;
      }
      if (count === -EAGAIN) return;
      if (count < 0) {
        this.#fail(Object.assign(new Error("the program reads no more input"), { code: "EPIPE" }));
        return;
      }
      this.#rest = rest.subarray(count);
    }
    const done = this.#done;
    this.#done = null;
    done.resolve();
  }

  #fail(error: Error): void {
    const done = this.#done;
    this.#done = null;
    this.finish();
    done?.reject(error);
  }

  finish(): void {
    try {
      this.close();
    } catch {
      // The kernel failed, and has reported it: the pipe is its own.
    }
    this.pump();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#enter(() => hostPipeClose(this.#pipe));
  }
}
