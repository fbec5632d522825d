/**
 * Calls into the host that may stand still. Around them the CPU is idle for RCU and for TLB shootdown, so nobody waits for it.
 * Whoever calls must own a count of every object that it touches afterwards, and hold no lock.
 */
import { rcuIdleEnter, rcuIdleExit } from "../../rcu/index.ts";
import { tlbLazyEnter, tlbLazyExit } from "../mm/tlb.ts";

export function hostCallEnter(): void {
  tlbLazyEnter();
  rcuIdleEnter();
}

export function hostCallExit(): void {
  rcuIdleExit();
  tlbLazyExit();
}
