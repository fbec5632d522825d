/** /proc/sys: kernel parameters. Most are read-only facts; the host name can be written by who may set it. */
import { randomUUID } from "node:crypto";
import { liveObjects } from "../../rcu/index.ts";
import { NR_OPEN } from "../fs/fdtable.ts";
import { File } from "../fs/file.ts";
import { MAX_QUEUED_EVENTS } from "../fs/inotify-queue.ts";
import { PIPE_MAX_BYTES } from "../ipc/pipe-ends.ts";
import { MAX_MAP_COUNT, MMAP_MIN_ADDR } from "../mm/mm.ts";
import { current } from "../sched/current.ts";
import { CAP_SYS_ADMIN, CAP_SYS_RESOURCE, capable } from "../task/cred.ts";
import { type LimitName, limit, PID_MAX, setLimitValue, THREADS_MOST } from "../task/limits.ts";
import { RESERVED_PIDS } from "../task/pid.ts";
import { setName, utsname } from "../task/uts.ts";
import { EINVAL, EPERM } from "../uapi/errno.ts";
import { RELEASE, SYSNAME, UTS_FIELD, VERSION } from "../uapi/utsname.ts";
import { procDir, procFile } from "./node.ts";
import { firstNumber } from "./number.ts";

const fact = (path: string, value: string | number): void => {
  procFile(`sys/${path}`, () => `${value}\n`);
};

/** A limit that who may administer the machine changes. */
function tunable(path: string, name: LimitName, least: number, most: number): void {
  procFile(`sys/${path}`, () => `${limit(name)}\n`, {
    write(_at, text, pos, size) {
      if (!capable(current(), CAP_SYS_RESOURCE)) return -EPERM;
      // Behind the start nothing is written (kernel.sysctl_writes_strict).
      if (pos !== 0) return size;
      const number = firstNumber(text, least, most);
      if (typeof number === "number") return number;
      setLimitValue(name, number.value);
      return size;
    },
  });
}

fact("kernel/ostype", SYSNAME);
fact("kernel/osrelease", RELEASE);
fact("kernel/version", VERSION);
tunable("kernel/pid_max", "pidMax", RESERVED_PIDS + 1, PID_MAX);
tunable("kernel/threads-max", "threadsMax", 20, THREADS_MOST);
fact("kernel/cap_last_cap", 40);
fact("kernel/ngroups_max", 65536);
fact("kernel/overflowuid", 65534);
fact("kernel/overflowgid", 65534);
fact("kernel/randomize_va_space", 0);
fact("kernel/core_pattern", "core");
fact("kernel/sched_child_runs_first", 0);
fact("kernel/perf_event_paranoid", 4);
fact("kernel/yama/ptrace_scope", 1);
fact("kernel/random/entropy_avail", 256);
fact("kernel/random/poolsize", 256);
fact("kernel/shmmax", "18446744073692774399");
fact("vm/overcommit_memory", 0);
fact("vm/overcommit_ratio", 50);
fact("vm/max_map_count", MAX_MAP_COUNT);
fact("vm/mmap_min_addr", MMAP_MIN_ADDR);
fact("vm/swappiness", 0);
fact("vm/nr_hugepages", 0);
fact("fs/nr_open", NR_OPEN);
tunable("fs/file-max", "fileMax", 0, 0x7fff_ffff);
procFile("sys/fs/file-nr", () => `${liveObjects(File)}\t0\t${limit("fileMax")}\n`);
tunable("fs/mount-max", "mountMax", 1, 0x7fff_ffff);
tunable("fs/pipe-user-pages-soft", "pipePages", 0, 0x7fff_ffff);
fact("fs/pipe-user-pages-hard", 0);
tunable("fs/epoll/max_user_watches", "epollWatches", 0, 0x7fff_ffff);
tunable("fs/inotify/max_user_instances", "inotifyInstances", 0, 0x7fff_ffff);
fact("fs/pipe-max-size", PIPE_MAX_BYTES);
fact("fs/protected_hardlinks", 0);
fact("fs/protected_symlinks", 0);
tunable("fs/inotify/max_user_watches", "inotifyWatches", 0, 0x7fff_ffff);
fact("fs/inotify/max_queued_events", MAX_QUEUED_EVENTS);
fact("fs/mqueue/msg_max", 10);
fact("net/core/somaxconn", 4096);
fact("net/core/rmem_max", 212992);
fact("net/core/wmem_max", 212992);
fact("net/unix/max_dgram_qlen", 512);
procDir("sys/fs/binfmt_misc");

procFile("sys/kernel/random/uuid", () => `${randomUUID()}\n`);

/** One of the names that uname(2) gives: which of its fields, and what set*name(2) calls it. */
function nameFile(path: string, field: number, which: "nodename" | "domainname"): void {
  const read = (): string => {
    const bytes = utsname().subarray(field * UTS_FIELD, (field + 1) * UTS_FIELD);
    return `${new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)))}\n`;
  };
  procFile(path, read, {
    write(_at, text, pos, size) {
      if (!capable(current(), CAP_SYS_ADMIN)) return -EPERM;
      if (pos !== 0) return size;
      const name = new TextEncoder().encode(text.replace(/\n.*$|\0.*$/s, ""));
      if (name.length >= UTS_FIELD) return -EINVAL;
      setName(which, name);
      return size;
    },
  });
}
nameFile("sys/kernel/hostname", 1, "nodename");
nameFile("sys/kernel/domainname", 5, "domainname");
