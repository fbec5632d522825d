/** struct timespec, timeval and itimerspec in user memory. */
import { faultIn, getUser64, putUser64 } from "../../kernel/mm/uaccess.ts";
import { KTIME_MAX, NSEC_PER_SEC, NSEC_PER_USEC } from "../../kernel/time/clock.ts";
import { EFAULT, EINVAL } from "../../kernel/uapi/errno.ts";
import { ACCESS } from "../../kernel/usermode.ts";

/** Reads a timespec into `readTimespec.seconds` and `.nanoseconds`. 0, -EFAULT, -EINVAL. */
export function readTimespec(address: number): number {
  if (faultIn(address, 16, ACCESS.READ) < 0) return -EFAULT;
  const seconds = getUser64(address);
  const nanoseconds = getUser64(address + 8);
  if (seconds < 0 || nanoseconds < 0 || nanoseconds >= NSEC_PER_SEC) return -EINVAL;
  readTimespec.seconds = seconds;
  readTimespec.nanoseconds = nanoseconds;
  return 0;
}
readTimespec.seconds = 0;
readTimespec.nanoseconds = 0;

/** Nanoseconds, at most KTIME_MAX; times beyond 104 days lose nanoseconds, not seconds. */
export const toNs = (seconds: number, nanoseconds: number): number =>
  Math.min(seconds * NSEC_PER_SEC + nanoseconds, KTIME_MAX);

/** What readTimespec read, as nanoseconds. */
export const timespecNs = (): number => toNs(readTimespec.seconds, readTimespec.nanoseconds);

/** Writes nanoseconds as a timespec. 0 or -EFAULT. */
export function writeTimespec(address: number, seconds: number, nanoseconds: number): number {
  if (faultIn(address, 16, ACCESS.WRITE) < 0) return -EFAULT;
  putUser64(address, seconds);
  putUser64(address + 8, nanoseconds);
  return 0;
}

export const writeTimespecNs = (address: number, ns: number): number =>
  writeTimespec(address, Math.floor(ns / NSEC_PER_SEC), Math.floor(ns % NSEC_PER_SEC));

/** A timeval as nanoseconds, or -errno. */
export function readTimeval(address: number): number {
  if (faultIn(address, 16, ACCESS.READ) < 0) return -EFAULT;
  const seconds = getUser64(address);
  const microseconds = getUser64(address + 8);
  if (seconds < 0 || microseconds < 0 || microseconds >= 1_000_000) return -EINVAL;
  return toNs(seconds, microseconds * NSEC_PER_USEC);
}

export function writeTimeval(address: number, ns: number): number {
  if (faultIn(address, 16, ACCESS.WRITE) < 0) return -EFAULT;
  putUser64(address, Math.floor(ns / NSEC_PER_SEC));
  putUser64(address + 8, Math.floor((ns % NSEC_PER_SEC) / NSEC_PER_USEC));
  return 0;
}
