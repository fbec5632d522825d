/** /dev/null, /dev/zero, /dev/full: null(4), full(4). */
import { FOPS, registerCharDevice, registerFileOps } from "../fs/ops.ts";
import type { UserIo } from "../mm/iov.ts";
import { EFAULT, ENOSPC } from "../uapi/errno.ts";

const zeros = new Uint8Array(65536);
const PART_BYTES = 1 << 22;

function readZeros(io: UserIo): number {
  let total = 0;
  while (io.remaining > 0) {
    const count = Math.min(io.remaining, zeros.length);
    const copied = io.copyTo(zeros, 0, count);
    if (copied > 0) total += copied;
    if (copied < count) return total === 0 ? -EFAULT : total;
  }
  return total;
}

registerFileOps(FOPS.NULL, {
  seekable: true,
  lseek: () => 0,
  read: () => 0,
  write: (_file, io) => io.remaining,
});
registerFileOps(FOPS.ZERO, {
  seekable: true,
  part: PART_BYTES,
  lseek: () => 0,
  read: (_file, io) => readZeros(io),
  write: (_file, io) => io.remaining,
});
registerFileOps(FOPS.FULL, {
  seekable: true,
  part: PART_BYTES,
  lseek: () => 0,
  read: (_file, io) => readZeros(io),
  write: () => -ENOSPC,
});
registerCharDevice(1, 3, FOPS.NULL);
registerCharDevice(1, 5, FOPS.ZERO);
registerCharDevice(1, 7, FOPS.FULL);
