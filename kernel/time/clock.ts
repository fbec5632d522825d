/**
 * Clocks. Monotonic time is the host's CLOCK_MONOTONIC, the same on every CPU (performance.now() has an origin per
 * worker); real time is monotonic time plus an offset that the machine fixes at boot.
 */
import { type Ref, struct, tryAlloc, wide } from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";

/** Times and spans end here, as in Linux (KTIME_MAX): 292 years. */
export const KTIME_MAX = 2 ** 63;
export const NSEC_PER_SEC = 1_000_000_000;
export const NSEC_PER_MSEC = 1_000_000;
export const NSEC_PER_USEC = 1_000;

/** The machine's clock: written at boot, and by clock_settime. */
const Clock = struct("clock", {
  /** Real time minus monotonic time: seconds, and nanoseconds from 0 to 999 999 999. */
  realSeconds: wide(),
  realNanoseconds: wide(),
  /** Monotonic time of boot, in nanoseconds. */
  boot: wide(),
});
const clock = kernelGlobal<Ref<"clock">>("clock");

/** Fixes the machine's real time and boot time. Throws when the heap is full. */
export function clockInit(): void {
  const ref = tryAlloc(Clock);
  if (ref === 0) throw new Error("no memory for the clock");
  const now = nowNs();
  // Milliseconds since 1970 with a fraction; as nanoseconds in one double it would lose 256 ns.
  const wall = performance.timeOrigin + performance.now();
  const seconds = Math.floor(wall / 1000);
  const nanoseconds = Math.round((wall - seconds * 1000) * NSEC_PER_MSEC);
  setOffset(ref, seconds, nanoseconds, now);
  Clock.boot.set(ref, now);
  clock.init(ref);
}

function setOffset(ref: Ref<"clock">, seconds: number, nanoseconds: number, now: number): void {
  const total = nanoseconds - (now % NSEC_PER_SEC);
  const borrow = Math.floor(total / NSEC_PER_SEC);
  Clock.realSeconds.set(ref, seconds - Math.floor(now / NSEC_PER_SEC) + borrow);
  Clock.realNanoseconds.set(ref, total - borrow * NSEC_PER_SEC);
}

/** clock_settime(CLOCK_REALTIME): moves the machine's real time, never the host's. */
export function setRealtime(seconds: number, nanoseconds: number): void {
  setOffset(clock.get(), seconds, nanoseconds, nowNs());
}

/** CLOCK_MONOTONIC in nanoseconds: exact, below 2^53 for a hundred days of host uptime, the same on all CPUs. */
export function nowNs(): number {
  const time = process.hrtime();
  return time[0] * NSEC_PER_SEC + time[1];
}

/** Results of `monotonic()`. */
export let monotonicSeconds = 0;
export let monotonicNanoseconds = 0;

/** Reads CLOCK_MONOTONIC into `monotonicSeconds` and `monotonicNanoseconds`. */
export function monotonic(): void {
  const time = process.hrtime();
  monotonicSeconds = time[0];
  monotonicNanoseconds = time[1];
}

/** Monotonic nanoseconds when the machine booted. */
export const bootNs = (): number => Clock.boot.get(clock.get());

/** Results of `realtime()`: seconds since 1970 and nanoseconds. */
export let realtimeSeconds = 0;
export let realtimeNanoseconds = 0;

/** Reads CLOCK_REALTIME into `realtimeSeconds` and `realtimeNanoseconds`, exact to the nanosecond. */
export function realtime(): void {
  const ref = clock.get();
  const time = process.hrtime();
  let seconds = time[0] + Clock.realSeconds.get(ref);
  let nanoseconds = time[1] + Clock.realNanoseconds.get(ref);
  if (nanoseconds >= NSEC_PER_SEC) {
    nanoseconds -= NSEC_PER_SEC;
    seconds++;
  }
  realtimeSeconds = seconds;
  realtimeNanoseconds = nanoseconds;
}

/** CLOCK_REALTIME in nanoseconds as one number: exact to 256 ns, for file times. */
export function realtimeNs(): number {
  realtime();
  return realtimeSeconds * NSEC_PER_SEC + realtimeNanoseconds;
}

/** Turns an absolute CLOCK_REALTIME time into monotonic nanoseconds. */
export function realtimeToMonotonic(seconds: number, nanoseconds: number): number {
  const ref = clock.get();
  return (
    (seconds - Clock.realSeconds.get(ref)) * NSEC_PER_SEC + (nanoseconds - Clock.realNanoseconds.get(ref))
  );
}
