/**
 * A machine for host programs:
 *
 *   await using machine = await Machine.boot({ mounts: [{ host: "./data", guest: "/data" }] });
 *   const ls = machine.spawn("/data/busybox", { argv: ["ls", "-l", "/data"] });
 *   for await (const bytes of ls.stdout) process.stdout.write(bytes);
 *   console.log((await ls.exited).code);
 *
 * Machines share nothing but this thread: each has its own heap, memory, CPUs and files.
 */
import { MachineError, type PanicError } from "../../kernel/machine/error.ts";
import { Machine as KernelMachine } from "../../kernel/machine/machine.ts";
import { syscallName } from "../../syscalls/table.ts";
import { loadSubsystems, subsystemModule } from "../subsystem-modules.ts";
import { shareCompileCache, workerUrl } from "../worker-url.ts";
import { takeEarlyThreads } from "./early-threads.ts";
import { OwnInput, ownConsole } from "./inherit.ts";
import { checkMachineOptions, kernelOptions, type MachineOptions } from "./machine-options.ts";
import { codedTypeError, type GuestProcess, numberOf } from "./process.ts";
import { startGuest } from "./spawn.ts";
import type { SpawnOptions } from "./spawn-options.ts";
import { createStats, type MachineStats } from "./stats.ts";

/** For this project's own tests and benchmarks: what is behind a machine. */
export let kernelOf: (machine: Machine) => KernelMachine;

export class Machine implements AsyncDisposable {
  readonly #kernel: KernelMachine;
  readonly #started: number;
  readonly #processes = new Set<GuestProcess>();
  readonly #input: OwnInput;
  #down = false;
  #engine: Readonly<Record<string, number>> = {};
  #stopped: Promise<void> | null = null;

  private constructor(kernel: KernelMachine, started: number) {
    this.#kernel = kernel;
    this.#started = started;
    this.#input = new OwnInput((work) => void kernel.attempt("standard input", work, undefined));
  }

  static {
    kernelOf = (machine) => machine.#kernel;
  }

  /** Throws MachineError for options that cannot be had, SubsystemError for a subsystem. */
  static async boot(options: MachineOptions = {}): Promise<Machine> {
    const started = performance.now();
    checkMachineOptions(options);
    const modules = (options.subsystems ?? []).map(subsystemModule);
    shareCompileCache();
    let machine: Machine | null = null;
    const checked = kernelOptions(options);
    const threads = takeEarlyThreads(checked.cpus);
    const kernel = await KernelMachine.boot({
      ...checked,
      ...(threads === null ? {} : { threads }),
      console: ownConsole(),
      worker: workerUrl,
      subsystemModules: modules,
      loadSubsystems: () => loadSubsystems(modules),
      log: options.log ?? ((line) => process.stderr.write(`sternix: ${line}\n`)),
      onEvent: () => {
        if (machine !== null) machine.#onEvent();
      },
      // Output that is still on its way is delivered; nobody writes any more, the tasks are gone.
      beforeClose: () => {
        if (machine !== null) for (const process of machine.#processes) process.finish();
      },
    });
    machine = new Machine(kernel, started);
    return machine;
  }

  /**
   * Starts a program. A string is a guest path, or a bare name that is looked up in the guest's PATH. A file: URL is a
   * program of the host: riscv64 Linux, which the guest sees read-only as /usr/bin/NAME, or a TypeScript or JavaScript
   * module whose default export is program(...).
   *
   * Throws SpawnError when there is no such program or folder, MachineError on a machine that was shut down, TypeError and
   * RangeError for options that make no sense. What turns out only in the guest makes `exited` reject with SpawnError.
   * A module that cannot be loaded, or is no program, says so on its standard error and exits with 126.
   */
  spawn(program: string | URL, options: SpawnOptions = {}): GuestProcess {
    if (this.#stopped !== null) throw new MachineError("the machine was shut down");
    const started = startGuest(this.#kernel, this.#input, program, options);
    this.#processes.add(started);
    const forget = () => void (started.streamsClosed && this.#processes.delete(started));
    started.exited.then(forget, forget);
    return started;
  }

  /**
   * Sends a signal to a process (pid > 0) or to a process group (-pid). False when there is none. Throws TypeError for a pid that is no
   * whole number ("ERR_MACHINE_ARGUMENT") and for what is no signal ("ERR_UNKNOWN_SIGNAL").
   */
  kill(pid: number, signal: number | NodeJS.Signals = "SIGTERM"): boolean {
    const number = numberOf(signal);
    if (!Number.isInteger(pid))
      throw codedTypeError("ERR_MACHINE_ARGUMENT", "kill: the pid is a whole number");
    return this.#stopped === null && this.#kernel.kill(pid, number);
  }

  /** Counters: system calls by name, CPUs, RCU. Also when the machine was shut down. */
  stats(): MachineStats {
    return createStats(this.#kernel.stats(), this.#engine, (performance.now() - this.#started) * 1e6);
  }

  /**
   * What the machine does now, in lines for people: each CPU with its task, who holds which lock, the grace period that is waited for, each
   * task with its state, the call that it waits in, and on what. Takes no lock, so it answers when CPUs hang. Empty once the machine was shut down.
   */
  showState(): string {
    return this.#down ? "" : this.#kernel.showState(syscallName);
  }

  /** What the subsystems have to report, by name. Nothing once the machine was shut down. */
  reports(): Record<string, string> {
    return this.#stopped === null ? this.#kernel.reports() : {};
  }

  /**
   * Settled when the machine has ended: null after shutdown(); or why it could not go on, when it has ended itself. Its processes have
   * rejected with that PanicError then, and whatever it is asked for throws it. Never rejects.
   */
  get closed(): Promise<PanicError | null> {
    return this.#kernel.ended;
  }

  /** Kills what still runs, ends the CPUs, which kept this process alive, closes the streams. Calling it again waits for the same end. */
  shutdown(): Promise<void> {
    this.#stopped ??= this.#shutdown();
    return this.#stopped;
  }

  async #shutdown(): Promise<void> {
    this.#engine = await this.#kernel.shutdown();
    this.#down = true;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }

  #onEvent(): void {
    this.#input.pump();
    for (const process of this.#processes) {
      process.pump();
      if (process.ended && process.streamsClosed) this.#processes.delete(process);
    }
  }
}
