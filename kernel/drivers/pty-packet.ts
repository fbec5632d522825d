/**
 * Packet mode of a pseudo-terminal's master, ioctl_tty(2) TIOCPKT: each read begins with a byte, 0 before what the slave
 * printed; else the byte stands alone and says what happened to the terminal since.
 */
import type { Ref } from "../../rcu/index.ts";
import { wakeUp } from "../sched/waitqueue.ts";
import { POLLIN, POLLPRI, POLLRDNORM } from "../uapi/poll.ts";
import { IXON, VSTART, VSTOP } from "../uapi/termios.ts";
import { controlChar, iflags, Tty } from "./tty.ts";

export const TIOCPKT_DATA = 0;
export const TIOCPKT_FLUSHREAD = 1;
export const TIOCPKT_FLUSHWRITE = 2;
export const TIOCPKT_STOP = 4;
export const TIOCPKT_START = 8;
export const TIOCPKT_NOSTOP = 16;
export const TIOCPKT_DOSTOP = 32;

/** What is true no more when the other one happens. */
const OPPOSITE: Readonly<Record<number, number>> = {
  [TIOCPKT_STOP]: TIOCPKT_START,
  [TIOCPKT_START]: TIOCPKT_STOP,
  [TIOCPKT_NOSTOP]: TIOCPKT_DOSTOP,
  [TIOCPKT_DOSTOP]: TIOCPKT_NOSTOP,
};

/** Tells the master, which waits on the queue of the terminal's room. */
export function packetEvent(tty: Ref<"tty">, event: number): void {
  if (Tty.packet.load(tty) === 0) return;
  Tty.packetEvents.and(tty, ~(OPPOSITE[event] ?? 0));
  Tty.packetEvents.or(tty, event);
  wakeUp(Tty.roomWait.at(tty), 0, POLLPRI | POLLIN | POLLRDNORM);
}

/** Whether ^S and ^Q stop and start the output: a remote terminal does that itself while they do. */
export const stopsByKey = (tty: Ref<"tty">): boolean =>
  (iflags(tty) & IXON) !== 0 && controlChar(tty, VSTART) === 17 && controlChar(tty, VSTOP) === 19;
