/**
 * Ends, from the host's tick, CPUs whose TypeScript program is to die and does not come back from its own code: `for (;;)` between
 * two yields reaches no safe point, so no signal is ever delivered. Only a signal that kills the program causes it, however long
 * the program computes; SIGINT and its like also when they are caught, once they are sent again.
 *
 * A CPU is never ended in kernel code. The host first has it held (userland/programs/gate.ts): what leaves the program's own code
 * waits. What is in that code a while later is there for good, or will be held; a CPU that is held on its way to a system call
 * is let go, since the call's end delivers the signal.
 */
import {
  atomicLoad,
  atomicNotify,
  atomicStore,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
} from "../../rcu/index.ts";
import { cpuArea, ram } from "../mm/ram.ts";
import { Cpu, cpuOf, nrCpus } from "../sched/cpus.ts";
import { inSet } from "../signal/sigset.ts";
import { commText } from "../task/exec.ts";
import { GROUP_EXITING, Group, KIND_PROGRAM, Task } from "../task/task.ts";
import { SIGKILL } from "../uapi/signal.ts";
import { CPU_PROGRAM, PROGRAM_HELD_IN, PROGRAM_IN } from "../usermode.ts";
import { sendFromHost } from "./host-signal.ts";

/** A program that is to die has this long to come to a system call, in milliseconds. */
const GRACE_MS = 250;
/** After so long it looks as if it would not. */
const SUSPECT_MS = 30;
/** From then on the CPU is held, and looked at after this time: a store of one CPU is seen by others long before. */
const HELD_MS = 40;

interface Seen {
  /** Monotonic milliseconds since which the program is to die, and was not resumed. */
  since: number;
  resumed: number;
  /** 0: the CPU is not held. */
  heldSince: number;
}

const word = (cpu: number, offset: number): number => (cpuArea(cpu) + offset) / 4;

/** The wait status with which the task's process is to die; 0 when it is not. For the task's owner, or in a read scope. */
export function fatalStatus(task: Ref<"task">): number {
  const group = Task.group.get(task);
  if ((Group.flags.load(group) & GROUP_EXITING) !== 0) return Group.exitCode.load(group);
  // To one thread alone: another one calls execve.
  return inSet(Task.pending.load(task, 0), 0, SIGKILL) ? SIGKILL : 0;
}

/** Told to end, and told again: what is caught cannot be handled by a program that does not come back. */
function insistedOn(task: Ref<"task">): boolean {
  return (Group.insisted.load(Task.group.get(task)) & ~Task.blocked.load(task, 0)) !== 0;
}

export class StuckPrograms {
  readonly #end: (cpu: number, why: string) => void;
  readonly #prepare: () => void;
  readonly #seen: Seen[] = [];

  /** `end` ends the worker of a CPU. `prepare` is called, once or more often, when that is likely to come. */
  constructor(end: (cpu: number, why: string) => void, prepare: () => void) {
    this.#end = end;
    this.#prepare = prepare;
  }

  /** On the host, the machine bound: on every tick. */
  look(): void {
    const now = performance.now();
    const scope = rcuReadLock();
    for (let cpu = 0; cpu < nrCpus(); cpu++) {
      const task = Cpu.curr.load(cpuOf(cpu));
      const dying =
        task !== 0 && Task.kind.get(task) === KIND_PROGRAM && (fatalStatus(task) !== 0 || insistedOn(task));
      this.#lookAt(cpu, dying ? task : 0, now);
    }
    rcuReadUnlock();
    void scope;
  }

  #lookAt(cpu: number, dying: Ref<"task"> | 0, now: number): void {
    const seen = (this.#seen[cpu] ??= { since: now, resumed: -1, heldSince: 0 });
    const resumed = atomicLoad(ram.i32, word(cpu, CPU_PROGRAM.RESUMED));
    const same = dying !== 0 && resumed === seen.resumed;
    if (seen.heldSince !== 0) {
      if (now - seen.heldSince < HELD_MS) return;
      const state = atomicLoad(ram.i32, word(cpu, CPU_PROGRAM.STATE));
      seen.heldSince = 0;
      if (same && (state === PROGRAM_IN || state === PROGRAM_HELD_IN)) this.#endCpu(cpu, dying);
      else this.#release(cpu);
      seen.resumed = -1;
      return;
    }
    if (!same) {
      seen.since = now;
      seen.resumed = resumed;
      return;
    }
    if (now - seen.since < GRACE_MS) {
      if (now - seen.since >= SUSPECT_MS) this.#prepare();
      return;
    }
    seen.heldSince = now;
    atomicStore(ram.i32, word(cpu, CPU_PROGRAM.HOLD), 1);
  }

  #release(cpu: number): void {
    atomicStore(ram.i32, word(cpu, CPU_PROGRAM.HOLD), 0);
    atomicNotify(ram.i32, word(cpu, CPU_PROGRAM.HOLD));
  }

  /** The CPU stays held until its worker is gone: its successor starts with zeros. */
  #endCpu(cpu: number, task: Ref<"task">): void {
    const pid = Task.pid.get(task);
    if (fatalStatus(task) === 0) sendFromHost(Task.tgid.get(task), SIGKILL);
    this.#end(cpu, `pid ${pid} (${commText(task)}) was killed and does not come back from its own code`);
  }
}
