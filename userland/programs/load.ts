/** Loads a program's module, and says what is wrong with one that cannot be loaded. */
import { createRequire } from "node:module";
import { type Program, programOf } from "./program.ts";

const require = createRequire(import.meta.url);

/** The program, or in words why there is none. `path` is one of the host. */
export function loadProgram(path: string): NonNullable<ReturnType<typeof programOf>> | string {
  try {
    const found = programOf((require(path) as { default?: Program }).default);
    return found ?? `${path}: its default export is not program(function* ...)`;
  } catch (error) {
    return `${path}: ${describe(error)}`;
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "MODULE_NOT_FOUND" && !error.message.includes("\n")) return "no such module";
  return error.message.split("\n")[0]!;
}
