/**
 * Calls into subsystems. Whatever one does wrong is caught here, reported by its name, the place and the task (fault.ts),
 * and the kernel goes on:
 *
 * - it throws: the call counts as if it had done nothing (a hook allows, a device answers EIO); after MAX_FAULTS it is
 *   switched off;
 * - it answers what the place has no use for (a hook that denies with 5, a device that gives more than was asked for): the same;
 * - it returns with a read scope open, or a lock or mutex held: all are taken back, and it is switched off at once, since
 *   what the lock protects may be half-changed;
 * - it waits, or returns a promise: the wait is undone, and it counts as a throw;
 * - it does not return: on the host it is ended (limit.ts), on a CPU the host restarts that CPU (machine/watchdog.ts).
 */

import { type Ref, rcuNesting, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { locksHeld, mutexesHeld, releaseLocks, releaseMutexes } from "../../rcu/kernel.ts";
import { traceOf } from "../oops.ts";
import { BLOCK } from "../sched/block.ts";
import { current, thisCpu } from "../sched/current.ts";
import { finishWait, waitPrepared } from "../sched/waitqueue.ts";
import { declareCallbacks, runReleaser } from "./callback.ts";
import type { Subsystem } from "./define.ts";
import { fault } from "./fault.ts";
import { callLimited, TimeLimitError } from "./limit.ts";
import { enterPlace, type Instance, leavePlace, type Place, placeOf } from "./place.ts";
import { TaskView } from "./view.ts";

let bound: readonly Instance[] = [];
/** Says which machine's subsystems this thread works for: with the heap that is in use. */
export function bindSubsystems(instances: readonly Instance[]): void {
  bound = instances;
}
export const boundSubsystems = (): readonly Instance[] => bound;

type Callback<R> = (context: never, a: never, b: never, c: never) => R;

/** Calls `callback(context, a, b, c)`. `fallback` is the result when the subsystem misbehaves. */
export function guard<R>(
  place: Place,
  callback: Callback<R>,
  fallback: R,
  a?: unknown,
  b?: unknown,
  c?: unknown,
): R {
  const nesting = rcuNesting();
  const depth = locksHeld;
  const mutexes = mutexesHeld();
  const context = place.instance.context as never;
  const outer = enterPlace(place.code);
  let result: R;
  try {
    result =
      thisCpu() >= 0
        ? callback(context, a as never, b as never, c as never)
        : callLimited(place.instance.limitMs, () => callback(context, a as never, b as never, c as never));
    const wrong = wrongResult(place, result, a, b, c);
    if (wrong !== null) {
      fault(place, wrong, false);
      result = fallback;
    }
  } catch (error) {
    result = fallback;
    const endless = error instanceof TimeLimitError;
    fault(place, endless ? `does not return: ${error.message}` : `threw ${traceOf(error)}`, endless);
  }
  leavePlace(outer);
  if (locksHeld !== depth || rcuNesting() !== nesting || mutexesHeld() !== mutexes) {
    unbalanced(place, nesting, depth, mutexes);
    result = fallback;
  }
  return result;
}

/** For callbacks that may not wait even the kernel's way: hooks. */
export function guardHook<R>(
  place: Place,
  callback: Callback<R>,
  fallback: R,
  a?: unknown,
  b?: unknown,
  c?: unknown,
): R {
  const prepared = waitPrepared;
  const result = guard(place, callback, fallback, a, b, c);
  if (waitPrepared === prepared || prepared) return result;
  finishWait(current());
  fault(place, "waited: a hook cannot block the task", false);
  return fallback;
}

function wrongResult(place: Place, result: unknown, a: unknown, b: unknown, c: unknown): string | null {
  if (typeof result === "object" && result !== null && "then" in result) {
    if (result instanceof Promise) result.catch(() => {}); // What it rejects with is not the news: that it waits is.
    return "returned a promise: a callback runs to its end, it cannot wait";
  }
  const wrong = place.check === null ? null : place.check(result, a, b, c);
  return wrong === null ? null : `answered ${show(result)}: ${wrong}`;
}

function show(result: unknown): string {
  if (result === BLOCK) return "BLOCK";
  if (typeof result === "string") return `a string of ${result.length}`;
  if (result instanceof Uint8Array) return `${result.length} bytes`;
  return typeof result === "object" && result !== null ? "an object" : String(result);
}

function unbalanced(place: Place, nesting: number, depth: number, mutexes: number): void {
  const scopes = rcuNesting() - nesting;
  for (let scope = scopes; scope > 0; scope--) rcuReadUnlock();
  for (let scope = scopes; scope < 0; scope++) rcuReadLock();
  const locks = releaseLocks(depth);
  const sleeping = releaseMutexes(mutexes);
  const what: string[] = [];
  if (scopes > 0) what.push(`${scopes} read scope${scopes > 1 ? "s" : ""} open`);
  if (locks > 0) what.push(`${locks} lock${locks > 1 ? "s" : ""} held`);
  if (sleeping > 0) what.push(`${sleeping} mutex${sleeping > 1 ? "es" : ""} held`);
  if (scopes < 0 || locks < 0 || sleeping < 0) what.push("a scope or lock closed that it had not opened");
  fault(place, `returned with ${what.join(" and ")}`, true);
}

const releaseTask = new TaskView();

/** The instance and the callback of that name, on the machine that is bound. */
function found<K extends "reclaimers" | "releasers">(kind: K, name: string, entry: string) {
  const instance = bound.find((one) => one.subsystem.name === name);
  const callback = instance?.subsystem[kind]?.[entry];
  if (instance === undefined || callback === undefined)
    throw new Error(`${kind.slice(0, -1)} ${entry} of subsystem ${name}, which this machine does not have`);
  return { place: placeOf(instance, `${kind.slice(0, -1)} ${entry}`), callback: callback as never };
}

/** Makes the subsystem's reclaimers and releasers known to RCU on this thread. */
export function declareGuarded(subsystem: Subsystem): void {
  // They run even when it is switched off: what they free must not leak.
  declareCallbacks(
    subsystem,
    (name, entry, arg) => {
      const { place, callback } = found("reclaimers", name, entry);
      guard(place, callback, undefined, arg);
    },
    (name, entry, arg, task) => {
      const { place, callback } = found("releasers", name, entry);
      releaseTask.ref = task as Ref<"task">;
      runReleaser(name, () => guard(place, callback, undefined, arg, task === 0 ? null : releaseTask));
    },
  );
}
