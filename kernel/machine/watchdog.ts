/**
 * Watches, from the host's tick, for callbacks of subsystems that do not return: a CPU in one answers nobody. It is reported
 * after a quarter of the limit; at the limit its subsystem is switched off and the CPU restarted.
 */

import { klog } from "../klog.ts";
import { Cpu, cpuOf, nrCpus } from "../sched/cpus.ts";
import { fault } from "../subsystem/fault.ts";
import { type Instance, type Place, placeByCode } from "../subsystem/place.ts";
import { commText } from "../task/exec.ts";
import { Task } from "../task/task.ts";
import { notifyHost } from "./state.ts";

interface Seen {
  entries: number;
  since: number;
  warned: boolean;
}

export class Watchdog {
  readonly #instances: readonly Instance[];
  readonly #limitMs: number;
  readonly #restart: (cpu: number, why: string) => void;
  readonly #seen: Seen[] = [];

  /** `restart` ends the worker of a CPU; `why` says what the subsystem did. */
  constructor(instances: readonly Instance[], limitMs: number, restart: (cpu: number, why: string) => void) {
    this.#instances = instances;
    this.#limitMs = limitMs;
    this.#restart = restart;
  }

  /** On the host, the machine bound: often. */
  look(): void {
    if (this.#instances.length === 0) return;
    const now = performance.now();
    for (let number = 0; number < nrCpus(); number++) this.#lookAt(number, now);
  }

  #lookAt(number: number, now: number): void {
    const cpu = cpuOf(number);
    const code = Cpu.inside.get(cpu);
    const entries = Cpu.entries.get(cpu);
    this.#seen[number] ??= { entries: -1, since: now, warned: false };
    const seen = this.#seen[number]!;
    if (code === 0 || entries !== seen.entries) {
      seen.entries = code === 0 ? -1 : entries;
      seen.since = now;
      seen.warned = false;
      return;
    }
    const ms = now - seen.since;
    const place = placeByCode(this.#instances, code);
    if (place === null || ms < this.#limitMs / 4) return;
    if (!seen.warned) {
      seen.warned = true;
      klog(`subsystem ${place.instance.subsystem.name}: ${place.where}${whose(number)} ${since(ms)}`);
      notifyHost();
    }
    if (ms < this.#limitMs) return;
    seen.entries = -1;
    report(number, place, `${since(ms)} and does not return: its CPU is restarted`);
    Cpu.inside.set(cpu, 0);
    this.#restart(number, `subsystem ${place.instance.subsystem.name}: ${place.where} does not return`);
  }

  /** A CPU died: if that was in a subsystem, it is to blame. */
  died(number: number, reason: string): void {
    const place = placeByCode(this.#instances, Cpu.inside.get(cpuOf(number)));
    if (place !== null) report(number, place, `took its CPU down: ${reason}`);
    Cpu.inside.set(cpuOf(number), 0);
  }
}

const since = (ms: number): string => `runs since ${(ms / 1000).toFixed(1)} s`;

const report = (number: number, place: Place, what: string): void => fault(place, what, true, whose(number));

function whose(number: number): string {
  const task = Cpu.curr.load(cpuOf(number));
  const pid = task === 0 ? "" : ` in pid ${Task.pid.get(task)} (${commText(task)})`;
  return `${pid} on CPU ${number}`;
}
