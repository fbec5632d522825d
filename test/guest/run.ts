/** Runs programs on a machine for tests: output as text, the status as a shell sees it. */
import { constants } from "node:os";
import { DEFAULT_ENV, type Machine, type SpawnOptions } from "../../userland/index.ts";

export interface Outcome {
  /** The exit code, or 128 + n for signal n. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `env` adds to the usual one; standard input is text. */
export async function run(
  machine: Machine,
  program: string | URL,
  { env = {}, stdin = "", ...options }: Omit<SpawnOptions, "stdin"> & { stdin?: string } = {},
): Promise<Outcome> {
  const started = machine.spawn(program, {
    ...options,
    env: { ...DEFAULT_ENV, ...env },
    stdin: { text: stdin },
  });
  const { code, signal, stdout, stderr } = await started.output();
  return { status: code ?? 128 + constants.signals[signal as NodeJS.Signals], stdout, stderr };
}

/** How many CPUs the test machines have: those named, unless `npm run soak` asks for others. */
export function testCpus(usual: readonly number[]): readonly number[] {
  const asked = process.env.STERNIX_TEST_CPUS;
  return asked === undefined ? usual : [Number(asked)];
}
