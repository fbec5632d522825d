/**
 * The read scope of an update that takes no lock: what it walks over must not be freed, or come back as something else, before it is
 * done. So a compare-and-swap that finds the reference it read earlier has found the same object.
 */
import { pendingOwn, wakeForCallback } from "./callback.ts";
import { announceScope, endAnnouncedScope } from "./grace-period.ts";
import { lockFree } from "./lock.ts";
import { slot } from "./memory.ts";
import { orphanSlot } from "./orphan.ts";
import { countedHere } from "./reclaim.ts";
import { rcuNesting, rcuReadLock, rcuReadUnlock } from "./scope.ts";

/** Opens it, on a thread that may be idle. What it returns goes to endUpdate. Never inside an own scope of a lock that waits. */
export function beginUpdate(): boolean {
  lockFree();
  const idle = rcuNesting() < 0 && !wakeForCallback();
  if (idle) announceScope();
  rcuReadLock();
  return idle;
}

export function endUpdate(idle: boolean): void {
  rcuReadUnlock();
  if (idle) goBack();
}

/** The thread is idle again: what the update retired is for those who are not. */
function goBack(): void {
  endAnnouncedScope();
  if (pendingOwn() > countedHere()) orphanSlot(slot, false);
}
