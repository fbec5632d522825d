/** The CPUs of a machine, seen from the host: booted on threads of their own (cpu-threads.ts), watched, booted again when they die, ended. */
import { atomicLoad } from "../../rcu/index.ts";
import { traceOf } from "../oops.ts";
import { CPU_ONLINE, Cpu, cpuOf } from "../sched/cpus.ts";
import { DEFAULT_LIMIT_MS, SubsystemError } from "../subsystem/boot.ts";
import { type Kernel, MachineError } from "./boot.ts";
import type { CpuBoot, CpuReport, SubsystemModule } from "./cpu-main.ts";
import type { CpuThreads } from "./cpu-threads.ts";
import { buryCpu } from "./crash.ts";
import type { HostEntry } from "./host-entry.ts";
import {
  bootStage,
  HOST_EVENT,
  hostEvent,
  STAGE_LOADED,
  STAGE_REFUSED,
  STAGE_STARTING,
  STAGE_UP,
  setBootStage,
} from "./state.ts";
import { StuckPrograms } from "./stuck-program.ts";
import { Watchdog } from "./watchdog.ts";

export interface CpuWorkersOptions {
  readonly cpus: number;
  /** The worker entry: a module whose default export takes a CpuBoot. */
  readonly worker: URL;
  /** Threads that have been started with that entry already, as many as there are CPUs; the machine ends them. */
  readonly threads?: CpuThreads;
  /** Where CPUs find the machine's subsystems. */
  readonly subsystemModules?: readonly SubsystemModule[];
  /** Milliseconds that a subsystem may take for a callback, or to load, until its CPU is ended. Default: 10 000. */
  readonly subsystemTimeout?: number;
  /** Host descriptor for strace lines; absent: no tracing. */
  readonly strace?: number;
  readonly log?: (line: string) => void;
}

/** A thread of a CPU starts within this time, however busy the computer is. */
const BOOT_TIMEOUT_MS = 60_000;
/** What a CPU may take to leave its loop at shutdown. */
const STOP_MS = 2000;
/** A CPU that dies so often before it is up will not come up. */
const BOOT_CRASHES = 3;

export class CpuWorkers {
  /** CPUs that died, whether they were booted again or not. */
  crashes = 0;
  readonly #options: CpuWorkersOptions;
  readonly #kernel: Kernel;
  readonly #entry: HostEntry;
  readonly #panic: (why: string) => void;
  readonly #modules: readonly SubsystemModule[];
  readonly #watchdog: Watchdog;
  readonly #stuckPrograms: StuckPrograms;
  readonly #threads: CpuThreads;
  readonly #reports: Promise<CpuReport | null>[] = [];
  /** Ends the worker of a CPU. */
  readonly #ends: AbortController[] = [];
  readonly #running = new Set<number>();
  #booting = true;
  #stopping = false;
  /** Why the machine cannot boot. */
  #failure: MachineError | null = null;
  #firstCrash = "";
  /** How often each CPU died in turn before it was up. */
  readonly #stillborn: number[] = [];

  /** `panic` is called when the machine has no CPU that lives. */
  constructor(
    options: CpuWorkersOptions,
    kernel: Kernel,
    threads: CpuThreads,
    entry: HostEntry,
    panic: (why: string) => void,
  ) {
    this.#options = options;
    this.#kernel = kernel;
    this.#entry = entry;
    this.#panic = panic;
    this.#modules = options.subsystemModules ?? [];
    const limit = options.subsystemTimeout ?? DEFAULT_LIMIT_MS;
    this.#watchdog = new Watchdog(kernel, this.#modules, limit, (cpu, why) => {
      if (this.#booting) this.#failure ??= why;
      else this.#options.log?.(`CPU ${cpu} is restarted: ${why.message}`);
      this.#ends[cpu]?.abort();
    });
    this.#stuckPrograms = new StuckPrograms(
      (cpu, why) => {
        this.#options.log?.(`CPU ${cpu} is restarted: ${why}`);
        this.#ends[cpu]?.abort();
      },
      () => threads.wantSpare(),
    );
    this.#threads = threads;
    threads.onError = (error) => this.#options.log?.(`a thread without a CPU ended: ${error.message}`);
  }

  start(): void {
    for (let cpu = 0; cpu < this.#options.cpus; cpu++) this.#bootCpu(cpu);
  }

  /** Resolves when every CPU has loaded the subsystems' modules. Rejects with MachineError. */
  loaded(): Promise<void> {
    return this.#reach(STAGE_LOADED);
  }

  /** Resolves when every CPU runs tasks. Rejects with MachineError. */
  async up(): Promise<void> {
    await this.#reach(STAGE_UP);
    this.#booting = false;
  }

  /** On every tick, the machine bound: ends CPUs that a subsystem, or a program that was killed, does not give back. */
  look(): void {
    this.#watchdog.look();
    this.#stuckPrograms.look();
  }

  /** Waits until every CPU has left its loop, or ends its worker: their reports, null of those that died. */
  async stop(): Promise<(CpuReport | null)[]> {
    this.#stopping = true;
    const impatient = setTimeout(() => this.#endRunning(), STOP_MS);
    const reports = await Promise.all(this.#reports);
    clearTimeout(impatient);
    return reports;
  }

  /** Ends the threads, whatever they do. */
  async destroy(): Promise<void> {
    this.#stopping = true;
    await this.#threads.destroy();
  }

  async #reach(stage: number): Promise<void> {
    const { cpus } = this.#options;
    const deadline = Date.now() + BOOT_TIMEOUT_MS;
    for (;;) {
      const seen = atomicLoad(this.#kernel.words, HOST_EVENT);
      const failure = this.#failure ?? this.#entry.ended;
      if (failure !== null) throw failure;
      let there = 0;
      for (let cpu = 0; cpu < cpus; cpu++) if (bootStage(this.#kernel.words, cpu) === stage) there++;
      if (there === cpus) return;
      if (this.crashes >= BOOT_CRASHES * cpus)
        throw new MachineError(`CPUs die before they are up: ${this.#firstCrash}`);
      if (Date.now() > deadline) throw new MachineError(`only ${there} of ${cpus} CPUs came up`);
      await hostEvent(this.#kernel.words, seen, 100);
      this.#entry.attempt("watchdog", () => this.#watchdog.look(), undefined);
    }
  }

  #bootCpu(cpu: number): void {
    const boot: CpuBoot = {
      cpu,
      heap: this.#kernel.handle,
      memory: this.#kernel.memory,
      globals: this.#kernel.globals,
      strace: this.#options.strace ?? -1,
      subsystems: this.#modules,
    };
    const end = new AbortController();
    this.#ends[cpu] = end;
    this.#running.add(cpu);
    this.#reports[cpu] = this.#threads.run<CpuReport>(cpu, boot, end.signal).then(
      (report) => {
        this.#running.delete(cpu);
        return report;
      },
      (error: unknown) => this.#died(cpu, error, end.signal.aborted),
    );
  }

  /** Buries a CPU and boots it again, unless there is no sense in it. */
  #died(cpu: number, error: unknown, ended: boolean): Promise<CpuReport | null> | null {
    this.#running.delete(cpu);
    const message = error instanceof Error ? error.message : String(error);
    const refused = this.#booting && this.#blame(cpu, message);
    if (!ended && !refused && !this.#stopping) this.#options.log?.(`CPU ${cpu} died: ${traceOf(error)}`);
    this.crashes++;
    this.#firstCrash ||= message;
    this.#entry.attempt("the watchdog of a dead CPU", () => this.#watchdog.died(cpu, message), undefined);
    // Also when the machine stops: nobody may wait for the CPU's locks or its grace periods.
    this.#entry.attempt("burying a CPU", () => buryCpu(this.#kernel.heap, cpu), undefined);
    const up = bootStage(this.#kernel.words, cpu) === STAGE_UP;
    setBootStage(this.#kernel.words, cpu, STAGE_STARTING);
    if (this.#stopping || refused) return null;
    this.#stillborn[cpu] = up ? 0 : (this.#stillborn[cpu] ?? 0) + 1;
    if (!this.#booting && this.#stillborn[cpu] >= BOOT_CRASHES) {
      this.#panic(`CPU ${cpu} dies whenever it is booted: ${message}`);
      return null;
    }
    this.#bootCpu(cpu);
    return this.#reports[cpu]!;
  }

  /** Whether a subsystem kept the CPU from booting, as it would the next one. */
  #blame(cpu: number, message: string): boolean {
    const stage = bootStage(this.#kernel.words, cpu);
    if (stage === STAGE_REFUSED) this.#failure ??= new MachineError(message);
    if (stage > 0)
      this.#failure ??= new SubsystemError(
        this.#modules[stage - 1]!.name,
        `its module ended the thread of CPU ${cpu}, which loaded it: ${message}`,
      );
    return this.#failure !== null;
  }

  /** CPUs that do not leave their loops: a program in TypeScript that makes no call is never interrupted. */
  #endRunning(): void {
    for (const cpu of this.#running) {
      const booted = this.#entry.attempt("stopping CPUs", () => Cpu.state.load(cpuOf(cpu)), 0) === CPU_ONLINE;
      this.#options.log?.(`CPU ${cpu} does not ${booted ? "stop" : "come up"}: its worker is ended`);
      this.#ends[cpu]?.abort();
    }
  }
}
