/**
 * Whose allocations these are: a number that a thread sets while it works for somebody, and that every cell allocated
 * meanwhile carries in its link word (which is free while the cell is live). What is left of an owner in the end is its
 * leak (owner-scan.ts). 0: nobody in particular.
 */
export let allocOwner = 0;

/** Sets the owner of this thread's allocations; returns what it was. */
export function setAllocOwner(owner: number): number {
  const before = allocOwner;
  allocOwner = owner;
  return before;
}
