/** "#!" scripts (execve(2), "Interpreter scripts"): the named program runs, with the script as its argument. */
import { ENOEXEC } from "../uapi/errno.ts";
import { BINPRM_BUF_SIZE, type Bprm, registerBinfmt } from "./binfmt.ts";
import { replaceFirst } from "./strings.ts";

const SPACE = 32;
const TAB = 9;
const NEWLINE = 10;
const isBlank = (byte: number | undefined): boolean => byte === SPACE || byte === TAB;

/** What a script's first line names: the interpreter, and where its name ends; null when it is no script. */
export function scriptInterpreter(
  header: Uint8Array,
): { interpreter: Uint8Array; stop: number; end: number } | null {
  if (header[0] !== 0x23 || header[1] !== 0x21) return null;
  let end = header.indexOf(NEWLINE);
  if (end < 0) {
    // Cut off: only the argument may be incomplete, not the interpreter's name.
    end = header.length;
    if (header.length === BINPRM_BUF_SIZE && !nameIsWhole(header)) return null;
  }
  const nul = header.indexOf(0);
  if (nul >= 0 && nul < end) end = nul;
  while (end > 2 && isBlank(header[end - 1])) end--;
  let start = 2;
  while (start < end && isBlank(header[start])) start++;
  if (start === end) return null;
  let stop = start;
  while (stop < end && !isBlank(header[stop])) stop++;
  return { interpreter: header.slice(start, stop), stop, end };
}

function loadScript(bprm: Bprm): number {
  const { header } = bprm;
  const script = scriptInterpreter(header);
  if (script === null) return -ENOEXEC;
  const { interpreter, stop, end } = script;
  // All of the rest is one argument.
  let from = stop;
  while (from < end && isBlank(header[from])) from++;
  const argument = from < end ? [header.slice(from, end)] : [];
  bprm.argv = replaceFirst([interpreter, ...argument, bprm.path], bprm.argv);
  bprm.interpreter = interpreter;
  return 0;
}

function nameIsWhole(header: Uint8Array): boolean {
  let at = 2;
  while (at < header.length && isBlank(header[at])) at++;
  while (at < header.length && !isBlank(header[at])) at++;
  return at < header.length;
}

registerBinfmt({ name: "script", load: loadScript });
