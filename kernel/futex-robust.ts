/** Robust futexes: what happens to locks whose owner dies (get_robust_list(2)). */
import { atomicCas, atomicLoad, type Ref } from "../rcu/index.ts";
import { futexWakeAddress } from "./futex.ts";
import { userWord } from "./futex-key.ts";
import { ram } from "./mm/ram.ts";
import { Task } from "./task/task.ts";
import { FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS } from "./uapi/futex.ts";
import { ACCESS } from "./usermode.ts";

const ROBUST_LIMIT = 2048;

/**
 * The task exits, or replaces its program: robust futexes that it still owns are marked (FUTEX_OWNER_DIED) and a
 * waiter of each is woken. struct robust_list_head { list; futex_offset; list_op_pending }: get_robust_list(2).
 */
export function exitRobustList(task: Ref<"task">): void {
  const head = Task.robustList.get(task);
  if (head === 0) return;
  Task.robustList.set(task, 0);
  const offset = readLong(head + 8);
  const pending = readLong(head + 16);
  if (offset === null || pending === null) return;
  let entry = readLong(head);
  for (let n = 0; n < ROBUST_LIMIT && entry !== null && entry !== head; n++) {
    // The lowest bit marks a PI futex.
    const node = entry - (entry & 1);
    const next = readLong(node);
    if (node !== pending) ownerDied(task, node + offset, false);
    entry = next;
  }
  if (pending !== 0) ownerDied(task, pending - (pending & 1) + offset, true);
}

/** A 64-bit user word as a signed number; null when it cannot be read. */
function readLong(address: number): number | null {
  if ((address & 7) !== 0 || address <= 0 || address >= 4294967296) return null;
  const word = userWord(address, ACCESS.READ);
  return word < 0 ? null : ram.i32[word + 1]! * 4294967296 + ram.u32[word]!;
}

function ownerDied(task: Ref<"task">, address: number, isPending: boolean): void {
  if ((address & 3) !== 0 || address <= 0 || address >= 4294967296) return;
  const word = userWord(address, ACCESS.WRITE);
  if (word < 0) return;
  for (;;) {
    const value = atomicLoad(ram.i32, word);
    // A lock operation was interrupted after the word was freed: its waiter has nobody else to wake it.
    if (isPending && value === 0) {
      futexWakeAddress(address, 1);
      return;
    }
    if ((value & FUTEX_TID_MASK) !== Task.pid.get(task)) return;
    if (!atomicCas(ram.i32, word, value, (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED)) continue;
    if ((value & FUTEX_WAITERS) !== 0) futexWakeAddress(address, 1);
    return;
  }
}
