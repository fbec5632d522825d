import { ACCESS, PAGE_WRITABLE, type UserModeHost } from "../../kernel/usermode.ts";
import { SCRATCH_BYTES, TLB_LOAD, TLB_STORE } from "./layout.ts";

/** Entries remembered before a flush is forced: more than any working set between two switches should need. */
const TOUCHED_MAX = 1 << 16;

/** The software TLB of one CPU, and the accesses that need more than it. */
export class Tlb {
  private readonly host: UserModeHost;
  private readonly words: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly loadTable: number;
  private readonly storeTable: number;
  private readonly scratch: number;
  /** Virtual page numbers that may have an entry. */
  private readonly touched = new Int32Array(TOUCHED_MAX);
  private touchedCount = 0;
  /** Of an access that crosses a page: where its parts are, and the bytes of the first. */
  private first = 0;
  private second = 0;
  private inFirst = 0;
  misses = 0;
  crossings = 0;

  constructor(host: UserModeHost) {
    this.host = host;
    this.words = new Int32Array(host.memory.buffer);
    this.bytes = new Uint8Array(host.memory.buffer);
    this.loadTable = (host.cpuArea + TLB_LOAD) / 4;
    this.storeTable = (host.cpuArea + TLB_STORE) / 4;
    this.scratch = host.cpuArea + SCRATCH_BYTES;
  }

  /** Forgets every page. */
  flush(): void {
    for (let i = 0; i < this.touchedCount; i++) {
      const page = this.touched[i]!;
      this.words[this.loadTable + page] = 0;
      this.words[this.storeTable + page] = 0;
    }
    this.touchedCount = 0;
  }

  /** Forgets pages of [start, end). */
  invalidate(start: number, end: number): void {
    const first = Math.floor(start / 4096);
    const last = Math.min(Math.ceil(end / 4096), 1 << 20);
    if (last - first <= this.touchedCount) {
      this.words.fill(0, this.loadTable + first, this.loadTable + last);
      this.words.fill(0, this.storeTable + first, this.storeTable + last);
      return;
    }
    for (let i = 0; i < this.touchedCount; i++) {
      const page = this.touched[i]!;
      if (page < first || page >= last) continue;
      this.words[this.loadTable + page] = 0;
      this.words[this.storeTable + page] = 0;
    }
  }

  /** The frame of the page at `va` (< 2^32), remembered in the tables; negative when the access is a fault. */
  private page(va: number, access: number): number {
    this.misses++;
    const result = this.host.translate(va, access);
    if (result < 0) return -1;
    const writable = result % 2 === PAGE_WRITABLE;
    const frame = result - (result % 2);
    const vpn = va >>> 12;
    // The first and the last page are never cached: generated code relies on it, where it checks the upper half
    // of a base register once for several offsets.
    const entry = vpn === 0 || vpn === 0xfffff ? 0 : (frame - vpn * 4096) | 0;
    if (this.touchedCount === TOUCHED_MAX) this.flush();
    this.touched[this.touchedCount++] = vpn;
    this.words[this.loadTable + vpn] = entry;
    this.words[this.storeTable + vpn] = writable || access === ACCESS.WRITE ? entry : 0;
    return frame;
  }

  /** Host address for a load of `size` bytes, perhaps of a copy; 0 when it is a fault. */
  load(low: number, high: number, size: number): number {
    const inPage = this.inPage(low, high, size, ACCESS.READ);
    if (inPage >= 0) return inPage | 0;
    const { first, second, inFirst } = this;
    for (let i = 0; i < size; i++)
      this.bytes[this.scratch + i] = this.bytes[i < inFirst ? first + i : second + i - inFirst]!;
    return this.scratch | 0;
  }

  /** The same for a store; one that crosses pages is done here, with the value in scratch, which is then also the result. */
  store(low: number, high: number, size: number): number {
    const inPage = this.inPage(low, high, size, ACCESS.WRITE);
    if (inPage >= 0) return inPage | 0;
    const { first, second, inFirst } = this;
    for (let i = 0; i < size; i++)
      this.bytes[i < inFirst ? first + i : second + i - inFirst] = this.bytes[this.scratch + i]!;
    return this.scratch | 0;
  }

  /** Host address of an access inside one page, 0 for a fault; -1 when it crosses, and `first` and the rest say where its parts are. */
  private inPage(low: number, high: number, size: number, access: number): number {
    if (high !== 0) return this.bad(low, high, access);
    const va = low >>> 0;
    const offset = va & 4095;
    const frame = this.page(va, access);
    if (frame < 0) return 0;
    if (offset + size <= 4096) return frame + offset;
    this.crossings++;
    const next = va - offset + 4096;
    if (next > 0xffff_ffff) return this.bad(0, 1, access);
    this.second = this.page(next, access);
    if (this.second < 0) return 0;
    this.first = frame + offset;
    this.inFirst = 4096 - offset;
    return -1;
  }

  /** Atomics must be aligned: Linux has no emulation for them, a misaligned one is a fault. */
  amo(low: number, high: number, size: number): number {
    if ((low & (size - 1)) === 0) return this.store(low, high, size);
    this.host.misaligned(whole(low, high));
    return 0;
  }

  private bad(low: number, high: number, access: number): number {
    this.host.badAddress(whole(low, high), access);
    return 0;
  }
}

/** The address from its halves. */
function whole(low: number, high: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}
