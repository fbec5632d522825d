/**
 * The software TLBs of all CPUs, kept true. Each CPU's engine caches translations of the address space that is loaded
 * there; whoever takes rights away from pages must see every such cache forget them before he goes on, and
 * before their frames are used for anything else.
 *
 * The protocol, for an updater U and a CPU C that has the address space loaded:
 *   U: [1] changes page table entries (atomic stores); [2] posts a range to C: Tlb.posted; [3] reads C's Tlb.state.
 *      ACTIVE: waits until Tlb.done has caught up, or C is LAZY. LAZY: goes on.
 *   C: is LAZY while it idles, sleeps on a lock or has not loaded the address space. Leaving that state, it
 *      [a] stores ACTIVE, [b] reads Tlb.posted and serves what is there, before it looks at a page table entry.
 * All of it is sequentially consistent: either U sees ACTIVE at [3] and waits, or C sees the request at [b].
 *
 * Nobody waits for a CPU that waits: U is LAZY itself meanwhile, and so is a CPU that sleeps on a lock held by U. What
 * remains are CPUs in user mode, which poll needResched, and handlers, which end.
 */
import { arrayGet, atomicStore, type Ref } from "../../rcu/index.ts";
import { setLockSleepHooks } from "../../rcu/kernel.ts";
import { CPU_NEED_RESCHED, type UserMode } from "../usermode.ts";
import { Mm } from "./mm-types.ts";
import { cpuArea, PAGE_SHIFT, RamState, ram, ramRef } from "./ram.ts";
import { TLB_ACTIVE, TLB_LAZY, TLB_RANGES, Tlb } from "./tlb-state.ts";

/** More pages than this at once: forgetting everything is cheaper. */
const FLUSH_PAGES = 512;
/** Loads of a CPU's answer before sleeping: about 2 us. */
const SPINS = 200;
/** A sleeping updater looks again this often, should a CPU become LAZY without answering. */
const NAP_MS = 1;

let cpu = -1;
let mine = 0 as Ref<"tlb">;
let engines: readonly UserMode[] = [];
/** Depth of tlbLazyEnter. */
let lazy = 0;
/** Requests this CPU has served: a copy of Tlb.done. */
let served = 0;
/** Code space that the engines were told. */
let space = 0;
/** The address space of the current task, which counts it: what uaccess works on. 0 for tasks without one, and between tasks. */
export let activeMm = 0 as Ref<"mm"> | 0;
/** Its top-level page table. */
export let activePgd = 0 as Ref<"pagetable">;
/** Address space whose translations the engines hold (Mm.id); may outlive activeMm while the CPU idles. */
let loaded = 0;

const tlbOf = (of: number): Ref<"tlb"> => arrayGet(RamState.tlbs.get(ramRef), of) as Ref<"tlb">;

/** This thread is CPU `number`, with these engines: once at boot, after bindRam. The CPU is ACTIVE from now on. */
export function tlbInit(number: number, userModes: readonly UserMode[]): void {
  cpu = number;
  mine = tlbOf(number);
  engines = userModes;
  lazy = 0;
  loaded = 0;
  space = 0;
  activeMm = 0;
  for (const engine of engines) engine.tlbFlush();
  Tlb.loaded.store(mine, 0);
  Tlb.state.store(mine, TLB_ACTIVE);
  served = Tlb.posted.load(mine);
  Tlb.done.store(mine, served);
  setLockSleepHooks(tlbLazyEnter, tlbLazyExit);
}

/** The thread that was CPU `number` is gone: nobody waits for it any more. */
export function tlbCpuOffline(number: number): void {
  const tlb = tlbOf(number);
  Tlb.loaded.store(tlb, 0);
  Tlb.state.store(tlb, TLB_LAZY);
  Tlb.done.store(tlb, Tlb.posted.load(tlb));
  Tlb.done.notify(tlb);
}

/**
 * Makes `mm` the address space of this CPU: at every context switch, and when exec replaces it. 0: the task has none, or the CPU
 * leaves its task (the translations of the previous one stay, it often comes back).
 */
export function activateMm(mm: Ref<"mm"> | 0): void {
  activeMm = mm;
  if (mm === 0) return;
  activePgd = Mm.pgd.get(mm);
  const id = Mm.id.get(mm);
  if (id !== loaded) {
    for (const engine of engines) engine.tlbFlush();
    loaded = id;
    if (mine !== 0) Tlb.loaded.store(mine, id);
  }
  if (mine === 0) return;
  // An atomic load after the store above: page table entries are read after it [b].
  if (Tlb.posted.load(mine) !== served) serve();
  showSpace();
}

/** Tells the engines which code is visible, if that changed. */
function showSpace(): void {
  const now = Mm.codeSpace.peek(activeMm as Ref<"mm">);
  if (now === space) return;
  space = now;
  for (const engine of engines) engine.setSpace(now);
}

/** Mm.codeSpace changed: this CPU's engines are told at once, others at their next safe point. */
export function showCodeSpace(mm: Ref<"mm">): void {
  if (mm === activeMm) showSpace();
}

/** Answers what other CPUs ask of this one: at every safe point and whenever user mode came back. Cheap when nothing is. */
export function serveTlbRequests(): void {
  if (mine === 0) return;
  if (Tlb.posted.peek(mine) !== served) serve();
  if (activeMm !== 0) showSpace();
}

function serve(): void {
  const held = Tlb.lock.lock(mine);
  const upTo = Tlb.posted.load(mine);
  const nr = Tlb.nr.get(held, mine);
  if (nr > TLB_RANGES) for (const engine of engines) engine.tlbFlush();
  else for (let n = 0; n < nr; n++) forget(Tlb.ranges.get(mine, 2 * n), Tlb.ranges.get(mine, 2 * n + 1));
  Tlb.nr.set(held, mine, 0);
  served = upTo;
  Tlb.done.store(mine, upTo);
  Tlb.lock.unlock(mine);
  Tlb.done.notify(mine);
}

function forget(start: number, end: number): void {
  for (const engine of engines) {
    if (end - start > FLUSH_PAGES) engine.tlbFlush();
    else engine.tlbInvalidate(start * 2 ** PAGE_SHIFT, end * 2 ** PAGE_SHIFT);
  }
}

/** This CPU will not use a translation until tlbLazyExit: before it idles, sleeps or calls the host. Nests. */
export function tlbLazyEnter(): void {
  if (mine === 0 || lazy++ !== 0) return;
  Tlb.state.store(mine, TLB_LAZY);
  // Whoever found the CPU ACTIVE just before is waiting for its answer.
  if (Tlb.posted.load(mine) !== Tlb.done.peek(mine)) Tlb.done.notify(mine);
}
export function tlbLazyExit(): void {
  if (mine === 0 || --lazy !== 0) return;
  Tlb.state.store(mine, TLB_ACTIVE); // [a]
  if (Tlb.posted.load(mine) !== served) serve(); // [b]
}

/** An exception ended what this CPU did: it is not lazy any more, however deep it was. */
export function tlbLazyEnd(): void {
  if (lazy === 0) return;
  lazy = 1;
  tlbLazyExit();
}

/**
 * Pages [start, end) of `mm` lost rights, their entries are changed already: returns when no CPU can use an old translation.
 * Mapping.lock and ptl must not be held; other locks may, since CPUs that sleep on them are LAZY.
 */
export function mmuNotify(mm: Ref<"mm">, start: number, end: number): void {
  const id = Mm.id.get(mm);
  if (id === loaded) forget(start, end);
  const cpus = RamState.cpus.get(ramRef);
  let waiting = false;
  for (let other = 0; other < cpus; other++) {
    if (other === cpu) continue;
    const tlb = tlbOf(other);
    if (Tlb.loaded.load(tlb) !== id) continue;
    post(tlb, start, end);
    if (Tlb.state.load(tlb) !== TLB_ACTIVE) continue;
    atomicStore(ram.i32, (cpuArea(other) + CPU_NEED_RESCHED) >>> 2, 1);
    waiting = true;
  }
  if (waiting) awaitOthers(id, cpus);
}

function post(tlb: Ref<"tlb">, start: number, end: number): void {
  const held = Tlb.lock.lock(tlb);
  const nr = Tlb.nr.get(held, tlb);
  if (nr < TLB_RANGES) {
    Tlb.ranges.set(tlb, 2 * nr, start);
    Tlb.ranges.set(tlb, 2 * nr + 1, end);
  }
  Tlb.nr.set(held, tlb, Math.min(nr + 1, TLB_RANGES + 1));
  Tlb.posted.add(tlb, 1);
  Tlb.lock.unlock(tlb);
}

function awaitOthers(id: number, cpus: number): void {
  tlbLazyEnter();
  for (let other = 0; other < cpus; other++) {
    if (other === cpu) continue;
    const tlb = tlbOf(other);
    const target = Tlb.posted.load(tlb);
    for (let spin = 0; ; spin++) {
      if (Tlb.loaded.load(tlb) !== id || Tlb.state.load(tlb) !== TLB_ACTIVE) break;
      const done = Tlb.done.load(tlb);
      if (((done - target) | 0) >= 0) break;
      if (spin < SPINS) continue;
      // It may have cleared the flag for another reason: ask again.
      atomicStore(ram.i32, (cpuArea(other) + CPU_NEED_RESCHED) >>> 2, 1);
      Tlb.done.waitWithLocks(tlb, done, NAP_MS);
    }
  }
  tlbLazyExit();
}

/** The address space is being torn down: no CPU runs it; this CPU drops what it caches of it. */
export function tlbForget(mm: Ref<"mm">): void {
  if (activeMm === mm) activeMm = 0;
  if (loaded !== Mm.id.get(mm)) return;
  loaded = 0;
  if (mine !== 0) Tlb.loaded.store(mine, 0);
  for (const engine of engines) engine.tlbFlush();
}

/** Makes every CPU that runs tasks of `mm` pass through the kernel once: membarrier(2). */
export function mmBarrier(mm: Ref<"mm">): void {
  mmuNotify(mm, 0, 0);
}
