/**
 * Where the kernel calls subsystems. Each place is one property, null when nobody listens; the CPU installs them once, at
 * its boot. The system-call path has none: who wants to see calls gets an entry function of its own (syscalls/entry.ts).
 */
import type { Ref } from "../../rcu/index.ts";

export interface KernelHooks {
  /** A task was made by `parent` (0: by the host); it has not run yet. */
  taskCreate: ((task: Ref<"task">, parent: Ref<"task"> | 0) => void) | null;
  /** The current task runs another program from here on. */
  taskExec: ((task: Ref<"task">) => void) | null;
  /** The current task ends: its files and memory are gone, its pid is not. */
  taskExit: ((task: Ref<"task">) => void) | null;
  /** A task begins to run on this CPU. */
  contextSwitch: ((task: Ref<"task">) => void) | null;
  /** A file system was mounted by the current task. */
  mount: ((type: string, source: string, target: string, flags: number) => void) | null;
  /** A signal ended the call that the task was blocked in. */
  callInterrupted: ((task: Ref<"task">, result: number) => void) | null;
}

export const hooks: KernelHooks = {
  taskCreate: null,
  taskExec: null,
  taskExit: null,
  contextSwitch: null,
  mount: null,
  callInterrupted: null,
};
