import { fget } from "../../kernel/fs/fdtable.ts";
import { brk as moveBreak } from "../../kernel/mm/brk.ts";
import { mmap as map, munmap as unmap } from "../../kernel/mm/mmap.ts";
import { mprotect as protect } from "../../kernel/mm/mprotect.ts";
import { mremap as remap } from "../../kernel/mm/mremap.ts";
import { activeMm } from "../../kernel/mm/tlb.ts";
import "../../kernel/mm/vmfile.ts";
import { Task } from "../../kernel/task/task.ts";
import { EINVAL, ENOMEM } from "../../kernel/uapi/errno.ts";
import { MAP_ANONYMOUS } from "../../kernel/uapi/mman.ts";
import type { Ref } from "../../rcu/index.ts";
import { type Arg, DECODE, fd, hexArg, ptr, size, within } from "../args.ts";
import { syscall } from "../syscall.ts";
import { mapFlags, prot, remapFlags } from "./flags.ts";

const PAGE_SIZE = 4096;
/** An unsigned long of flags, all of which are in its low half. */
const wide = (flags: Arg): Arg => within({ ...flags, decode: DECODE.ULONG }, 0, 2 ** 32 - 1);

/** The current address space; only tasks that have one make these calls. */
const mm = (): Ref<"mm"> => activeMm as Ref<"mm">;

/** mmap(2): maps a file, or memory of its own. */
export const mmap = syscall({
  nr: 222,
  name: "mmap",
  args: [ptr, size, prot, mapFlags, fd, hexArg],
  returns: hexArg,
  handler(task, addr, length, protection, flags, fdNumber, offset) {
    if (offset % PAGE_SIZE !== 0) return -EINVAL;
    if ((flags & MAP_ANONYMOUS) !== 0) return map(mm(), addr, length, protection, flags, 0, 0);
    const file = fget(Task.files.access(task) as Ref<"files">, fdNumber);
    if (file < 0) return file;
    return map(mm(), addr, length, protection, flags, file as Ref<"file">, offset / PAGE_SIZE);
  },
});

/** munmap(2). */
export const munmap = syscall({
  nr: 215,
  name: "munmap",
  args: [ptr, size],
  handler: (_task, addr, length) => unmap(mm(), addr, length),
});

/** mprotect(2). */
export const mprotect = syscall({
  nr: 226,
  name: "mprotect",
  args: [ptr, size, wide(prot)],
  handler: (_task, addr, length, protection) => protect(mm(), addr, length, protection),
});

/** mremap(2): resizes or moves a mapping. */
export const mremap = syscall({
  nr: 216,
  name: "mremap",
  args: [ptr, size, size, wide(remapFlags), ptr],
  returns: hexArg,
  handler: (_task, addr, oldLength, newLength, flags, newAddr) =>
    remap(mm(), addr, oldLength, newLength, flags, newAddr),
});

/** brk(2), the system call: the new end of the heap, or the old one where it cannot be moved. */
export const brk = syscall({
  nr: 214,
  name: "brk",
  args: [ptr],
  returns: hexArg,
  handler: (_task, end) => (activeMm === 0 ? -ENOMEM : moveBreak(mm(), end)),
});
