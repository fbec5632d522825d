/** The processes that the host started: it is told how each of them ended. */
import { type Ref, stringText } from "../../rcu/index.ts";
import { contain } from "../../rcu/kernel.ts";
import { errnoText } from "../uapi/errno.ts";
import { SIGKILL } from "../uapi/signal.ts";
import { MachineError } from "./error.ts";
import { freeRequest, SPAWN_EXITED, Spawn, type SpawnRequest, startProcess } from "./spawn.ts";

/** How a process ended. */
export interface Exit {
  /** Exit code; undefined when a signal killed it. */
  readonly code?: number;
  readonly signal?: number;
  /** errno of loading the program, 0 when it was loaded. */
  readonly error: number;
  /** What more there is to say about it; usually empty. */
  readonly reason: string;
  /** The CPU that died while it ran the process: the end is not the program's doing. */
  readonly lostCpu?: number;
  /** As wait4(2) reports it. */
  readonly status: number;
}

export interface Process {
  readonly pid: number;
  readonly exited: Promise<Exit>;
}

interface Running {
  readonly spawn: Ref<"spawn">;
  readonly resolve: (exit: Exit) => void;
  readonly reject: (error: Error) => void;
}

/** All of this runs on the host, with the machine bound. */
export class Processes {
  readonly #running = new Map<number, Running>();

  /** Throws MachineError when there is no room for it. */
  start(request: SpawnRequest): Process {
    const started = startProcess(request);
    if (typeof started === "number")
      throw new MachineError(`cannot start ${request.path}: ${errnoText(-started)}`);
    const { promise, resolve, reject } = Promise.withResolvers<Exit>();
    promise.catch(() => {}); // Who waits for it is told; nobody has to.
    this.#running.set(started.pid, { spawn: started.spawn, resolve, reject });
    return { pid: started.pid, exited: promise };
  }

  /** Settles those that have exited. */
  reap(): void {
    for (const [pid, { spawn, resolve }] of this.#running) {
      if (Spawn.state.load(spawn) !== SPAWN_EXITED) continue;
      this.#running.delete(pid);
      // Whatever becomes of the request: who waits is told, and the others are looked at.
      resolve(contain("the end of a process", exitOf, spawn, LOST));
      contain("freeing a request", freeRequest, spawn, undefined);
    }
  }

  /** The machine has ended itself: they reject. Touches nothing of the kernel. */
  fail(error: Error): void {
    for (const { reject } of this.#running.values()) reject(error);
    this.#running.clear();
  }

  /** Settles the others: their CPU had to be ended, and none is left on which they could exit. */
  abandon(): void {
    for (const { spawn, resolve } of this.#running.values())
      resolve({ ...LOST, ...contain("the end of a process", lostCpu, spawn, {}) });
    this.#running.clear();
  }
}

/** Nobody can say how it ended. */
const LOST: Exit = { signal: SIGKILL, error: 0, reason: "", status: SIGKILL };

function exitOf(spawn: Ref<"spawn">): Exit {
  const status = Spawn.status.load(spawn);
  const text = Spawn.reason.load(spawn);
  const signal = status & 0x7f;
  return {
    ...(signal === 0 ? { code: (status >> 8) & 0xff } : { signal }),
    error: Math.abs(Spawn.error.load(spawn)),
    reason: text === 0 ? "" : stringText(text),
    status,
    ...lostCpu(spawn),
  };
}

function lostCpu(spawn: Ref<"spawn">): { lostCpu?: number } {
  const lost = Spawn.lostCpu.load(spawn);
  return lost === 0 ? {} : { lostCpu: lost - 1 };
}
