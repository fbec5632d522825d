/** A copy of the code, and the heap that it is bound to. Copies are kept: importing one takes longer than most scenarios. */
import type { Heap, HeapOptions, Ref } from "../../../rcu/index.ts";
import { globalsOf, type Runner } from "./globals.ts";
import { type Code, type Instance, instantiate, type Library } from "./instance.ts";
import type { Program } from "./program.ts";

const HEAP_BYTES = 4 << 20;
/** 2^32 over the golden ratio: scenarios know which keys share a bucket. */
const GOLDEN = 0x9e3779b1 | 0;

interface Mode {
  /** Accesses go to the heap, not to who runs. */
  direct: boolean;
  runner: Runner | null;
}

export class Seat {
  readonly instance: Instance;
  readonly #mode: Mode;
  readonly #pristine: unknown[][];
  #made: unknown[][] = [];
  heap: Heap | null = null;

  constructor(instance: Instance, mode: Mode) {
    this.instance = instance;
    this.#mode = mode;
    this.#pristine = instance.checkpoint();
  }
  get library(): Library {
    return this.instance.library;
  }
  /** Makes the heap of a scenario and attaches to it; `leave` ends that. */
  create(options: HeapOptions): void {
    this.instance.rollback(this.#pristine);
    this.#mode.direct = true;
    this.heap = this.library.Heap.create({ bytes: HEAP_BYTES, hashSeed: GOLDEN, debug: false, ...options });
    this.#warm();
  }
  leave(): void {
    this.heap!.detach();
    this.#mode.direct = false;
    this.#made = this.instance.checkpoint();
  }
  /** Runs something on this copy as `leave` left it; its accesses go to `runner`. */
  run<T>(runner: Runner, work: () => T): T {
    this.instance.rollback(this.#made);
    this.#mode.runner = runner;
    return work();
  }
  /** Boots the program of a CPU on the heap of `host`, with some cells of the given types in its magazines. Returns its slot. */
  boot(program: Program, host: Seat, stock: readonly string[]): number {
    const handle = host.heap!.handle();
    this.#mode.runner = program;
    this.instance.rollback(this.#pristine);
    const types = (stock[0] === "*" ? [...this.library.declaredStructs.keys()] : stock).map((name) => {
      const type = this.library.declaredStructs.get(name);
      if (type === undefined) throw new Error(`stock of ${name}: no struct has that name`);
      return type;
    });
    this.#mode.direct = true;
    try {
      this.heap = this.library.Heap.attach(handle);
      this.#warm();
      this.heap.detach();
      let slot = 0;
      const attach = (): void => {
        this.heap = this.library.Heap.attach(handle);
        slot = this.heap.slot;
        for (const type of types) this.library.free(type, this.library.alloc(type) as Ref<string>);
        if (stock[0] === "*") this.#arrays();
      };
      program.boot(attach, () => new Int32Array(handle.buffer).slice());
      return slot;
    } finally {
      this.#mode.direct = false;
    }
  }
  /** Makes every module look its caches up, which it does once per heap, and every cache take its first pages. */
  #warm(): void {
    const { library } = this;
    for (const type of library.declaredStructs.values())
      library.free(type, library.alloc(type) as Ref<string>);
    this.#arrays();
  }
  #arrays(): void {
    const { library } = this;
    for (let words = 2; words <= 64; words += words < 16 ? 1 : 16)
      library.freeArray(library.allocArray(words) as Ref<"array">);
  }
}

const seats = new Map<string, Promise<Seat>>();
/** The copy number `number` of some code. */
export function borrow(code: Code, number: number): Promise<Seat> {
  const { library, subject, edits = [], weak = false } = code;
  const names = edits.map((edit) => edit.name).join();
  const key = [library.href, subject?.href, names, weak, number].join(" ");
  let seat = seats.get(key);
  if (seat === undefined) {
    const mode: Mode = { direct: true, runner: null };
    const globals = globalsOf(
      () => mode.direct,
      () => mode.runner!,
      weak ? "arm64" : "x64",
    );
    seat = instantiate(code, globals).then((instance) => new Seat(instance, mode));
    seats.set(key, seat);
  }
  return seat;
}
