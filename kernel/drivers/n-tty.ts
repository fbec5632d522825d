/** The line discipline: canonical input and editing, echo, signal keys, output control; what a read takes. */
import type { Held, Ref } from "../../rcu/index.ts";
import { wakeUp } from "../sched/waitqueue.ts";
import { sendPgrpSignal } from "../signal/send.ts";
import { POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../uapi/poll.ts";
import { SIGINT, SIGQUIT, SIGTSTP } from "../uapi/signal.ts";
import {
  ECHO,
  ECHOCTL,
  ECHOE,
  ECHOK,
  ECHONL,
  ICANON,
  ICRNL,
  IEXTEN,
  IGNCR,
  INLCR,
  ISIG,
  ISTRIP,
  IUTF8,
  IXON,
  NOFLSH,
  VEOF,
  VEOL,
  VEOL2,
  VERASE,
  VINTR,
  VKILL,
  VLNEXT,
  VQUIT,
  VSTART,
  VSTOP,
  VSUSP,
  VWERASE,
} from "../uapi/termios.ts";
import { packetEvent, TIOCPKT_FLUSHREAD, TIOCPKT_START, TIOCPKT_STOP } from "./pty-packet.ts";
import { BUFFER, controlChar, dropInput, iflags, lflags, startOutput, Tty } from "./tty.ts";

const MASK = BUFFER - 1;

/** Whether the byte is this control character; a character set to NUL is switched off. */
const is = (tty: Ref<"tty">, byte: number, index: number): boolean =>
  byte !== 0 && byte === controlChar(tty, index);

const marked = (tty: Ref<"tty">, at: number): boolean =>
  ((Tty.marks.get(tty, (at & MASK) >> 5) >>> (at & 31)) & 1) !== 0;
function setMark(tty: Ref<"tty">, at: number, on: boolean): void {
  const word = (at & MASK) >> 5;
  const bit = 1 << (at & 31);
  const old = Tty.marks.get(tty, word);
  Tty.marks.set(tty, word, on ? old | bit : old & ~bit);
}

/** Bytes that the terminal can take now without dropping any; one place is kept for the end of a line. */
export function ttyInputRoom(tty: Ref<"tty">): number {
  const held = Tty.lock.lock(tty);
  const room = BUFFER - 1 - (Tty.tail.get(held, tty) - Tty.head.get(held, tty));
  // A full line that nobody ended: canonical mode goes on taking bytes, to see the one that ends it.
  const stuck = (lflags(tty) & ICANON) !== 0 && Tty.commit.get(held, tty) === Tty.head.get(held, tty);
  Tty.lock.unlock(tty);
  return room > 0 ? room : stuck ? BUFFER : 0;
}

const echo: number[] = [];

/**
 * Input from the driver: any thread that is attached to the heap. Answers what is to be echoed (valid until the next
 * call), which the driver sends to its output.
 */
export function ttyReceive(tty: Ref<"tty">, input: Uint8Array): readonly number[] {
  echo.length = 0;
  let signals = 0;
  const held = Tty.lock.lock(tty);
  for (let i = 0; i < input.length; i++) signals |= receiveByte(held, tty, input[i]!);
  Tty.lock.unlock(tty);
  wakeUp(Tty.readWait.at(tty), 1, POLLIN | POLLRDNORM);
  for (const signo of [SIGINT, SIGQUIT, SIGTSTP]) {
    const pgrp = Tty.pgrp.load(tty);
    if ((signals & (1 << signo)) !== 0 && pgrp !== 0) sendPgrpSignal(pgrp, signo);
  }
  return echo;
}

/** Takes one byte; the set of signals that it stands for. */
function receiveByte(held: Held<"lock">, tty: Ref<"tty">, typed: number): number {
  const iflag = iflags(tty);
  const lflag = lflags(tty);
  let byte = (iflag & ISTRIP) !== 0 ? typed & 0x7f : typed;
  if (Tty.literal.get(held, tty) !== 0) {
    Tty.literal.set(held, tty, 0);
    append(held, tty, byte, false);
    return 0;
  }
  if ((iflag & IXON) !== 0) {
    if (is(tty, byte, VSTOP)) {
      Tty.stopped.store(tty, 1);
      packetEvent(tty, TIOCPKT_STOP);
      return 0;
    }
    if (is(tty, byte, VSTART)) {
      startOutput(tty);
      packetEvent(tty, TIOCPKT_START);
      return 0;
    }
  }
  if ((lflag & ISIG) !== 0) {
    const signo = is(tty, byte, VINTR)
      ? SIGINT
      : is(tty, byte, VQUIT)
        ? SIGQUIT
        : is(tty, byte, VSUSP)
          ? SIGTSTP
          : 0;
    if (signo !== 0) {
      if ((lflag & NOFLSH) === 0) {
        dropInput(held, tty);
        packetEvent(tty, TIOCPKT_FLUSHREAD);
      }
      if (Tty.stopped.load(tty) !== 0) startOutput(tty);
      echoByte(lflag, byte);
      return 1 << signo;
    }
  }
  if (byte === 13) {
    if ((iflag & IGNCR) !== 0) return 0;
    if ((iflag & ICRNL) !== 0) byte = 10;
  } else if (byte === 10 && (iflag & INLCR) !== 0) byte = 13;
  if ((lflag & ICANON) === 0) append(held, tty, byte, true);
  else receiveCanonical(held, tty, byte, lflag);
  return 0;
}

function receiveCanonical(held: Held<"lock">, tty: Ref<"tty">, byte: number, lflag: number): void {
  if (is(tty, byte, VERASE)) {
    eraseChar(held, tty, lflag);
    return;
  }
  if (is(tty, byte, VKILL)) {
    const shown = (lflag & ECHOK) !== 0 ? lflag : lflag & ~ECHO;
    while (Tty.tail.get(held, tty) !== Tty.commit.get(held, tty)) eraseChar(held, tty, shown);
    return;
  }
  if ((lflag & IEXTEN) !== 0) {
    if (is(tty, byte, VWERASE)) {
      eraseWord(held, tty, lflag);
      return;
    }
    if (is(tty, byte, VLNEXT)) {
      Tty.literal.set(held, tty, 1);
      if ((lflag & ECHO) !== 0 && (lflag & ECHOCTL) !== 0) echo.push(0x5e, 8);
      return;
    }
  }
  const end = byte === 10 || is(tty, byte, VEOL) || is(tty, byte, VEOL2);
  const eof = is(tty, byte, VEOF);
  if (!end && !eof) {
    append(held, tty, byte, false);
    return;
  }
  const tail = Tty.tail.get(held, tty);
  // The place that append() keeps free.
  if (tail - Tty.head.get(held, tty) < BUFFER) {
    Tty.input.set(tty, tail & MASK, eof ? 0 : byte);
    setMark(tty, tail, true);
    Tty.tail.set(held, tty, tail + 1);
    Tty.commit.set(held, tty, tail + 1);
  }
  if (end && (lflag & (ECHO | ECHONL)) !== 0) echo.push(byte);
}

function append(held: Held<"lock">, tty: Ref<"tty">, byte: number, commit: boolean): void {
  const tail = Tty.tail.get(held, tty);
  if (tail - Tty.head.get(held, tty) >= BUFFER - 1) {
    echo.push(7);
    return;
  }
  Tty.input.set(tty, tail & MASK, byte);
  setMark(tty, tail, false);
  Tty.tail.set(held, tty, tail + 1);
  if (commit) Tty.commit.set(held, tty, tail + 1);
  echoByte(lflags(tty), byte);
}

const isControl = (byte: number): boolean => (byte < 32 && byte !== 9 && byte !== 10) || byte === 127;

function echoByte(lflag: number, byte: number): void {
  if ((lflag & ECHO) === 0) return;
  if (isControl(byte) && (lflag & ECHOCTL) !== 0) echo.push(0x5e, byte ^ 0x40);
  else echo.push(byte);
}

/** Removes the last character of the line being typed, all its bytes when the terminal speaks UTF-8. */
function eraseChar(held: Held<"lock">, tty: Ref<"tty">, lflag: number): void {
  const commit = Tty.commit.get(held, tty);
  let tail = Tty.tail.get(held, tty);
  if (tail === commit) return;
  let byte: number;
  do byte = Tty.input.get(tty, --tail & MASK);
  while ((iflags(tty) & IUTF8) !== 0 && (byte & 0xc0) === 0x80 && tail !== commit);
  Tty.tail.set(held, tty, tail);
  if ((lflag & ECHO) === 0) return;
  if ((lflag & ECHOE) === 0) {
    echoByte(lflag, controlChar(tty, VERASE));
    return;
  }
  const width = isControl(byte) ? ((lflag & ECHOCTL) !== 0 ? 2 : 0) : 1;
  for (let i = 0; i < width; i++) echo.push(8, 32, 8);
}

function eraseWord(held: Held<"lock">, tty: Ref<"tty">, lflag: number): void {
  let seen = false;
  while (Tty.tail.get(held, tty) !== Tty.commit.get(held, tty)) {
    const byte = Tty.input.get(tty, (Tty.tail.get(held, tty) - 1) & MASK);
    const letter =
      (byte >= 48 && byte <= 57) || ((byte | 32) >= 97 && (byte | 32) <= 122) || byte === 95 || byte > 127;
    if (letter) seen = true;
    else if (seen) return;
    eraseChar(held, tty, lflag);
  }
}

/**
 * Takes what read(2) gives: in canonical mode at most one line. The number of bytes (0 is an end of file), or -1
 * when there is nothing to read.
 */
export function ttyTake(tty: Ref<"tty">, target: Uint8Array, length: number): number {
  const held = Tty.lock.lock(tty);
  const commit = Tty.commit.get(held, tty);
  const canonical = (lflags(tty) & ICANON) !== 0;
  let head = Tty.head.get(held, tty);
  if (head === commit) {
    Tty.lock.unlock(tty);
    return Tty.hungUp.load(tty) !== 0 ? 0 : -1;
  }
  let count = 0;
  while (head !== commit) {
    const end = marked(tty, head);
    const byte = Tty.input.get(tty, head & MASK);
    if (end && byte === 0) {
      // An end of file right behind a full buffer belongs to this read: the next one would otherwise see it.
      head++;
      if (canonical) break;
      continue;
    }
    if (count === length) break;
    target[count++] = byte;
    head++;
    if (end && canonical) break;
  }
  Tty.head.set(held, tty, head);
  Tty.lock.unlock(tty);
  wakeUp(Tty.roomWait.at(tty), 1, POLLOUT | POLLWRNORM);
  return count;
}
