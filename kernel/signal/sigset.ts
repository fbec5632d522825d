/** Signal sets as two words: signal n is bit n-1. */
import {
  SIGCHLD,
  SIGCONT,
  SIGHUP,
  SIGINT,
  SIGKILL,
  SIGQUIT,
  SIGSTOP,
  SIGTERM,
  SIGTSTP,
  SIGTTIN,
  SIGTTOU,
  SIGURG,
  SIGWINCH,
} from "../uapi/signal.ts";

/** Bit of a signal within its word. */
export const sigBit = (signo: number): number => 1 << ((signo - 1) & 31);
/** Index of the word that holds a signal. */
export const sigWord = (signo: number): number => (signo - 1) >> 5;

const set = (...signals: number[]): number => signals.reduce((bits, signo) => bits | sigBit(signo), 0);

/** SIGKILL and SIGSTOP can be neither blocked, caught nor ignored: both are in word 0. */
export const UNBLOCKABLE = set(SIGKILL, SIGSTOP);
/** Default action: nothing. */
export const DEFAULT_IGNORED = set(SIGCHLD, SIGCONT, SIGURG, SIGWINCH);
/** Default action: stop. */
export const STOPPING = set(SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU);
/** By these somebody asks a process to end, and asks again if it does not. */
export const INSISTENT = set(SIGHUP, SIGINT, SIGQUIT, SIGTERM);
/** Faults of the program itself: delivered before other signals. SIGILL SIGTRAP SIGBUS SIGFPE SIGSEGV SIGSYS. */
export const SYNCHRONOUS = set(4, 5, 7, 8, 11, 31);

export const inSet = (lo: number, hi: number, signo: number): boolean =>
  ((signo <= 32 ? lo : hi) & sigBit(signo)) !== 0;

/** Smallest signal in the set, synchronous ones first; 0 when it is empty. */
export function firstSignal(lo: number, hi: number): number {
  const urgent = lo & SYNCHRONOUS;
  if (urgent !== 0) return lowest(urgent);
  if (lo !== 0) return lowest(lo);
  return hi === 0 ? 0 : 32 + lowest(hi);
}

const lowest = (bits: number): number => 32 - Math.clz32(bits & -bits);
