/**
 * The shared heap: one SharedArrayBuffer that every thread of a machine (or of an RCU domain) maps.
 *
 * A thread attaches once and gets a *slot*: its identity as a lock owner, its magazines, its RCU line. The buffer is
 * reserved at full size up front: untouched pages cost no memory, and a growable buffer would cost 50 ns an access.
 */

import { initPages } from "./buddy.ts";
import { HeapError, RcuUsageError } from "./error.ts";
import { checkFields } from "./field-check.ts";
import { setGoneLook } from "./force.ts";
import { hashSeed } from "./hash-seed.ts";
import { initRcu, joinRcu, leaveRcu, reapRcu } from "./hotplug.ts";
import { dropLanes, settleLanes } from "./lanes.ts";
import * as layout from "./layout.ts";
import {
  claimForReaping,
  claimGoneSlot,
  claimSlot,
  dropClaim,
  keepClaim,
  noticeGone,
  signSlot,
  unsignSlot,
} from "./liveness.ts";
import { checkLocks } from "./lock-order.ts";
import { bindHeap, bindViews, heapDebug, i32, leaveHome, slot, type Views } from "./memory.ts";
import { setting, threadId } from "./platform.ts";
import { rcuNesting, setNesting } from "./scope.ts";
import { adoptMagazines } from "./slab.ts";

const {
  HEADER,
  MAGIC,
  MAX_ORDER,
  MAX_SLOTS,
  PAGE_MAP,
  PAGE_SHIFT,
  RCU,
  SLOT,
  SLOT_ABANDONED,
  SLOT_ACTIVE,
  SLOT_DEAD,
  SLOT_FREE,
  VERSION,
} = layout;

/** What another worker needs to attach: goes through workerData or postMessage. */
export interface HeapHandle {
  readonly buffer: SharedArrayBuffer;
}

/** What Heap.create is told. */
export interface HeapOptions {
  /** Size in bytes, 4 MiB to 2 GiB; default 256 MiB. Only touched pages take memory. */
  bytes?: number;
  /**
   * Find uses after free: freed cells are poisoned and checked when they are handed out again, and every access to a struct
   * field or a collection checks that its object lives. Default: whether the environment variable STERNIX_DEBUG_HEAP is "1".
   */
  debug?: boolean;
  /** What the hashes of its maps depend on, an odd 32-bit integer. Default: a random one. For runs that must repeat. */
  hashSeed?: number;
}

const MIN_BYTES = 4 << 20;
/**
 * Byte indices stay below 2^31: V8's Maglev compiles a typed-array access for int32 indices only, and one beyond makes it throw
 * the code away ("not int32") and compile the same again, for ever.
 */
const MAX_BYTES = 2 * 1024 ** 3;

/** The heap that this thread's accessors work on. */
let current: Heap | null = null;

// For those who wait: synchronize.ts lies below this module.
setGoneLook(() => current?.reapGone());

/** The heap that this thread uses now. */
export function currentHeap(): Heap | null {
  return current;
}

/** Address space for a heap. Throws HeapError where the system gives none. */
function reserve(bytes: number): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(bytes);
  } catch {
    throw new HeapError(
      "ERR_RCU_HEAP_SIZE",
      `heap of ${bytes} bytes: the system does not give so much address space (\`ulimit -v\` shows a limit); ask for less`,
    );
  }
}

/** A shared heap and this thread's slot in it. */
export class Heap implements Views {
  /** The memory itself. */
  readonly buffer: SharedArrayBuffer;
  /** The memory as 32-bit words: a reference is an index into it. */
  readonly i32: Int32Array<SharedArrayBuffer>;
  /** The same, unsigned. */
  readonly u32: Uint32Array<SharedArrayBuffer>;
  /** The same, as bytes. */
  readonly u8: Uint8Array<SharedArrayBuffer>;
  /** The same, as doubles. */
  readonly f64: Float64Array<SharedArrayBuffer>;
  #slot = -1;
  #owner = 0;
  /** This thread's nesting count in this heap, while it uses another one. */
  #nesting = 0;

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.u8 = new Uint8Array(buffer);
    this.f64 = new Float64Array(buffer);
  }

  /** Whether it has the checks of HeapOptions.debug. */
  get debug(): boolean {
    return this.i32[HEADER.DEBUG] === 1;
  }

  /** Makes a heap, attaches this thread to it and makes it this thread's current heap. */
  static create(options: HeapOptions = {}): Heap {
    const bytes = options.bytes ?? 256 << 20;
    if (!(bytes >= MIN_BYTES && bytes <= MAX_BYTES))
      throw new HeapError(
        "ERR_RCU_HEAP_SIZE",
        `heap of ${bytes} bytes: give a size from ${MIN_BYTES} to ${MAX_BYTES}`,
      );
    const heap = new Heap(reserve(Math.floor(bytes / 4096) * 4096));
    const words = heap.i32.length;
    // Runs of every order start at a multiple of their size relative to the first page.
    const first = (PAGE_MAP + (words >> PAGE_SHIFT) + (1 << PAGE_SHIFT)) & -(1 << PAGE_SHIFT);
    heap.i32[HEADER.VERSION] = VERSION;
    heap.i32[HEADER.IDENTITY] = (Math.random() * 0x7fffffff) | 1;
    heap.i32[HEADER.HASH_SEED] = hashSeed(options.hashSeed);
    heap.i32[HEADER.WORDS] = words;
    heap.i32[HEADER.FIRST_PAGE] = first;
    heap.i32[HEADER.DEBUG] = (options.debug ?? setting("STERNIX_DEBUG_HEAP")) ? 1 : 0;
    for (let order = 0; order <= MAX_ORDER; order++) heap.i32[HEADER.FREE_AREA + order] = 0;
    initRcu(heap.i32);
    heap.#attach();
    initPages((words - first) >> PAGE_SHIFT);
    Atomics.store(heap.i32, HEADER.MAGIC, MAGIC);
    return heap;
  }

  /** Attaches this thread to a heap that another thread made, and makes it this thread's current heap. */
  static attach(handle: HeapHandle): Heap {
    if (!(handle?.buffer instanceof SharedArrayBuffer))
      throw new HeapError(
        "ERR_RCU_BAD_HANDLE",
        "not a heap handle: pass the value of heap.handle() through workerData",
      );
    const heap = new Heap(handle.buffer);
    if (Atomics.load(heap.i32, HEADER.MAGIC) !== MAGIC || heap.i32[HEADER.VERSION] !== VERSION)
      throw new HeapError(
        "ERR_RCU_BAD_HANDLE",
        "the buffer holds no heap of this version: create it with Heap.create()",
      );
    heap.#attach();
    return heap;
  }

  /** What another thread needs to attach: for workerData or postMessage. */
  handle(): HeapHandle {
    return { buffer: this.buffer };
  }

  /** This thread's slot in the heap. */
  get slot(): number {
    return this.#slot;
  }

  /** Makes this the heap that struct accessors of this thread work on. */
  use(): this {
    if (current === this && i32 === this.i32 && slot === this.#slot) return this;
    if (current !== null) current.#nesting = rcuNesting();
    settleLanes();
    current = this;
    bindViews(this, this.#slot, this.#owner);
    bindHeap(this.i32[HEADER.IDENTITY]!, this.i32[HEADER.DEBUG] !== 0, this);
    setNesting(this.#nesting);
    if (heapDebug) {
      checkFields();
      checkLocks();
    }
    return this;
  }

  #attach(): void {
    let slot = claimSlot(this.i32);
    // Without a slot of its own this thread can reap none: it takes one whose owner is gone, with what lies there.
    const inherited = slot < 0;
    if (inherited) slot = claimGoneSlot(this.i32);
    if (slot < 0)
      throw new HeapError(
        "ERR_RCU_TOO_MANY_THREADS",
        `heap has ${MAX_SLOTS} threads attached: detach one first`,
      );
    const base = SLOT.BASE + slot * SLOT.WORDS;
    // A new incarnation: locks that the slot's last owner left behind are a dead thread's.
    this.#owner = (((Atomics.add(this.i32, base + SLOT.INCARNATION, 1) + 1) & 0x3fffff) << 8) | (slot + 1);
    this.#slot = slot;
    this.i32[base + SLOT.THREAD] = threadId;
    Atomics.store(this.i32, base + SLOT.STATE, SLOT_ACTIVE);
    for (;;) {
      const high = Atomics.load(this.i32, RCU.SLOT_HIGH);
      if (high > slot || Atomics.compareExchange(this.i32, RCU.SLOT_HIGH, high, slot + 1) === high) break;
    }
    this.use();
    if (inherited) {
      keepClaim(this.i32, slot);
      reapRcu(slot);
    }
    joinRcu();
  }

  /** Leaves the heap: callbacks and magazines are handed on, the slot may be taken by another thread. */
  detach(): void {
    if (this.#slot < 0) return;
    this.use();
    leaveRcu();
    this.#giveBack(this.#slot);
    this.#forget();
  }

  /** The slot is empty of everything but its magazines: may be claimed again. */
  #giveBack(slot: number): void {
    adoptMagazines(slot);
    unsignSlot(this.i32, slot);
    Atomics.store(this.i32, SLOT.BASE + slot * SLOT.WORDS + SLOT.STATE, SLOT_FREE);
    dropClaim(this.i32, slot);
  }

  #forget(): void {
    dropLanes();
    this.#slot = -1;
    this.#owner = 0;
    bindViews(this, -1, 0);
    this.#nesting = 0;
    current = null;
    leaveHome();
  }

  /** Reaps the slots of a worker that has ended: with its threadId, as Worker.threadId gave it while it ran. */
  reapThread(id: number): void {
    const high = Atomics.load(this.i32, RCU.SLOT_HIGH);
    for (let slot = 0; slot < high; slot++) if (slot !== this.#slot) this.#reap(slot, id);
  }

  /**
   * From here on other threads see by themselves when this one ends without detaching, where the system tells (Linux), and reap its slot: when
   * they look for a free one, or have waited for 100 ms.
   */
  sign(): void {
    signSlot(this.i32, this.#slot);
  }

  /** Reaps the slots of threads that have ended and were signed. Returns how many. */
  reapGone(): number {
    let reaped = 0;
    const high = Atomics.load(this.i32, RCU.SLOT_HIGH);
    const outer = current;
    this.use();
    for (let slot = 0; slot < high; slot++)
      if (slot !== this.#slot && noticeGone(slot) && this.#reap(slot)) reaped++;
    if (outer !== null && outer !== this) outer.use();
    return reaped;
  }

  /**
   * This thread ends now, wherever it is: in a read scope, with a lock, in a callback. What it held is given up as if it had died, and
   * what it protected may be half-changed. For handlers of process.on("exit").
   */
  leave(): void {
    if (this.#slot < 0) return;
    this.use();
    setNesting(0);
    reapRcu(this.#slot);
    this.#giveBack(this.#slot);
    this.#forget();
  }

  /** Attaches again after detach(), in whatever slot is free. */
  reattach(): void {
    if (this.#slot < 0) this.#attach();
  }

  /**
   * This thread is about to end, and does nothing more here: it looks dead to those that wait for its locks, whoever reaps its slot
   * later. What it held may be half-changed.
   */
  abandon(): void {
    const state = SLOT.BASE + this.#slot * SLOT.WORDS + SLOT.STATE;
    Atomics.compareExchange(this.i32, state, SLOT_ACTIVE, SLOT_ABANDONED);
  }

  /**
   * Another thread says that the owner of `slot` is gone for good: its locks may be broken, grace periods no longer
   * wait for it, its callbacks and magazines are taken over. Harmless for a slot that nobody has.
   */
  reap(slot: number): void {
    if (slot === this.#slot)
      throw new RcuUsageError("ERR_RCU_NOT_ATTACHED", "reap of one's own slot: use detach()");
    this.#reap(slot);
  }

  /** Says whether this call reaped it: one of several threads does. */
  #reap(slot: number, id?: number): boolean {
    this.use();
    if (!claimForReaping(slot, id)) return false;
    Atomics.store(this.i32, SLOT.BASE + slot * SLOT.WORDS + SLOT.STATE, SLOT_DEAD);
    reapRcu(slot);
    this.#giveBack(slot);
    return true;
  }
}
