/**
 * How the host thread enters a machine: the machine is bound, RCU watches, and behind it is the boundary for exceptions. Whatever
 * the kernel throws here, scopes, locks and slots are as before, other machines on this thread do not notice, and the event loop sees
 * no exception of the kernel: callers that can fail get an OopsError, everybody else a fallback.
 *
 * The host must not sleep for a lock whose owner died, since only its event loop would tell it of that: it waits for PATIENCE_MS, and
 * then the machine cannot go on. Nor can one whose host thread fails all the time.
 */
import {
  drainSomeReleases,
  RcuError,
  rcuIdleEnter,
  rcuIdleExit,
  rcuNesting,
  rcuQuiescent,
  releasesPending,
} from "../../rcu/index.ts";
import { balanced, locksHeld, mutexesHeld, setLockPatience, unwind } from "../../rcu/kernel.ts";
import { reportOops } from "../oops.ts";
import { CPU_ONLINE, Cpu, cpuOf, kickCpu, nrCpus } from "../sched/cpus.ts";
import { MachineError, OopsError, type PanicError } from "./error.ts";

/** How long the host waits for a lock. A CPU holds one for microseconds; a busy computer may have it wait for its core. */
const PATIENCE_MS = 10_000;
/** Exceptions on the host thread after which the machine ends. (Linux: kernel.oops_limit.) */
export const OOPS_LIMIT = 100;
/** Releases that follow from what the host did, and run on its thread; CPUs take the others. */
const HOST_RELEASES = 256;

/** The machine whose work this thread does now, and what is to be bound again when an inner one is done. */
let entered: HostEntry | null = null;

export class HostEntry {
  /** Exceptions so far. */
  oopses = 0;
  readonly #bind: () => void;
  readonly #panic: (why: string) => void;
  readonly #patience: number;
  #depth = 0;
  #ended: PanicError | null = null;

  /** `bind` makes the machine this thread's; `panic` is called when it cannot go on. `patience`: for a lock, in ms. */
  constructor(bind: () => void, panic: (why: string) => void, patience = PATIENCE_MS) {
    this.#patience = patience;
    this.#bind = bind;
    this.#panic = panic;
  }

  /** Why nothing enters any more. */
  get ended(): PanicError | null {
    return this.#ended;
  }

  /** Nothing enters any more: `run` throws this. */
  end(error: PanicError): void {
    this.#ended = error;
  }

  /**
   * Runs `work` as part of the machine: heap and RAM bound, read scopes allowed. Synchronous. Throws what is a MachineError,
   * PanicError when the machine has ended itself, and OopsError for an exception of the kernel, which is reported.
   */
  run<T>(work: () => T, where = "a request of the host"): T {
    if (this.#ended !== null) throw this.#ended;
    const outer = entered;
    const patience = setLockPatience(this.#patience);
    this.#bind();
    const nesting = rcuNesting();
    const locks = locksHeld;
    const mutexes = mutexesHeld();
    entered = this;
    this.#depth++;
    try {
      if (this.#depth === 1) rcuIdleExit();
      const result = work();
      if (this.#depth === 1) this.#leave(nesting, locks, mutexes);
      return result;
    } catch (error) {
      unwind(nesting, locks, mutexes);
      throw this.#caught(error, where);
    } finally {
      if (!balanced(nesting, locks, mutexes)) unwind(nesting, locks, mutexes);
      this.#depth--;
      entered = outer;
      if (outer !== null && outer !== this) outer.#bind();
      setLockPatience(patience);
    }
  }

  /** Runs `work`, which only looks: it takes no lock and nothing is drained, so this returns whatever the CPUs hang in. */
  look<T>(work: () => T): T {
    if (this.#ended !== null) throw this.#ended;
    const outer = entered;
    this.#bind();
    const idle = rcuNesting() < 0;
    if (idle) rcuIdleExit();
    try {
      return work();
    } finally {
      if (idle) rcuIdleEnter();
      if (outer !== null && outer !== this) outer.#bind();
    }
  }

  /** As `run`, for what nobody waits for: the result is `fallback` when there is an exception, or the machine has ended. */
  attempt<T, F>(where: string, work: () => T, fallback: F): T | F {
    try {
      return this.run(work, where);
    } catch (error) {
      // A mistake of the user's that nobody is there to hear.
      if (error instanceof MachineError && !(error instanceof OopsError) && this.#ended === null)
        this.failed(error, where);
      return fallback;
    }
  }

  /** An exception was contained here: reports it, and ends a machine that cannot go on. The heap's error handler. */
  failed(error: unknown, where: string): void {
    this.oopses++;
    const patience = setLockPatience(this.#patience / 100); // The log's own lock may be the one that is stuck.
    reportOops(error, where);
    setLockPatience(patience);
    if (error instanceof RcuError && error.code === "ERR_RCU_LOCK_TIMEOUT")
      this.#panic(`${where}: a lock is never given back: ${error.message}`);
    else if (this.oopses >= OOPS_LIMIT)
      this.#panic(`${this.oopses} exceptions on the host thread, the last in ${where}`);
  }

  /** The work is done and has its result, whatever happens here. */
  #leave(nesting: number, locks: number, mutexes: number): void {
    try {
      leave();
    } catch (error) {
      unwind(nesting, locks, mutexes);
      this.failed(error, "the end of a request of the host");
    }
  }

  #caught(error: unknown, where: string): MachineError {
    if (error instanceof MachineError) return error;
    this.failed(error, where);
    if (this.#ended !== null) return this.#ended;
    return new OopsError(
      `${where} failed in the kernel: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  }
}

/** The outermost work is done. What it left to be released is the CPUs' to finish, should it be much. */
function leave(): void {
  if (releasesPending()) {
    drainSomeReleases(0, HOST_RELEASES, 0);
    if (releasesPending()) kickOnline();
  }
  rcuQuiescent();
  rcuIdleEnter();
}

/** Lets CPUs pass a safe point now, idle ones too. */
function kickOnline(): void {
  for (let number = 0; number < nrCpus(); number++)
    if (Cpu.state.load(cpuOf(number)) === CPU_ONLINE) kickCpu(number);
}
