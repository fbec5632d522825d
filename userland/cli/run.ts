/** `sternix run`: one machine, one program, this process's own terminal, streams, signals and exit status. */
import { openSync, writeFileSync } from "node:fs";
import { createSpinner } from "nanospinner";
import { signalNumber } from "../../kernel/uapi/signal.ts";
import { Failure } from "./failure.ts";
import { type BootedGuest, bootGuest, loadFailure } from "./guest.ts";
import { formatReport } from "./report.ts";
import { resolveProgram } from "./resolve.ts";
import type { Output, RunOptions } from "./run-options.ts";

/** Sent to the program itself. */
const TO_PROGRAM = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const;
/** Sent to its whole process group, as a terminal does. */
const TO_GROUP = ["SIGINT", "SIGQUIT"] as const;

/** Returns the exit status; throws Failure for the user's mistakes. */
export async function runProgram(options: RunOptions): Promise<number> {
  const spinner = createSpinner("", { stream: process.stderr });
  const program = await resolveProgram(options, (text) => {
    if (process.stderr.isTTY) spinner.start(text);
  });
  if (spinner.isSpinning()) spinner.clear().stop();

  const strace = options.strace === null ? undefined : openOutput("--strace", options.strace);
  const guest = await bootGuest({
    cpus: options.cpus,
    memory: options.memory,
    root: options.root,
    mounts: options.mounts,
    subsystems: options.subsystems,
    subsystemTimeout: options.subsystemTimeout,
    debug: options.debug,
    strace,
    stdio: "inherit",
  });
  const term = process.env.TERM && process.stdout.isTTY ? { TERM: process.env.TERM } : {};
  const { pid, exited } = guest.start({
    program,
    args: options.args,
    env: { ...term, ...options.env },
    cwd: options.cwd,
  });
  const disconnect = connect(guest, pid);
  const result = await exited;
  disconnect();
  const report = await guest.shutdown();
  if (options.stats !== null) {
    if (options.stats.file === null) process.stderr.write(formatReport(report));
    else writeOutput(options.stats.file, `${JSON.stringify(report, null, 2)}\n`);
  }
  if (result.error !== 0) throw loadFailure(options.program, result.error);
  return result.status;
}

function openOutput(option: string, output: NonNullable<Output>): number {
  if (output.file === null) return 2;
  try {
    return openSync(output.file, "w");
  } catch (error) {
    throw new Failure(
      `${option}=${output.file}: cannot be written (${(error as NodeJS.ErrnoException).code})`,
    );
  }
}

function writeOutput(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw new Failure(`--stats=${file}: cannot be written (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** Leads input and signals to the guest; returns what undoes it. */
function connect(guest: BootedGuest, pid: number): () => void {
  const { stdin } = process;
  const raw = stdin.isTTY === true;
  // The guest's own terminal does the echoing, editing and signalling.
  if (raw) stdin.setRawMode(true);
  stdin.on("data", (bytes: Buffer) => {
    if (!guest.input(bytes, () => stdin.resume())) stdin.pause();
  });
  stdin.on("end", () => guest.inputEnd());
  stdin.on("error", () => guest.inputEnd());

  const handlers = new Map<NodeJS.Signals, () => void>();
  const on = (signal: NodeJS.Signals, handler: () => void) => {
    handlers.set(signal, handler);
    process.on(signal, handler);
  };
  for (const signal of TO_PROGRAM) on(signal, () => guest.machine.kill(pid, signalNumber(signal)));
  for (const signal of TO_GROUP) {
    on(
      signal,
      () => guest.machine.kill(-pid, signalNumber(signal)) || guest.machine.kill(pid, signalNumber(signal)),
    );
  }
  on("SIGWINCH", () => guest.resize(process.stdout.rows ?? 24, process.stdout.columns ?? 80));

  return () => {
    if (raw) stdin.setRawMode(false);
    stdin.removeAllListeners("data").pause();
    for (const [signal, handler] of handlers) process.off(signal, handler);
  };
}
