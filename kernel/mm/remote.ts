/** Memory of an address space that is not current: what exec fills before the program starts, and what /proc reads. */
import type { Ref } from "../../rcu/index.ts";
import { ACCESS } from "../usermode.ts";
import { resolvePage } from "./fault.ts";
import { PAGE_MASK, PAGE_SIZE, ram } from "./ram.ts";

/** Writes bytes at `addr`, faulting pages in: false when that is not possible. */
export function mmWrite(mm: Ref<"mm">, addr: number, bytes: Uint8Array): boolean {
  let done = 0;
  while (done < bytes.length) {
    const at = addr + done;
    const page = resolvePage(mm, at, ACCESS.WRITE);
    if (page < 0) return false;
    const n = Math.min(bytes.length - done, PAGE_SIZE - (at & PAGE_MASK));
    ram.u8.set(bytes.subarray(done, done + n), page - (page & PAGE_MASK) + (at & PAGE_MASK));
    done += n;
  }
  return true;
}

/** Zeroes [addr, addr + length). */
export function mmClear(mm: Ref<"mm">, addr: number, length: number): boolean {
  let done = 0;
  while (done < length) {
    const at = addr + done;
    const page = resolvePage(mm, at, ACCESS.WRITE);
    if (page < 0) return false;
    const start = page - (page & PAGE_MASK) + (at & PAGE_MASK);
    const n = Math.min(length - done, PAGE_SIZE - (at & PAGE_MASK));
    ram.u8.fill(0, start, start + n);
    done += n;
  }
  return true;
}

/** A copy of [addr, addr + length), shorter where something cannot be read. The caller keeps a user count of `mm`. */
export function mmRead(mm: Ref<"mm">, addr: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const at = addr + done;
    const page = at < 2 ** 32 ? resolvePage(mm, at, ACCESS.READ) : -1;
    if (page < 0) break;
    const start = page - (page & PAGE_MASK) + (at & PAGE_MASK);
    const n = Math.min(length - done, PAGE_SIZE - (at & PAGE_MASK));
    bytes.set(ram.u8.subarray(start, start + n), done);
    done += n;
  }
  return bytes.subarray(0, done);
}
