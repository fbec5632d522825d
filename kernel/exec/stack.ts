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
import { E2BIG, ENOMEM } from "../uapi/errno.ts";
import { MAP_FIXED_NOREPLACE } from "../uapi/mman.ts";

/** One argument or variable may have this many bytes (MAX_ARG_STRLEN). */
const MAX_ARG_STRLEN = 131072;
/** Mapped at once; more comes by growing. */
const INITIAL_BYTES = 132 * 1024;

/** Bytes that arguments and environment may take: a quarter of the stack limit, at most 6 MiB (_STK_LIM / 4 * 3). */
export const argLimit = (stackLimit: number): number => Math.max(131072, Math.min(stackLimit / 4, 6 << 20));

/** 0, or -E2BIG when arguments and environment are too large for a stack of that limit. */
export function checkArgs(
  argv: readonly Uint8Array[],
  envp: readonly Uint8Array[],
  stackLimit: number,
): number {
  let total = 0;
  for (const strings of [argv, envp])
    for (const text of strings) {
      if (text.length + 1 > MAX_ARG_STRLEN) return -E2BIG;
      total += text.length + 1 + 8;
    }
  return total > argLimit(stackLimit) ? -E2BIG : 0;
}

export interface StackArgs {
  readonly argv: readonly Uint8Array[];
  readonly envp: readonly Uint8Array[];
  readonly execfn: Uint8Array;
  readonly executable: boolean;
  /** Pairs of type and value, without AT_RANDOM, AT_EXECFN and AT_NULL. */
  readonly auxv: readonly (readonly [number, number])[];
}

/** Maps and fills the stack; the stack pointer, or -errno. Sets the argument and environment ranges of `mm`. */
export function setupStack(mm: Ref<"mm">, args: StackArgs): number {
  const strings: Uint8Array[] = [];
  const addresses: number[] = [];
  let at = STACK_TOP - 8;
  const push = (text: Uint8Array): void => {
    at -= text.length + 1;
    strings.push(text);
    addresses.push(at);
  };
  push(args.execfn);
  for (const text of [...args.envp].reverse()) push(text);
  const envStart = at;
  for (const text of [...args.argv].reverse()) push(text);
  const argStart = at;
  const random = (at - 16) & ~15;
  const randomAt = random >>> 0;
  const auxv = [...args.auxv, [AT_RANDOM, randomAt], [AT_EXECFN, addresses[0]!], [AT_NULL, 0]] as const;
  const words = 1 + args.argv.length + 1 + args.envp.length + 1 + 2 * auxv.length;
  const sp = Math.floor((randomAt - words * 8) / 16) * 16;
  const bottom = Math.floor(sp / PAGE_SIZE) * PAGE_SIZE;
  const start = Math.min(bottom, STACK_TOP - INITIAL_BYTES);
  const flags = VM_READ | VM_WRITE | VM_MAYWRITE | VM_GROWSDOWN | (args.executable ? VM_EXEC : 0);
  const mapped = mapPages(mm, start, (STACK_TOP - start) / PAGE_SIZE, flags, 0, 0, 0, MAP_FIXED_NOREPLACE);
  if (mapped < 0) return mapped;

  const image = new Uint8Array(STACK_TOP - sp);
  const view = new DataView(image.buffer);
  strings.forEach((text, n) => {
    image.set(text, addresses[n]! - sp);
  });
  randomBytes(image.subarray(randomAt - sp, randomAt - sp + 16), 16);
  let word = 0;
  const put = (value: number): void => {
    view.setUint32(word, value % 2 ** 32, true);
    view.setUint32(word + 4, Math.floor(value / 2 ** 32), true);
    word += 8;
  };
  // Addresses were pushed from the last string to the first.
  const [first, second] = [args.argv.length, args.envp.length];
  put(first);
  for (let n = 0; n < first; n++) put(addresses[second + first - n]!);
  put(0);
  for (let n = 0; n < second; n++) put(addresses[second - n]!);
  put(0);
  Mm.auxv.set(mm, sp + word);
  for (const [type, value] of auxv) {
    put(type);
    put(value);
  }
  Mm.auxvBytes.set(mm, auxv.length * 16);
  Mm.argStart.set(mm, argStart);
  Mm.argEnd.set(mm, envStart);
  Mm.envStart.set(mm, envStart);
  Mm.envEnd.set(mm, addresses[0]!);
  Mm.startStack.set(mm, sp);
  return mmWrite(mm, sp, image) ? sp : -ENOMEM;
}
