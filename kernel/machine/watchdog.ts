/**
 * Watches, from the host's tick, for subsystems that do not come back: a CPU in one answers nobody. A callback is reported
 * after a quarter of the limit; at the limit its subsystem is switched off and the CPU's worker ended. So is that of a CPU that
 * does not come back from loading a subsystem's module.
 */

import { klog } from "../klog.ts";
import { ram } from "../mm/ram.ts";
import { Cpu, cpuOf, nrCpus } from "../sched/cpus.ts";
import { SubsystemError } from "../subsystem/boot.ts";
import { fault } from "../subsystem/fault.ts";
import { type Place, placeByCode } from "../subsystem/place.ts";
import { commText } from "../task/exec.ts";
import { Task } from "../task/task.ts";
import type { Kernel } from "./boot.ts";
import type { SubsystemModule } from "./cpu-main.ts";
import { bootStage, notifyHost } from "./state.ts";

/** A module is read and compiled, which on a busy machine takes its time: it has this long at least. */
const MIN_LOAD_MS = 8000;

interface Seen {
  entries: number;
  since: number;
  warned: boolean;
}

export class Watchdog {
  readonly #kernel: Kernel;
  readonly #modules: readonly SubsystemModule[];
  readonly #limitMs: number;
  readonly #end: (cpu: number, why: SubsystemError) => void;
  readonly #seen: Seen[] = [];

  /** `end` ends the worker of a CPU; `why` names the subsystem and what it did. */
  constructor(
    kernel: Kernel,
    modules: readonly SubsystemModule[],
    limitMs: number,
    end: (cpu: number, why: SubsystemError) => void,
  ) {
    this.#kernel = kernel;
    this.#modules = modules;
    this.#limitMs = limitMs;
    this.#end = end;
  }

  /** On the host, the machine bound: often. */
  look(): void {
    if (this.#modules.length === 0) return;
    const now = performance.now();
    for (let number = 0; number < nrCpus(); number++) {
      const stage = bootStage(ram.i32, number);
      if (stage > 0) this.#lookAtLoading(number, stage, now);
      else this.#lookAt(number, now);
    }
  }

  /** Stages are told from counts of entries by their sign. */
  #lookAtLoading(number: number, stage: number, now: number): void {
    const seen = this.#seenOf(number, now);
    if (seen.entries !== -1 - stage) {
      seen.entries = -1 - stage;
      seen.since = now;
      return;
    }
    const ms = now - seen.since;
    if (ms < Math.max(this.#limitMs, MIN_LOAD_MS)) return;
    seen.since = now;
    const { name } = this.#modules[stage - 1]!;
    const what = `its module is still loading on CPU ${number} after ${seconds(ms)}`;
    this.#end(
      number,
      new SubsystemError(name, `${what}: what loops or waits at its top level belongs into a hook`),
    );
  }

  #seenOf(number: number, now: number): Seen {
    this.#seen[number] ??= { entries: -1, since: now, warned: false };
    return this.#seen[number];
  }

  #lookAt(number: number, now: number): void {
    const cpu = cpuOf(number);
    const code = Cpu.inside.get(cpu);
    const entries = Cpu.entries.get(cpu);
    const seen = this.#seenOf(number, now);
    if (code === 0 || entries !== seen.entries) {
      seen.entries = code === 0 ? -1 : entries;
      seen.since = now;
      seen.warned = false;
      return;
    }
    const ms = now - seen.since;
    const place = placeByCode(this.#kernel.subsystems, code);
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
    this.#end(number, new SubsystemError(place.instance.subsystem.name, `${place.where} does not return`));
  }

  /** A CPU died: if that was in a subsystem, it is to blame. */
  died(number: number, reason: string): void {
    const place = placeByCode(this.#kernel.subsystems, Cpu.inside.get(cpuOf(number)));
    if (place !== null) report(number, place, `took its CPU down: ${reason}`);
    Cpu.inside.set(cpuOf(number), 0);
  }
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
const since = (ms: number): string => `runs since ${seconds(ms)}`;

const report = (number: number, place: Place, what: string): void => fault(place, what, true, whose(number));

function whose(number: number): string {
  const task = Cpu.curr.load(cpuOf(number));
  const pid = task === 0 ? "" : ` in pid ${Task.pid.get(task)} (${commText(task)})`;
  return `${pid} on CPU ${number}`;
}
