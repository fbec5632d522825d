/** The life of a machine's subsystems: made by the booting thread, opened by every CPU, closed by the host. */
import {
  arrayGet,
  drainReleases,
  getStateSynchronizeRcu,
  liveObjects,
  type Ptr,
  type Ref,
  rcuQuiescent,
  rcuRunCallbacks,
  stringText,
  synchronizeRcu,
  TYPE,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { klog } from "../klog.ts";
import { MachineError } from "../machine/error.ts";
import { createContext, openContext, SubsystemRecord } from "./context.ts";
import { isSubsystem, type Options, parseOptions, type Subsystem } from "./define.ts";
import { makeDeviceNodes } from "./device.ts";
import { bindSubsystems, declareGuarded, guard, type Instance } from "./guard.ts";
import { literalsOf } from "./install.ts";
import { isStruct, type TableSpec } from "./table.ts";

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

const first = kernelGlobal<Ref<"subsystem">>("subsystems");
/** Numbers that subsystems may use: beyond Linux's own, below the word that counts all unknown ones. */
const FIRST_CALL = 448;
const LAST_CALL = 510;
/** Grace periods after which what is still queued is a callback that queues itself. */
const LAST_PASSES = 100;

/** Booting thread, everything mounted, no CPU yet. Throws SubsystemError. */
export function subsystemsInit(uses: readonly SubsystemUse[]): readonly Instance[] {
  const instances: Instance[] = [];
  const calls = new Map<number, string>();
  let next: Ptr<"subsystem"> = 0;
  for (const { subsystem, options } of uses) {
    if (!isSubsystem(subsystem)) throw new SubsystemError("?", "is not what defineSubsystem returns");
    const { name } = subsystem;
    try {
      if (instances.some((other) => other.subsystem.name === name)) throw new Error("is there twice");
      const context = createContext(subsystem, parseOptions(subsystem, options), next);
      next = context.record;
      SubsystemRecord.cookie.init(context.record, getStateSynchronizeRcu());
      declareGuarded(subsystem);
      const instance: Instance = { subsystem, context };
      instances.push(instance);
      bindSubsystems(instances);
      subsystem.init?.(context as never, context.options as never);
      for (const { nr, name: call } of literalsOf(instance)) {
        if (!(Number.isInteger(nr) && nr >= FIRST_CALL && nr <= LAST_CALL))
          throw new Error(
            `system call ${call}: numbers of subsystems are ${FIRST_CALL} to ${LAST_CALL}, not ${nr}`,
          );
        const other = calls.get(nr);
        if (other !== undefined) throw new Error(`system call ${nr} is ${other} and ${call}`);
        calls.set(nr, call);
      }
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

/** A CPU: opens what the booting thread made. `uses` are the same, in the same order. */
export function openSubsystems(uses: readonly SubsystemUse[]): readonly Instance[] {
  const records: Ref<"subsystem">[] = [];
  for (let record: Ptr<"subsystem"> = uses.length === 0 ? 0 : first.get(); record !== 0; ) {
    records.unshift(record);
    record = SubsystemRecord.next.get(record);
  }
  if (records.length !== uses.length) throw new Error("host and CPU have different subsystems");
  const instances = uses.map(({ subsystem, options }, index): Instance => {
    const record = records[index]!;
    if (stringText(SubsystemRecord.name.get(record)) !== subsystem.name)
      throw new Error(`subsystem ${subsystem.name} is another one on the host`);
    declareGuarded(subsystem);
    const parsed: Options = parseOptions(subsystem, options);
    return { subsystem, context: openContext(subsystem, parsed, record) };
  });
  bindSubsystems(instances);
  return instances;
}

/** What each has to report, by name. On the host. */
export function subsystemReports(instances: readonly Instance[]): Record<string, string> {
  const reports: Record<string, string> = {};
  for (const instance of instances) {
    const { report } = instance.subsystem;
    if (report === undefined) continue;
    const text = guard<string | undefined>(instance, "report", report as never, undefined);
    if (text !== undefined) reports[instance.subsystem.name] = text;
  }
  return reports;
}

/**
 * On the host, when no CPU runs any more: lets each give back what it holds, frees the tables, and looks for objects of its
 * structs that are still there.
 */
export function closeSubsystems(instances: readonly Instance[]): void {
  // What the CPUs had queued may refer to the tables.
  drainAll();
  for (const instance of instances) {
    const { subsystem, context } = instance;
    if (subsystem.exit !== undefined) guard(instance, "exit", subsystem.exit as never, undefined);
    const tables = SubsystemRecord.tables.get(context.record);
    for (const [index, [key, spec]] of Object.entries(subsystem.tables ?? {}).entries())
      if (!isStruct(spec) && arrayGet(tables, index) !== 0)
        guard(
          instance,
          `freeing table ${key}`,
          () => (spec as TableSpec).destroy(context.tables[key]),
          undefined,
        );
  }
  drainAll();
  for (const { subsystem } of instances) {
    const leaks: string[] = [];
    for (const spec of Object.values(subsystem.tables ?? {})) {
      const live = isStruct(spec) ? liveObjects(spec) : 0;
      if (live !== 0 && isStruct(spec)) leaks.push(`${live} of struct ${spec[TYPE].name}`);
    }
    if (leaks.length > 0) klog(`subsystem ${subsystem.name}: leaks ${leaks.join(", ")}`);
  }
}

/** Callbacks queue callbacks: until nothing is left. */
function drainAll(): void {
  for (let pass = 0; pass < LAST_PASSES; pass++) {
    drainReleases(0);
    synchronizeRcu();
    rcuQuiescent();
    if (rcuRunCallbacks() === 0 && pass >= 2) return;
  }
}
