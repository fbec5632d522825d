/** `sternix run`: one machine, one program, this process's own terminal, streams, signals and exit status. */
import { openSync, writeFileSync, writeSync } from "node:fs";
import { MachineError } from "../../kernel/machine/error.ts";
import { SIGKILL, signalNumber } from "../../kernel/uapi/signal.ts";
import { leave } from "../leave.ts";
import { kernelOf, Machine } from "../machine/machine.ts";
import type { GuestProcess } from "../machine/process.ts";
import { CpuLostError, SpawnError } from "../machine/spawn-error.ts";
import { DEFAULT_ENV } from "../machine/spawn-options.ts";
import { statusLine } from "../status-line.ts";
import { Failure, STATUS, spawnFailure } from "./failure.ts";
import { formatReport, type Report } from "./report.ts";
import { resolveProgram } from "./resolve.ts";
import type { Output, RunOptions } from "./run-options.ts";

/** A second SIGQUIT so soon after the first asks what the machine does. */
const AGAIN_MS = 2000;
/** What does not happen within this time does not happen: what hangs is said, and this process leaves. */
const PATIENCE_MS = 10_000;
/** Sent to the program itself. */
const TO_PROGRAM = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const;
/** Sent to its whole process group, as a terminal does. */
const TO_GROUP = ["SIGINT", "SIGQUIT"] as const;

/** Returns the exit status; throws Failure for the user's mistakes. */
export async function runProgram(options: RunOptions): Promise<number> {
  const status = statusLine();
  const program = await resolveProgram(options.program, options.machine.root, status.show).finally(
    status.clear,
  );
  const strace = options.strace === null ? {} : { strace: openOutput("--strace", options.strace) };
  // Opened before the program runs: what it did should not be lost to a mistyped name.
  const stats = options.stats === null ? null : openOutput("--stats", options.stats);
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
    const exitStatus = await statusOf(started);
    disconnect();
    const before: Report = { ...machine.stats(), subsystems: machine.reports() };
    const impatient = setTimeout(() => giveUp(machine, "the machine does not stop"), PATIENCE_MS);
    await machine.shutdown();
    clearTimeout(impatient);
    if (stats !== null) tell({ ...before, engine: machine.stats().engine }, stats);
    return exitStatus;
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

/** A descriptor to write to: standard error, or the file. */
function openOutput(option: string, { file }: NonNullable<Output>): number {
  if (file === null) return process.stderr.fd;
  try {
    return openSync(file, "w");
  } catch (error) {
    throw new Failure(`${option}=${file}: cannot be written (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** A table for people on standard error, JSON in a file. */
function tell(report: Report, fd: number): void {
  if (fd === process.stderr.fd) process.stderr.write(formatReport(report));
  else writeFileSync(fd, `${JSON.stringify(report, null, 2)}\n`);
}

/** What hangs, on standard error; then this process ends, whatever still runs in it. */
function giveUp(machine: Machine, what: string): void {
  writeSync(process.stderr.fd, `sternix: ${what} within ${PATIENCE_MS / 1000} s\n${machine.showState()}\n`);
  leave(STATUS.FAILED);
}

/** Leads this process's signals to the guest; returns what undoes it. */
function forwardSignals(machine: Machine, { pid }: GuestProcess): () => void {
  const handlers = new Map<NodeJS.Signals, () => void>();
  let lastQuit = Number.NEGATIVE_INFINITY;
  const showAtSecond = (): void => {
    const now = performance.now();
    if (now - lastQuit < AGAIN_MS) process.stderr.write(`${machine.showState()}\n`);
    lastQuit = now;
  };
  const timers: NodeJS.Timeout[] = [];
  // A program may take its time over a signal, but it must hear of it.
  const expectHeard = (signal: string): void => {
    const check = (): void => {
      if (kernelOf(machine).signalWaits(pid)) giveUp(machine, `${signal} does not reach the program`);
    };
    timers.push(setTimeout(check, PATIENCE_MS));
  };
  for (const signal of TO_PROGRAM) handlers.set(signal, () => machine.kill(pid, signal));
  for (const signal of TO_GROUP)
    handlers.set(signal, () => machine.kill(-pid, signal) || machine.kill(pid, signal));
  for (const [signal, forward] of handlers)
    handlers.set(signal, () => {
      if (signal === "SIGQUIT") showAtSecond();
      forward();
      expectHeard(signal);
    });
  for (const [signal, handler] of handlers) process.on(signal, handler);
  return () => {
    for (const timer of timers) clearTimeout(timer);
    for (const [signal, handler] of handlers) process.off(signal, handler);
  };
}
