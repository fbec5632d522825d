/**
 * Loads a program's module, and says what is wrong with one that cannot be loaded: "FILE:LINE:COLUMN: what". Node prints the place
 * of a mistake when it ends by an exception, and leaves it out of many of the exceptions themselves, so it is looked for here.
 */
import { readFileSync } from "node:fs";
import { createRequire, registerHooks, stripTypeScriptTypes } from "node:module";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { type Program, programOf } from "./program.ts";

const require = createRequire(import.meta.url);

/** Files that were loaded on this thread for the program that is being loaded, in order. */
let loaded: string[] = [];
let watching = false;

/** The program, or in words why there is none. `path` is one of the host. */
export function loadProgram(path: string): NonNullable<ReturnType<typeof programOf>> | string {
  beginLoading();
  try {
    const found = programOf((require(path) as { default?: Program }).default);
    return found ?? `${path}: its default export is not program(function* ...)`;
  } catch (error) {
    return describeLoadError(path, error);
  }
}

/** From here on the files that this thread loads are noted, for describeLoadError. */
export function beginLoading(): void {
  watch();
  loaded = [];
}

function watch(): void {
  if (watching) return;
  watching = true;
  registerHooks({
    load(url, context, next) {
      if (url.startsWith("file:")) loaded.push(fileURLToPath(url));
      return next(url, context);
    },
  });
}

interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** What is wrong with a module that could not be loaded, with the place of the mistake. `path`: the file that was asked for. */
export function describeLoadError(path: string, error: unknown): string {
  if (!(error instanceof Error)) return `${path}: ${String(error)}`;
  const message = error.message.split("\n")[0]!;
  const { code } = error as NodeJS.ErrnoException;
  if (code === "MODULE_NOT_FOUND" && !loaded.includes(path)) return `${path}: no such module`;
  if (code === "ERR_REQUIRE_ASYNC_MODULE")
    return `${path}: await at the top level of a module: a program and what it imports are loaded at once`;
  const place =
    placeInStack(error.stack ?? "") ?? (error instanceof SyntaxError ? placeOfSyntax(message) : null);
  const found = place ?? placeOfImport(message);
  if (found !== null) return `${found.file}:${found.line}:${found.column}: ${message}`;
  return `${error instanceof SyntaxError ? (loaded.at(-1) ?? path) : path}: ${message}`;
}

const plain = (file: string): string => (file.startsWith("file:") ? fileURLToPath(file) : file);

/** What Node has put in front of the stack (file and line, source, caret), or the innermost call outside of Node. */
function placeInStack(stack: string): Place | null {
  const head = /^(\S.*):(\d+)\n[\s\S]*?^( *)\^/m.exec(stack);
  if (head !== null && stack.startsWith(head[0]))
    return { file: plain(head[1]!), line: Number(head[2]), column: head[3]!.length + 1 };
  const call = /^ +at (?:.*\()?(file:.+|\/.+):(\d+):(\d+)\)?$/m.exec(stack);
  if (call === null || !loaded.includes(plain(call[1]!))) return null;
  return { file: plain(call[1]!), line: Number(call[2]), column: Number(call[3]) };
}

/** V8's exception does not say where. The file is the one that was loaded last; the parser for types finds the place. */
function placeOfSyntax(message: string): Place | null {
  const file = loaded.at(-1);
  if (file === undefined || message.startsWith("The requested module")) return null;
  const { emitWarning } = process;
  // Whoever made a mistake need not read that this parser is experimental.
  process.emitWarning = () => {};
  try {
    stripTypeScriptTypes(readFileSync(file, "utf8"), { sourceUrl: file });
  } catch (error) {
    const caret = placeInStack((error as Error).stack ?? "");
    if (caret !== null) return { ...caret, file };
  } finally {
    process.emitWarning = emitWarning;
  }
  return null;
}

/** The line that imports what is not there: a name, or a module. */
function placeOfImport(message: string): Place | null {
  const name = /^The requested module '(.+)' does not provide an export named '(.+)'$/.exec(message);
  const module = /^Cannot find (?:module|package) '(.+)' imported from (.+)$/.exec(message);
  const wanted = name === null ? (module === null ? null : basename(module[1]!)) : name[1]!;
  if (wanted === null) return null;
  for (const file of module === null ? loaded.toReversed() : [module[2]!]) {
    const lines = readFileSync(file, "utf8").split("\n");
    const at = lines.findIndex((line) => /import|export|from/.test(line) && line.includes(wanted));
    if (at < 0) continue;
    return { file, line: at + 1, column: lines[at]!.indexOf(name === null ? wanted : name[2]!) + 1 };
  }
  return null;
}
