/** Connects a machine's subsystems to the kernel of this CPU: only the places that one of them listens at. */
import { getStateSynchronizeRcu, pollStateSynchronizeRcu, type Ref } from "../../rcu/index.ts";
import { setSafePointHook } from "../sched/safe-point.ts";
import { EIO, ENOSYS, EPERM } from "../uapi/errno.ts";
import type { PathArgument } from "./call-paths.ts";
import { callResult, verdict } from "./check.ts";
import { SubsystemRecord } from "./context.ts";
import type { CallLiteral, Hooks } from "./define.ts";
import { isDisabled } from "./fault.ts";
import { registerFiles } from "./files.ts";
import { guard, guardHook } from "./guard.ts";
import { hooks } from "./hooks.ts";
import { addPlace, type Check, type Instance, type Place, placeOf, runAt } from "./place.ts";
import { CallView, TaskView } from "./view.ts";

/** What the system-call entry of a CPU needs to know of subsystems. */
export interface SubsystemCalls {
  readonly literals: readonly CallLiteral[];
  /** Absent when no subsystem listens: then the entry does not even ask. */
  readonly hooks?: CallHooks;
}

export interface CallHooks {
  /** 0, or the -errno with which the call is denied. */
  enter(task: Ref<"task">, call: HookedCall, args: readonly number[]): number;
  exit(task: Ref<"task">, call: HookedCall, args: readonly number[], result: number): void;
}
export interface HookedCall {
  readonly nr: number;
  readonly name: string;
  readonly pathArguments: readonly PathArgument[];
}

type HookName = keyof Hooks<unknown>;

interface Listener<N extends HookName> {
  readonly instance: Instance;
  readonly place: Place;
  readonly callback: NonNullable<Hooks<never>[N]>;
}

function listeners<N extends HookName>(
  instances: readonly Instance[],
  name: N,
  check: Check | null = null,
): Listener<N>[] {
  return instances.flatMap((instance) => {
    const callback = instance.subsystem.hooks?.[name] as Listener<N>["callback"] | undefined;
    if (callback === undefined) return [];
    return [{ instance, callback, place: placeOf(instance, `hook ${name}`, check) }];
  });
}

/** Once per CPU, before it runs tasks. */
export function installSubsystems(instances: readonly Instance[]): SubsystemCalls {
  for (const instance of instances) registerFiles(instance);
  installTaskHooks(instances);
  installSafePoint(instances);
  const callHooks = createCallHooks(instances);
  const literals = instances.flatMap((instance) => {
    try {
      return callsOf(instance);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(`subsystem ${instance.subsystem.name}: ${message}`, { cause: error });
    }
  });
  return callHooks === undefined ? { literals } : { literals, hooks: callHooks };
}

function installTaskHooks(instances: readonly Instance[]): void {
  const view = new TaskView();
  const other = new TaskView();
  const run = <N extends "taskExec" | "taskExit" | "contextSwitch">(name: N) => {
    const listening = listeners(instances, name);
    if (listening.length === 0) return;
    hooks[name] = (task) => {
      for (const { instance, place, callback } of listening) {
        if (isDisabled(instance)) continue;
        view.ref = task;
        guardHook(place, callback as never, undefined, view);
      }
    };
  };
  run("taskExec");
  run("taskExit");
  run("contextSwitch");
  const creating = listeners(instances, "taskCreate");
  if (creating.length > 0)
    hooks.taskCreate = (task, parent) => {
      for (const { instance, place, callback } of creating) {
        if (isDisabled(instance)) continue;
        view.ref = task;
        other.ref = parent as Ref<"task">;
        guardHook(place, callback as never, undefined, view, parent === 0 ? null : other);
      }
    };
  const mounting = listeners(instances, "mount");
  if (mounting.length > 0)
    hooks.mount = (type, source, target, flags) => {
      const mount = { type, source, target, flags };
      for (const { instance, place, callback } of mounting)
        if (!isDisabled(instance)) guardHook(place, callback as never, undefined, mount);
    };
}

function installSafePoint(instances: readonly Instance[]): void {
  const atSafePoint = listeners(instances, "safePoint");
  const graceful = listeners(instances, "gracePeriod");
  if (atSafePoint.length === 0 && graceful.length === 0) return;
  setSafePointHook(() => {
    for (const { instance, place, callback } of atSafePoint)
      if (!isDisabled(instance)) guardHook(place, callback as never, undefined);
    for (const { instance, place, callback } of graceful) {
      const { record } = instance.context;
      const cookie = SubsystemRecord.cookie.load(record);
      if (!pollStateSynchronizeRcu(cookie)) continue;
      // One CPU wins, and asks for the next one.
      if (!SubsystemRecord.cookie.cas(record, cookie, getStateSynchronizeRcu()) || isDisabled(instance))
        continue;
      guardHook(place, callback as never, undefined);
    }
  });
}

function createCallHooks(instances: readonly Instance[]): CallHooks | undefined {
  const entering = listeners(instances, "syscallEnter", verdict);
  const leaving = listeners(instances, "syscallExit");
  if (entering.length === 0 && leaving.length === 0) return undefined;
  const taskView = new TaskView();
  const view = new CallView();
  const show = (task: Ref<"task">, call: HookedCall, args: readonly number[]): void => {
    taskView.ref = task;
    view.nr = call.nr;
    view.name = call.name;
    view.args = args;
    view.pathArguments = call.pathArguments;
  };
  return {
    enter(task, call, args) {
      for (const { instance, place, callback } of entering) {
        if (isDisabled(instance)) continue;
        show(task, call, args);
        const fallback = instance.subsystem.failClosed === true ? -EPERM : 0;
        const result = guardHook<number | undefined>(place, callback as never, fallback, taskView, view);
        if (result !== undefined && result < 0) return result;
      }
      return 0;
    },
    exit(task, call, args, result) {
      for (const { instance, place, callback } of leaving) {
        if (isDisabled(instance)) continue;
        show(task, call, args);
        guardHook(place, callback as never, undefined, taskView, view, result);
      }
    },
  };
}

type Handler = (task: Ref<"task">, ...args: number[]) => number;

/** The subsystem's own calls, guarded. */
function callsOf(instance: Instance): CallLiteral[] {
  return literalsOf(instance).map((literal) => {
    const { handler } = literal as unknown as { handler: Handler };
    const place = placeOf(instance, `system call ${literal.name}`, callResult);
    const run = (_context: never, task: Ref<"task">, args: number[]): number => handler(task, ...args);
    return {
      ...literal,
      handler: (task: Ref<"task">, ...args: number[]): number =>
        isDisabled(instance) ? -ENOSYS : guard(place, run as never, -EIO, task, args),
    };
  });
}

/** What `syscalls` holds; each call becomes a place. Throws what a function throws. */
export function literalsOf(instance: Instance): readonly CallLiteral[] {
  const { syscalls } = instance.subsystem;
  const literals =
    typeof syscalls === "function"
      ? runAt(placeOf(instance, "syscalls"), () => syscalls(instance.context as never))
      : (syscalls ?? []);
  for (const { name } of literals) addPlace(instance, `system call ${name}`);
  return literals;
}
