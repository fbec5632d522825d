/** The life of a machine's subsystems: made by the booting thread, opened by every CPU. Their end: close.ts. */
import {
  arrayGet,
  arraySet,
  getStateSynchronizeRcu,
  type Ptr,
  type Ref,
  rcuNesting,
  rcuReadUnlock,
  stringText,
} from "../../rcu/index.ts";
import { locksHeld, mutexesHeld, releaseLocks, releaseMutexes } from "../../rcu/kernel.ts";
import { kernelGlobal } from "../global.ts";
import { MachineError } from "../machine/error.ts";
import { cpuOf } from "../sched/cpus.ts";
import { thisCpu } from "../sched/current.ts";
import { createRecord, newContext, SubsystemRecord } from "./context.ts";
import { isSubsystem, type Options, parseOptions, type Subsystem } from "./define.ts";
import { makeDeviceNodes } from "./device.ts";
import { bindSubsystems, declareGuarded } from "./guard.ts";
import { literalsOf } from "./install.ts";
import { TimeLimitError } from "./limit.ts";
import { type Instance, newInstance, placeOf, runAt, watchPlaces } from "./place.ts";

/** A subsystem, and what it was asked to do. */
export interface SubsystemUse {
  readonly subsystem: Subsystem;
  readonly options: Readonly<Record<string, string | number | boolean>>;
}

/** A subsystem that cannot be used: one line that names it. */
export class SubsystemError extends MachineError {
  override name = "SubsystemError";
  readonly subsystem: string;
  constructor(subsystem: string, message: string, options?: ErrorOptions) {
    super(`subsystem ${subsystem}: ${message}`, options);
    this.subsystem = subsystem;
  }
}

/** How long a callback of a subsystem may run when the machine's options do not say. */
export const DEFAULT_LIMIT_MS = 10_000;

const first = kernelGlobal<Ref<"subsystem">>("subsystems");
/** Numbers that subsystems may use: beyond Linux's own, below the word that counts all unknown ones. */
const FIRST_CALL = 448;
const LAST_CALL = 510;

/** Booting thread, everything mounted, no CPU yet. Throws SubsystemError. */
export function subsystemsInit(uses: readonly SubsystemUse[], limitMs: number): readonly Instance[] {
  const instances: Instance[] = [];
  const calls = new Map<number, string>();
  let next: Ptr<"subsystem"> = 0;
  for (const { subsystem, options } of uses) {
    if (!isSubsystem(subsystem)) throw new SubsystemError("?", "is not what defineSubsystem returns");
    const { name } = subsystem;
    try {
      if (instances.some((other) => other.subsystem.name === name))
        throw new Error("is there twice: a machine has one subsystem of a name");
      const record = createRecord(subsystem, next);
      next = record;
      const instance = makeInstance(subsystem, parseOptions(subsystem, options), record, limitMs, uses);
      instances.push(instance);
      bindSubsystems(instances);
      init(instance);
      checkCalls(instance, calls);
    } catch (error) {
      throw new SubsystemError(name, error instanceof Error ? error.message : String(error), {
        cause: error,
      });
    }
  }
  if (next !== 0) first.init(next);
  const list = [...instances];
  bindSubsystems(list);
  try {
    makeDeviceNodes();
  } catch (error) {
    throw new MachineError((error as Error).message);
  }
  return list;
}

function makeInstance(
  subsystem: Subsystem,
  options: Options,
  record: Ref<"subsystem">,
  limitMs: number,
  uses: readonly SubsystemUse[],
): Instance {
  SubsystemRecord.cookie.init(record, getStateSynchronizeRcu());
  declareGuarded(subsystem);
  const number = uses.findIndex((use) => use.subsystem === subsystem) + 1;
  const tables = SubsystemRecord.tables.get(record);
  // Tables are made with the context still missing: their places need the instance, so it comes first, without.
  const early = newInstance(subsystem, null as never, number, limitMs);
  const context = newContext(subsystem, options, record, (spec, index, key) => {
    const made = runAt(placeOf(early, `making table ${key}`), () => {
      try {
        return spec.create(options, `subsystem ${subsystem.name}: table ${key}`);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        throw new Error(`table ${key}: ${message}`, { cause: error });
      }
    });
    arraySet(tables, index, spec.refOf(made));
    return made;
  });
  return newInstance(subsystem, context, number, limitMs);
}

/** Runs init. Throws what it throws, and Error for what else it does wrong. */
function init(instance: Instance): void {
  const { subsystem, context } = instance;
  if (subsystem.init === undefined) return;
  const scopes = rcuNesting();
  const locks = locksHeld;
  const mutexes = mutexesHeld();
  let result: unknown;
  let unbalanced = false;
  try {
    result = runAt(placeOf(instance, "init"), () =>
      subsystem.init!(context as never, context.options as never),
    );
  } catch (error) {
    if (error instanceof TimeLimitError) throw new Error(`init does not return: ${error.message}`);
    throw error;
  } finally {
    // This thread lives on, whatever becomes of this machine.
    while (rcuNesting() > scopes) {
      rcuReadUnlock();
      unbalanced = true;
    }
    if (releaseLocks(locks) !== 0 || releaseMutexes(mutexes) !== 0) unbalanced = true;
  }
  if (result instanceof Promise) {
    result.catch(() => {});
    throw new Error("init returned a promise: it runs to its end, it cannot wait");
  }
  if (unbalanced) throw new Error("init returned with a read scope open or a lock held");
}

function checkCalls(instance: Instance, calls: Map<number, string>): void {
  for (const { nr, name } of literalsOf(instance)) {
    if (!(Number.isInteger(nr) && nr >= FIRST_CALL && nr <= LAST_CALL))
      throw new Error(
        `system call ${name}: numbers of subsystems are ${FIRST_CALL} to ${LAST_CALL}, not ${nr}`,
      );
    const other = calls.get(nr);
    if (other !== undefined) throw new Error(`system call ${nr} is ${other} and ${name}`);
    calls.set(nr, name);
  }
}

/** A CPU: opens what the booting thread made. `uses` are the same, in the same order. */
export function openSubsystems(uses: readonly SubsystemUse[]): readonly Instance[] {
  const records: Ref<"subsystem">[] = [];
  for (let record: Ptr<"subsystem"> = uses.length === 0 ? 0 : first.get(); record !== 0; ) {
    records.unshift(record);
    record = SubsystemRecord.next.get(record);
  }
  if (records.length !== uses.length) throw new Error("host and CPU have different subsystems");
  if (uses.length > 0) watchPlaces(cpuOf(thisCpu()));
  const instances = uses.map(({ subsystem, options }, index): Instance => {
    const record = records[index]!;
    if (stringText(SubsystemRecord.name.get(record)) !== subsystem.name)
      throw new Error(`subsystem ${subsystem.name} is another one on the host`);
    declareGuarded(subsystem);
    const parsed: Options = parseOptions(subsystem, options);
    const tables = SubsystemRecord.tables.get(record);
    const context = newContext(subsystem, parsed, record, (spec, at) => spec.open(arrayGet(tables, at)));
    return newInstance(subsystem, context, index + 1, DEFAULT_LIMIT_MS);
  });
  bindSubsystems(instances);
  return instances;
}
