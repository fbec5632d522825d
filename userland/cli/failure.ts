import type { SpawnError } from "../machine/spawn-error.ts";

/**
 * Exit statuses of the command line, as env(1), timeout(1) and `docker run` use them: the guest's own status
 * passes through, 125 to 127 say that no guest ran.
 */
export const STATUS = {
  /** Sternix itself failed: bad option, bad mount, too little memory. */
  FAILED: 125,
  /** The program was found but cannot run here. */
  NOT_EXECUTABLE: 126,
  /** There is no such program. */
  NOT_FOUND: 127,
  /** Plus the number of the signal that killed the guest. */
  SIGNALED: 128,
} as const;

/** A mistake of the user: one line that names the input and the remedy, never a stack trace. */
export class Failure extends Error {
  readonly status: number;
  constructor(message: string, status: number = STATUS.FAILED) {
    super(message);
    this.status = status;
  }
}

/** Of a program that cannot be run; `program` as the user named it. */
export function spawnFailure(program: string, error: SpawnError): Failure {
  if (error.syscall === "chdir") return new Failure(`--cwd ${error.path}: ${error.reason}`);
  return new Failure(
    `${program}: ${error.reason}`,
    error.code === "ENOENT" ? STATUS.NOT_FOUND : STATUS.NOT_EXECUTABLE,
  );
}
