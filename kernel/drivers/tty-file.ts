/** Open terminals: read, write, ioctl_tty(2), job control; /dev/tty and /dev/console. */
import type { Ref } from "../../rcu/index.ts";
import { File, FMODE_READ, fileGet, fput } from "../fs/file.ts";
import { Inode } from "../fs/inode.ts";
import { type FileOps, FOPS, registerCharDevice, registerFileOps } from "../fs/ops.ts";
import type { UserIo } from "../mm/iov.ts";
import { copyFromUser, copyToUser } from "../mm/uaccess.ts";
import { current, nowNs } from "../sched/current.ts";
import { blockUntil, restartDeadline } from "../sched/restart.ts";
import { mustYield } from "../sched/yield.ts";
import { forEachGroup, sendPgrpSignal } from "../signal/send.ts";
import { isIgnored, sighandOf } from "../signal/sighand.ts";
import { inSet } from "../signal/sigset.ts";
import { lockTaskList, unlockTaskList } from "../task/pid.ts";
import { Group, Task } from "../task/task.ts";
import { EAGAIN, EFAULT, EINVAL, EIO, ENOTTY, ENXIO, EPERM } from "../uapi/errno.ts";
import { O_NOCTTY, O_NONBLOCK } from "../uapi/fcntl.ts";
import {
  TCFLSH,
  TCGETS,
  TCSBRK,
  TCSETS,
  TCSETSF,
  TCSETSW,
  TCXONC,
  TIOCEXCL,
  TIOCGPGRP,
  TIOCGPTPEER,
  TIOCGSID,
  TIOCGWINSZ,
  TIOCNOTTY,
  TIOCNXCL,
  TIOCOUTQ,
  TIOCSCTTY,
  TIOCSPGRP,
  TIOCSWINSZ,
} from "../uapi/ioctl.ts";
import { SIGTTIN, SIGTTOU } from "../uapi/signal.ts";
import { makedev } from "../uapi/stat.ts";
import {
  ICANON,
  TCIFLUSH,
  TCIOFF,
  TCIOFLUSH,
  TCION,
  TCOFLUSH,
  TCOOFF,
  TCOON,
  TERMIOS,
  TOSTOP,
  VMIN,
  VTIME,
  WINSIZE_BYTES,
} from "../uapi/termios.ts";
import { consoleTty, terminalFd } from "./console.ts";
import { writeOrSleep } from "./host-io.ts";
import { ttyTake } from "./n-tty.ts";
import {
  packetEvent,
  stopsByKey,
  TIOCPKT_DOSTOP,
  TIOCPKT_FLUSHREAD,
  TIOCPKT_FLUSHWRITE,
  TIOCPKT_NOSTOP,
} from "./pty-packet.ts";
import { openPlainConsole } from "./stdio.ts";
import {
  controlChar,
  flushInput,
  lflags,
  loadTermios,
  setTermios,
  setWindowSize,
  startOutput,
  TTY_CONSOLE,
  Tty,
  ttyAvailable,
  ttyPoll,
} from "./tty.ts";

const ttyOf = (file: Ref<"file">): Ref<"tty"> => File.priv.peek(file) as Ref<"tty">;
const scratch = new Uint8Array(4096);

/** Takes output of the terminal: the number of bytes taken, -EAGAIN, -EIO. */
type TtyWriter = (tty: Ref<"tty">, bytes: Uint8Array, length: number, file: Ref<"file">) => number;
const writers: TtyWriter[] = [];
/** A driver says where the output of its terminals goes. */
export function defineTtyDriver(driver: number, write: TtyWriter): void {
  writers[driver] = write;
}
defineTtyDriver(TTY_CONSOLE, (_tty, bytes, length, file) => writeOrSleep(file, terminalFd(), bytes, length));

/**
 * A process of the background that uses its terminal gets SIGTTIN or SIGTTOU. 0: go on; -EAGAIN after the signal was sent
 * (the task stops, and tries again when it continues); -EIO when the signal would do nothing.
 */
function checkForeground(tty: Ref<"tty">, signo: number): number {
  const task = current();
  const group = Task.group.get(task);
  const foreground = Tty.pgrp.load(tty);
  const pgrp = Group.pgrp.load(group);
  if (Group.tty.load(group) !== tty || foreground === 0 || foreground === pgrp) return 0;
  const blocked = inSet(Task.blocked.get(task, 0), Task.blocked.get(task, 1), signo);
  if (blocked || isIgnored(sighandOf(task), signo)) return signo === SIGTTIN ? -EIO : 0;
  sendPgrpSignal(pgrp, signo);
  return -EAGAIN;
}

function read(file: Ref<"file">, io: UserIo): number {
  const tty = ttyOf(file);
  const check = checkForeground(tty, SIGTTIN);
  if (check < 0) return check;
  const count = ttyTake(tty, scratch, Math.min(io.remaining, scratch.length));
  if (count < 0) return nothingToRead(file, tty);
  return io.copyTo(scratch, 0, count) === count ? count : -EFAULT;
}

/** VMIN 0 polls; with VTIME it waits that many tenths of a second (termios(3)). */
function nothingToRead(file: Ref<"file">, tty: Ref<"tty">): number {
  if ((lflags(tty) & ICANON) !== 0 || controlChar(tty, VMIN) !== 0) return -EAGAIN;
  const tenths = controlChar(tty, VTIME);
  if (tenths === 0 || (File.flags.load(file) & O_NONBLOCK) !== 0) return 0;
  const deadline = restartDeadline(tenths * 100_000_000);
  if (nowNs() >= deadline) return 0;
  blockUntil(deadline);
  return -EAGAIN;
}

function write(file: Ref<"file">, io: UserIo): number {
  const tty = ttyOf(file);
  if (Tty.hungUp.load(tty) !== 0) return -EIO;
  if ((lflags(tty) & TOSTOP) !== 0) {
    const check = checkForeground(tty, SIGTTOU);
    if (check < 0) return check;
  }
  let total = 0;
  // The driver may stand still in the host: our own count keeps the file until we are back.
  fileGet(file);
  while (io.remaining > 0) {
    const wanted = Math.min(io.remaining, scratch.length);
    if (Tty.stopped.load(tty) !== 0) {
      if (total === 0) total = -EAGAIN;
      break;
    }
    const fetched = io.copyFrom(scratch, 0, wanted);
    const count = fetched <= 0 ? -EFAULT : writers[Tty.driver.get(tty)]!(tty, scratch, fetched, file);
    if (count > 0) total += count;
    if (count < fetched || count < 0) {
      if (fetched > 0) io.rewind(fetched - Math.max(count, 0));
      if (total === 0) total = count;
      break;
    }
    if (mustYield()) break;
  }
  fput(file);
  return total;
}

/** ioctl_tty(2). */
export function ttyIoctl(tty: Ref<"tty">, cmd: number, arg: number, byMaster = false): number {
  switch (cmd) {
    case TCGETS:
      return copyToUser(arg, loadTermios(tty));
    case TCSETS:
    case TCSETSW:
    case TCSETSF: {
      const check = checkForeground(tty, SIGTTOU);
      if (check < 0) return check;
      const bytes = copyFromUser(arg, TERMIOS.BYTES);
      if (bytes === null) return -EFAULT;
      const before = stopsByKey(tty);
      setTermios(tty, bytes, cmd === TCSETSF);
      if (cmd === TCSETSF) packetEvent(tty, TIOCPKT_FLUSHREAD);
      if (stopsByKey(tty) !== before) packetEvent(tty, before ? TIOCPKT_NOSTOP : TIOCPKT_DOSTOP);
      return 0;
    }
    case TCFLSH:
      if (arg !== TCIFLUSH && arg !== TCOFLUSH && arg !== TCIOFLUSH) return -EINVAL;
      if (arg !== TCOFLUSH) {
        flushInput(tty);
        packetEvent(tty, TIOCPKT_FLUSHREAD);
      }
      if (arg !== TCIFLUSH) packetEvent(tty, TIOCPKT_FLUSHWRITE);
      return 0;
    case TCXONC:
      return flow(tty, arg);
    case TCSBRK:
    case TIOCEXCL:
    case TIOCNXCL:
      return 0;
    case TIOCOUTQ:
      return putInt(arg, 0);
    case TIOCGWINSZ:
      return getWindowSize(tty, arg);
    case TIOCSWINSZ: {
      const bytes = copyFromUser(arg, WINSIZE_BYTES);
      if (bytes === null) return -EFAULT;
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const at = (index: number) => view.getUint16(index * 2, true);
      setWindowSize(tty, at(0), at(1), at(2), at(3));
      return 0;
    }
    default:
      return sessionIoctl(tty, cmd, arg, byMaster);
  }
}

/** TCXONC, tcflow(3): stops or starts output; the characters that stop and start the other side reach nobody here. */
function flow(tty: Ref<"tty">, action: number): number {
  if (action === TCOOFF) Tty.stopped.store(tty, 1);
  else if (action === TCOON) startOutput(tty);
  else if (action !== TCIOFF && action !== TCION) return -EINVAL;
  return 0;
}

function putInt(address: number, value: number): number {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return copyToUser(address, bytes);
}

function getWindowSize(tty: Ref<"tty">, arg: number): number {
  const bytes = new Uint8Array(WINSIZE_BYTES);
  const view = new DataView(bytes.buffer);
  const held = Tty.lock.lock(tty);
  view.setUint16(0, Tty.rows.get(held, tty), true);
  view.setUint16(2, Tty.columns.get(held, tty), true);
  view.setUint16(4, Tty.xpixels.get(held, tty), true);
  view.setUint16(6, Tty.ypixels.get(held, tty), true);
  Tty.lock.unlock(tty);
  return copyToUser(arg, bytes);
}

/** `byMaster`: through a pseudo-terminal's master, whose holder need not be in the terminal's session to ask. */
function sessionIoctl(tty: Ref<"tty">, cmd: number, arg: number, byMaster: boolean): number {
  const group = Task.group.get(current());
  const controls = Group.tty.load(group) === tty;
  switch (cmd) {
    case TIOCGPGRP:
      return controls || byMaster ? putInt(arg, Tty.pgrp.load(tty)) : -ENOTTY;
    case TIOCGSID:
      if (byMaster && Tty.session.load(tty) === 0) return -ENOTTY;
      return controls || byMaster ? putInt(arg, Tty.session.load(tty)) : -ENOTTY;
    case TIOCSPGRP: {
      const check = checkForeground(tty, SIGTTOU);
      if (check < 0) return check;
      const bytes = copyFromUser(arg, 4);
      if (bytes === null) return -EFAULT;
      const pgrp = new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true);
      if (pgrp < 0) return -EINVAL;
      if (!controls || Tty.session.load(tty) !== Group.session.load(group)) return -ENOTTY;
      if (!pgrpInSession(pgrp, Group.session.load(group))) return -EPERM;
      Tty.pgrp.store(tty, pgrp);
      return 0;
    }
    case TIOCSCTTY: {
      const session = Group.session.load(group);
      if (session !== Group.tgid.get(group)) return -EPERM;
      return controls || controlIfFree(group, tty) ? 0 : -EPERM;
    }
    case TIOCNOTTY:
      if (!controls) return -ENOTTY;
      Group.tty.store(group, 0);
      if (Group.session.load(group) === Group.tgid.get(group)) {
        Tty.session.store(tty, 0);
        Tty.pgrp.store(tty, 0);
      }
      return 0;
    case TIOCGPTPEER:
      return -EIO; // Of the wrong end.
    default:
      return -ENOTTY;
  }
}

/** Makes the terminal the controlling one of a session's leader, if neither has another. */
function controlIfFree(group: Ref<"group">, tty: Ref<"tty">): boolean {
  if (Group.tty.load(group) !== 0 || Tty.session.load(tty) !== 0) return false;
  takeControllingTty(group, tty);
  return true;
}

/** open(2) of a terminal by a session's leader that has none makes it the controlling one, but with O_NOCTTY or for writing only. */
export function controlOnOpen(file: Ref<"file">, tty: Ref<"tty">, flags: number): void {
  if (current() === 0 || (flags & O_NOCTTY) !== 0 || (File.mode.get(file) & FMODE_READ) === 0) return;
  const group = Task.group.get(current());
  if (Group.session.load(group) === Group.tgid.get(group)) controlIfFree(group, tty);
}

/** Makes the terminal the controlling one of a session's leader, whose group comes to the foreground. */
export function takeControllingTty(group: Ref<"group">, tty: Ref<"tty">): void {
  Group.tty.store(group, tty);
  Tty.session.store(tty, Group.session.load(group));
  Tty.pgrp.store(tty, Group.pgrp.load(group));
}

export const ttyFileOps: FileOps = {
  read,
  write,
  ioctl: (file, cmd, arg) => ttyIoctl(ttyOf(file), cmd, arg),
  poll: (file) => ttyPoll(ttyOf(file)),
  available: (file) => ttyAvailable(ttyOf(file)),
  waitQueues(file, visit) {
    visit(Tty.readWait.at(ttyOf(file)));
    visit(Tty.writeWait.at(ttyOf(file)));
  },
};

/** /dev/tty is the controlling terminal, /dev/console the machine's. */
function open(inode: Ref<"inode">, file: Ref<"file">): number {
  const controlling = Inode.rdev.get(inode) === makedev(5, 0);
  const tty = controlling ? Group.tty.load(Task.group.get(current())) : consoleTty();
  if (tty === 0) return controlling ? -ENXIO : openPlainConsole(file);
  File.priv.store(file, tty);
  return 0;
}

/** Whether the session has a process group of that number. */
function pgrpInSession(pgrp: number, session: number): boolean {
  let found = false;
  lockTaskList();
  forEachGroup((group) => {
    if (Group.pgrp.load(group) === pgrp && Group.session.load(group) === session) found = true;
  });
  unlockTaskList();
  return found;
}

registerFileOps(FOPS.TTY, { ...ttyFileOps, open });
registerCharDevice(5, 0, FOPS.TTY);
registerCharDevice(5, 1, FOPS.TTY);
