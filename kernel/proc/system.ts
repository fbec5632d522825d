/** The machine in numbers: meminfo, cpuinfo, stat, uptime, loadavg, version, mounts, filesystems. */

import { type Ref, rcuStats, stringText } from "../../rcu/index.ts";
import { dPath } from "../fs/dpath.ts";
import { Mount } from "../fs/mount.ts";
import { allMounts } from "../fs/mount-tree.ts";
import { fileSystemTypes, superOpsOf } from "../fs/ops.ts";
import { Superblock } from "../fs/super.ts";
import { frameTotal, freeFrames } from "../mm/frame.ts";
import { cachedPages, dirtyPages, shmemPages } from "../mm/pagecache.ts";
import { Cpu, cpuOf, nrCpus } from "../sched/cpus.ts";
import { nrTasks, totalForks } from "../task/pid.ts";
import { bootNs, nowNs, realtimeNs } from "../time/clock.ts";
import { MS_NOATIME, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_RELATIME } from "../uapi/mount.ts";
import { ISA_STRING } from "../uapi/riscv.ts";
import { major, minor } from "../uapi/stat.ts";
import { RELEASE, SYSNAME, VERSION } from "../uapi/utsname.ts";
import { procFile, procLink, procSequence } from "./node.ts";

const PAGE_KIB = 4;

procFile("meminfo", () => {
  const line = (name: string, kib: number): string =>
    `${`${name}:`.padEnd(16)}${String(kib).padStart(8)} kB\n`;
  const total = frameTotal() * PAGE_KIB;
  const free = freeFrames() * PAGE_KIB;
  const cached = cachedPages() * PAGE_KIB;
  const shmem = shmemPages() * PAGE_KIB;
  const fields: [string, number][] = [
    ["MemTotal", total],
    ["MemFree", free],
    ["MemAvailable", free + Math.max(0, cached - shmem)],
    ["Buffers", 0],
    ["Cached", cached],
    ["SwapCached", 0],
    ["Active", Math.max(0, total - free - cached)],
    ["Inactive", cached],
    ["SwapTotal", 0],
    ["SwapFree", 0],
    ["Dirty", dirtyPages() * PAGE_KIB],
    ["Writeback", 0],
    ["AnonPages", Math.max(0, total - free - cached)],
    ["Mapped", 0],
    ["Shmem", shmem],
    ["KReclaimable", 0],
    ["Slab", 0],
    ["PageTables", 0],
    ["CommitLimit", total],
    ["Committed_AS", total - free],
    ["VmallocTotal", 0],
    ["VmallocUsed", 0],
  ];
  return fields.map(([name, kib]) => line(name, kib)).join("");
});

procFile("cpuinfo", () => {
  let text = "";
  for (let cpu = 0; cpu < nrCpus(); cpu++)
    text += `processor\t: ${cpu}\nhart\t\t: ${cpu}\nisa\t\t: ${ISA_STRING}\nmmu\t\t: sv39\nuarch\t\t: sternix\n\n`;
  return text;
});

/** Nanoseconds to clock ticks. */
const ticks = (ns: number): number => Math.floor(ns / 10_000_000);
const bootSeconds = (): number => Math.floor((realtimeNs() - (nowNs() - bootNs())) / 1e9);

function eachCpu(visit: (cpu: Ref<"cpu">, number: number) => void): void {
  for (let number = 0; number < nrCpus(); number++) visit(cpuOf(number), number);
}

procFile("stat", () => {
  let lines = "";
  let busy = 0;
  let idle = 0;
  let switches = 0;
  let running = 0;
  eachCpu((cpu, number) => {
    busy += Cpu.busyNs.get(cpu);
    idle += Cpu.idleNs.get(cpu);
    switches += Cpu.switches.get(cpu);
    running += Cpu.queued.load(cpu) + (Cpu.curr.load(cpu) === 0 ? 0 : 1);
    lines += `cpu${number} ${ticks(Cpu.busyNs.get(cpu))} 0 0 ${ticks(Cpu.idleNs.get(cpu))} 0 0 0 0 0 0\n`;
  });
  return (
    `cpu  ${ticks(busy)} 0 0 ${ticks(idle)} 0 0 0 0 0 0\n${lines}intr 0\nctxt ${switches}\nbtime ${bootSeconds()}\n` +
    `processes ${totalForks()}\nprocs_running ${running}\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n`
  );
});

procFile("uptime", () => {
  let idle = 0;
  eachCpu((cpu) => {
    idle += Cpu.idleNs.get(cpu);
  });
  return `${((nowNs() - bootNs()) / 1e9).toFixed(2)} ${(idle / 1e9).toFixed(2)}\n`;
});

procFile("loadavg", () => {
  let running = 0;
  eachCpu((cpu) => {
    running += Cpu.queued.load(cpu) + (Cpu.curr.load(cpu) === 0 ? 0 : 1);
  });
  const load = running.toFixed(2);
  return `${load} ${load} ${load} ${running}/${nrTasks()} ${totalForks()}\n`;
});

procFile("version", () => `${SYSNAME} version ${RELEASE} (sternix@sternix) ${VERSION}\n`);
procFile("cmdline", () => "\n");
procFile(
  "devices",
  () =>
    "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\nBlock devices:\n",
);
procFile("swaps", () => "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
procFile("partitions", () => "major minor  #blocks  name\n\n");
procFile("filesystems", () =>
  fileSystemTypes()
    .map((type) => `${type.nodev ? "nodev" : ""}\t${type.name}\n`)
    .join(""),
);

const FLAGS: readonly (readonly [number, string])[] = [
  [MS_NOSUID, "nosuid"],
  [MS_NODEV, "nodev"],
  [MS_NOEXEC, "noexec"],
  [MS_NOATIME, "noatime"],
  [MS_RELATIME, "relatime"],
];

/** Spaces and the like in names are written as octal escapes (fstab(5)). */
const escapeName = (text: string): string =>
  text.replace(/[ \t\n\\]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`);

function mountOptions(mount: Ref<"mount">): { options: string; superOptions: string } {
  const flags = Mount.flags.load(mount);
  const access = (flags & MS_RDONLY) !== 0 ? "ro" : "rw";
  const sb = Mount.sb.get(mount);
  const extra = superOpsOf(Superblock.sops.get(sb)).options?.(sb) ?? "";
  const options = [access, ...FLAGS.filter(([mask]) => (flags & mask) !== 0).map(([, name]) => name)].join(
    ",",
  );
  return { options, superOptions: extra === "" ? access : `${access},${extra}` };
}

const typeOf = (mount: Ref<"mount">): string => superOpsOf(Superblock.sops.get(Mount.sb.get(mount))).name;
const pointOf = (mount: Ref<"mount">): string => escapeName(dPath(mount, Mount.root.get(mount)));
const sourceOf = (mount: Ref<"mount">): string => escapeName(stringText(Mount.source.get(mount)) || "none");

/** Mounts in one piece of the text. */
const MOUNTS_PIECE = 128;

/** A file with a line for each mount. */
function mountFile(path: string, line: (mount: Ref<"mount">) => string): void {
  procSequence(path, (_at, from) => {
    const mounts = allMounts();
    const next = from + MOUNTS_PIECE;
    return { text: mounts.slice(from, next).map(line).join(""), next: next < mounts.length ? next : -1 };
  });
}
mountFile("PID/mounts", (mount) => {
  const { options, superOptions } = mountOptions(mount);
  const all = [...new Set([...options.split(","), ...superOptions.split(",")])].join(",");
  return `${sourceOf(mount)} ${pointOf(mount)} ${typeOf(mount)} ${all} 0 0\n`;
});
mountFile("PID/mountinfo", (mount) => {
  const { options, superOptions } = mountOptions(mount);
  const parent = Mount.parent.access(mount);
  const dev = Superblock.dev.get(Mount.sb.get(mount));
  const ids = `${Mount.id.get(mount)} ${Mount.id.get(parent === 0 ? mount : parent)} ${major(dev)}:${minor(dev)}`;
  return `${ids} / ${pointOf(mount)} ${options} - ${typeOf(mount)} ${sourceOf(mount)} ${superOptions}\n`;
});
procLink("mounts", () => "self/mounts");

/** Counters of the kernel itself: what `--stats` prints, for programs inside. */
procFile("sternix", () => {
  const stats = rcuStats() as unknown as Record<string, unknown>;
  let text = "";
  for (const [name, value] of Object.entries(stats))
    if (typeof value === "number") text += `rcu.${name} ${value}\n`;
  eachCpu((cpu, number) => {
    const shown = {
      switches: Cpu.switches,
      preemptions: Cpu.preemptions,
      steals: Cpu.steals,
      idleCount: Cpu.idleCount,
    };
    for (const [name, field] of Object.entries(shown)) text += `cpu${number}.${name} ${field.get(cpu)}\n`;
    text += `cpu${number}.busyNs ${Cpu.busyNs.get(cpu)}\ncpu${number}.idleNs ${Cpu.idleNs.get(cpu)}\n`;
  });
  return text;
});
