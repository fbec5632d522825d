/**
 * Terminals: their settings, termios(3), their input buffer, who they control. What typing does is n-tty.ts.
 *
 * A terminal has a driver below it: the machine's console (console.ts) or a pseudo-terminal's master (pty.ts). Drivers
 * give input to `ttyReceive` and offer a function that takes output. The input buffer is a ring of bytes with one
 * mark bit each: a mark ends a line; a marked NUL is an end of file (^D) and is not itself read.
 */
import {
  atomic,
  bytes,
  fixed,
  type Held,
  kfreeRcu,
  locked,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  words,
} from "../../rcu/index.ts";
import { destroyWaitQueue, waitqueue, wakeUp } from "../sched/waitqueue.ts";
import { sendPgrpSignal } from "../signal/send.ts";
import { POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../uapi/poll.ts";
import { SIGCONT, SIGHUP, SIGWINCH } from "../uapi/signal.ts";
import { ICANON, TERMIOS, TTY_STD_TERMIOS } from "../uapi/termios.ts";

/** Bytes of input that a terminal holds (N_TTY_BUF_SIZE): a line cannot be longer. */
export const BUFFER = 4096;

export const TTY_CONSOLE = 0;
export const TTY_PTS = 1;

export const Tty = struct("tty", {
  /** TTY_CONSOLE or TTY_PTS. */
  driver: fixed(),
  /** Number of the pseudo-terminal. */
  index: fixed(),
  /** What the driver needs: Ref<"pty">, or 0. */
  link: fixed(),

  /** Foreground process group, and session that this terminal controls; 0 none. */
  pgrp: atomic(),
  session: atomic(),
  /** The other side is gone: reads end, writes fail with EIO. */
  hungUp: atomic(),
  /** Output is stopped by ^S. */
  stopped: atomic(),
  /** TIOCPKT: the master reads packets; TIOCPKT_* events that it has not read (pty-packet.ts). */
  packet: atomic(),
  packetEvents: atomic(),

  lock: spinlock(40),
  /** struct termios as TCGETS gives it: readers may see it change. */
  termios: words(TERMIOS.BYTES / 4),
  rows: locked("lock"),
  columns: locked("lock"),
  xpixels: locked("lock"),
  ypixels: locked("lock"),
  input: bytes(BUFFER),
  marks: words(BUFFER / 32),
  /** Positions, counted on and on: oldest byte, end of what may be read, end of input. */
  head: locked("lock"),
  commit: locked("lock"),
  tail: locked("lock"),
  /** ^V was typed: the next byte is literal. */
  literal: locked("lock"),

  readWait: waitqueue(),
  writeWait: waitqueue(),
  /** Woken when input was taken: the driver may bring more. */
  roomWait: waitqueue(),
});

/** A terminal with Linux's standard settings; 0 when the heap is full. */
export function ttyCreate(driver: number, index: number, link: number): Ref<"tty"> | 0 {
  const tty = tryAlloc(Tty);
  if (tty === 0) return 0;
  Tty.driver.init(tty, driver);
  Tty.index.init(tty, index);
  Tty.link.init(tty, link);
  const { iflag, oflag, cflag, lflag, cc } = TTY_STD_TERMIOS;
  const settings = new Uint8Array(TERMIOS.BYTES);
  new Uint32Array(settings.buffer, 0, 4).set([iflag, oflag, cflag, lflag]);
  settings.set(cc, TERMIOS.CC);
  storeTermios(tty, settings);
  return tty;
}

export function ttyDestroy(tty: Ref<"tty">): void {
  destroyWaitQueue(Tty.readWait.at(tty));
  destroyWaitQueue(Tty.writeWait.at(tty));
  destroyWaitQueue(Tty.roomWait.at(tty));
  kfreeRcu(Tty, tty);
}

/** struct termios as bytes. */
export function loadTermios(tty: Ref<"tty">): Uint8Array {
  const bytes = new Uint8Array(TERMIOS.BYTES);
  const view = new Int32Array(bytes.buffer);
  for (let i = 0; i < view.length; i++) view[i] = Tty.termios.get(tty, i);
  return bytes;
}

function storeTermios(tty: Ref<"tty">, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let i = 0; i < TERMIOS.BYTES / 4; i++) Tty.termios.set(tty, i, view.getInt32(i * 4, true));
}

/** TCSETS: leaving canonical mode makes the line being typed readable. */
export function setTermios(tty: Ref<"tty">, bytes: Uint8Array, flushInput: boolean): void {
  const held = Tty.lock.lock(tty);
  storeTermios(tty, bytes);
  if (flushInput) dropInput(held, tty);
  if ((lflags(tty) & ICANON) === 0) Tty.commit.set(held, tty, Tty.tail.get(held, tty));
  Tty.lock.unlock(tty);
  wakeUp(Tty.readWait.at(tty), 1, POLLIN | POLLRDNORM);
}

export const lflags = (tty: Ref<"tty">): number => Tty.termios.get(tty, TERMIOS.LFLAG / 4);
export const oflags = (tty: Ref<"tty">): number => Tty.termios.get(tty, TERMIOS.OFLAG / 4);
export const iflags = (tty: Ref<"tty">): number => Tty.termios.get(tty, TERMIOS.IFLAG / 4);

export function controlChar(tty: Ref<"tty">, index: number): number {
  const at = TERMIOS.CC + index;
  return (Tty.termios.get(tty, at >> 2) >>> ((at & 3) * 8)) & 0xff;
}
/** Forgets all input. */
export function dropInput(held: Held<"lock">, tty: Ref<"tty">): void {
  const tail = Tty.tail.get(held, tty);
  Tty.head.set(held, tty, tail);
  Tty.commit.set(held, tty, tail);
}

/** TCFLSH. */
export function flushInput(tty: Ref<"tty">): void {
  const held = Tty.lock.lock(tty);
  dropInput(held, tty);
  Tty.lock.unlock(tty);
}

/** ^Q, or a signal key: output goes on. */
export function startOutput(tty: Ref<"tty">): void {
  Tty.stopped.store(tty, 0);
  wakeUp(Tty.writeWait.at(tty), 1, POLLOUT | POLLWRNORM);
}

/** Bytes that may be read now. */
export function ttyAvailable(tty: Ref<"tty">): number {
  const held = Tty.lock.lock(tty);
  const count = Tty.commit.get(held, tty) - Tty.head.get(held, tty);
  Tty.lock.unlock(tty);
  return count;
}

export function ttyPoll(tty: Ref<"tty">): number {
  if (Tty.hungUp.load(tty) !== 0) return POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLHUP;
  const readable = ttyAvailable(tty) !== 0 ? POLLIN | POLLRDNORM : 0;
  return readable | (Tty.stopped.load(tty) !== 0 ? 0 : POLLOUT | POLLWRNORM);
}

/** The terminal's other side is gone: readers see the end, the session's leader gets SIGHUP. */
export function ttyHangup(tty: Ref<"tty">): void {
  Tty.hungUp.store(tty, 1);
  wakeUp(Tty.readWait.at(tty));
  wakeUp(Tty.writeWait.at(tty));
  const pgrp = Tty.pgrp.load(tty);
  if (pgrp === 0) return;
  sendPgrpSignal(pgrp, SIGHUP);
  sendPgrpSignal(pgrp, SIGCONT);
}

/** TIOCSWINSZ: tells the foreground group when the size changed. */
export function setWindowSize(
  tty: Ref<"tty">,
  rows: number,
  columns: number,
  xpixels = 0,
  ypixels = 0,
): void {
  const held = Tty.lock.lock(tty);
  const changed = Tty.rows.get(held, tty) !== rows || Tty.columns.get(held, tty) !== columns;
  Tty.rows.set(held, tty, rows);
  Tty.columns.set(held, tty, columns);
  Tty.xpixels.set(held, tty, xpixels);
  Tty.ypixels.set(held, tty, ypixels);
  Tty.lock.unlock(tty);
  const pgrp = Tty.pgrp.load(tty);
  if (changed && pgrp !== 0) sendPgrpSignal(pgrp, SIGWINCH);
}

/** Device number of the terminal: 5:1 for the console, 136:n for a pseudo-terminal; as stat's tty_nr. */
export const ttyDevice = (tty: Ref<"tty">): number =>
  Tty.driver.get(tty) === TTY_CONSOLE ? (5 << 8) | 1 : (136 << 8) | Tty.index.get(tty);
