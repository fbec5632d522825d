/**
 * A machine, seen from the host: boots the kernel and its CPUs, starts programs, tells what happens, prints the kernel log, and
 * takes everything down again.
 */
import {
  atomicLoad,
  drainReleases,
  drainSomeReleases,
  type Heap,
  liveObjects,
  type Ref,
  rcuIdleEnter,
  rcuQuiescent,
  rcuRunCallbacks,
  rcuStats,
  releasesPending,
  setErrorHandler,
} from "../../rcu/index.ts";
import { declaredStructs } from "../../rcu/kernel.ts";
import { bindDescriptors, closeDescriptors, closeGivenBack } from "../fs/hostfs/opener.ts";
import { bindGlobals } from "../global.ts";
import { drainKlog } from "../klog.ts";
import { bindRam, ram } from "../mm/ram.ts";
import { kickCpu, nrCpus } from "../sched/cpus.ts";
import { DEFAULT_LIMIT_MS, type SubsystemUse, subsystemsInit } from "../subsystem/boot.ts";
import { closeSubsystems, subsystemReports } from "../subsystem/close.ts";
import { bindSubsystems } from "../subsystem/guard.ts";
import { nrTasks } from "../task/pid.ts";
import { bootKernel, type Kernel, type KernelOptions, MachineError } from "./boot.ts";
import { CpuThreads } from "./cpu-threads.ts";
import { CpuWorkers, type CpuWorkersOptions } from "./cpu-workers.ts";
import { PanicError } from "./error.ts";
import { HostEntry } from "./host-entry.ts";
import { killEverybody, sendFromHost } from "./host-signal.ts";
import { type MachineStats, machineStats } from "./machine-stats.ts";
import { type Process, Processes } from "./processes.ts";
import { reportRcuStalls } from "./rcu-stall.ts";
import { type CallName, showState, signalWaits } from "./show-state.ts";
import type { SpawnRequest } from "./spawn.ts";
import { bootGo, HOST_EVENT, hostEvent, stopMachine } from "./state.ts";
import { allIdle, Tick } from "./tick.ts";

export interface MachineOptions extends KernelOptions, CpuWorkersOptions {
  /**
   * Loads `subsystemModules` on this thread, in the same order. Called when every CPU has loaded them: a module that does
   * not come back has been found by then, on a thread that can be ended.
   */
  readonly loadSubsystems?: () => Promise<readonly SubsystemUse[]>;
  /** Called on every tick and event: the place to feed input. */
  readonly onEvent?: () => void;
  /** How long the host's thread waits for a lock until the machine ends itself, in milliseconds. Default: 10 000. */
  readonly lockPatience?: number;
  /** Called when the machine ends and no task runs any more: the time to give back what the host holds of the machine. */
  readonly beforeClose?: () => void;
}

/** How long processes may take to die at shutdown. */
const KILL_MS = 5000;
/** Releases that the host runs in one turn of its event loop when no CPU is left to do it. */
const LAST_RELEASES = 4096;

export class Machine {
  readonly #options: MachineOptions;
  readonly #kernel: Kernel;
  readonly #cpus: CpuWorkers;
  readonly #processes = new Processes();
  readonly #entry: HostEntry;
  readonly #tick: Tick;
  readonly #end = Promise.withResolvers<PanicError | null>();
  #panicked: Promise<void> | null = null;
  #stopping = false;
  #closed = false;

  private constructor(options: MachineOptions, kernel: Kernel, threads: CpuThreads) {
    this.#options = options;
    this.#kernel = kernel;
    this.#entry = new HostEntry(
      () => this.#bind(),
      (why) => this.#panic(why),
      options.lockPatience,
    );
    this.#tick = new Tick(this.#entry, () => this.#onTick());
    const said = { ...options, log: (line: string) => this.#say(line) };
    this.#cpus = new CpuWorkers(said, kernel, threads, this.#entry, (why) => this.#panic(why));
    setErrorHandler((error, where) => this.#entry.failed(error, where));
  }

  /** Boots a machine. Throws MachineError for options that cannot be had, SubsystemError for a subsystem. */
  static async boot(options: MachineOptions): Promise<Machine> {
    let threads: CpuThreads | null = options.threads ?? null;
    let kernel: Kernel;
    try {
      kernel = bootKernel(options, () => {
        threads ??= new CpuThreads(options.worker, options.cpus);
      });
    } catch (error) {
      await threads?.destroy();
      throw error;
    }
    const machine = new Machine(options, kernel, threads!);
    reportRcuStalls();
    rcuIdleEnter();
    try {
      machine.#cpus.start();
      await machine.#plugIn();
      await machine.#cpus.up();
    } catch (error) {
      machine.#stopping = true;
      await machine.#cpus.destroy();
      machine.#close();
      throw error;
    }
    machine.#bind();
    machine.#tick.start();
    void machine.#watchEvents();
    return machine;
  }

  /** Makes the tables of the subsystems, which the CPUs then open. */
  async #plugIn(): Promise<void> {
    const { subsystemModules = [], loadSubsystems, subsystemTimeout = DEFAULT_LIMIT_MS } = this.#options;
    if (subsystemModules.length === 0 || loadSubsystems === undefined) return;
    try {
      await this.#cpus.loaded();
    } catch (error) {
      // An exception crosses threads without its class, and this thread most likely gets the same one.
      if (error instanceof MachineError && error.name === "MachineError") await loadSubsystems();
      throw error;
    }
    const uses = await loadSubsystems();
    this.run(() => {
      this.#kernel.subsystems = subsystemsInit(uses, subsystemTimeout);
    });
    bootGo(this.#kernel.words);
  }

  get heap(): Heap {
    return this.#kernel.heap;
  }

  /** Starts a program. Its `error` tells when it could not be loaded. Throws MachineError when there is no room for it. */
  spawn(request: SpawnRequest): Process {
    if (this.#stopping && this.#panicked === null) throw new MachineError("the machine is shutting down");
    const started = this.run(() => this.#processes.start(request));
    this.#tick.start();
    return started;
  }

  /** Sends a signal: pid > 0 a process, < -1 a process group. False when there is none. */
  kill(pid: number, signo: number): boolean {
    return this.attempt("kill", () => sendFromHost(pid, signo), false);
  }

  /**
   * Runs `work` on this thread as part of the machine: heap and RAM bound, read scopes allowed. Synchronous. An exception of the
   * kernel is reported and becomes an OopsError; PanicError when the machine has ended itself.
   */
  run<T>(work: () => T): T {
    return this.#entry.run(work);
  }

  /** The same for what nobody waits for: an exception is reported as one of `where`, and the result is `fallback`. */
  attempt<T, F>(where: string, work: () => T, fallback: F): T | F {
    return this.#entry.attempt(where, work, fallback);
  }

  /** Settled when the machine has ended: null, or why it could not go on. Never rejects. */
  get ended(): Promise<PanicError | null> {
    return this.#end.promise;
  }

  stats(): MachineStats {
    return this.run(() => machineStats(this.#cpus.crashes));
  }

  /** What every CPU and every task does now, in lines: for a machine that seems to hang. Takes no lock, waits for no CPU. `nameOf` names calls. */
  showState(nameOf: CallName = (nr) => `call ${nr}`): string {
    return this.#entry.look(() => showState(nameOf));
  }

  /** Whether a signal that was sent to the process has not reached it: its CPU does not come back to the kernel. */
  signalWaits(pid: number): boolean {
    return this.#entry.look(() => signalWaits(pid));
  }

  /** Live objects of every struct type, by name: equal before and after what does not leak. */
  liveObjects(): Record<string, number> {
    return this.run(() => {
      const counts: Record<string, number> = {};
      for (const [name, type] of [...declaredStructs].sort(([a], [b]) => (a < b ? -1 : 1)))
        counts[name] = liveObjects(type);
      return counts;
    });
  }

  /** What the machine's subsystems have to report, by their names. */
  reports(): Record<string, string> {
    return this.run(() => subsystemReports(this.#kernel.subsystems));
  }

  /** Waits until all callbacks and delayed releases that are queued now have run, and CPUs are idle. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; ) {
      this.run(() => {
        kickAll();
        drainReleases(0);
        rcuQuiescent();
        rcuRunCallbacks();
      });
      await new Promise((resolve) => setTimeout(resolve, 2));
      const settled = this.run(() => rcuStats().callbacksPending === 0 && allIdle());
      quiet = settled ? quiet + 1 : 0;
    }
  }

  /**
   * Kills what still runs, stops the CPUs and ends the workers. Resolves with what the engines counted. A step that fails is reported,
   * and the next one comes all the same.
   */
  async shutdown(): Promise<Record<string, number>> {
    if (this.#panicked !== null) {
      await this.#end.promise;
      return {};
    }
    if (!this.#stopping) {
      this.attempt("killing all processes", killEverybody, undefined);
      const deadline = Date.now() + KILL_MS;
      while (this.attempt("counting tasks", nrTasks, 0) > 1 && Date.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 1));
      this.#onEvent();
    }
    this.#stopping = true;
    this.#bind();
    stopMachine();
    this.attempt("stopping the CPUs", kickAll, undefined);
    const reports = await this.#cpus.stop();
    // A group leaves the task count before its spawner is told: now that the CPUs are done, all are.
    this.attempt("reaping processes", () => this.#processes.reap(), undefined);
    this.attempt("abandoning processes", () => this.#processes.abandon(), undefined);
    this.#tick.end();
    await this.#cpus.destroy();
    if (this.#panicked !== null) {
      await this.#end.promise; // A step was one too many.
      return {};
    }
    this.#options.beforeClose?.();
    await this.#releaseRest();
    this.#close();
    this.#end.resolve(null);
    const engine: Record<string, number> = {};
    for (const report of reports)
      for (const [name, count] of Object.entries(report?.engine ?? {}))
        engine[name] = (engine[name] ?? 0) + count;
    return engine;
  }

  /** No CPU runs any more: what they had to release is this thread's to release, in turns of its event loop. */
  async #releaseRest(): Promise<void> {
    const some = () => {
      drainSomeReleases(0, LAST_RELEASES, LAST_RELEASES);
      return releasesPending();
    };
    while (this.attempt("releases", some, false)) await new Promise((resolve) => setImmediate(resolve));
  }

  /** No CPU runs any more. */
  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.attempt("closing subsystems", () => closeSubsystems(this.#kernel.subsystems), undefined);
    this.#drainLog();
    this.#bind();
    closeDescriptors();
  }

  /**
   * The machine cannot go on, and ends itself: its CPUs are ended, its processes reject with a PanicError. Nothing enters the
   * kernel any more, whose locks may be held for ever. Called from within the kernel: all of that comes later.
   */
  #panic(why: string): void {
    if (this.#panicked !== null) return;
    const error = new PanicError(`the machine has ended itself: ${why}`);
    this.#stopping = true;
    this.#entry.end(error);
    this.#say(`Kernel panic: ${why}`);
    this.#panicked = Promise.resolve().then(() => this.#endAfterPanic(error));
  }

  async #endAfterPanic(error: PanicError): Promise<void> {
    this.#tick.end();
    this.#processes.fail(error);
    await this.#cpus.destroy();
    this.#options.beforeClose?.();
    this.#close();
    this.#end.resolve(error);
  }

  #bind(): void {
    this.#kernel.heap.use();
    bindGlobals(this.#kernel.globals as Ref<"array">);
    if (ram.memory !== this.#kernel.memory) bindRam(this.#kernel.memory);
    bindSubsystems(this.#kernel.subsystems);
    bindDescriptors(this.#kernel.descriptors);
  }

  /** Sleeps on the machine's event word; every event may mean an ended process or a line in the log. */
  async #watchEvents(): Promise<void> {
    while (!this.#stopping) {
      const { words } = this.#kernel;
      const seen = atomicLoad(words, HOST_EVENT);
      this.#onEvent();
      await hostEvent(words, seen, 1000);
    }
  }

  #onEvent(): void {
    this.#drainLog();
    this.attempt("reaping processes", () => this.#processes.reap(), undefined);
    this.attempt("closing host files", closeGivenBack, undefined);
    if (!this.#stopping) {
      this.#bind();
      this.#tick.startIfNeeded();
    }
    this.#tellEvent();
  }

  #onTick(): void {
    this.attempt("watchdog", () => this.#cpus.look(), undefined);
    this.#tellEvent();
    this.#bind();
  }

  #tellEvent(): void {
    try {
      this.#options.onEvent?.();
    } catch (error) {
      this.#bind();
      this.#entry.failed(error, "what the host does at an event");
    }
  }

  #drainLog(): void {
    for (const line of this.attempt("draining the log", drainKlog, [])) this.#say(line.text);
  }

  /** The log's reader is the embedder's, and so is what it throws. */
  #say(line: string): void {
    try {
      this.#options.log?.(line);
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : String(error), "SternixLog");
    }
  }
}

/** Lets CPUs pass a safe point now, idle ones too. */
function kickAll(): void {
  for (let number = 0; number < nrCpus(); number++) kickCpu(number);
}
