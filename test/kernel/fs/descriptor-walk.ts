/**
 * A process of its own for host-descriptors.test.ts, since the number of its descriptors is what is looked at: walks a mounted folder again and
 * again, and prints as JSON how it went. Arguments: the folder, whether there are safe points between the calls, which CPU is lost at the end.
 */
import fs from "node:fs";
import "../../../kernel/fs/hostfs/index.ts";
import { buryDescriptors } from "../../../kernel/fs/hostfs/opener.ts";
import { mountHost } from "../../../kernel/fs/vfs.ts";
import { setThisCpu } from "../../../kernel/sched/current.ts";
import { get, list } from "./calls.ts";
import { bootMachine, safePoint, settle } from "./machine.ts";

const [, , host, safePoints, lost] = process.argv;
const { task } = bootMachine();
if (mountHost(host!, "/m", false) !== 0) throw new Error("mount");
setThisCpu(Number(lost));

/** Descriptors of the mount's files now. */
function opened(): number {
  let count = 0;
  for (const fd of fs.readdirSync("/proc/self/fd")) {
    try {
      if (fs.readlinkSync(`/proc/self/fd/${fd}`).startsWith(host!)) count++;
    } catch {
      // The listing's own.
    }
  }
  return count;
}

let most = 0;
let wrong = 0;
let calls = 0;
/** Looked at before the next call, when the host may have none left to look with. */
function between(): void {
  if (safePoints === "yes") safePoint(task);
  if (++calls % 20 !== 0) return;
  try {
    most = Math.max(most, opened());
  } catch {
    wrong++;
  }
}
for (let round = 0; round < 2; round++) {
  for (const name of list("/m")) {
    if (list(`/m/${name}`).join() !== "f") wrong++;
    between();
    if (get(`/m/${name}/f`) !== name) wrong++;
    between();
  }
}
setThisCpu(-1);
buryDescriptors(Number(lost));
settle(task);
process.stdout.write(JSON.stringify({ wrong, most, left: opened() }));
