/** The end of a machine's subsystems, on the host: reports, tables given back, leaks named. */
import { arrayGet, drainReleases, rcuQuiescent, rcuRunCallbacks, synchronizeRcu } from "../../rcu/index.ts";
import { ownedCells } from "../../rcu/kernel.ts";
import { klog } from "../klog.ts";
import { text } from "./check.ts";
import { SubsystemRecord } from "./context.ts";
import { guard } from "./guard.ts";
import { type Instance, placeByCode, placeOf } from "./place.ts";
import { isStruct, type TableSpec } from "./table.ts";

/** Grace periods after which what is still queued is a callback that queues itself. */
const LAST_PASSES = 100;

/** What each has to report, by name. On the host. */
export function subsystemReports(instances: readonly Instance[]): Record<string, string> {
  const reports: Record<string, string> = {};
  for (const instance of instances) {
    const { report } = instance.subsystem;
    if (report === undefined) continue;
    const said = guard<string | undefined>(placeOf(instance, "report", text), report as never, undefined);
    if (said !== undefined) reports[instance.subsystem.name] = said;
  }
  return reports;
}

/**
 * On the host, when no CPU runs any more: lets each give back what it holds, frees the tables, and looks for what they
 * allocated and is still there.
 */
export function closeSubsystems(instances: readonly Instance[]): void {
  if (instances.length === 0) return;
  // What the CPUs had queued may refer to the tables.
  let drained = drainAll();
  for (const instance of instances) {
    const { subsystem, context } = instance;
    if (subsystem.exit !== undefined) guard(placeOf(instance, "exit"), subsystem.exit as never, undefined);
    const tables = SubsystemRecord.tables.get(context.record);
    for (const [index, [key, spec]] of Object.entries(subsystem.tables ?? {}).entries())
      if (!isStruct(spec) && arrayGet(tables, index) !== 0)
        guard(
          placeOf(instance, `freeing table ${key}`),
          () => (spec as TableSpec).destroy(context.tables[key]),
          undefined,
        );
  }
  drained = drainAll() && drained;
  if (!drained) {
    const names = instances.filter(({ subsystem }) => subsystem.reclaimers !== undefined);
    klog(
      `subsystem ${names.map(({ subsystem }) => subsystem.name).join(" or ")}: ` +
        `reclaimers still queue callbacks after ${LAST_PASSES} grace periods; they will never run`,
    );
  }
  reportLeaks(instances);
}

function reportLeaks(instances: readonly Instance[]): void {
  const leaks = new Map<Instance, string[]>();
  for (const { owner, struct, count, bytes } of ownedCells()) {
    const place = placeByCode(instances, owner);
    if (place === null) continue;
    const what = struct === "" ? `strings or arrays (${bytes} bytes)` : `of struct ${struct}`;
    const list = leaks.get(place.instance) ?? [];
    leaks.set(place.instance, list);
    list.push(`${count} ${what} of ${place.where}`);
  }
  for (const [{ subsystem }, list] of leaks) klog(`subsystem ${subsystem.name}: leaks ${list.join(", ")}`);
}

/** Callbacks queue callbacks: until nothing is left. False when there is no end to it. */
function drainAll(): boolean {
  for (let pass = 0; pass < LAST_PASSES; pass++) {
    drainReleases(0);
    synchronizeRcu();
    rcuQuiescent();
    if (rcuRunCallbacks() === 0 && pass >= 2) return true;
  }
  return false;
}
