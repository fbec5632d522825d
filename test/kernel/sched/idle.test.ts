import test from "ava";
import { HOST_TICK_STOPPED } from "../../../kernel/machine/state.ts";
import { ram } from "../../../kernel/mm/ram.ts";
import { CPU_BUSY, Cpu, clearNeedResched, cpuOf, setNeedResched } from "../../../kernel/sched/cpus.ts";
import { idle } from "../../../kernel/sched/idle.ts";
import { nowNs } from "../../../kernel/time/clock.ts";
import { newTimer, TIMER_WAKE_TASK, timerArm, timerCancel } from "../../../kernel/time/timer.ts";
import { atomicLoad, atomicStore, type Ref } from "../../../rcu/index.ts";
import { bootSolo } from "./solo.ts";

bootSolo();

/**
 * The interleaving: the CPU says that it idles; the host, which may be let run far more than the CPU, sees all CPUs idle for many
 * ticks and stops ticking; then the CPU goes on. Nobody would preempt what it runs next, nor run timers beside it.
 */
function leavesIdleWithTickStopped(): boolean {
  atomicStore(ram.i32, HOST_TICK_STOPPED, 1);
  idle(cpuOf(0), 0);
  return atomicLoad(ram.i32, HOST_TICK_STOPPED) === 0 && Cpu.idle.load(cpuOf(0)) === CPU_BUSY;
}

test.serial("a CPU that finds work before it sleeps has the host tick again", (t) => {
  setNeedResched(0);
  t.true(leavesIdleWithTickStopped());
  clearNeedResched(0);
});

test.serial("so has one whose timer is due before it sleeps, and one that slept", (t) => {
  const timer = newTimer(TIMER_WAKE_TASK, 0) as Ref<"timer">;
  timerArm(timer, nowNs() - 1);
  t.true(leavesIdleWithTickStopped());
  timerArm(timer, nowNs() + 1_000_000);
  t.true(leavesIdleWithTickStopped());
  timerCancel(timer);
});
