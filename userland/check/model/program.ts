/**
 * The programs of the CPUs, as trees. JavaScript cannot stop a function half-way, so a program is run again from its
 * beginning, with the values that its accesses gave before, up to its next access to shared memory; there it is
 * left by an exception. A program is a function of those values, so each of its states, once found, is a node of a tree
 * that need not be computed again: exploring interleavings works on the trees.
 *
 * Words that only one CPU touches, or that nobody writes, are no scheduling points: which ones, is found out
 * (Sharing). All accesses to the others are.
 */
import * as layout from "../../../rcu/layout.ts";
import { applied, effect, isPlainStore, type Op, type OpKind, TIMED_OUT, WRITES } from "./access.ts";
import type { Runner } from "./globals.ts";
import type { Instance, Library } from "./instance.ts";
import type { Sharing } from "./sharing.ts";

/** How a program ended: what it noted and returned, why it failed, the words that it alone wrote. */
export interface End {
  readonly notes: ReadonlyMap<string, number>;
  readonly result: unknown;
  readonly error: Error | null;
  /** It gave up, as if it waited for ever. */
  readonly aborted: boolean;
  readonly words: ReadonlyMap<number, number>;
}

export class Node {
  readonly id: number;
  readonly parent: Node | null;
  /** What the parent's access gave. */
  readonly value: number;
  readonly depth: number;
  /** Sleeps that ended by time-out so far. */
  readonly timeouts: number;
  /** Accesses before the next one, private ones too. */
  accesses = 0;
  /** The next access; null when the program has ended. */
  op: Op | null = null;
  /** Once it has ended. */
  end: End | null = null;
  readonly children = new Map<number, Node>();
  /** By shared word: READS and WRITES of this access and of those that may follow it, as far as known. */
  readonly future: Uint8Array;
  /** By shared word: that exploration has relied on what `future` does not hold. */
  readonly relied: Uint8Array;
  reliedOnCommon = false;
  /** Whether atomic loads, and atomic stores, are among them. */
  takes = false;
  leaves = false;

  constructor(id: number, parent: Node | null, value: number, words: number) {
    this.id = id;
    this.parent = parent;
    this.value = value;
    this.depth = parent === null ? 0 : parent.depth + 1;
    const slept = parent?.op?.kind === "wait" && value === TIMED_OUT;
    this.timeouts = (parent?.timeouts ?? 0) + (slept ? 1 : 0);
    this.future = new Uint8Array(words);
    this.relied = new Uint8Array(words);
  }
}

/** A word turned out to be shared that was not known to be: exploration starts over. */
export class Restart extends Error {}
class Suspended extends Error {}
class Aborted extends Error {}
class Died extends Error {}
const DIED = new Died();
const SUSPENDED = new Suspended();

const { POISON } = layout;

/** More accesses than any program of ours makes: it runs in circles. */
const MAX_DEPTH = 400;
const MAX_PRIVATE = 200_000;

/** Memory that nobody may look at was looked at. */
export class UseAfterFree extends Error {
  readonly at: number;
  constructor(at: number, message: string) {
    super(message);
    this.at = at;
  }
}

/** What a program is given beside the library. */
export interface Cpu {
  readonly number: number;
  /** The user's module, this CPU's copy. */
  readonly subject: unknown;
  /** Closures that wait for a grace period. */
  readonly closures: number;
  /** Remembers a value for the scenario to judge. */
  note(name: string, value: number): void;
  /** What the program comes to, once it has ended. */
  result(value: unknown): void;
  /** Ends the program here, as if it waited for ever: the execution counts, what comes later does not happen. */
  abort(): never;
  /** Runs what queueMicrotask and setImmediate were given: the end of an event-loop turn. */
  endTurn(): void;
}
export interface Body {
  /** Runs once the CPU is attached, before the scenario begins. What it returns is given to `run`. */
  boot?(lib: Library, cpu: Cpu): unknown;
  /** Objects made by `boot` change: make them anew for every run, and attach anew (true) or not. */
  readonly reboot?: true | "attached";
  /** The CPU is not attached when the scenario begins: `run` does that, or does not need it. */
  readonly absent?: true;
  run(lib: Library, cpu: Cpu, booted: never): void;
  /** The thread is terminated when it has made so many accesses, private ones too; then `died` happens, as somebody else would see it. */
  readonly diesAfter?: number;
  died?(lib: Library, cpu: Cpu): void;
}

/** What an access tells who explains a run. */
export interface Watched {
  readonly op: Op;
  /** A scheduling point; other accesses are the program's own affair. */
  readonly shared: boolean;
}

export class Program implements Cpu, Runner {
  readonly number: number;
  readonly instance: Instance;
  readonly #body: Body;
  readonly #sharing: Sharing;
  /** The heap as the scenario finds it, and as this CPU's boot found it. */
  #image!: Int32Array;
  #before!: Int32Array;
  #booted: unknown;
  root!: Node;
  #ids = 0;
  nodes = 0;
  /** How often the tree grew by an access that exploration had relied not to be there. */
  surprises = 0;

  // The run in progress.
  #words = new Map<number, number>();
  #log: Op[] = [];
  #path: Int32Array = new Int32Array(0);
  #cursor = 0;
  #accesses = 0;
  #privately = 0;
  /** Accesses until the thread is terminated. */
  #left = Number.POSITIVE_INFINITY;
  /** Sleeps that have ended by time-out. */
  #slept = 0;
  #dead = true;
  #booting = false;
  #found: Op | null = null;
  #notes = new Map<string, number>();
  #result: unknown;
  #turns: (() => void)[] = [];
  /** Called for each access of a run that is being explained. */
  #watch: ((seen: Watched) => void) | null = null;
  #printed: ((text: string) => void) | null = null;
  /** Whether a word is a cell's, behind its header: what is poisoned when the cell is freed. */
  readonly #payload: (at: number) => boolean;

  constructor(
    number: number,
    instance: Instance,
    body: Body,
    sharing: Sharing,
    payload: (at: number) => boolean,
  ) {
    this.number = number;
    this.instance = instance;
    this.#body = body;
    this.#sharing = sharing;
    this.#payload = payload;
  }
  get closures(): number {
    return this.instance.closures();
  }
  get subject(): unknown {
    return this.instance.subject;
  }

  /** Attaches the CPU and boots it; accesses go to the real heap. */
  boot(attach: () => void, image: () => Int32Array): void {
    const { reboot, absent } = this.#body;
    const attaching = absent === true ? () => {} : attach;
    if (reboot === "attached") attaching();
    else this.#attach = attaching;
    this.#start = this.instance.checkpoint();
    if (reboot !== undefined) this.#before = image();
    this.#attach();
    this.#booted = this.#body.boot?.(this.instance.library, this);
    if (reboot === undefined) this.#start = this.instance.checkpoint();
  }
  /** What is done again before each run. */
  #attach = (): void => {};
  /** The variables of the code when a run begins. */
  #start: unknown[][] = [];

  /** The tree is begun anew: other words are shared now. */
  reset(image: Int32Array): void {
    this.#image = image;
    this.#ids = 0;
    this.root = this.#discover(null, 0);
  }

  /** What was learned goes, but for which words are shared. */
  forget(image: Int32Array): void {
    this.nodes = 0;
    this.reset(image);
  }

  /** The state after the node's access has given `value`. */
  step(node: Node, value: number): Node {
    return node.children.get(value) ?? this.#discover(node, value);
  }

  #discover(parent: Node | null, value: number): Node {
    const node = new Node(this.#ids++, parent, value, this.#sharing.words.length);
    const most = this.#sharing.everything ? MAX_PRIVATE : MAX_DEPTH;
    const error =
      node.depth > most ? new Error(`more than ${most} accesses: it runs in circles`) : this.#run(node);
    if (this.#sharing.pending) throw new Restart();
    node.accesses = this.#accesses;
    if (error === SUSPENDED) {
      node.op = this.#found!;
      this.#remember(node);
    } else {
      const aborted = error instanceof Aborted;
      const failed =
        error === null || aborted ? null : error instanceof Error ? error : new Error(String(error));
      node.end = { notes: this.#notes, result: this.#result, error: failed, aborted, words: this.#words };
    }
    parent?.children.set(value, node);
    this.nodes++;
    return node;
  }

  /** Tells the nodes on the way what may follow them. */
  #remember(node: Node): void {
    const word = this.#sharing.index.get(node.op!.at)!;
    const how = effect(node.op!);
    for (let at: Node | null = node; at !== null && (at.future[word]! & how) !== how; at = at.parent) {
      at.future[word]! |= how;
      if (at.relied[word] !== 0) this.surprises++;
    }
    if (node.op!.kind === "load" || isPlainStore(node.op!)) return;
    const takes = node.op!.kind !== "atomic store";
    const leaves = node.op!.kind !== "atomic load";
    for (let at: Node | null = node; at !== null; at = at.parent) {
      if ((!takes || at.takes) && (!leaves || at.leaves)) break;
      at.takes ||= takes;
      at.leaves ||= leaves;
      if (at.reliedOnCommon) this.surprises++;
    }
  }

  /** Runs the program up to the node; returns how it ended. */
  #run(node: Node): unknown {
    this.#path = new Int32Array(node.depth);
    this.#log.length = node.depth;
    for (let at = node; at.parent !== null; at = at.parent) {
      this.#path[at.depth - 1] = at.value;
      this.#log[at.depth - 1] = at.parent.op!;
    }
    this.instance.rollback(this.#start);
    this.#words = new Map();
    this.#notes = new Map();
    this.#result = undefined;
    this.#turns = [];
    this.#fault = null;
    this.#cursor = 0;
    this.#accesses = 0;
    this.#privately = 0;
    this.#slept = 0;
    this.#dead = false;
    if (this.#body.reboot) this.#reboot();
    this.#left = this.#body.diesAfter ?? Number.POSITIVE_INFINITY;
    try {
      try {
        this.#body.run(this.instance.library, this, this.#booted as never);
      } catch (error) {
        if (error !== DIED) throw error;
        this.#left = Number.POSITIVE_INFINITY;
        this.#body.died?.(this.instance.library, this);
      }
      return this.#fault ?? (this.#dead ? SUSPENDED : null);
    } catch (error) {
      return this.#fault ?? (this.#dead ? SUSPENDED : error);
    } finally {
      this.#dead = true;
    }
  }
  /** Ends the run, whatever the program would catch. */
  #fail(error: Error): never {
    this.#fault ??= error;
    this.#dead = true;
    throw SUSPENDED;
  }
  #fault: Error | null = null;
  #checked(op: Op, value: number): number {
    if (value === POISON && op.trusted !== true && this.#payload(op.at))
      this.#fail(new UseAfterFree(op.at, "use after free"));
    return value;
  }

  /** Boots again, on the heap as it was then; what that writes is in the image already. */
  #reboot(): void {
    this.#booting = true;
    try {
      this.#attach();
      this.#booted = this.#body.boot?.(this.instance.library, this);
    } finally {
      this.#booting = false;
      this.#words = new Map();
    }
  }

  /** An access of the running program: private, from the log, or the one at which it is left. */
  access(kind: OpKind, at: number, a: number, b: number): number {
    if (this.#dead) throw SUSPENDED;
    const op = this.instance.trusted > 0 ? { kind, at, a, b, trusted: true } : { kind, at, a, b };
    if (this.#booting) return this.#private(op, this.#before);
    this.#accesses++;
    if (this.#left <= 0) throw DIED; // Again and again: what `finally` would do does not happen.
    this.#left--;
    if (!this.#sharing.index.has(at)) {
      this.#sharing.touch(this.number, at, effect(op));
      if (kind === "wait" || ++this.#privately > MAX_PRIVATE) {
        this.#sharing.touch(31, at, WRITES); // Somebody else must wake it, or nobody can.
        this.#dead = true;
        throw SUSPENDED;
      }
      this.#watch?.({ op, shared: false });
      const old = this.#words.get(at) ?? this.#image[at]!;
      if (isPlainStore(op) || kind === "atomic store") this.#checked(op, old);
      return this.#checked(op, this.#private(op, this.#image));
    }
    if (this.#cursor === this.#path.length) {
      this.#watch?.({ op, shared: true });
      this.#found = op;
      this.#dead = true;
      throw SUSPENDED;
    }
    const before = this.#log[this.#cursor]!;
    if (before.at !== at || before.kind !== kind || before.a !== a || before.b !== b)
      throw new Error(
        `CPU ${this.number} is not a function of what it reads: access ${this.#cursor} was ${before.kind} of ${before.at}, now ${kind} of ${at}`,
      );
    this.#watch?.({ op, shared: true });
    const value = this.#path[this.#cursor++]!;
    if (kind === "wait" && value === TIMED_OUT) this.#slept++;
    return kind === "wait" || kind === "notify" || isPlainStore(op) ? value : this.#checked(op, value);
  }

  #private(op: Op, image: Int32Array): number {
    const old = this.#words.get(op.at) ?? image[op.at]!;
    const fresh = applied(op, old);
    if (fresh !== undefined) this.#words.set(op.at, fresh);
    return op.kind === "notify" ? 0 : old;
  }

  /** Runs the program once more up to the node and tells of each access on the way, and of what it prints: for stack traces. */
  explain(node: Node, watch: (seen: Watched) => void, printed: ((text: string) => void) | null = null): void {
    this.#watch = watch;
    this.#printed = printed;
    try {
      this.#run(node);
    } finally {
      this.#watch = null;
      this.#printed = null;
    }
  }
  print(text: string): void {
    if (!this.#dead) this.#printed?.(text);
  }
  result(value: unknown): void {
    if (!this.#dead) this.#result = value;
  }

  note(name: string, value: number): void {
    if (!this.#dead) this.#notes.set(name, value);
  }
  abort(): never {
    throw this.#dead ? SUSPENDED : new Aborted();
  }
  /** Milliseconds: each time-out takes ten seconds, and nothing else any time. */
  now(): number {
    return 1 + 10_000 * this.#slept;
  }
  later(turn: () => void): void {
    this.#turns.push(turn);
  }
  endTurn(): void {
    for (const turn of this.#turns.splice(0)) turn();
  }
}
