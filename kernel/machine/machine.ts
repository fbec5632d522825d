/**
 * A machine, seen from the host: boots the kernel and its CPUs on piscina, starts programs, ticks, prints the kernel log,
 * replaces CPUs that die, and takes everything down again.
 */

import { isMainThread } from "node:worker_threads";
import { Piscina } from "piscina";
import {
  atomicLoad,
  atomicStore,
  atomicWaitAsync,
  checkStall,
  declaredStructs,
  drainReleases,
  type Heap,
  liveObjects,
  type Ref,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuRunCallbacks,
  rcuStats,
  stringText,
} from "../../rcu/index.ts";
import { bindDescriptors, closeDescriptors, closeGivenBack } from "../fs/hostfs/opener.ts";
import { bindGlobals } from "../global.ts";
import { drainKlog } from "../klog.ts";
import { bindRam, ram } from "../mm/ram.ts";
import { CPU_IDLE, CPU_ONLINE, Cpu, cpuOf, kickCpu, nrCpus, setNeedResched, wakeCpu } from "../sched/cpus.ts";
import { DEFAULT_LIMIT_MS } from "../subsystem/boot.ts";
import { closeSubsystems, subsystemReports } from "../subsystem/close.ts";
import { bindSubsystems } from "../subsystem/guard.ts";
import { nrTasks } from "../task/pid.ts";
import { nowNs } from "../time/clock.ts";
import { nextTimer } from "../time/timer.ts";
import { errnoText } from "../uapi/errno.ts";
import { SIGKILL } from "../uapi/signal.ts";
import { bootKernel, type Kernel, type KernelOptions, MachineError } from "./boot.ts";
import type { CpuBoot, CpuReport, SubsystemModule } from "./cpu-main.ts";
import { buryCpu } from "./crash.ts";
import { killEverybody, sendFromHost } from "./host-signal.ts";
import { type MachineStats, machineStats } from "./machine-stats.ts";
import { reportRcuStalls } from "./rcu-stall.ts";
import { freeRequest, SPAWN_EXITED, Spawn, type SpawnRequest, startProcess } from "./spawn.ts";
import { CPUS_UP, HOST_EVENT, HOST_TICK_STOPPED, stopMachine } from "./state.ts";
import { Watchdog } from "./watchdog.ts";

export interface MachineOptions extends KernelOptions {
  /** The worker entry: a module whose default export takes a CpuBoot. */
  readonly worker: URL;
  /** Where CPUs find `subsystems`, in the same order. */
  readonly subsystemModules?: readonly SubsystemModule[];
  /** Host descriptor for strace lines; absent: no tracing. */
  readonly strace?: number;
  /** Gets each line of the kernel log. */
  readonly log?: (line: string) => void;
  /** Called on every tick and event: the place to drain captured output or feed input. */
  readonly onEvent?: () => void;
}

/** How a process ended. */
export interface Exit {
  /** Exit code; undefined when a signal killed it. */
  readonly code?: number;
  readonly signal?: number;
  readonly coreDumped: boolean;
  /** errno of loading the program, 0 when it was loaded. */
  readonly error: number;
  /** What more there is to say about it; usually empty. */
  readonly reason: string;
  /** The CPU that died while it ran the process: the end is not the program's doing. */
  readonly lostCpu?: number;
  /** As wait4(2) reports it. */
  readonly status: number;
}

export interface Process {
  readonly pid: number;
  readonly exited: Promise<Exit>;
}

/** Milliseconds between ticks while some CPU is busy. */
const TICK_MS = 4;
/** Ticks without a busy CPU after which the tick stops. */
const IDLE_TICKS = 8;
const BOOT_TIMEOUT_MS = 60_000;
/** What a CPU may take to leave its loop at shutdown. */
const STOP_MS = 2000;
/** A CPU that dies so often before it is up will not come up. */
const BOOT_CRASHES = 3;

export class Machine {
  readonly #options: MachineOptions;
  readonly #kernel: Kernel;
  readonly #pool: Piscina;
  readonly #reports: Promise<CpuReport | null>[] = [];
  readonly #processes = new Map<number, { spawn: Ref<"spawn">; resolve: (exit: Exit) => void }>();
  /** Ends the worker of a CPU. */
  readonly #ends: AbortController[] = [];
  readonly #watchdog: Watchdog;
  #tick: NodeJS.Timeout | null = null;
  #idleTicks = 0;
  #stopping = false;
  #crashes = 0;
  #closed = false;
  #firstCrash = "";
  /** Depth of `#enter`. */
  #inside = 0;

  private constructor(options: MachineOptions, kernel: Kernel) {
    this.#options = options;
    this.#kernel = kernel;
    const limit = options.subsystemTimeout ?? DEFAULT_LIMIT_MS;
    this.#watchdog = new Watchdog(kernel.subsystems, limit, (cpu, why) => {
      this.#firstCrash ||= why;
      this.#ends[cpu]?.abort();
    });
    this.#pool = new Piscina({
      filename: options.worker.href,
      minThreads: options.cpus,
      maxThreads: options.cpus,
      concurrentTasksPerWorker: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      atomics: "disabled",
      // A host file is opened on one CPU and closed on another, and outlives a CPU that is replaced.
      trackUnmanagedFds: false,
    });
  }

  /** Boots a machine. Throws MachineError, RamError or HeapError for options that cannot be had. */
  static async boot(options: MachineOptions): Promise<Machine> {
    const kernel = bootKernel(options);
    const machine = new Machine(options, kernel);
    reportRcuStalls();
    rcuIdleEnter();
    for (let cpu = 0; cpu < options.cpus; cpu++) machine.#bootCpu(cpu);
    await machine.#cpusUp();
    machine.#startTick();
    void machine.#watchEvents();
    return machine;
  }

  get heap(): Heap {
    return this.#kernel.heap;
  }

  /** Starts a program. Its `error` tells when it could not be loaded. Throws MachineError when there is no room for it. */
  spawn(request: SpawnRequest): Process {
    if (this.#stopping) throw new MachineError("the machine is shutting down");
    const started = this.#enter(() => startProcess(request));
    if (typeof started === "number")
      throw new MachineError(`cannot start ${request.path}: ${errnoText(-started)}`);
    const { promise, resolve } = Promise.withResolvers<Exit>();
    this.#processes.set(started.pid, { spawn: started.spawn, resolve });
    this.#startTick();
    return { pid: started.pid, exited: promise };
  }

  /** Sends a signal: pid > 0 a process, < -1 a process group. False when there is none. */
  kill(pid: number, signo: number): boolean {
    return this.#enter(() => sendFromHost(pid, signo));
  }

  /** Runs `work` on this thread as part of the machine: heap and RAM bound, read scopes allowed. Synchronous. */
  run<T>(work: () => T): T {
    return this.#enter(work);
  }

  stats(): MachineStats {
    return this.#enter(() => machineStats(this.#crashes));
  }

  /** Live objects of every struct type, by name: equal before and after what does not leak. */
  liveObjects(): Record<string, number> {
    return this.#enter(() => {
      const counts: Record<string, number> = {};
      for (const [name, type] of [...declaredStructs].sort(([a], [b]) => (a < b ? -1 : 1)))
        counts[name] = liveObjects(type);
      return counts;
    });
  }

  /** What the machine's subsystems have to report, by their names. */
  reports(): Record<string, string> {
    return this.#enter(() => subsystemReports(this.#kernel.subsystems));
  }

  /** Waits until all callbacks and delayed releases that are queued now have run, and CPUs are idle. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; ) {
      this.#enter(() => {
        for (let number = 0; number < nrCpus(); number++) kickCpu(number);
        drainReleases(0);
        rcuQuiescent();
        rcuRunCallbacks();
      });
      await new Promise((resolve) => setTimeout(resolve, 2));
      const stats = this.#enter(() => rcuStats());
      quiet = stats.callbacksPending === 0 && this.#allIdle() ? quiet + 1 : 0;
    }
  }

  /**
   * Kills what still runs, stops the CPUs and ends the workers. Resolves with what the engines counted. `beforeClose` is
   * called when no task runs any more: the time to give back what the host holds of the machine.
   */
  async shutdown(options: { beforeClose?: () => void } = {}): Promise<Record<string, number>> {
    if (!this.#stopping) {
      this.#enter(killEverybody);
      const deadline = Date.now() + 5000;
      while (this.#enter(() => nrTasks()) > 1 && Date.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 1));
      this.#onEvent();
    }
    this.#stopping = true;
    this.#enter(() => {
      stopMachine();
      for (let number = 0; number < nrCpus(); number++) kickCpu(number);
    });
    const engine: Record<string, number> = {};
    const impatient = setTimeout(() => this.#endCpus(), STOP_MS);
    const reports = await Promise.all(this.#reports);
    clearTimeout(impatient);
    for (const report of reports)
      for (const [name, count] of Object.entries(report?.engine ?? {}))
        engine[name] = (engine[name] ?? 0) + count;
    // A group leaves the task count before its spawner is told: now that the CPUs are done, all are.
    this.#enter(() => {
      this.#reapProcesses();
      this.#abandonProcesses();
    });
    if (this.#tick !== null) clearInterval(this.#tick);
    this.#tick = null;
    await this.#pool.destroy();
    options.beforeClose?.();
    this.#enter(() => {
      if (!this.#closed) closeSubsystems(this.#kernel.subsystems);
      this.#drainLog();
      // In a Worker, Node has closed what the CPUs left open (opener.ts).
      if (!this.#closed)
        closeDescriptors(isMainThread ? reports.flatMap((report) => report?.descriptors ?? []) : []);
      this.#closed = true;
    });
    return engine;
  }

  /** CPUs that do not leave their loops: a program in TypeScript that makes no call is never interrupted. */
  #endCpus(): void {
    for (let number = 0; number < nrCpus(); number++) {
      if (this.#enter(() => Cpu.state.load(cpuOf(number))) !== CPU_ONLINE) continue;
      this.#options.log?.(`CPU ${number} does not stop: its worker is ended`);
      this.#ends[number]?.abort();
    }
  }

  /** Those whose CPU had to be ended: no CPU is left on which they could exit. */
  #abandonProcesses(): void {
    for (const { spawn, resolve } of this.#processes.values()) {
      const lost = Spawn.lostCpu.load(spawn);
      resolve({
        signal: SIGKILL,
        coreDumped: false,
        error: 0,
        reason: "",
        status: SIGKILL,
        ...(lost === 0 ? {} : { lostCpu: lost - 1 }),
      });
    }
    this.#processes.clear();
  }

  #bootCpu(cpu: number): void {
    const boot: CpuBoot = {
      cpu,
      heap: this.#kernel.handle,
      memory: this.#kernel.memory,
      globals: this.#kernel.globals,
      strace: this.#options.strace ?? -1,
      subsystems: this.#options.subsystemModules ?? [],
    };
    const end = new AbortController();
    this.#ends[cpu] = end;
    this.#reports[cpu] = this.#pool.run(boot, { signal: end.signal }).catch((error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      if (!end.signal.aborted) {
        if (this.#stopping) return null;
        this.#options.log?.(`CPU ${cpu} died: ${error instanceof Error ? error.stack : message}`);
      }
      this.#crashes++;
      this.#firstCrash ||= message;
      this.#enter(() => {
        this.#watchdog.died(cpu, message);
        buryCpu(this.#kernel.heap, cpu);
        this.#drainLog();
      });
      if (this.#stopping) return null;
      this.#bootCpu(cpu);
      return this.#reports[cpu]!;
    });
  }

  async #cpusUp(): Promise<void> {
    const deadline = Date.now() + BOOT_TIMEOUT_MS;
    for (;;) {
      const up = atomicLoad(ram.i32, CPUS_UP);
      if (up >= this.#options.cpus) return;
      if (this.#crashes >= BOOT_CRASHES * this.#options.cpus) {
        this.#stopping = true;
        await this.#pool.destroy();
        throw new MachineError(`CPUs die before they are up: ${this.#firstCrash}`);
      }
      if (Date.now() > deadline) throw new MachineError(`only ${up} of ${this.#options.cpus} CPUs came up`);
      const wait = atomicWaitAsync(ram.i32, CPUS_UP, up, 100);
      if (wait.async) await wait.value;
      this.#enter(() => this.#watchdog.look());
    }
  }

  #bind(): void {
    this.#kernel.heap.use();
    bindGlobals(this.#kernel.globals as Ref<"array">);
    if (ram.memory !== this.#kernel.memory) bindRam(this.#kernel.memory);
    bindSubsystems(this.#kernel.subsystems);
    bindDescriptors(this.#kernel.descriptors);
  }

  #enter<T>(work: () => T): T {
    this.#bind();
    if (this.#inside++ === 0) rcuIdleExit();
    try {
      return work();
    } finally {
      if (--this.#inside === 0) {
        drainReleases(0);
        rcuQuiescent();
        rcuIdleEnter();
      }
    }
  }

  /** Sleeps on the machine's event word; every event may mean an ended process or a line in the log. */
  async #watchEvents(): Promise<void> {
    while (!this.#stopping) {
      this.#bind();
      const seen = atomicLoad(ram.i32, HOST_EVENT);
      this.#onEvent();
      const wait = atomicWaitAsync(ram.i32, HOST_EVENT, seen, 1000);
      if (wait.async) await wait.value;
    }
  }

  #onEvent(): void {
    this.#bind();
    this.#enter(() => {
      this.#drainLog();
      this.#reapProcesses();
      closeGivenBack();
    });
    if (atomicLoad(ram.i32, HOST_TICK_STOPPED) === 0 && this.#tick === null && !this.#stopping)
      this.#startTick();
    this.#options.onEvent?.();
  }

  #drainLog(): void {
    for (const line of drainKlog()) this.#options.log?.(line.text);
  }

  #reapProcesses(): void {
    for (const [pid, { spawn, resolve }] of this.#processes) {
      if (Spawn.state.load(spawn) !== SPAWN_EXITED) continue;
      this.#processes.delete(pid);
      const status = Spawn.status.load(spawn);
      const error = Math.abs(Spawn.error.load(spawn));
      const text = Spawn.reason.load(spawn);
      const reason = text === 0 ? "" : stringText(text);
      const lost = Spawn.lostCpu.load(spawn);
      freeRequest(spawn);
      const signal = status & 0x7f;
      const base = {
        coreDumped: (status & 0x80) !== 0,
        error,
        reason,
        status,
        ...(lost === 0 ? {} : { lostCpu: lost - 1 }),
      };
      resolve(signal === 0 ? { code: (status >> 8) & 0xff, ...base } : { signal, ...base });
    }
  }

  #startTick(): void {
    if (this.#tick !== null || this.#stopping) return;
    this.#idleTicks = 0;
    atomicStore(ram.i32, HOST_TICK_STOPPED, 0);
    this.#tick = setInterval(() => this.#onTick(), TICK_MS);
  }

  /** Asks busy CPUs to pass a safe point: preemption, due timers, grace periods. */
  #onTick(): void {
    this.#enter(() => this.#watchdog.look());
    checkStall();
    const now = nowNs();
    const due = nextTimer() <= now;
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
    this.#options.onEvent?.();
    this.#idleTicks = busy === 0 ? this.#idleTicks + 1 : 0;
    if (this.#idleTicks < IDLE_TICKS || this.#tick === null) return;
    // Say that the tick stops, then look again: a CPU that leaves idle either sees it or is seen.
    atomicStore(ram.i32, HOST_TICK_STOPPED, 1);
    if (!this.#allIdle()) {
      atomicStore(ram.i32, HOST_TICK_STOPPED, 0);
      this.#idleTicks = 0;
      return;
    }
    clearInterval(this.#tick);
    this.#tick = null;
  }

  #allIdle(): boolean {
    for (let number = 0; number < nrCpus(); number++) {
      const cpu = cpuOf(number);
      if (Cpu.idle.load(cpu) !== CPU_IDLE || Cpu.queued.load(cpu) !== 0) return false;
    }
    return true;
  }
}
