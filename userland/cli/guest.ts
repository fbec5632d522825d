/**
 * Guests for host programs: boots a machine, runs programs in it one after the other, and says how they ended. What the
 * `sternix` command, the main job, the benchmark and the tests share.
 */
import {
  Console,
  consoleDrainOutput,
  consoleEof,
  consoleInput,
  consoleInputRoom,
  consoleResize,
  machineConsole,
  STREAM_CAPTURED,
  STREAM_PLAIN,
  STREAM_TTY,
} from "../../kernel/drivers/console.ts";
import "../../kernel/fs/hostfs/index.ts";
import { LOOKUP_DIRECTORY, LOOKUP_FOLLOW, pathLookup } from "../../kernel/fs/namei.ts";
import { mountHost } from "../../kernel/fs/vfs.ts";
import { MachineError } from "../../kernel/machine/boot.ts";
import { Machine } from "../../kernel/machine/machine.ts";
import type { Exit } from "../../kernel/machine/processes.ts";
import { EEXIST, ERRNO } from "../../kernel/uapi/errno.ts";
import { AT_FDCWD } from "../../kernel/uapi/fcntl.ts";
import { loadSubsystems, type SubsystemSpec, subsystemModule } from "../subsystem-modules.ts";
import { shareCompileCache, workerUrl } from "../worker-url.ts";
import { Failure, STATUS } from "./failure.ts";
import { createReport, type Report } from "./report.ts";
import type { Resolved } from "./resolve.ts";
import { defaultMemory, type MountOption } from "./run-options.ts";

export interface BootOptions {
  readonly cpus?: number;
  /** Bytes of guest memory. Default: 2 GiB, less with many CPUs. */
  readonly memory?: number | null;
  /** Host folder that is the guest's `/`; null: a fresh tmpfs. */
  readonly root?: string | null;
  readonly mounts?: readonly MountOption[];
  /** Subsystems to plug in. */
  readonly subsystems?: readonly SubsystemSpec[];
  readonly subsystemTimeout?: number | null;
  readonly debug?: boolean;
  /** Host descriptor for strace's lines. */
  readonly strace?: number | undefined;
  /** Gets each line of the kernel log. Default: standard error. */
  readonly log?: (line: string) => void;
  /**
   * Standard output and error of the guests go into their results (default), or to this process's own
   * descriptors and terminal.
   */
  readonly stdio?: "capture" | "inherit";
}

export interface GuestRun {
  readonly program: Resolved;
  /** Without the program's own name. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Guest path. */
  readonly cwd?: string;
  /** All of standard input; with "inherit": from this process. Default: empty. */
  readonly stdin?: string | Uint8Array;
  readonly capture?: true;
}

export interface GuestResult {
  /** As a shell sees it: the exit code, or 128 + n for signal n. */
  readonly status: number;
  /** errno of loading the program; 0 when it was loaded. */
  readonly error: number;
  /** Captured output, bytes as Latin-1 characters decoded from UTF-8. */
  readonly stdout: string;
  readonly stderr: string;
}

/** The environment every guest starts with; `env` adds to it. */
export const DEFAULT_ENV: Readonly<Record<string, string>> = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/",
};

/** Boots a machine for guests. Throws Failure for options that cannot be had. */
export async function bootGuest(options: BootOptions = {}): Promise<BootedGuest> {
  const booted = new BootedGuest(options);
  await booted.boot();
  return booted;
}

export class BootedGuest {
  readonly #options: BootOptions;
  /** Host programs that are mounted: host path to guest path. */
  readonly #programs = new Map<string, string>();
  readonly #started = performance.now();
  #machine!: Machine;
  #output: [Uint8Array[], Uint8Array[]] = [[], []];
  readonly #chunk = new Uint8Array(65536);
  /** Input that the console had no room for yet. */
  #input: Uint8Array[] = [];
  #inputEnded = false;
  #onRoom: (() => void) | null = null;

  constructor(options: BootOptions) {
    this.#options = options;
  }

  get machine(): Machine {
    return this.#machine;
  }

  /** Called once, by bootGuest. */
  async boot(): Promise<void> {
    const { cpus = 2, root = null, mounts = [], strace } = this.#options;
    const inherit = this.#options.stdio === "inherit";
    const stream = (tty: boolean | undefined) => (tty ? STREAM_TTY : STREAM_PLAIN);
    const { stdin, stdout, stderr } = process;
    shareCompileCache();
    try {
      const modules = (this.#options.subsystems ?? []).map(subsystemModule);
      this.#machine = await Machine.boot({
        subsystemModules: modules,
        loadSubsystems: () => loadSubsystems(modules),
        ...(this.#options.subsystemTimeout == null
          ? {}
          : { subsystemTimeout: this.#options.subsystemTimeout }),
        debug: this.#options.debug === true,
        cpus,
        memory: this.#options.memory ?? defaultMemory(cpus),
        root,
        mounts,
        worker: workerUrl,
        ...(strace === undefined ? {} : { strace }),
        console: inherit
          ? {
              stdin: stream(stdin.isTTY),
              stdout: stream(stdout.isTTY),
              stderr: stream(stderr.isTTY),
              rows: stdout.rows ?? 24,
              columns: stdout.columns ?? 80,
            }
          : { stdin: STREAM_PLAIN, stdout: STREAM_CAPTURED, stderr: STREAM_CAPTURED },
        log: this.#options.log ?? ((line) => process.stderr.write(`sternix: ${line}\n`)),
        onEvent: () => this.#onEvent(),
      });
    } catch (error) {
      if (error instanceof MachineError || error instanceof RangeError) throw new Failure(error.message);
      throw error;
    }
  }

  /** Starts a program; returns at once. */
  start(run: GuestRun): { readonly pid: number; readonly exited: Promise<GuestResult> } {
    const { program, args = [], env = {}, cwd = "/" } = run;
    const path = this.#guestPath(program, env.PATH ?? DEFAULT_ENV.PATH!);
    const name = program.kind === "host" ? program.name : program.path;
    if (this.#machine.run(() => pathLookup(AT_FDCWD, cwd, LOOKUP_FOLLOW | LOOKUP_DIRECTORY)) < 0) {
      throw new Failure(`working directory ${cwd}: there is no such folder in the guest`);
    }
    this.#output = [[], []];
    if (this.#options.stdio !== "inherit") this.#feedAll(run.stdin ?? "");
    const started = this.#machine.spawn({
      path,
      program: program.kind === "module",
      argv: [name, ...args],
      env: Object.entries({ ...DEFAULT_ENV, ...env }).map(([key, value]) => `${key}=${value}`),
      cwd,
    });
    return { pid: started.pid, exited: started.exited.then((exit) => this.#result(exit)) };
  }

  /** Where the guest finds the program; the host path of a module. */
  #guestPath(program: Resolved, searchPath: string): string {
    if (program.kind === "module") return program.path;
    if (program.kind === "host") return this.#programs.get(program.path) ?? this.#mountProgram(program);
    if (program.path.includes("/")) return program.path;
    const candidates = searchPath.split(":").map((folder) => `${folder || "."}/${program.path}`);
    const found = this.#machine.run(() => candidates.find((path) => pathLookup(AT_FDCWD, path) === 0));
    if (found === undefined) {
      throw new Failure(`${program.path}: there is no such program in the guest's PATH`, STATUS.NOT_FOUND);
    }
    return found;
  }

  /** Shows the guest this one file of the host, read-only, and nothing around it. */
  #mountProgram(program: { readonly path: string; readonly name: string }): string {
    for (let copy = 0; ; copy++) {
      const guest = copy === 0 ? `/usr/bin/${program.name}` : `/usr/bin/${copy}/${program.name}`;
      const error = this.#machine.run(() =>
        pathLookup(AT_FDCWD, guest) === 0 ? -EEXIST : mountHost(program.path, guest, false),
      );
      if (error === -EEXIST) continue;
      if (error < 0) throw loadFailure(program.path, -error);
      this.#programs.set(program.path, guest);
      return guest;
    }
  }

  /** Runs a program to its end. One at a time: they share the console. */
  run(run: GuestRun): Promise<GuestResult> {
    return this.start(run).exited;
  }

  /** Input for the console, for machines that inherit: false when it is full; `onRoom` is called once it is not. */
  input(bytes: Uint8Array, onRoom: () => void): boolean {
    this.#input.push(bytes);
    this.#feed();
    if (this.#input.length === 0) return true;
    this.#onRoom = onRoom;
    return false;
  }
  inputEnd(): void {
    this.#inputEnded = true;
    this.#feed();
  }
  resize(rows: number, columns: number): void {
    this.#machine.run(() => consoleResize(machineConsole(), rows, columns));
  }

  /** What the machine did so far, without what only its engines know. */
  report(engine: Readonly<Record<string, number>> = {}): Report {
    const elapsed = (performance.now() - this.#started) * 1e6;
    return createReport(this.#machine.stats(), engine, elapsed, this.#machine.reports());
  }

  /** Kills what runs and takes the machine down. Returns the final report. */
  async shutdown(): Promise<Report> {
    const before = this.report();
    const engine = await this.#machine.shutdown();
    return { ...before, engine };
  }

  /** A console may be read to its end by every program that runs here, so its end of file is taken back. */
  #feedAll(stdin: string | Uint8Array): void {
    this.#machine.run(() => {
      const console = machineConsole();
      const held = Console.lock.lock(console);
      Console.eof.set(held, console, 0);
      Console.lock.unlock(console);
    });
    this.#input = stdin.length === 0 ? [] : [typeof stdin === "string" ? Buffer.from(stdin) : stdin];
    this.#inputEnded = true;
    this.#feed();
  }

  #feed(): void {
    this.#machine.run(() => {
      const console = machineConsole();
      while (this.#input.length > 0 && consoleInputRoom(console) > 0) {
        const first = this.#input[0]!;
        const taken = consoleInput(console, first);
        if (taken === first.length) this.#input.shift();
        else this.#input[0] = first.subarray(taken);
        if (taken === 0) break;
      }
      if (this.#input.length === 0 && this.#inputEnded) {
        consoleEof(console);
        this.#inputEnded = false;
      }
    });
    if (this.#input.length === 0 && this.#onRoom !== null) {
      const onRoom = this.#onRoom;
      this.#onRoom = null;
      onRoom();
    }
  }

  #onEvent(): void {
    if (this.#machine === undefined) return;
    if (this.#options.stdio !== "inherit") this.#drain();
    if (this.#input.length > 0) this.#feed();
  }

  #drain(): void {
    this.#machine.run(() => {
      for (const stream of [1, 2]) {
        for (;;) {
          const count = consoleDrainOutput(machineConsole(), stream, this.#chunk);
          if (count <= 0) break;
          this.#output[stream - 1]!.push(this.#chunk.slice(0, count));
        }
      }
    });
  }

  #result(exit: Exit): GuestResult {
    if (this.#options.stdio !== "inherit") this.#drain();
    const [stdout, stderr] = this.#output.map((parts) => Buffer.concat(parts).toString("utf8")) as [
      string,
      string,
    ];
    return { status: exit.code ?? STATUS.SIGNALED + exit.signal!, error: exit.error, stdout, stderr };
  }
}

/** One sentence for an errno of loading a program. */
export function loadFailure(program: string, errno: number): Failure {
  const known = ERRNO.get(errno);
  const reasons: Readonly<Record<string, string>> = {
    ENOENT:
      "there is no such program in the guest, or its interpreter is missing (mount the folders that hold it)",
    ENOEXEC: "is not a riscv64 Linux program",
    EACCES: "is not executable",
    ENOMEM: "does not fit into the guest's memory (--memory)",
    ENOTDIR: "part of its path is not a folder",
    ELOOP: "its path has too many symbolic links",
    E2BIG: "its arguments and environment are too long",
    ELIBBAD: "its interpreter is not a riscv64 program",
  };
  const reason = reasons[known?.name ?? ""] ?? known?.text ?? `errno ${errno}`;
  return new Failure(
    `${program}: ${reason}`,
    known?.name === "ENOENT" ? STATUS.NOT_FOUND : STATUS.NOT_EXECUTABLE,
  );
}

/** Boots a machine, runs one program in it with captured output, and takes it down. */
export async function runGuest(
  options: BootOptions & GuestRun,
): Promise<GuestResult & { report: Report; bootMs: number; elapsedMs: number }> {
  const start = performance.now();
  const booted = await bootGuest(options);
  const bootMs = performance.now() - start;
  const result = await booted.run(options);
  const elapsedMs = performance.now() - start - bootMs;
  return { ...result, report: await booted.shutdown(), bootMs, elapsedMs };
}
