/**
 * The first stack of a program, from the top: strings (program name, environment, arguments), 16 random bytes, then
 * aligned to 16: argc, argv, envp, the auxiliary vector (System V ABI, "Process initialization").
 */
import type { Ref } from "../../rcu/index.ts";
import { randomBytes } from "../drivers/random.ts";
import { Mm, STACK_TOP } from "../mm/mm.ts";
import { mapPages } from "../mm/mmap.ts";
import { PAGE_SIZE } from "../mm/ram.ts";
import { mmWrite } from "../mm/remote.ts";
import { VM_EXEC, VM_GROWSDOWN, VM_MAYWRITE, VM_READ, VM_WRITE } from "../mm/vma.ts";
import { AT_EXECFN, AT_NULL, AT_RANDOM } from "../uapi/auxv.ts";
import { ENOMEM } from "../uapi/errno.ts";
import { MAP_FIXED_NOREPLACE } from "../uapi/mman.ts";
import { type ArgStrings, stringEnd } from "./strings.ts";

/** Mapped at once; more comes by growing. */
const INITIAL_BYTES = 132 * 1024;
const WORD = 8;

export interface StackArgs {
  readonly argv: ArgStrings;
  readonly envp: ArgStrings;
  readonly execfn: Uint8Array;
  readonly executable: boolean;
  /** Pairs of type and value, without AT_RANDOM, AT_EXECFN and AT_NULL. */
  readonly auxv: readonly (readonly [number, number])[];
}

/** Maps and fills the stack; the stack pointer, or -errno. Sets the argument and environment ranges of `mm`. */
export function setupStack(mm: Ref<"mm">, args: StackArgs): number {
  const { argv, envp } = args;
  const execfn = STACK_TOP - 8 - (args.execfn.length + 1);
  const envStart = execfn - envp.bytes.length;
  const argStart = envStart - argv.bytes.length;
  const randomAt = ((argStart - 16) & ~15) >>> 0;
  const auxv = [...args.auxv, [AT_RANDOM, randomAt], [AT_EXECFN, execfn], [AT_NULL, 0]] as const;
  const pointers = 1 + argv.count + 1 + envp.count + 1;
  const sp = Math.floor((randomAt - (pointers + 2 * auxv.length) * WORD) / 16) * 16;
  const bottom = Math.floor(sp / PAGE_SIZE) * PAGE_SIZE;
  const start = Math.min(bottom, STACK_TOP - INITIAL_BYTES);
  const flags = VM_READ | VM_WRITE | VM_MAYWRITE | VM_GROWSDOWN | (args.executable ? VM_EXEC : 0);
  const mapped = mapPages(mm, start, (STACK_TOP - start) / PAGE_SIZE, flags, 0, 0, 0, MAP_FIXED_NOREPLACE);
  if (mapped < 0) return mapped;

  // What lies below the strings; they are written as they are.
  const image = new Uint8Array(argStart - sp);
  const words = new Uint32Array(image.buffer, 0, image.length >>> 2);
  randomBytes(image.subarray(randomAt - sp, randomAt - sp + 16), 16);
  let word = 0;
  const put = (value: number): void => {
    words[word] = value;
    words[word + 1] = value / 2 ** 32;
    word += 2;
  };
  const putAll = (strings: ArgStrings, first: number): void => {
    for (let n = 0, at = 0; n < strings.count; n++) {
      put(first + at);
      at = stringEnd(strings, at);
    }
    put(0);
  };
  put(argv.count);
  putAll(argv, argStart);
  putAll(envp, envStart);
  Mm.auxv.set(mm, sp + word * 4);
  for (const [type, value] of auxv) {
    put(type);
    put(value);
  }
  Mm.auxvBytes.set(mm, auxv.length * 2 * WORD);
  Mm.argStart.set(mm, argStart);
  Mm.argEnd.set(mm, envStart);
  Mm.envStart.set(mm, envStart);
  Mm.envEnd.set(mm, execfn);
  Mm.startStack.set(mm, sp);
  const name = new Uint8Array(args.execfn.length + 1);
  name.set(args.execfn);
  const written =
    mmWrite(mm, sp, image) &&
    mmWrite(mm, argStart, argv.bytes) &&
    mmWrite(mm, envStart, envp.bytes) &&
    mmWrite(mm, execfn, name);
  return written ? sp : -ENOMEM;
}
