/** Clocks, sleeping, timers. */
import type { Syscall } from "../syscall.ts";
import * as clock from "./clock.ts";
import * as sleep from "./sleep.ts";
import * as timer from "./timer.ts";

export const calls: readonly Syscall[] = [
  clock.clockGettime,
  clock.clockGetres,
  clock.clockSettime,
  clock.gettimeofday,
  clock.settimeofday,
  clock.times,
  sleep.nanosleep,
  sleep.clockNanosleep,
  timer.getitimer,
  timer.setitimer,
  timer.timerCreate,
  timer.timerSettime,
  timer.timerGettime,
  timer.timerGetoverrun,
  timer.timerDelete,
];
