/** What other CPUs must know about the software TLB of a CPU. One object per CPU, made at boot. */
import {
  arraySet,
  atomic,
  locked,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  tryAllocArray,
  words,
} from "../../rcu/index.ts";

/** The CPU may use translations: it must answer before frames are freed. */
export const TLB_ACTIVE = 1;
/** Idle, asleep on a lock, not yet running: it looks at its requests before it uses a translation again. */
export const TLB_LAZY = 0;

/** Ranges that a CPU remembers before a request becomes a full flush. */
export const TLB_RANGES = 8;

export const Tlb = struct("tlb", {
  /** Number of the address space (Mm.id) whose entries are cached; 0 none. Written by its own CPU. */
  loaded: atomic(),
  /** TLB_ACTIVE or TLB_LAZY. Written by its own CPU. */
  state: atomic(),
  /** Requests posted so far, requests served so far. */
  posted: atomic(),
  done: atomic(),

  lock: spinlock(86),
  /** Ranges to forget: first page, end page. More than TLB_RANGES means everything. */
  nr: locked("lock"),
  ranges: words(TLB_RANGES * 2),
});

/** The objects of all CPUs; 0 when the heap is full. */
export function createTlbs(cpus: number): Ref<"array"> | 0 {
  const array = tryAllocArray(cpus);
  if (array === 0) return 0;
  for (let cpu = 0; cpu < cpus; cpu++) {
    const tlb = tryAlloc(Tlb);
    if (tlb === 0) return 0;
    arraySet(array, cpu, tlb);
  }
  return array;
}
