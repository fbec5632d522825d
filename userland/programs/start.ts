/** What execve leaves on a stack: argc, argv, envp, auxv (System V ABI, process initialization). */
import type { TaskMemory } from "./memory.ts";

const AT_EXECFN = 31;
/** Ours: the name of the program's entry that the task starts in; absent for its main function. */
const AT_PROGRAM_ENTRY = 0x53545831;

export interface Start {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Host path of the program's module. */
  readonly execfn: string;
  readonly entry: string | null;
}

export function readStart(memory: TaskMemory, sp: number): Start {
  const argc = memory.word(sp);
  const argv: string[] = [];
  let at = sp + 8;
  for (let i = 0; i < argc; i++, at += 8) argv.push(memory.string(memory.word(at)));
  at += 8;
  const env: Record<string, string> = {};
  for (let pointer = memory.word(at); pointer !== 0; pointer = memory.word((at += 8))) {
    const text = memory.string(pointer);
    const equals = text.indexOf("=");
    env[equals < 0 ? text : text.slice(0, equals)] = equals < 0 ? "" : text.slice(equals + 1);
  }
  let execfn = "";
  let entry: string | null = null;
  for (at += 8; memory.word(at) !== 0; at += 16) {
    if (memory.word(at) === AT_EXECFN) execfn = memory.string(memory.word(at + 8));
    if (memory.word(at) === AT_PROGRAM_ENTRY) entry = memory.string(memory.word(at + 8));
  }
  return { argv, env, execfn, entry };
}

/** Writes it below `sp`; returns the new stack pointer. */
export function writeStart(memory: TaskMemory, sp: number, start: Start): number {
  const texts = [
    ...start.argv,
    ...Object.entries(start.env).map(([name, value]) => `${name}=${value}`),
    start.execfn,
    start.entry ?? "",
  ].map((text) => Buffer.from(`${text}\0`));
  const bytes = Buffer.concat(texts);
  const strings = Math.floor((sp - bytes.length) / 16) * 16;
  let next = strings;
  const pointers = texts.map((text) => (next += text.length) - text.length);
  const argc = start.argv.length;
  const [execfn, entry] = pointers.splice(-2) as [number, number];
  const auxv = [AT_EXECFN, execfn, ...(start.entry === null ? [] : [AT_PROGRAM_ENTRY, entry]), 0, 0];
  const words = [argc, ...pointers.slice(0, argc), 0, ...pointers.slice(argc), 0, ...auxv];
  const top = Math.floor((strings - 8 * words.length) / 16) * 16;
  memory.write(strings, bytes);
  memory.write(top, new Uint8Array(BigUint64Array.from(words, BigInt).buffer));
  return top;
}
