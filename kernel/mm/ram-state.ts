/**
 * RAM: the one shared WebAssembly.Memory that holds every page frame of all guests.
 *
 *   [0, 64 KiB)            never used: a zero or near-zero address is always a bug
 *   CPU areas              CPU_AREA_BYTES each: TLBs and scratch of the engines
 *   register-file slots    REGS_SLOTS of USER_REGS.BYTES each
 *   frames                 PAGE_SIZE each, up to the end
 *
 * Everything is committed by the host only when it is touched. A frame is named by its byte address here (a
 * number below 2^32), in 32-bit heap fields by its frame number (address / PAGE_SIZE).
 */
import {
  arraySet,
  atomic,
  fixed,
  locked,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  tryAllocArray,
  wide,
  words,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { CPU_AREA_BYTES, USER_REGS } from "../usermode.ts";
import { createTlbs } from "./tlb-state.ts";

export const PAGE_SIZE = 4096;
export const PAGE_SHIFT = 12;
export const PAGE_MASK = 4095;

/** Frames are counted as free in blocks of this many. */
export const BLOCK_FRAMES = 512;
export const BLOCK_SHIFT = 9;

/** Register-file slots: how many riscv64 tasks can exist at one time. */
export const REGS_SLOTS = 32768;
const REGS_BYTES = REGS_SLOTS * USER_REGS.BYTES;
const FIRST_CPU_AREA = 65536;
const WASM_PAGE = 65536;
const WASM_MAX_PAGES = 65536;
/** Distances between virtual addresses and frames that address spaces choose from. */
export const PLACES = 64;
const RAM_MAGIC = 0x4d41_5253;

/** The allocator's tables and what every CPU must agree on about memory. */
export const RamState = struct("ram", {
  cpus: fixed(),
  /** Frame number of the first frame, and how many there are. */
  firstFrame: fixed(),
  frames: fixed(),
  /** Reference count of each frame, 0 free; index: frame number - firstFrame. */
  counts: fixed<Ref<"array">>(),
  /** Free frames of each block of BLOCK_FRAMES. */
  blockFree: fixed<Ref<"array">>(),

  /** One Ref<"tlb"> for each CPU. */
  tlbs: fixed<Ref<"array">>(),

  freeFrames: atomic(),
  /** Pages held by page-cache mappings; those of them that are shared memory or tmpfs; dirty ones. */
  cached: atomic(),
  shmem: atomic(),
  dirty: atomic(),
  /** When a process was last killed for its memory, in monotonic nanoseconds (task/oom.ts). */
  oomKilled: wide(),
  /** Since when the kernel's heap is short, 0 when it is not (task/memory.ts). */
  heapShort: wide(),
  /** Which places address spaces have taken, one bit each (mm.ts, claimPlace). */
  places: words(PLACES / 32),
  /** Next address-space number, next code-space number. */
  nextMmId: atomic(),
  nextSpace: atomic(),

  regsLock: spinlock(86),
  /** Free slots form a list through their first word: slot number + 1. */
  regsFree: locked("regsLock"),
  /** Slots from here on were never used. */
  regsNext: locked("regsLock"),
});

/** This thread's views of RAM. */
class RamViews {
  memory!: WebAssembly.Memory;
  u8!: Uint8Array<SharedArrayBuffer>;
  i32!: Int32Array<SharedArrayBuffer>;
  u32!: Uint32Array<SharedArrayBuffer>;
  f64!: Float64Array<SharedArrayBuffer>;
  view!: DataView<SharedArrayBuffer>;
  /** Byte address of the first frame, and of the end of RAM. */
  base = 0;
  end = 0;
}
export const ram = new RamViews();

const ramState = kernelGlobal<Ref<"ram">>("ram");
/** The allocator's state in the heap: bound by bindRam. */
export let ramRef = 0 as Ref<"ram">;

export class RamError extends Error {
  override name = "RamError";
}

/** Byte address of the area of a CPU. */
export const cpuArea = (cpu: number): number => FIRST_CPU_AREA + cpu * CPU_AREA_BYTES;
/** Byte address of the first register-file slot. */
export const regsBase = (cpus: number): number => FIRST_CPU_AREA + cpus * CPU_AREA_BYTES;

/** Largest number of bytes that `createRam` can give to guests on a machine with that many CPUs. */
export const maxRamBytes = (cpus: number): number =>
  WASM_MAX_PAGES * WASM_PAGE - pageAlign(regsBase(cpus) + REGS_BYTES);

const pageAlign = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;

/**
 * Makes the RAM of a machine: `bytes` of frames for `cpus` CPUs. The heap and the kernel globals are bound already.
 * `asked` is what the machine was told, for messages: some of it is the kernel's. Only the booting thread calls it; it is bound to the result as by bindRam. Throws RamError when the sizes are impossible.
 */
export function createRam(bytes: number, cpus: number, asked = bytes): WebAssembly.Memory {
  const first = pageAlign(regsBase(cpus) + REGS_BYTES);
  const frames = Math.floor(bytes / PAGE_SIZE);
  if (!(frames >= 256)) throw new RamError(`memory of ${asked} bytes is too little: give at least 1 MiB`);
  const pages = Math.ceil((first + frames * PAGE_SIZE) / WASM_PAGE);
  if (pages > WASM_MAX_PAGES) {
    const most = Math.max(0, Math.floor((maxRamBytes(cpus) * (asked / bytes)) / (1 << 20)));
    throw new RamError(
      `memory of ${Math.ceil(asked / (1 << 20))} MiB with ${cpus} CPUs does not fit in 4 GiB: ` +
        `each CPU takes ${CPU_AREA_BYTES >> 20} MiB, so at most ${most} MiB`,
    );
  }
  const memory = reserve(pages);
  const state = tryAlloc(RamState);
  const blocks = Math.ceil(frames / BLOCK_FRAMES);
  const counts = tryAllocArray(frames);
  const blockFree = tryAllocArray(blocks);
  const tlbs = createTlbs(cpus);
  if (state === 0 || counts === 0 || blockFree === 0 || tlbs === 0)
    throw new RamError(`the kernel heap is too small for the tables of ${frames} page frames`);
  for (let block = 0; block < blocks; block++)
    arraySet(blockFree, block, Math.min(BLOCK_FRAMES, frames - block * BLOCK_FRAMES));
  RamState.cpus.init(state, cpus);
  RamState.firstFrame.init(state, first / PAGE_SIZE);
  RamState.frames.init(state, frames);
  RamState.counts.init(state, counts);
  RamState.blockFree.init(state, blockFree);
  RamState.tlbs.init(state, tlbs);
  RamState.freeFrames.init(state, frames);
  RamState.nextMmId.init(state, 1);
  RamState.nextSpace.init(state, 1);
  new Int32Array(memory.buffer)[0] = RAM_MAGIC;
  ramState.init(state);
  bindRam(memory);
  return memory;
}

/** Address space for the RAM. Throws RamError where the system gives none. */
function reserve(pages: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch {
    throw new RamError(
      `memory of ${Math.ceil((pages * WASM_PAGE) / (1 << 20))} MiB: the system does not give so much address space ` +
        "(`ulimit -v` shows a limit); give the machine less memory",
    );
  }
}

/** Makes this the RAM of this thread: every CPU at boot, after the heap and the kernel globals. */
export function bindRam(memory: WebAssembly.Memory): void {
  const buffer = memory.buffer as unknown as SharedArrayBuffer;
  ram.memory = memory;
  ram.u8 = new Uint8Array(buffer);
  ram.i32 = new Int32Array(buffer);
  ram.u32 = new Uint32Array(buffer);
  ram.f64 = new Float64Array(buffer);
  ram.view = new DataView(buffer);
  if (ram.i32[0] !== RAM_MAGIC) throw new RamError("not the RAM of a machine: make it with createRam()");
  ramRef = ramState.get();
  ram.base = RamState.firstFrame.get(ramRef) * PAGE_SIZE;
  ram.end = ram.base + RamState.frames.get(ramRef) * PAGE_SIZE;
}

/** A zeroed register-file slot: its byte address in RAM; 0 when all REGS_SLOTS are taken. */
export function allocRegs(): number {
  const base = regsBase(RamState.cpus.get(ramRef));
  const held = RamState.regsLock.lock(ramRef);
  let slot = RamState.regsFree.get(held, ramRef) - 1;
  if (slot >= 0) {
    RamState.regsFree.set(held, ramRef, ram.i32[(base + slot * USER_REGS.BYTES) >>> 2]!);
  } else {
    slot = RamState.regsNext.get(held, ramRef);
    if (slot < REGS_SLOTS) RamState.regsNext.set(held, ramRef, slot + 1);
    else slot = -1;
  }
  RamState.regsLock.unlock(ramRef);
  if (slot < 0) return 0;
  const address = base + slot * USER_REGS.BYTES;
  ram.u8.fill(0, address, address + USER_REGS.BYTES);
  return address;
}

export function freeRegs(address: number): void {
  const base = regsBase(RamState.cpus.get(ramRef));
  const held = RamState.regsLock.lock(ramRef);
  ram.i32[address >>> 2] = RamState.regsFree.get(held, ramRef);
  RamState.regsFree.set(held, ramRef, (address - base) / USER_REGS.BYTES + 1);
  RamState.regsLock.unlock(ramRef);
}
