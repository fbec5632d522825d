/** `sternix run`: one machine, one program, this process's own terminal, streams, signals and exit status. */
import { openSync, writeFileSync } from "node:fs";
import { createSpinner } from "nanospinner";
import { MachineError } from "../../kernel/machine/error.ts";
import { SIGKILL, signalNumber } from "../../kernel/uapi/signal.ts";
import { Machine } from "../machine/machine.ts";
import type { GuestProcess } from "../machine/process.ts";
import { CpuLostError, SpawnError } from "../machine/spawn-error.ts";
import { DEFAULT_ENV } from "../machine/spawn-options.ts";
import { Failure, STATUS, spawnFailure } from "./failure.ts";
import { formatReport, type Report } from "./report.ts";
import { resolveProgram } from "./resolve.ts";
import type { Output, RunOptions } from "./run-options.ts";

/** Sent to the program itself. */
const TO_PROGRAM = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const;
/** Sent to its whole process group, as a terminal does. */
const TO_GROUP = ["SIGINT", "SIGQUIT"] as const;

/** Returns the exit status; throws Failure for the user's mistakes. */
export async function runProgram(options: RunOptions): Promise<number> {
  const spinner = createSpinner("", { stream: process.stderr });
  const program = await resolveProgram(options.program, options.machine.root, (text) => {
    if (process.stderr.isTTY) spinner.start(text);
  });
  if (spinner.isSpinning()) spinner.clear().stop();
  const strace = options.strace === null ? {} : { strace: openOutput("--strace", options.strace) };
  try {
    const machine = await Machine.boot({ ...options.machine, ...strace });
    const term = process.env.TERM && process.stdout.isTTY ? { TERM: process.env.TERM } : {};
    const started = machine.spawn(program, {
      args: options.args,
      env: { ...DEFAULT_ENV, ...term, ...options.env },
      cwd: options.cwd,
      stdio: "inherit",
    });
    const disconnect = forwardSignals(machine, started);
    const status = await statusOf(started);
    disconnect();
    const before: Report = { ...machine.stats(), subsystems: machine.reports() };
    await machine.shutdown();
    if (options.stats !== null) tell({ ...before, engine: machine.stats().engine }, options.stats);
    return status;
  } catch (error) {
    if (error instanceof SpawnError) throw spawnFailure(options.program, error);
    if (error instanceof MachineError) throw new Failure(error.message);
    throw error;
  }
}

/** As a shell sees it: the exit code, or 128 + n for signal n. Rejects with SpawnError. */
async function statusOf(started: GuestProcess): Promise<number> {
  try {
    const { code, signal } = await started.exited;
    return code ?? STATUS.SIGNALED + signalNumber(signal as NodeJS.Signals);
  } catch (error) {
    if (!(error instanceof CpuLostError)) throw error;
    process.stderr.write(`sternix: ${error.message}\n`);
    return STATUS.SIGNALED + SIGKILL;
  }
}

function openOutput(option: string, output: NonNullable<Output>): number {
  return output.file === null ? 2 : writing(`${option}=${output.file}`, () => openSync(output.file!, "w"));
}

function tell(report: Report, { file }: NonNullable<Output>): void {
  if (file === null) process.stderr.write(formatReport(report));
  else writing(`--stats=${file}`, () => writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`));
}

function writing<R>(what: string, work: () => R): R {
  try {
    return work();
  } catch (error) {
    throw new Failure(`${what}: cannot be written (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** Leads this process's signals to the guest; returns what undoes it. */
function forwardSignals(machine: Machine, { pid }: GuestProcess): () => void {
  const handlers = new Map<NodeJS.Signals, () => void>();
  for (const signal of TO_PROGRAM) handlers.set(signal, () => machine.kill(pid, signal));
  for (const signal of TO_GROUP)
    handlers.set(signal, () => machine.kill(-pid, signal) || machine.kill(pid, signal));
  for (const [signal, handler] of handlers) process.on(signal, handler);
  return () => {
    for (const [signal, handler] of handlers) process.off(signal, handler);
  };
}
