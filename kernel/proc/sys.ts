/** /proc/sys: kernel parameters. Most are read-only facts; the host name can be written by who may set it. */
import { randomUUID } from "node:crypto";
import { NR_OPEN } from "../fs/fdtable.ts";
import { PIPE_MAX_BYTES } from "../ipc/pipe-ends.ts";
import { MAX_MAP_COUNT, MMAP_MIN_ADDR } from "../mm/mm.ts";
import { current } from "../sched/current.ts";
import { CAP_SYS_ADMIN, capable } from "../task/cred.ts";
import { PID_MAX } from "../task/pid.ts";
import { hostname, setHostname } from "../task/uts.ts";
import { EPERM } from "../uapi/errno.ts";
import { RELEASE, SYSNAME, VERSION } from "../uapi/utsname.ts";
import { procDir, procFile } from "./node.ts";

const fact = (path: string, value: string | number): void => {
  procFile(`sys/${path}`, () => `${value}\n`);
};

fact("kernel/ostype", SYSNAME);
fact("kernel/osrelease", RELEASE);
fact("kernel/version", VERSION);
fact("kernel/pid_max", PID_MAX);
fact("kernel/threads-max", PID_MAX);
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
fact("fs/file-max", NR_OPEN);
fact("fs/pipe-max-size", PIPE_MAX_BYTES);
fact("fs/protected_hardlinks", 0);
fact("fs/protected_symlinks", 0);
fact("fs/inotify/max_user_watches", 8192);
fact("fs/mqueue/msg_max", 10);
fact("net/core/somaxconn", 4096);
fact("net/core/rmem_max", 212992);
fact("net/core/wmem_max", 212992);
fact("net/unix/max_dgram_qlen", 512);
procDir("sys/fs/binfmt_misc");

procFile("sys/kernel/random/uuid", () => `${randomUUID()}\n`);

procFile("sys/kernel/hostname", () => `${hostname()}\n`, {
  write(_at, text) {
    if (!capable(current(), CAP_SYS_ADMIN)) return -EPERM;
    const error = setHostname(text.replace(/\n$/, ""));
    return error < 0 ? error : text.length;
  },
});
procFile("sys/kernel/domainname", () => "(none)\n");
