/**
 * Pseudo-terminals, pty(7): /dev/ptmx makes a pair; the master is its open file, the slave a terminal at /dev/pts/N.
 *
 * What the slave prints goes through output processing into a ring that the master reads; what the master writes is
 * the slave's input, whose echo goes into the same ring. The pair lives until the master and all slaves are closed.
 */
import {
  arrayGet,
  arrayLength,
  arraySet,
  atomic,
  fixed,
  type Held,
  kfreeRcu,
  locked,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  tryAllocArray,
} from "../../rcu/index.ts";
import { allocFd } from "../fs/fdtable.ts";
import { File, fput } from "../fs/file.ts";
import { Inode } from "../fs/inode.ts";
import { vfsOpen } from "../fs/open.ts";
import { FOPS, registerCharDevice, registerFileOps } from "../fs/ops.ts";
import { kernelGlobal } from "../global.ts";
import { Ring, ringCreate, ringFree, ringReadTo, ringRoom, ringWrite } from "../ipc/ring.ts";
import type { UserIo } from "../mm/iov.ts";
import { copyFromUser, copyToUser } from "../mm/uaccess.ts";
import { current } from "../sched/current.ts";
import { destroyWaitQueue, waitqueue, wakeUp } from "../sched/waitqueue.ts";
import { mustYield } from "../sched/yield.ts";
import { forEachGroup } from "../signal/send.ts";
import { lockTaskList, unlockTaskList } from "../task/pid.ts";
import { Group, Task } from "../task/task.ts";
import { EAGAIN, EFAULT, EIO, ENOMEM, ENOSPC } from "../uapi/errno.ts";
import { AT_FDCWD, O_ACCMODE, O_CLOEXEC, O_NOCTTY, O_NONBLOCK } from "../uapi/fcntl.ts";
import { TIOCGPKT, TIOCGPTN, TIOCGPTPEER, TIOCPKT, TIOCSPTLCK } from "../uapi/ioctl.ts";
import { POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDNORM, POLLWRNORM } from "../uapi/poll.ts";
import { minor } from "../uapi/stat.ts";
import { ONLCR, OPOST } from "../uapi/termios.ts";
import { ACCESS } from "../usermode.ts";
import { ttyInputRoom, ttyReceive } from "./n-tty.ts";
import { TIOCPKT_DATA } from "./pty-packet.ts";
import { oflags, TTY_PTS, Tty, ttyCreate, ttyDestroy, ttyHangup } from "./tty.ts";
import { controlOnOpen, defineTtyDriver, ttyFileOps, ttyIoctl } from "./tty-file.ts";

/** Pseudo-terminals of one machine. */
const MAX_PTYS = 256;
const OUTPUT_BYTES = 16384;

const Pty = struct("pty", {
  index: fixed(),
  tty: fixed<Ref<"tty">>(),
  /** TIOCSPTLCK: the slave cannot be opened yet. */
  locked: atomic(),
  masterClosed: atomic(),
  lock: spinlock(42),
  /** What the slave printed. */
  output: fixed<Ref<"ring">>(),
  masterWait: waitqueue(),
});
type P = Ref<"pty">;

const Ptys = struct("ptys", {
  lock: spinlock(38),
  table: fixed<Ref<"array">>(),
  /** Open slaves of each pair, and whether there ever was one: counted here, under the lock that frees the pair. */
  slaves: fixed<Ref<"array">>(),
  made: locked("lock"),
});
const ptys = kernelGlobal<Ref<"ptys">>("ptys");

/** Once per machine, at boot. */
export function ptyInit(): void {
  const ref = tryAlloc(Ptys);
  const [table, slaves] = [tryAllocArray(MAX_PTYS), tryAllocArray(MAX_PTYS)];
  if (ref === 0 || table === 0 || slaves === 0) throw new Error("no memory for the pseudo-terminals");
  Ptys.table.init(ref, table);
  Ptys.slaves.init(ref, slaves);
  ptys.init(ref);
}

/** Whether /dev/pts has that number. */
export const ptyExists = (index: number): boolean =>
  index < MAX_PTYS && arrayGet(Ptys.table.get(ptys.get()), index) !== 0;
export const ptyLimit = (): number => arrayLength(Ptys.table.get(ptys.get()));

/** Bit of the slave count that says that a slave was open before. */
const EVER = 0x10000;
const slavesOf = (index: number): number => arrayGet(Ptys.slaves.get(ptys.get()), index);
const countSlave = (_held: Held<"lock">, index: number, change: number): void =>
  arraySet(Ptys.slaves.get(ptys.get()), index, (slavesOf(index) + change) | EVER);

function openMaster(_inode: Ref<"inode">, file: Ref<"file">): number {
  const all = ptys.get();
  const table = Ptys.table.get(all);
  const output = ringCreate(OUTPUT_BYTES);
  const pty = output === 0 ? 0 : tryAlloc(Pty);
  if (output === 0 || pty === 0) {
    if (output !== 0) ringFree(output);
    return -ENOMEM;
  }
  Ptys.lock.lock(all);
  let index = 0;
  while (index < MAX_PTYS && arrayGet(table, index) !== 0) index++;
  const tty = index < MAX_PTYS ? ttyCreate(TTY_PTS, index, pty) : 0;
  if (tty !== 0) {
    Pty.index.init(pty, index);
    Pty.tty.init(pty, tty);
    Pty.output.init(pty, output);
    Pty.locked.init(pty, 1);
    arraySet(table, index, pty);
    arraySet(Ptys.slaves.get(all), index, 0);
  }
  Ptys.lock.unlock(all);
  if (tty === 0) {
    ringFree(output);
    kfreeRcu(Pty, pty);
    return index === MAX_PTYS ? -ENOSPC : -ENOMEM;
  }
  File.fops.set(file, FOPS.PTMX);
  File.priv.store(file, pty);
  return 0;
}

/** Frees the pair once both sides are closed. */
function release(index: number, change: (held: Held<"lock">, pty: P) => void): void {
  const all = ptys.get();
  const held = Ptys.lock.lock(all);
  const pty = arrayGet(Ptys.table.get(all), index) as P;
  change(held, pty);
  const over = Pty.masterClosed.load(pty) !== 0 && (slavesOf(index) & ~EVER) === 0;
  if (over) arraySet(Ptys.table.get(all), index, 0);
  Ptys.lock.unlock(all);
  if (!over) return;
  ttyDestroy(Pty.tty.get(pty));
  destroyWaitQueue(Pty.masterWait.at(pty));
  ringFree(Pty.output.get(pty));
  kfreeRcu(Pty, pty);
}

function closeMaster(file: Ref<"file">): void {
  const pty = masterOf(file);
  const tty = Pty.tty.get(pty);
  ttyHangup(tty);
  // The terminal controls nobody any more: no group may keep its reference.
  lockTaskList();
  forEachGroup((group) => void (Group.tty.load(group) === tty && Group.tty.store(group, 0)));
  unlockTaskList();
  release(Pty.index.get(pty), () => Pty.masterClosed.store(pty, 1));
}

const masterOf = (file: Ref<"file">): P => File.priv.peek(file) as P;

/** All slaves were closed after there had been some. */
const slaveGone = (pty: P): boolean => slavesOf(Pty.index.get(pty)) === EVER;

function readMaster(file: Ref<"file">, io: UserIo): number {
  const pty = masterOf(file);
  if (io.prefault(Math.min(io.remaining, OUTPUT_BYTES), ACCESS.WRITE) < 0) return -EFAULT;
  const tty = Pty.tty.get(pty);
  const packet = Tty.packet.load(tty) !== 0 && io.remaining > 0;
  if (packet) {
    const events = Tty.packetEvents.exchange(tty, 0);
    if (events !== 0) return io.copyTo(Uint8Array.of(events), 0, 1);
  }
  Pty.lock.lock(pty);
  const printed = Ring.used.get(Pty.output.get(pty)) !== 0;
  const header = packet && printed ? io.copyTo(Uint8Array.of(TIOCPKT_DATA), 0, 1) : 0;
  const got = ringReadTo(Pty.output.get(pty), io, io.remaining);
  Pty.lock.unlock(pty);
  const count = got < 0 ? got : got + header;
  if (got > 0) wakeUp(Tty.writeWait.at(Pty.tty.get(pty)), 0, POLLOUT | POLLWRNORM);
  if (count !== 0 || io.remaining === 0) return count;
  return slaveGone(pty) ? -EIO : -EAGAIN;
}

const scratch = new Uint8Array(4096);

function writeMaster(file: Ref<"file">, io: UserIo): number {
  const pty = masterOf(file);
  const tty = Pty.tty.get(pty);
  let total = 0;
  while (io.remaining > 0) {
    const room = Math.min(ttyInputRoom(tty), scratch.length);
    if (room === 0) return total === 0 ? -EAGAIN : total;
    const count = io.copyFrom(scratch, 0, Math.min(io.remaining, room));
    if (count <= 0) return total === 0 ? -EFAULT : total;
    const echo = ttyReceive(tty, scratch.subarray(0, count));
    // Echo that finds no room is lost, as on a real line.
    if (echo.length > 0) print(tty, Uint8Array.from(echo), echo.length);
    total += count;
    // A line that never ends takes bytes for ever; what is left is for streamWrite to see to.
    if (mustYield()) return total;
  }
  return total;
}

const newline = Uint8Array.of(13, 10);

/** Output of the slave: bytes taken, -EAGAIN when the master does not read. */
function print(tty: Ref<"tty">, bytes: Uint8Array, length: number): number {
  const pty = Tty.link.get(tty) as P;
  const ring = Pty.output.get(pty);
  const cook = (oflags(tty) & (OPOST | ONLCR)) === (OPOST | ONLCR);
  let done = 0;
  Pty.lock.lock(pty);
  while (done < length) {
    const end = cook ? bytes.indexOf(10, done) : -1;
    const stop = end < 0 || end >= length ? length : end;
    const put = ringWrite(ring, bytes, done, stop - done);
    done += put;
    if (done < stop) break;
    if (stop === length) break;
    if (ringRoom(ring) < 2 || ringWrite(ring, newline, 0, 2) !== 2) break;
    done++;
  }
  Pty.lock.unlock(pty);
  if (done > 0) wakeUp(Pty.masterWait.at(pty), 1, POLLIN | POLLRDNORM);
  return done === 0 && length > 0 ? -EAGAIN : done;
}
defineTtyDriver(TTY_PTS, print);

function ioctlMaster(file: Ref<"file">, cmd: number, arg: number): number {
  const pty = masterOf(file);
  const word = new Uint8Array(4);
  switch (cmd) {
    case TIOCGPTN:
      new DataView(word.buffer).setUint32(0, Pty.index.get(pty), true);
      return copyToUser(arg, word);
    case TIOCSPTLCK: {
      const bytes = copyFromUser(arg, 4);
      if (bytes === null) return -EFAULT;
      Pty.locked.store(pty, bytes.some((byte) => byte !== 0) ? 1 : 0);
      return 0;
    }
    case TIOCPKT: {
      const bytes = copyFromUser(arg, 4);
      if (bytes === null) return -EFAULT;
      Tty.packetEvents.store(Pty.tty.get(pty), 0);
      Tty.packet.store(Pty.tty.get(pty), bytes.some((byte) => byte !== 0) ? 1 : 0);
      return 0;
    }
    case TIOCGPKT:
      word[0] = Tty.packet.load(Pty.tty.get(pty));
      return copyToUser(arg, word);
    case TIOCGPTPEER: {
      // Of an open(2)'s flags those that say how, not what else to do with the name.
      const flags = arg & (O_ACCMODE | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
      const slave = vfsOpen(AT_FDCWD, `/dev/pts/${Pty.index.get(pty)}`, flags);
      if (slave < 0) return slave;
      const fd = allocFd(Task.files.access(current()) as Ref<"files">, slave as Ref<"file">, flags);
      if (fd < 0) fput(slave as Ref<"file">);
      return fd;
    }
    default:
      return ttyIoctl(Pty.tty.get(pty), cmd, arg, true);
  }
}

registerFileOps(FOPS.PTMX, {
  open: openMaster,
  read: readMaster,
  write: writeMaster,
  ioctl: ioctlMaster,
  poll(file) {
    const pty = masterOf(file);
    let mask = ttyInputRoom(Pty.tty.get(pty)) > 0 ? POLLOUT | POLLWRNORM : 0;
    if (Ring.used.get(Pty.output.get(pty)) !== 0) mask |= POLLIN | POLLRDNORM;
    if (Tty.packetEvents.load(Pty.tty.get(pty)) !== 0) mask |= POLLPRI | POLLIN | POLLRDNORM;
    return slaveGone(pty) ? mask | POLLHUP : mask;
  },
  waitQueues(file, visit) {
    visit(Pty.masterWait.at(masterOf(file)));
    visit(Tty.roomWait.at(Pty.tty.get(masterOf(file))));
  },
  available: (file) => Ring.used.get(Pty.output.get(masterOf(file))),
  release: closeMaster,
});
registerCharDevice(5, 2, FOPS.PTMX);

function openSlave(inode: Ref<"inode">, file: Ref<"file">, flags: number): number {
  const index = minor(Inode.rdev.get(inode));
  const all = ptys.get();
  const held = Ptys.lock.lock(all);
  const pty = index < MAX_PTYS ? (arrayGet(Ptys.table.get(all), index) as P | 0) : 0;
  const usable = pty !== 0 && Pty.locked.load(pty) === 0 && Pty.masterClosed.load(pty) === 0;
  if (usable) countSlave(held, index, 1);
  Ptys.lock.unlock(all);
  if (!usable) return -EIO;
  const tty = Pty.tty.get(pty);
  File.priv.store(file, tty);
  controlOnOpen(file, tty, flags);
  return 0;
}

registerFileOps(FOPS.PTS, {
  ...ttyFileOps,
  open: openSlave,
  release(file) {
    const tty = File.priv.peek(file) as Ref<"tty">;
    const pty = Tty.link.get(tty) as P;
    const index = Tty.index.get(tty);
    release(index, (held) => {
      countSlave(held, index, -1);
      if (Pty.masterClosed.load(pty) === 0) wakeUp(Pty.masterWait.at(pty), 0);
    });
  },
});
registerCharDevice(136, -1, FOPS.PTS);
