/**
 * A CPU without a task sleeps on its own word, until somebody queues a task for it (wakeCpu) or the next timer is due.
 *
 * The handshake: [1] the CPU stores CPU_IDLE, [2] then looks for work once more, [3] then sleeps while the word is
 * CPU_IDLE. Whoever has work for it [a] makes that visible (queued, needResched), [b] then exchanges CPU_IDLE for
 * CPU_BUSY and notifies. If [b] precedes [1], [2] sees the work; else [b] finds CPU_IDLE, and [3] does not sleep or is woken.
 * Asleep, the CPU is idle for RCU and for TLB shootdown.
 */
import { type Ref, rcuIdleEnter, rcuIdleExit, releasesPending } from "../../rcu/index.ts";
import { contain } from "../../rcu/kernel.ts";
import { machineStopping, needTick } from "../machine/state.ts";
import { tlbLazyEnter, tlbLazyExit } from "../mm/tlb.ts";
import { NSEC_PER_MSEC, nowNs } from "../time/clock.ts";
import { nextTimer } from "../time/timer.ts";
import { CPU_BUSY, CPU_IDLE, Cpu, needResched } from "./cpus.ts";
import { safePoint } from "./safe-point.ts";

/** Looks at the word before sleeping, about 0.3 us: a futex round trip costs far more. */
const SPINS = 40;
/** An idle CPU with a timer waits at most this long at once, so that a clock that jumps does no harm. */
const LONGEST_MS = 60_000;

/** What a CPU sees to every so often; registered by modules that know what. */
const chores: (() => void)[] = [];
/** Registers what a CPU does before it sleeps, and on each tick while it is busy: one that never sleeps does it as well. */
export function onIdleAndTick(chore: () => void): void {
  chores.push(chore);
}
export function doChores(): void {
  for (const chore of chores) contain("a chore of a CPU", chore, undefined, undefined);
}

export function idle(cpu: Ref<"cpu">, number: number): void {
  doChores();
  safePoint(0);
  // More than one safe point may do: whoever has nothing else to do goes on, and looks for a task in between.
  if (releasesPending()) return;
  Cpu.idle.store(cpu, CPU_IDLE);
  if (Cpu.queued.load(cpu) === 0 && !needResched(number) && !machineStopping()) sleep(cpu);
  Cpu.idle.store(cpu, CPU_BUSY);
  // However short it was, and whether it slept or not: the host may have seen all CPUs idle and stopped its tick. It says so first
  // and looks again then, so either it sees BUSY or we see that it stopped.
  needTick();
}

/** This CPU has said that it is idle, and does not sleep yet: RCU may run callbacks there. */
export let fallingAsleep = false;

/**
 * Somebody else's code is about to run on a CPU that has said that it is idle: it is busy after all, and does not sleep this time. Else the
 * host, which sees all CPUs idle, would stop the tick that finds code which does not return.
 */
export function stayAwake(cpu: Ref<"cpu">): void {
  fallingAsleep = false;
  Cpu.idle.store(cpu, CPU_BUSY);
  needTick();
}

function sleep(cpu: Ref<"cpu">): void {
  for (let spin = 0; spin < SPINS; spin++) if (Cpu.idle.load(cpu) !== CPU_IDLE) return;
  const start = nowNs();
  const due = nextTimer();
  const ms =
    due === Number.POSITIVE_INFINITY ? undefined : Math.min(LONGEST_MS, (due - start) / NSEC_PER_MSEC);
  if (ms !== undefined && ms <= 0) return;
  tlbLazyEnter();
  fallingAsleep = true;
  rcuIdleEnter();
  fallingAsleep = false;
  Cpu.idle.wait(cpu, CPU_IDLE, ms);
  rcuIdleExit();
  tlbLazyExit();
  Cpu.idleNs.set(cpu, Cpu.idleNs.get(cpu) + nowNs() - start);
  Cpu.idleCount.set(cpu, Cpu.idleCount.get(cpu) + 1);
}
