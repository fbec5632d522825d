/**
 * What memory management needs of open files. The file system imports this folder for its page cache, so it is
 * bound here (vmfile.ts) instead of imported.
 */
import type { Ptr, Ref } from "../../rcu/index.ts";

export interface FileBacking {
  get(file: Ref<"file">): void;
  put(file: Ref<"file">): void;
  /**
   * The mapping to show for this file with these PROT_ bits, shared or private, with no count taken; 0 when the file
   * asks for anonymous memory (/dev/zero); -EACCES, -ENODEV, -EPERM... when it cannot be mapped so.
   */
  mapping(file: Ref<"file">, prot: number, shared: boolean): Ptr<"mapping"> | number;
  /** Drops what execute or exeGet took. */
  exePut(file: Ref<"file">): void;
  /** A count on the program that an address space runs, for a forked one. */
  exeGet(file: Ref<"file">): void;
  /** Whether mprotect may add PROT_WRITE to a shared mapping of this file. */
  mayWrite(file: Ref<"file">): boolean;
}

let backing: FileBacking | null = null;

export function bindFileBacking(next: FileBacking): void {
  backing = next;
}

export function fileBacking(): FileBacking {
  if (backing === null) throw new Error("memory management without kernel/mm/vmfile.ts");
  return backing;
}

export const fileGet = (file: Ref<"file">): void => fileBacking().get(file);
export const filePut = (file: Ref<"file">): void => fileBacking().put(file);
