/**
 * Calls into subsystems. Whatever one does wrong is caught here, reported by its name and the place, and the kernel goes on:
 *
 * - it throws: the call counts as if it had done nothing (a hook allows, a device answers EIO); after MAX_FAULTS it is
 *   switched off;
 * - it returns with a read scope open or a lock held: scope and lock are taken back, and it is switched off at once, since what
 *   the lock protects may be half-changed;
 * - it waits, or returns a promise: the wait is undone, and it counts as a throw.
 */
import {
  locksHeld,
  type Ref,
  rcuNesting,
  rcuReadLock,
  rcuReadUnlock,
  releaseLocks,
} from "../../rcu/index.ts";
import { klog } from "../klog.ts";
import { notifyHost } from "../machine/state.ts";
import { current } from "../sched/current.ts";
import { finishWait, waitPrepared } from "../sched/waitqueue.ts";
import { declareCallbacks } from "./callback.ts";
import { type SubsystemContext, SubsystemRecord } from "./context.ts";
import type { Subsystem } from "./define.ts";
import { TaskView } from "./view.ts";

export const MAX_FAULTS = 10;
/** Of a subsystem that is never switched off, one in so many is logged. */
const LOG_EVERY = 1000;

/** A subsystem of the machine that this thread works for now. */
export interface Instance {
  readonly subsystem: Subsystem;
  readonly context: SubsystemContext;
}

let bound: readonly Instance[] = [];
/** Says which machine's subsystems this thread works for: with the heap that is in use. */
export function bindSubsystems(instances: readonly Instance[]): void {
  bound = instances;
}
export const boundSubsystems = (): readonly Instance[] => bound;

export const isDisabled = (instance: Instance): boolean =>
  SubsystemRecord.disabled.peek(instance.context.record) !== 0;

type Callback<R> = (context: never, a: never, b: never, c: never) => R;

/**
 * Calls `callback(context, a, b, c)`. `where` names the place in a report. `fallback` is the result when the subsystem
 * misbehaves.
 */
export function guard<R>(
  instance: Instance,
  where: string,
  callback: Callback<R>,
  fallback: R,
  a?: unknown,
  b?: unknown,
  c?: unknown,
): R {
  const nesting = rcuNesting();
  const depth = locksHeld;
  let result: R;
  try {
    result = callback(instance.context as never, a as never, b as never, c as never);
    if (typeof result === "object" && result instanceof Promise) {
      result.catch(() => {}); // What it rejects with is not the news: that it waits is.
      fault(instance, where, "returned a promise: a callback runs to its end, it cannot wait", false);
      result = fallback;
    }
  } catch (error) {
    result = fallback;
    fault(instance, where, `threw ${describe(error)}`, false);
  }
  if (locksHeld !== depth || rcuNesting() !== nesting) {
    unbalanced(instance, where, nesting, depth);
    result = fallback;
  }
  return result;
}

/** For callbacks that may not wait even the kernel's way: hooks. */
export function guardHook<R>(
  instance: Instance,
  where: string,
  callback: Callback<R>,
  fallback: R,
  a?: unknown,
  b?: unknown,
  c?: unknown,
): R {
  const prepared = waitPrepared;
  const result = guard(instance, where, callback, fallback, a, b, c);
  if (waitPrepared === prepared || prepared) return result;
  finishWait(current());
  fault(instance, where, "waited: a hook cannot block the task", false);
  return fallback;
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function unbalanced(instance: Instance, where: string, nesting: number, depth: number): void {
  const scopes = rcuNesting() - nesting;
  for (let scope = scopes; scope > 0; scope--) rcuReadUnlock();
  for (let scope = scopes; scope < 0; scope++) rcuReadLock();
  const locks = releaseLocks(depth);
  const what: string[] = [];
  if (scopes > 0) what.push(`${scopes} read scope${scopes > 1 ? "s" : ""} open`);
  if (locks > 0) what.push(`${locks} lock${locks > 1 ? "s" : ""} held`);
  if (scopes < 0 || locks < 0) what.push("a scope or lock closed that it had not opened");
  fault(instance, where, `returned with ${what.join(" and ")}`, true);
}

function fault(instance: Instance, where: string, what: string, fatal: boolean): void {
  const { name, record } = instance.context;
  const count = SubsystemRecord.faults.add(record, 1) + 1;
  const failClosed = instance.subsystem.failClosed === true;
  if (count <= MAX_FAULTS || fatal || count % LOG_EVERY === 0)
    klog(`subsystem ${name}: ${where} ${what}${count > MAX_FAULTS ? ` (fault ${count})` : ""}`);
  const off = fatal || (count >= MAX_FAULTS && !failClosed);
  if (off && SubsystemRecord.disabled.exchange(record, 1) === 0)
    klog(
      `subsystem ${name}: switched off ${fatal ? "at once" : `after ${count} faults`}; ` +
        `echo enabled > /sys/kernel/${name}/state switches it on again`,
    );
  notifyHost();
}

const releaseTask = new TaskView();

/** Makes the subsystem's reclaimers and releasers known to RCU on this thread. */
export function declareGuarded(subsystem: Subsystem): void {
  // They run even when it is switched off: what they free must not leak.
  declareCallbacks(
    subsystem,
    (name, entry, arg) => {
      const instance = bound.find((one) => one.subsystem.name === name);
      const callback = instance?.subsystem.reclaimers?.[entry];
      if (instance === undefined || callback === undefined)
        throw new Error(`RCU callback of subsystem ${name}, which this machine does not have`);
      guard(instance, `reclaimer ${entry}`, callback as never, undefined, arg);
    },
    (name, entry, arg, task) => {
      const instance = bound.find((one) => one.subsystem.name === name);
      const callback = instance?.subsystem.releasers?.[entry];
      if (instance === undefined || callback === undefined)
        throw new Error(`delayed release of subsystem ${name}, which this machine does not have`);
      releaseTask.ref = task as Ref<"task">;
      const view = task === 0 ? null : releaseTask;
      guard(instance, `releaser ${entry}`, callback as never, undefined, arg, view);
    },
  );
}
