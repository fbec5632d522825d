/**
 * Every CPU of the model has the code of rcu/ for itself: modules keep state per thread (open scopes, locks held, which task
 * runs), so each CPU imports its own copy, told apart by a query in the address. A module hook gives the copies other
 * globals (Atomics, Int32Array, Date, setImmediate, queueMicrotask, setTimeout), notes their variables so that a program can be run again from its
 * beginning, and makes the edits that were asked for (mutants). What runs is otherwise the source as it is; the only
 * constants changed are the two in CONSTANTS.
 */
import { registerHooks } from "node:module";

export type Library = typeof import("./library.ts");

/** A change in the text of a source file, for mutants. */
export interface Edit {
  readonly name: string;
  /** Path from the root of the project. */
  readonly file: string;
  /** The text with the change. Throws when what it looks for is not there. */
  apply(text: string): string;
}

/** The globals that a copy sees. */
export interface Globals {
  readonly Atomics: unknown;
  readonly Int32Array: unknown;
  readonly Uint8Array: unknown;
  readonly Float64Array: unknown;
  readonly Date: { now(): number };
  readonly performance: { now(): number };
  readonly setImmediate: (turn: () => void) => void;
  readonly queueMicrotask: (turn: () => void) => void;
  readonly setTimeout: (turn: () => void, ms: number) => { unref(): void };
}

/** Spinning is a shorter way of waiting: the copies wait at once. */
const CONSTANTS: Readonly<Record<string, readonly [find: string, replace: string]>> = {
  "rcu/lock.ts": ["const SPINS = 240;", "const SPINS = 0;"],
  "rcu/synchronize.ts": ["const SPINS = 200;", "const SPINS = 0;"],
};

/** A variable of a module: read it, set it. */
interface Kept {
  save(): unknown[];
  restore(values: unknown[]): void;
}

/** One copy of the code. */
export class Instance {
  library!: Library;
  readonly globals: Globals;
  readonly edits: readonly Edit[];
  readonly #kept: Kept[] = [];

  constructor(globals: Globals, edits: readonly Edit[]) {
    this.globals = globals;
    this.edits = edits;
  }

  keep(save: () => unknown[], restore: (values: unknown[]) => void): void {
    this.#kept.push({ save, restore });
  }
  /** The variables of all modules. */
  checkpoint(): unknown[][] {
    return this.#kept.map((module) => module.save());
  }
  /** Gives them the values that they had. */
  rollback(values: readonly unknown[][]): void {
    for (let n = 0; n < this.#kept.length; n++) this.#kept[n]!.restore(values[n]!);
  }
}

const instances: Instance[] = [];
const REGISTRY = Symbol.for("sternix model instances");
(globalThis as Record<symbol, unknown>)[REGISTRY] = instances;

const root = new URL("../../../", import.meta.url).href;
const QUERY = /\?model=(\d+)$/;
let hooked = false;

/** Imports a copy of the code: of the module `library` and of what it imports. */
export async function instantiate(library: URL, globals: Globals, edits: readonly Edit[]): Promise<Instance> {
  if (!hooked) hook();
  hooked = true;
  const instance = new Instance(globals, edits);
  const number = instances.push(instance) - 1;
  instance.library = (await import(`${library.href}?model=${number}`)) as Library;
  return instance;
}

function hook(): void {
  registerHooks({
    resolve(specifier, context, next) {
      const resolved = next(specifier, context);
      const query = QUERY.exec(context.parentURL ?? "");
      if (query === null || !resolved.url.startsWith(root) || QUERY.test(resolved.url)) return resolved;
      return { ...resolved, url: resolved.url + query[0] };
    },
    load(address, context, next) {
      const query = QUERY.exec(address);
      const loaded = next(address, context);
      if (query === null) return loaded;
      const number = Number(query[1]);
      const file = address.slice(root.length, query.index);
      return { ...loaded, source: instrument(file, String(loaded.source), number) };
    },
  });
}

function instrument(file: string, source: string, number: number): string {
  let text = source;
  for (const edit of instances[number]!.edits) if (edit.file === file) text = edit.apply(text);
  const constant = CONSTANTS[file];
  if (constant !== undefined) {
    if (text.split(constant[0]).length !== 2) throw new Error(`${file} has no "${constant[0]}" to replace`);
    text = text.replace(constant[0], constant[1]);
  }
  const me = `globalThis[Symbol.for("sternix model instances")][${number}]`;
  // On the first line, so that line numbers stay.
  const globals = `const { Atomics, Int32Array, Uint8Array, Float64Array, Date, performance, setImmediate, queueMicrotask, setTimeout } = ${me}.globals as any;`;
  return `${globals}${text}\n${keepers(text, me)}`;
}

/** Code that notes the module's variables, and the contents of the arrays that it writes to. */
function keepers(source: string, me: string): string {
  const names = [...source.matchAll(/^(?:export )?let (\w+)/gm)].map((match) => match[1]!);
  const arrays = [...source.matchAll(/^(?:export )?const (\w+)[^\n=]*= (?:new Int32Array\(|\[\];)/gm)].map(
    (match) => match[1]!,
  );
  if (names.length + arrays.length === 0) return "";
  const saved = [...names, ...arrays].map((name) => `copied(${name})`).join(", ");
  const restored =
    names.map((name, n) => `${name} = copied(values[${n}]);`).join(" ") +
    arrays.map((name, n) => `refill(${name}, values[${names.length + n}]);`).join(" ");
  return (
    `function copied(value: any): any { return Array.isArray(value) ? value.slice() : ArrayBuffer.isView(value) && !(value.buffer instanceof SharedArrayBuffer) ? (value as any).slice() : value; }\n` +
    `function refill(to: any, from: any): void { if (ArrayBuffer.isView(to)) (to as any).set(from); else to.splice(0, to.length, ...from); }\n` +
    `${me}.keep((): any[] => [${saved}], (values: any[]): void => { ${restored} });\n`
  );
}
