/**
 * A time limit for callbacks on the host thread, which nobody else could free: a CPU that does not come back is restarted
 * (machine/watchdog.ts), the thread of the embedding program cannot be. V8 ends a script that runs too long wherever
 * it is, asleep in Atomics.wait included. Costs about 40 us, so CPUs do not use it.
 */
import { Script } from "node:vm";

const KEY = Symbol.for("sternix.limited");
const script = new Script('globalThis[Symbol.for("sternix.limited")]()');
const slot = globalThis as unknown as Record<symbol, () => unknown>;

/** A callback took too long, and was ended where it stood. */
export class TimeLimitError extends Error {
  override name = "TimeLimitError";
}

/** `work()`, ended after `ms` milliseconds: throws TimeLimitError. No `finally` of what was ended has run. */
export function callLimited<R>(ms: number, work: () => R): R {
  const outer = slot[KEY];
  slot[KEY] = work;
  try {
    return script.runInThisContext({ timeout: ms }) as R;
  } catch (error) {
    if ((error as { code?: string }).code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw error;
    throw new TimeLimitError(`still running after ${ms} ms`);
  } finally {
    if (outer === undefined) delete slot[KEY];
    else slot[KEY] = outer;
  }
}
