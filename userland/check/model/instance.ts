/**
 * Every CPU of the model has the code for itself, that of rcu/ and of whoever uses it: modules keep state per thread (open
 * scopes, locks held, which task runs), so each CPU imports its own copy, told apart by a query in the address. A module
 * hook gives the copies other globals (globals.ts), notes their variables so that a program can be run again from its
 * beginning, and makes the edits that were asked for (mutants). What runs is otherwise the source as it is; the only
 * constants changed are those in CONSTANTS.
 */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import type { Globals } from "./globals.ts";
import { ELEMENTS } from "./views.ts";

export type Library = typeof import("./library.ts");

/** A change in the text of a source file, for mutants. */
export interface Edit {
  readonly name: string;
  /** Path from the root of the project. */
  readonly file: string;
  /** The text with the change. Throws when what it looks for is not there. */
  apply(text: string): string;
}

/** Which code runs. */
export interface Code {
  /** What the scenarios call: a module that exports at least what library.ts does. */
  readonly library: URL;
  /** A module of the user's, loaded beside it. */
  readonly subject?: URL;
  /** What the names of packages, and the addresses of modules, stand for in the copies. */
  readonly names?: Readonly<Record<string, string>>;
  readonly edits?: readonly Edit[];
  /** For weak memory: the copies think that they run on a machine with one. Else, on x86. */
  readonly weak?: boolean;
  /**
   * Threads that go idle keep their callbacks, and do not look at those of others: whoever runs scenarios sees to it that each thread
   * runs its own. A tenth of the states, where it is not the library that is in question.
   */
  readonly keepCallbacks?: boolean;
  /** Called when a module is loaded for a copy. */
  readonly loading?: () => void;
}

/** Spinning is a shorter way of waiting: the copies wait at once. In a bundle the blanks around "=" may be missing. */
const CONSTANTS: readonly (readonly [file: string, find: RegExp, replace: string])[] = [
  ["rcu/lock", /const SPINS\s*=\s*240;/, "const SPINS = 0;"],
  ["rcu/wait-free-queue", /const SPINS\s*=\s*100;/, "const SPINS = 0;"],
  ["rcu/synchronize", /const SPINS\s*=\s*200;/, "const SPINS = 0;"],
];
/** The allocator's functions, which touch what is free. */
const TRUSTED: Readonly<Record<string, readonly string[]>> = {
  "rcu/slab": ["allocCell", "freeCell", "takeEmptySlabs", "adoptMagazines"],
};

/** A variable of a module: read it, set it. */
interface Kept {
  save(): unknown[];
  restore(values: unknown[]): void;
}

/** One copy of the code. */
export class Instance {
  readonly code: Code;
  readonly globals: Globals;
  library!: Library;
  /** The user's module. */
  subject: unknown = null;
  /** Closures of this thread that wait for a grace period (rcu/reclaim.ts). */
  closures: () => number = () => 0;
  /** How deep the allocator is at work. */
  trusted = 0;
  readonly #kept: Kept[] = [];

  constructor(code: Code, globals: Globals) {
    this.code = code;
    this.globals = globals;
  }

  keep(save: () => unknown[], restore: (values: unknown[]) => void): void {
    this.#kept.push({ save, restore });
  }
  /** A function of the allocator, as it is called in this copy. */
  trust(inner: (...args: unknown[]) => unknown): (...args: unknown[]) => unknown {
    return (...args) => {
      this.trusted++;
      try {
        return inner(...args);
      } finally {
        this.trusted--;
      }
    };
  }
  /** The variables of all modules. */
  checkpoint(): unknown[][] {
    return this.#kept.map((module) => module.save());
  }
  /** Gives them the values that they had. */
  rollback(values: readonly unknown[][]): void {
    for (let n = 0; n < this.#kept.length; n++)
      if (values[n] !== undefined) this.#kept[n]!.restore(values[n]!);
    this.trusted = 0;
  }
  /** For the code of modules: copies a variable's value, and refills what a constant holds. */
  readonly copied = copied;
  readonly restored = restored;
  readonly refill = refill;
}

function copied(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice();
  if (value instanceof Map) return new Map([...value].map(([key, inner]) => [key, copiedInner(inner)]));
  if (value instanceof Set) return new Set(value);
  if (ArrayBuffer.isView(value) && !(value.buffer instanceof SharedArrayBuffer))
    return (value as Uint8Array).slice();
  return value;
}
/** One level down: lists and records in a map. */
function copiedInner(value: unknown): unknown {
  if (Array.isArray(value)) return { list: value, was: value.slice() };
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype)
    return { record: value, was: Object.entries(value).map(([key, inner]) => [key, copied(inner)]) };
  return { value };
}
type Inner =
  | { list: unknown[]; was: unknown[] }
  | { record: Record<string, unknown>; was: [string, unknown][] }
  | { value: unknown };
function restoredInner(inner: Inner): unknown {
  if ("list" in inner) {
    inner.list.splice(0, inner.list.length, ...inner.was);
    return inner.list;
  }
  if ("record" in inner) {
    // Frozen records have not changed.
    if (!Object.isFrozen(inner.record))
      for (const [key, value] of inner.was)
        if (inner.record[key] !== value) inner.record[key] = copied(value);
    return inner.record;
  }
  return inner.value;
}

/** A variable's value again, from what copied made of it. */
function restored(saved: unknown): unknown {
  if (Array.isArray(saved)) return saved.slice();
  if (saved instanceof Map)
    return new Map([...saved].map(([key, inner]) => [key, restoredInner(inner as Inner)]));
  return copied(saved);
}

/** Most have not changed: those are left alone. */
function refill(to: unknown, from: unknown): void {
  if (Array.isArray(to)) {
    const was = from as unknown[];
    if (to.length !== was.length || to.some((value, n) => value !== was[n])) to.splice(0, to.length, ...was);
  } else if (to instanceof Map) {
    const was = from as Map<unknown, Inner>;
    let same = to.size === was.size;
    if (same)
      for (const [key, inner] of was) {
        const value = restoredInner(inner);
        if (to.get(key) === value && (value !== undefined || to.has(key))) continue;
        same = false;
        break;
      }
    if (same) return;
    to.clear();
    for (const [key, inner] of was) to.set(key, restoredInner(inner));
  } else if (to instanceof Set) {
    const was = from as Set<unknown>;
    if (to.size === was.size && [...was].every((value) => to.has(value))) return;
    to.clear();
    for (const value of was) to.add(value);
  } else if (ArrayBuffer.isView(to)) (to as Uint8Array).set(from as Uint8Array);
}

const instances: Instance[] = [];
const REGISTRY = Symbol.for("sternix model instances");
(globalThis as Record<symbol, unknown>)[REGISTRY] = instances;

const QUERY = /\?model=(\d+)$/;
let hooked = false;

/** Imports a copy of the code. */
export async function instantiate(code: Code, globals: Globals): Promise<Instance> {
  if (!hooked) hook();
  hooked = true;
  const instance = new Instance(code, globals);
  const number = instances.push(instance) - 1;
  instance.library = (await import(`${code.library.href}?model=${number}`)) as Library;
  if (code.subject !== undefined) instance.subject = await import(`${code.subject.href}?model=${number}`);
  return instance;
}

function hook(): void {
  registerHooks({
    resolve(specifier, context, next) {
      const query = QUERY.exec(context.parentURL ?? "");
      if (query === null) return next(specifier, context);
      const { names = {} } = instances[Number(query[1])]!.code;
      const named = Object.hasOwn(names, specifier) ? names[specifier]! : specifier;
      const found = next(named, { ...context, parentURL: context.parentURL!.slice(0, query.index) });
      const resolved = Object.hasOwn(names, found.url) ? next(names[found.url]!, context) : found;
      // Modules of Node itself, and those that are no ES modules, are everybody's.
      if (!resolved.url.startsWith("file:") || !/\.m?[jt]s$/.test(resolved.url)) return resolved;
      const format = formatOf(resolved.url, resolved.format);
      return format === null ? resolved : { ...resolved, format, url: resolved.url + query[0] };
    },
    load(address, context, next) {
      const query = QUERY.exec(address);
      if (query === null) return next(address, context);
      const bare = address.slice(0, query.index);
      instances[Number(query[1])]!.code.loading?.();
      const loaded = next(bare, { ...context, format: formatOf(bare, context.format) ?? context.format });
      if (loaded.format?.startsWith("module") !== true) return loaded;
      return { ...loaded, source: instrument(bare, String(loaded.source), Number(query[1])) };
    },
  });
}

/**
 * The format of an ES module; null for what is none. What has import or export declarations is one, whatever package.json says: a new
 * folder's says "commonjs".
 */
function formatOf(address: string, format: string | null | undefined): string | null {
  const typed = /\.m?ts$/.test(address);
  if (
    format?.startsWith("commonjs") === true &&
    /^\s*(?:import|export)\b(?!\s*\()/m.test(readFileSync(new URL(address), "utf8"))
  )
    return typed ? "module-typescript" : "module";
  return format?.startsWith("commonjs") === true
    ? null
    : (format ?? (typed ? "module-typescript" : "module"));
}

/** Files of this project, from its root; null for others. */
function ownPath(address: string): string | null {
  return address.startsWith(root) ? address.slice(root.length) : null;
}
const root = new URL(import.meta.url.endsWith(".ts") ? "../../../" : "./model/", import.meta.url).href;

const GLOBALS = [
  ...["Atomics", "Date", "performance", "setImmediate", "queueMicrotask", "setTimeout", "process", "console"],
  ...ELEMENTS,
];

function instrument(address: string, source: string, number: number): string {
  const { edits = [] } = instances[number]!.code;
  const file = ownPath(address) ?? "";
  let text = source.startsWith("#!") ? `//${source}` : source;
  for (const edit of edits) if (edit.file === file) text = edit.apply(text);
  for (const [of, find, replace] of CONSTANTS)
    if (file.replace(/\.[jt]s$/, "") === of) {
      if (!find.test(text)) throw new Error(`${file} has no ${find.source} to replace`);
      text = text.replace(find, replace);
    }
  const me = `globalThis[Symbol.for("sternix model instances")][${number}]`;
  // Not those that the module itself declares or imports under that name. On the first line, so that line numbers stay.
  const own = GLOBALS.filter((name) => !declares(text, name));
  const globals = `const { ${own.join(", ")} } = ${me}.globals;`;
  // Whether an object lives is asked of the memory itself (poison), which costs no access; NULL and the like still are found.
  const live =
    file.replace(/\.[jt]s$/, "") === "rcu/field-check"
      ? "{ const asked = assertLive; assertLive = (ref, of) => { if (!(ref >= 0x40000)) asked(ref, of); }; }\n"
      : "";
  const keeps = instances[number]!.code.keepCallbacks === true;
  // Nor are the free cells of those that left of any use to others.
  const magazines = keeps && /^rcu\/slab\.[jt]s$/.test(file) ? "adoptMagazines = () => {};\n" : "";
  const idle =
    keeps && /^rcu\/idle\.[jt]s$/.test(file)
      ? "{ const drain = rcuIdleEnter; rcuIdleEnter = () => { if (rcuNesting() !== 0 || locksHeld !== 0) drain(); else goIdle(); }; }\n"
      : "";
  const trusted = (TRUSTED[file.replace(/\.[jt]s$/, "")] ?? []).map(
    (name) => `${name} = ${me}.trust(${name});\n`,
  );
  const closures = /^rcu\/reclaim\.[jt]s$/.test(file) ? `${me}.closures = closuresHere;\n` : "";
  // What replaces methods of classes does so once, whatever runs are begun anew.
  const kept = /^rcu\/(field-check|lock-order)$/.test(file.replace(/\.[jt]s$/, ""))
    ? text.replace(/^let installed\b/m, "  let installed")
    : text;
  return `${globals}${text}\n${live}${idle}${closures}${trusted.join("")}${magazines}${keepers(kept, me)}`;
}

const declares = (text: string, name: string): boolean =>
  new RegExp(
    `^(?:export )?(?:const|let|var|function|class) ${name}\\b|^import (?:\\* as )?${name}\\b|^import [^;"']*\\{[^}"']*\\b${name}\\b[^}"']*\\}`,
    "m",
  ).test(text);

/** Code that notes the module's variables, and the contents of the arrays, maps and sets that it keeps. */
function keepers(source: string, me: string): string {
  const names = [...source.matchAll(/^(?:export )?(?:let|var) (\w+)/gm)].map((match) => match[1]!);
  const kept = [
    ...source.matchAll(
      /^(?:export )?const (\w+)[^\n=]*=\s*(?:new Int32Array\(|new (?:Map|Set)\b(?:<[^\n]*>)?\s*\(\)|\[\];)/gm,
    ),
  ].map((match) => match[1]!);
  if (names.length + kept.length === 0) return "";
  const saved = [...names, ...kept].map((name) => `${me}.copied(${name})`).join(", ");
  const restored =
    names.map((name, n) => `${name} = ${me}.restored(values[${n}]);`).join(" ") +
    kept.map((name, n) => `${me}.refill(${name}, values[${names.length + n}]);`).join(" ");
  return `${me}.keep(() => [${saved}], (values) => { ${restored} });\n`;
}
