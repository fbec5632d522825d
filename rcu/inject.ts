/**
 * Allocations that fail on request, for tests of what code does then. Asked only in debug heaps, where an allocation looks at the heap's
 * debug flag anyway: other heaps do not pay for it.
 */
let countdown = 0;

/**
 * The `n`-th allocation from now on that this thread makes in a debug heap answers 0; the others do not. 0: none. Returns how many
 * allocations were still missing to the one asked for before: 0 when it has failed.
 */
export function failAllocation(n: number): number {
  const left = countdown;
  countdown = n;
  return left;
}

/** Whether this allocation is the one. */
export const isInjected = (): boolean => countdown !== 0 && --countdown === 0;
