/**
 * Taking locks that are held across user copies and host calls (Inode.lock, File.posLock, the rename lock).
 *
 * Who holds such a lock may wait in a page fault for other CPUs to drop TLB entries. So whoever waits for the
 * lock serves those requests meanwhile; a plain lock() could sleep for ever.
 */
import { atomicWait, type Held, type Ref, type SharedWords } from "../../rcu/index.ts";
import { serveTlbRequests } from "../mm/tlb.ts";

interface Lockable<N extends string, L extends string> {
  tryLock(ref: Ref<N>): Held<L> | 0;
}

const SPINS = 200;
const NAP_MS = 0.05;
const nap: SharedWords = new Int32Array(new SharedArrayBuffer(4));

/** Takes the lock, serving TLB requests while another CPU holds it. */
export function lockServing<N extends string, L extends string>(field: Lockable<N, L>, ref: Ref<N>): Held<L> {
  const held = field.tryLock(ref);
  return held !== 0 ? held : lockSlow(field, ref);
}

function lockSlow<N extends string, L extends string>(field: Lockable<N, L>, ref: Ref<N>): Held<L> {
  for (let spin = 0; ; spin++) {
    const held = field.tryLock(ref);
    if (held !== 0) return held;
    serveTlbRequests();
    if (spin >= SPINS) atomicWait(nap, 0, 0, NAP_MS);
  }
}
