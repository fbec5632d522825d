/** All tables that `sternix bench tables` knows, in the order of its report. */
import { arc, cache, hashMap, idr, list, lockFreeMap } from "./collections.ts";
import { dentryTable, fdTable, mountTable, pathTables } from "./files.ts";
import { futexTable, vmaTable } from "./memory.ts";
import { credentials, pidTable, signalHandlers } from "./processes.ts";
import { READ_SIDES } from "./scope.ts";
import type { TableBench } from "./table.ts";

export const TABLES: readonly TableBench[] = [
  pidTable,
  fdTable,
  dentryTable,
  ...pathTables,
  mountTable,
  credentials,
  signalHandlers,
  futexTable,
  vmaTable,
  hashMap,
  lockFreeMap,
  cache,
  list,
  idr,
  arc,
];

export function tableNamed(name: string): TableBench {
  const table = [...TABLES, ...READ_SIDES].find((each) => each.name === name);
  if (table === undefined) throw new Error(`no table ${name}`);
  return table;
}
