/**
 * Finds calls and faults that keep their CPU: in debug machines, one that works for LIMIT_MS of CPU time without asking whether
 * somebody wants the CPU (yield.ts) is reported by name, once. Elapsed time says nothing on a busy host, so CPU time of this thread
 * decides; it is read, which is slow, only when enough time has elapsed for it to matter.
 */
import type { Ref } from "../../rcu/index.ts";
import { klog } from "../klog.ts";
import { notifyHost } from "../machine/state.ts";
import { ram } from "../mm/ram.ts";
import type { SyscallEntry } from "../syscall-entry.ts";
import { commText } from "../task/exec.ts";
import { A7_WORD } from "../task/registers.ts";
import { Task } from "../task/task.ts";
import type { UserModeHost } from "../usermode.ts";
import { current, nowNs, thisCpu } from "./current.ts";
import { setYieldHook } from "./yield.ts";

const NS_PER_MS = 1_000_000;
const LIMIT_MS = 100;
/** CPU time is read at the beginning of a piece of work when it was read so long ago: what is reported may be that much too high. */
const STALE_MS = 20;

/** Both in milliseconds. */
export interface Clocks {
  elapsed(): number;
  cpu(): number;
}
const ownClocks: Clocks = {
  elapsed: () => nowNs() / NS_PER_MS,
  cpu() {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  },
};

/** Measures pieces of work: from begin() to look(), and from one look() to the next. */
export class LongCalls {
  readonly #clocks: Clocks;
  readonly #report: (ms: number) => void;
  #began = 0;
  #readAt = Number.NEGATIVE_INFINITY;
  #read = 0;

  /** `report` gets the milliseconds of CPU time of a piece that was too long. */
  constructor(report: (ms: number) => void, clocks = ownClocks) {
    this.#report = report;
    this.#clocks = clocks;
  }

  begin(): void {
    this.#began = this.#clocks.elapsed();
    if (this.#began - this.#readAt < STALE_MS) return;
    this.#readAt = this.#began;
    this.#read = this.#clocks.cpu();
  }

  look(): void {
    if (this.#clocks.elapsed() - this.#began >= LIMIT_MS) {
      const used = this.#clocks.cpu() - this.#read;
      if (used >= LIMIT_MS + STALE_MS) this.#report(used);
    }
    this.begin();
  }
}

const reported = new Set<string>();
let doing = "";

function report(ms: number): void {
  if (reported.has(doing)) return;
  reported.add(doing);
  const task = current();
  const who = task === 0 ? "" : `pid ${Task.pid.get(task)} (${commText(task)}) `;
  const what = `worked ${Math.round(ms)} ms in ${doing} without asking who wants the CPU`;
  klog(`Long call: ${who}on CPU ${thisCpu()} ${what}`);
  notifyHost();
}

/** For a debug machine's CPU: measures its system calls. */
export function watchCalls(entry: SyscallEntry): SyscallEntry {
  const calls = new LongCalls(report);
  setYieldHook(() => calls.look());
  return {
    call(task: Ref<"task">, regs: number): number {
      doing = entry.nameOf(ram.i32[regs / 4 + A7_WORD]!);
      calls.begin();
      const result = entry.call(task, regs);
      // execve may have replaced the number: the name was kept.
      calls.look();
      return result;
    },
    needsFullRegs: (nr) => entry.needsFullRegs(nr),
    nameOf: (nr) => entry.nameOf(nr),
  };
}

/** The same for page faults. */
export function watchFaults(host: UserModeHost): UserModeHost {
  const faults = new LongCalls(report);
  const { translate } = host;
  return {
    ...host,
    translate(...args) {
      doing = "a page fault";
      faults.begin();
      const result = translate(...args);
      faults.look();
      return result;
    },
  };
}
