/** What a safe point does for RCU, and the look that tells whether it must. */
import { pressureSeen, rcuRunCallbacks } from "./callback.ts";
import { beginGathering, endGathering, gathered, gatheredLong } from "./gather.ts";
import { rcuQuiescent, slotBase } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { lazyInTime } from "./lazy.ts";
import { i32, slot } from "./memory.ts";

const { CBLIST, HEADER, RCU, SLOT_RCU } = layout;

/** Whether rcuCatchUp has anything to do that cannot wait: a plain peek, for fast paths. */
export function rcuPending(): boolean {
  const base = slotBase(slot);
  if (i32[RCU.GP_SEQ] !== i32[base + SLOT_RCU.SEEN] || i32[RCU.ORPHANS] !== 0) return true;
  const list = base + SLOT_RCU.LIST;
  const pending = (i32[list + CBLIST.QUEUED]! - i32[list + CBLIST.RUN]!) | 0;
  if (i32[base + SLOT_RCU.LAZY] !== 0 && lazyInTime()) return true;
  if (pending === 0) return false;
  if (i32[list + CBLIST.DONE] !== 0 || i32[HEADER.PRESSURE] !== pressureSeen) return true;
  // While a grace period is awaited there is nothing to do before gpSeq moves.
  if (pending >= gathered && i32[list + CBLIST.WAIT] === 0) return true;
  return gatheredLong();
}

/** A quiescent state, then rcuRunCallbacks, which leaves alone what is being gathered. */
export function rcuCatchUp(): void {
  rcuQuiescent();
  beginGathering();
  try {
    rcuRunCallbacks();
  } finally {
    endGathering();
  }
}
