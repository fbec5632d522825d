/**
 * The tick: while some CPU is busy the host asks the CPUs every few milliseconds to pass a safe point: preemption, due
 * timers, grace periods. It stops when all are idle; a CPU that leaves idle starts it again (needTick in state.ts).
 */
import { atomicLoad, atomicStore, checkStall } from "../../rcu/index.ts";
import { ram } from "../mm/ram.ts";
import { CPU_IDLE, CPU_ONLINE, Cpu, cpuOf, nrCpus, setNeedResched, wakeCpu } from "../sched/cpus.ts";
import { nowNs } from "../time/clock.ts";
import { nextTimer } from "../time/timer.ts";
import type { HostEntry } from "./host-entry.ts";
import { HOST_TICK_STOPPED } from "./state.ts";

/** Milliseconds between ticks while some CPU is busy. */
const TICK_MS = 4;
/** Ticks without a busy CPU after which the tick stops. */
const IDLE_TICKS = 8;

export class Tick {
  readonly #entry: HostEntry;
  readonly #also: () => void;
  #timer: NodeJS.Timeout | null = null;
  #idleTicks = 0;
  #ended = false;

  /** `also` is called on every tick; it binds the machine. */
  constructor(entry: HostEntry, also: () => void) {
    this.#entry = entry;
    this.#also = also;
  }

  start(): void {
    if (this.#timer !== null || this.#ended) return;
    this.#idleTicks = 0;
    atomicStore(ram.i32, HOST_TICK_STOPPED, 0);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Starts it if a CPU asks for it. */
  startIfNeeded(): void {
    if (atomicLoad(ram.i32, HOST_TICK_STOPPED) === 0) this.start();
  }

  /** For good. */
  end(): void {
    this.#ended = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #tick(): void {
    this.#also();
    this.#entry.attempt("tick", () => this.#look(), undefined);
  }

  #look(): void {
    checkStall();
    const busy = reschedule();
    this.#idleTicks = busy === 0 ? this.#idleTicks + 1 : 0;
    if (this.#idleTicks < IDLE_TICKS || this.#timer === null) return;
    // Say that the tick stops, then look again: a CPU that leaves idle either sees it or is seen.
    atomicStore(ram.i32, HOST_TICK_STOPPED, 1);
    if (!allIdle()) {
      atomicStore(ram.i32, HOST_TICK_STOPPED, 0);
      this.#idleTicks = 0;
      return;
    }
    clearInterval(this.#timer);
    this.#timer = null;
  }
}

/** Asks busy CPUs to pass a safe point; how many there are. */
function reschedule(): number {
  const due = nextTimer() <= nowNs();
  let busy = 0;
  let waiting = false;
  for (let number = 0; number < nrCpus(); number++) {
    const cpu = cpuOf(number);
    if (Cpu.state.load(cpu) !== CPU_ONLINE) continue;
    if (Cpu.queued.load(cpu) !== 0) waiting = true;
    if (Cpu.idle.load(cpu) === CPU_IDLE) continue;
    busy++;
    setNeedResched(number);
  }
  // Somebody waits behind a busy CPU while another one sleeps: let that one steal. A late timer: as well.
  if ((waiting || due) && busy < nrCpus())
    for (let number = 0; number < nrCpus(); number++) if (wakeCpu(cpuOf(number))) break;
  return busy;
}

export function allIdle(): boolean {
  for (let number = 0; number < nrCpus(); number++) {
    const cpu = cpuOf(number);
    if (Cpu.idle.load(cpu) !== CPU_IDLE || Cpu.queued.load(cpu) !== 0) return false;
  }
  return true;
}
