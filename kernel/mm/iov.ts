/**
 * Where read and write move bytes: user memory of the current task, one piece or an I/O vector, or a kernel buffer. One
 * object serves many calls; set it at the start of each.
 */
import { EFAULT, EINVAL } from "../uapi/errno.ts";
import { ACCESS } from "../usermode.ts";
import { clearUser, copyIn, copyOut, faultIn, getUserU64, move } from "./uaccess.ts";

/** Most bytes of one read or write (MAX_RW_COUNT), and most pieces of a vector (UIO_MAXIOV). */
export const MAX_RW_COUNT = 0x7fff_f000;
export const UIO_MAXIOV = 1024;
/** struct iovec: base, length. */
const IOVEC_BYTES = 16;
/** End of user addresses where they are widest: a length beyond cannot be of a user range, wherever it starts. */
const TASK_SIZE_MAX = 2 ** 47;

const isUserRange = (addr: number, len: number): boolean =>
  len === 0 ? addr >= 0 && addr < TASK_SIZE_MAX : addr >= 0 && addr < 2 ** 32 && len < TASK_SIZE_MAX;

export class UserIo {
  /** Bytes that may still be moved. */
  remaining = 0;
  /** Bytes moved since it was set. */
  done = 0;
  /** RWF_* of this call: RWF_APPEND, RWF_NOAPPEND and RWF_NOWAIT override the open file's flags. */
  flags = 0;
  #kernel: Uint8Array | null = null;
  /** Pieces from #next on follow the current one. */
  #addresses: number[] = [];
  #lengths: number[] = [];
  #count = 0;
  #next = 0;
  /** The current piece: address in user memory or index in the kernel buffer, and its bytes left. */
  #address = 0;
  #length = 0;

  /** One piece of user memory; longer ones are cut to MAX_RW_COUNT. 0, or -EFAULT for what cannot be a user range. */
  setUser(addr: number, len: number): number {
    this.#kernel = null;
    this.#count = 0;
    this.#next = 0;
    this.#address = addr;
    this.#length = Math.min(len, MAX_RW_COUNT);
    this.remaining = this.#length;
    this.done = 0;
    this.flags = 0;
    return isUserRange(addr, len) ? 0 : -EFAULT;
  }

  /** `count` struct iovec at `addr`: 0, -EINVAL or -EFAULT. */
  setIovec(addr: number, count: number): number {
    if (!(count >= 0 && count <= UIO_MAXIOV)) return -EINVAL;
    if (faultIn(addr, count * IOVEC_BYTES, ACCESS.READ) < 0) return -EFAULT;
    let total = 0;
    for (let n = 0; n < count; n++) {
      const base = getUserU64(addr + n * IOVEC_BYTES);
      const length = getUserU64(addr + n * IOVEC_BYTES + 8);
      if (length >= 2 ** 63) return -EINVAL;
      // As Linux does: a single piece is cut to what one call moves before it is looked at.
      if (!isUserRange(base, count === 1 ? Math.min(length, MAX_RW_COUNT) : length)) return -EFAULT;
      this.#addresses[n] = base;
      this.#lengths[n] = Math.min(length, MAX_RW_COUNT - total);
      total += this.#lengths[n]!;
    }
    this.#kernel = null;
    this.#count = count;
    this.#next = 0;
    this.#length = 0;
    this.remaining = total;
    this.done = 0;
    this.flags = 0;
    return 0;
  }

  /** A kernel buffer, all of it. */
  setKernel(bytes: Uint8Array): void {
    this.#kernel = bytes;
    this.#count = 0;
    this.#next = 0;
    this.#address = 0;
    this.#length = bytes.length;
    this.remaining = bytes.length;
    this.done = 0;
    this.flags = 0;
  }

  /** Hides all but the next `bytes`: the number hidden, which reveal() takes. */
  hide(bytes: number): number {
    const hidden = Math.max(0, this.remaining - bytes);
    this.remaining -= hidden;
    return hidden;
  }
  reveal(hidden: number): void {
    this.remaining += hidden;
  }

  /** Limits what may still be moved. */
  truncate(bytes: number): void {
    if (bytes < this.remaining) this.remaining = bytes;
  }

  /**
   * Moves src[off..off + len) to the destination, at most `remaining`: how many bytes, fewer where the destination faults,
   * -EFAULT when none could be moved. `src` may be ram.u8 (a frame's bytes).
   */
  copyTo(src: Uint8Array, off: number, len: number): number {
    let moved = 0;
    const want = Math.min(len, this.remaining);
    while (moved < want) {
      if (this.#length === 0 && !this.#advance()) break;
      const n = Math.min(want - moved, this.#length);
      let out = n;
      if (this.#kernel === null) out = copyOut(this.#address, src, off + moved, n);
      else move(src, off + moved, this.#kernel, this.#address, n);
      this.#consume(out);
      moved += out;
      if (out < n) return moved === 0 ? -EFAULT : moved;
    }
    return moved;
  }

  /** Moves bytes from the source to dst[off..off + len); as copyTo. */
  copyFrom(dst: Uint8Array, off: number, len: number): number {
    let moved = 0;
    const want = Math.min(len, this.remaining);
    while (moved < want) {
      if (this.#length === 0 && !this.#advance()) break;
      const n = Math.min(want - moved, this.#length);
      let got = n;
      if (this.#kernel === null) got = copyIn(this.#address, dst, off + moved, n);
      else move(this.#kernel, this.#address, dst, off + moved, n);
      this.#consume(got);
      moved += got;
      if (got < n) return moved === 0 ? -EFAULT : moved;
    }
    return moved;
  }

  /** Moves `len` zero bytes to the destination; as copyTo. */
  zero(len: number): number {
    let moved = 0;
    const want = Math.min(len, this.remaining);
    while (moved < want) {
      if (this.#length === 0 && !this.#advance()) break;
      const n = Math.min(want - moved, this.#length);
      let out = n;
      if (this.#kernel === null) out = clearUser(this.#address, n);
      else this.#kernel.fill(0, this.#address, this.#address + n);
      this.#consume(out);
      moved += out;
      if (out < n) return moved === 0 ? -EFAULT : moved;
    }
    return moved;
  }

  /**
   * Makes up to `len` of the next bytes accessible (ACCESS.WRITE for a destination), so that a copy made with a lock held
   * does not fault: 0, or -EFAULT when not even the first byte is.
   */
  prefault(len: number, access: number): number {
    if (this.#kernel !== null) return 0;
    let left = Math.min(len, this.remaining);
    let address = this.#address;
    let length = this.#length;
    let next = this.#next;
    let first = true;
    while (left > 0) {
      if (length === 0) {
        if (next >= this.#count) return 0;
        address = this.#addresses[next]!;
        length = this.#lengths[next++]!;
        continue;
      }
      const n = Math.min(left, length);
      if (faultIn(address, n, access) < 0) return first && faultIn(address, 1, access) < 0 ? -EFAULT : 0;
      first = false;
      left -= n;
      length = 0;
    }
    return 0;
  }

  /** Skips bytes without moving them. */
  skip(len: number): void {
    let left = Math.min(len, this.remaining);
    while (left > 0) {
      if (this.#length === 0 && !this.#advance()) return;
      const n = Math.min(left, this.#length);
      this.#consume(n);
      left -= n;
    }
  }

  /** Takes back the last `len` bytes moved or skipped: they will be moved again. */
  rewind(len: number): void {
    let left = len;
    while (left > 0) {
      const within = this.#count === 0 ? left : this.#address - this.#addresses[this.#next - 1]!;
      const n = Math.min(left, within);
      this.#consume(-n);
      left -= n;
      if (left === 0) return;
      this.#next--;
      this.#address = this.#addresses[this.#next - 1]! + this.#lengths[this.#next - 1]!;
      this.#length = 0;
    }
  }

  #advance(): boolean {
    while (this.#next < this.#count) {
      this.#address = this.#addresses[this.#next]!;
      this.#length = this.#lengths[this.#next]!;
      this.#next++;
      if (this.#length !== 0) return true;
    }
    return false;
  }

  #consume(bytes: number): void {
    this.#address += bytes;
    this.#length -= bytes;
    this.remaining -= bytes;
    this.done += bytes;
  }
}
