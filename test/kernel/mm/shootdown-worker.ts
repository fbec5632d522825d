/**
 * A CPU of the shootdown test: reads pages through a TLB of its own, which it trusts as an engine does, and checks that
 * it never sees a page as it was before a change that is complete.
 */
import { parentPort, workerData } from "node:worker_threads";
import { bindGlobals } from "../../../kernel/global.ts";
import { translateUser } from "../../../kernel/mm/fault.ts";
import { bindRam, cpuArea, PAGE_SIZE, ram } from "../../../kernel/mm/ram.ts";
import { activateMm, serveTlbRequests, tlbInit, tlbLazyEnter, tlbLazyExit } from "../../../kernel/mm/tlb.ts";
import { setCurrent } from "../../../kernel/sched/current.ts";
import { Task } from "../../../kernel/task/task.ts";
import { ACCESS, CPU_NEED_RESCHED, type UserMode } from "../../../kernel/usermode.ts";
import {
  arrayLoad,
  atomicAdd,
  atomicExchange,
  atomicLoad,
  atomicWait,
  Heap,
  type HeapHandle,
  type Ref,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuRunCallbacks,
  tryAlloc,
} from "../../../rcu/index.ts";

export interface CpuData {
  readonly heap: HeapHandle;
  readonly globals: number;
  readonly memory: WebAssembly.Memory;
  readonly cpu: number;
  readonly mm: number;
  readonly base: number;
  readonly pages: number;
  /** Array: the version of each page that is complete. */
  readonly versions: number;
  /** Shared words: [stop, readers ready, wait word]. */
  readonly control: SharedArrayBuffer;
}

/** A TLB as an engine has one: it forgets only when told to. */
class TestTlb implements UserMode {
  readonly frames = new Map<number, number>();
  enter(): number {
    return 0;
  }
  tlbFlush(): void {
    this.frames.clear();
  }
  tlbInvalidate(start: number, end: number): void {
    for (let page = start; page < end; page += PAGE_SIZE) this.frames.delete(page);
  }
  setSpace(): void {}
  stats(): Record<string, number> {
    return {};
  }
}

/** Reads between two looks at needResched are done in user mode, without any kernel call. */
function main(data: CpuData): { reads: number; stale: string | null } {
  const heap = Heap.attach(data.heap);
  bindGlobals(data.globals as Ref<"array">);
  bindRam(data.memory);
  setCurrent(tryAlloc(Task));
  const tlb = new TestTlb();
  tlbInit(data.cpu, [tlb]);
  activateMm(data.mm as Ref<"mm">);
  const control = new Int32Array(data.control);
  atomicAdd(control, 1, 1);
  const flag = (cpuArea(data.cpu) + CPU_NEED_RESCHED) >>> 2;
  let reads = 0;
  let stale: string | null = null;
  let seed = data.cpu * 7919;
  while (atomicLoad(control, 0) === 0 && stale === null) {
    for (let n = 0; n < 50; n++) {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      const page = (seed >>> 8) % data.pages;
      const address = data.base + page * PAGE_SIZE;
      const version = arrayLoad(data.versions as Ref<"array">, page);
      let frame = tlb.frames.get(address) ?? 0;
      if (frame === 0) {
        frame = translateUser(address, ACCESS.READ);
        if (frame < 0) continue; // Between two mappings.
        frame -= frame % PAGE_SIZE;
        tlb.frames.set(address, frame);
      }
      const value = atomicLoad(ram.i32, frame >>> 2);
      reads++;
      if (value >>> 20 === page && (value & 0xfffff) >= version) continue;
      stale = `CPU ${data.cpu} read ${value >>> 20}:${value & 0xfffff} at page ${page}, version ${version}`;
    }
    if (atomicExchange(ram.i32, flag, 0) !== 0 || (seed & 15) === 0) {
      serveTlbRequests();
      rcuQuiescent();
      rcuRunCallbacks();
    }
    if ((seed & 1023) === 0) {
      tlbLazyEnter();
      rcuIdleEnter();
      atomicWait(control, 2, 0, 1);
      rcuIdleExit();
      tlbLazyExit();
    }
  }
  activateMm(0);
  tlbLazyEnter();
  heap.detach();
  return { reads, stale };
}

const { reads, stale } = main(workerData as CpuData);
parentPort!.postMessage({ reads, stale });
