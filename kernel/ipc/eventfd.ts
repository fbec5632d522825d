/** eventfd(2): a 64-bit counter that can be waited for. */
import { fixed, kfreeRcu, locked, type Ref, spinlock, struct, tryAlloc } from "../../rcu/index.ts";
import { anonInodeFile, File } from "../fs/file.ts";
import { FOPS, registerFileOps } from "../fs/ops.ts";
import type { UserIo } from "../mm/iov.ts";
import { destroyWaitQueue, waitqueue, wakeUp } from "../sched/waitqueue.ts";
import { EAGAIN, EFAULT, EINVAL, ENOMEM } from "../uapi/errno.ts";
import { O_CLOEXEC, O_NONBLOCK, O_RDWR } from "../uapi/fcntl.ts";
import { POLLERR, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../uapi/poll.ts";

export const EFD_SEMAPHORE = 1;
export const EFD_CLOEXEC = O_CLOEXEC;
export const EFD_NONBLOCK = O_NONBLOCK;

const Eventfd = struct("eventfd", {
  /** EFD_SEMAPHORE: a read takes one and not everything. */
  flags: fixed(),
  lock: spinlock(40),
  /** The counter, unsigned. */
  low: locked("lock"),
  high: locked("lock"),
  wait: waitqueue(),
});

const eventfdOf = (file: Ref<"file">): Ref<"eventfd"> => File.priv.peek(file) as Ref<"eventfd">;

/** The file, or -errno. */
export function eventfdFile(count: number, flags: number): Ref<"file"> | number {
  if ((flags & ~(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK)) !== 0) return -EINVAL;
  const event = tryAlloc(Eventfd);
  if (event === 0) return -ENOMEM;
  Eventfd.flags.init(event, flags & EFD_SEMAPHORE);
  Eventfd.low.init(event, count | 0);
  const file = anonInodeFile(FOPS.EVENTFD, event, O_RDWR | (flags & EFD_NONBLOCK), "[eventfd]");
  if (file < 0) kfreeRcu(Eventfd, event);
  return file;
}

const buffer = new Uint8Array(8);
const view = new DataView(buffer.buffer);
/** Largest value of the counter: one below all ones. */
const MAX = 0xffff_ffff_ffff_fffen;

function read(file: Ref<"file">, io: UserIo): number {
  if (io.remaining < 8) return -EINVAL;
  const event = eventfdOf(file);
  const held = Eventfd.lock.lock(event);
  let low = Eventfd.low.get(held, event);
  let high = Eventfd.high.get(held, event);
  if (low === 0 && high === 0) {
    Eventfd.lock.unlock(event);
    return -EAGAIN;
  }
  if (Eventfd.flags.get(event) === 0) {
    Eventfd.low.set(held, event, 0);
    Eventfd.high.set(held, event, 0);
  } else {
    Eventfd.low.set(held, event, low - 1);
    if (low === 0) Eventfd.high.set(held, event, high - 1);
    low = 1;
    high = 0;
  }
  Eventfd.lock.unlock(event);
  wakeUp(Eventfd.wait.at(event), 1, POLLOUT | POLLWRNORM);
  view.setInt32(0, low, true);
  view.setInt32(4, high, true);
  return io.copyTo(buffer, 0, 8) === 8 ? 8 : -EFAULT;
}

function write(file: Ref<"file">, io: UserIo): number {
  if (io.remaining < 8) return -EINVAL;
  if (io.copyFrom(buffer, 0, 8) !== 8) return -EFAULT;
  const event = eventfdOf(file);
  const low = view.getUint32(0, true);
  if (view.getUint32(4, true) !== 0 || !addSmall(event, low)) return addLarge(event, io);
  if (low !== 0) wakeUp(Eventfd.wait.at(event), 1, POLLIN | POLLRDNORM);
  return 8;
}

/** Adds while everything is below 2^32, which is nearly always; says whether it did. */
function addSmall(event: Ref<"eventfd">, added: number): boolean {
  const held = Eventfd.lock.lock(event);
  const sum = (Eventfd.low.get(held, event) >>> 0) + added;
  const small = Eventfd.high.get(held, event) === 0 && sum <= 0xffffffff;
  if (small) Eventfd.low.set(held, event, sum | 0);
  Eventfd.lock.unlock(event);
  return small;
}

/** Adds the 64 bits in `buffer`. */
function addLarge(event: Ref<"eventfd">, io: UserIo): number {
  const added = view.getBigUint64(0, true);
  if (added > MAX) return -EINVAL;
  const held = Eventfd.lock.lock(event);
  const count =
    (BigInt(Eventfd.high.get(held, event) >>> 0) << 32n) | BigInt(Eventfd.low.get(held, event) >>> 0);
  if (count + added > MAX) {
    Eventfd.lock.unlock(event);
    io.rewind(8);
    return -EAGAIN;
  }
  const sum = count + added;
  Eventfd.low.set(held, event, Number(sum & 0xffffffffn) | 0);
  Eventfd.high.set(held, event, Number(sum >> 32n) | 0);
  Eventfd.lock.unlock(event);
  if (added !== 0n) wakeUp(Eventfd.wait.at(event), 1, POLLIN | POLLRDNORM);
  return 8;
}

function poll(file: Ref<"file">): number {
  const event = eventfdOf(file);
  Eventfd.lock.lock(event);
  const low = Eventfd.low.racy(event) >>> 0;
  const high = Eventfd.high.racy(event) >>> 0;
  Eventfd.lock.unlock(event);
  let mask = 0;
  if (low !== 0 || high !== 0) mask |= POLLIN | POLLRDNORM;
  if (high === 0xffffffff && low === 0xffffffff) mask |= POLLERR;
  else if (high !== 0xffffffff || low < 0xfffffffe) mask |= POLLOUT | POLLWRNORM;
  return mask;
}

registerFileOps(FOPS.EVENTFD, {
  read,
  write,
  poll,
  waitQueues: (file, visit) => visit(Eventfd.wait.at(eventfdOf(file))),
  release(file) {
    const event = eventfdOf(file);
    destroyWaitQueue(Eventfd.wait.at(event));
    kfreeRcu(Eventfd, event);
  },
  fdinfo(file) {
    const event = eventfdOf(file);
    const count = (BigInt(Eventfd.high.racy(event) >>> 0) << 32n) | BigInt(Eventfd.low.racy(event) >>> 0);
    return `eventfd-count: ${count.toString(16).padStart(16, " ")}\n`;
  },
});
