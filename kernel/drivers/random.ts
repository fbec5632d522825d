/** Random bytes from the host's generator: /dev/random, /dev/urandom, getrandom(2), AT_RANDOM. They never run out. */
import { randomFillSync } from "node:crypto";
import { FOPS, registerCharDevice, registerFileOps } from "../fs/ops.ts";
import type { UserIo } from "../mm/iov.ts";
import { copyToUser } from "../mm/uaccess.ts";
import { EFAULT, ENOTTY } from "../uapi/errno.ts";
import { RNDADDTOENTCNT, RNDGETENTCNT } from "../uapi/ioctl.ts";

/** Asking the host costs microseconds, so small requests are served from a pool, whose bytes are used once. */
const pool = new Uint8Array(4096);
let used = pool.length;

/** Fills the first `length` bytes of the target, which is not shared memory. */
export function randomBytes(target: Uint8Array, length: number): void {
  if (length > pool.length / 4) {
    randomFillSync(target, 0, length);
    return;
  }
  if (used + length > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  target.set(pool.subarray(used, used + length));
  pool.fill(0, used, used + length);
  used += length;
}

const scratch = new Uint8Array(32768);
/** Bytes that take the host's generator about a millisecond. */
export const RANDOM_PART = 1 << 18;

/** Fills what `io` describes: its bytes, or -EFAULT. */
export function readRandom(io: UserIo): number {
  let total = 0;
  while (io.remaining > 0) {
    const count = Math.min(io.remaining, scratch.length);
    randomBytes(scratch, count);
    const copied = io.copyTo(scratch, 0, count);
    if (copied > 0) total += copied;
    if (copied < count) return total === 0 ? -EFAULT : total;
  }
  return total;
}

const four = new Uint8Array(4);

registerFileOps(FOPS.RANDOM, {
  seekable: true,
  part: RANDOM_PART,
  lseek: () => 0,
  read: (_file, io) => readRandom(io),
  /** What is written would be mixed in: the host's generator needs none of it. */
  write: (_file, io) => io.remaining,
  ioctl(_file, cmd, arg) {
    if (cmd === RNDADDTOENTCNT) return 0;
    if (cmd !== RNDGETENTCNT) return -ENOTTY;
    new DataView(four.buffer).setInt32(0, 256, true);
    return copyToUser(arg, four);
  },
});
registerCharDevice(1, 8, FOPS.RANDOM);
registerCharDevice(1, 9, FOPS.RANDOM);
