/**
 * Allocations that fail on request, or at which something else happens first, for tests of what code does then. Asked only in debug heaps, where an
 * allocation looks at the heap's debug flag anyway: other heaps do not pay for it.
 */
let countdown = 0;
let meanwhile: (() => void) | null = null;

/**
 * The `n`-th allocation from now on that this thread makes in a debug heap answers 0; the others do not. 0: none. Returns how many
 * allocations were still missing to the one asked for before: 0 when it has failed.
 */
export function failAllocation(n: number): number {
  const left = countdown;
  countdown = n;
  meanwhile = null;
  return left;
}

/** Runs `work` at the `n`-th allocation from now on, which then goes on: as if another thread had been faster. */
export function atAllocation(n: number, work: () => void): void {
  countdown = n;
  meanwhile = work;
}

/** Whether this allocation is the one that fails. */
export const isInjected = (): boolean => countdown !== 0 && --countdown === 0 && fails();

function fails(): boolean {
  const work = meanwhile;
  meanwhile = null;
  work?.();
  return work === null;
}
