/** What little of /sys programs look at: how many CPUs there are. */
import { nrCpus } from "../sched/cpus.ts";
import { procDir, procFile } from "./node.ts";

const range = (count: number): string => (count === 1 ? "0\n" : `0-${count - 1}\n`);

for (const name of ["online", "possible", "present"])
  procFile(`/sys/devices/system/cpu/${name}`, () => range(nrCpus()));
procFile("/sys/devices/system/cpu/offline", () => "\n");
procFile("/sys/devices/system/cpu/kernel_max", () => "47\n");
procFile("/sys/devices/system/node/online", () => "0\n");
procDir("/sys/kernel");
procDir("/sys/fs/cgroup");
procDir("/sys/class");
