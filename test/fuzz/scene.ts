/** What is there for the next call of a script: descriptors, processes, names, memory. */
import type { Memory } from "./memory.ts";
import type { Random } from "./random.ts";
import type { Value } from "./script.ts";
import { hex } from "./values.ts";

const PLAIN = [
  "f0",
  "f1",
  "f2",
  "d0",
  "d0/f0",
  "d0/d1",
  "d0/d1/f1",
  "l0",
  "l0/f0",
  "s0",
  "s1",
  "p0",
  "p1",
  "tmp/x",
  ".",
  "..",
  "/",
];
const HOST = [
  "host",
  "host/h0",
  "host/h1",
  "host/h2",
  "host/h3",
  "host/d",
  "host/d/h4",
  "host/new",
  "host/elf0",
  "host/elf1",
  "host/elf2",
];
const DEVICES = [
  "dev/null",
  "dev/zero",
  "dev/full",
  "dev/random",
  "dev/urandom",
  "dev/tty",
  "dev/ptmx",
  "dev/pts/0",
  "dev/pts/1",
  "dev/pts",
  "dev/new",
];
const PROC = [
  "self",
  "self/maps",
  "self/status",
  "self/stat",
  "self/statm",
  "self/fd",
  "self/fd/0",
  "self/fd/3",
  "self/fd/5",
  "self/fdinfo/3",
  "self/exe",
  "self/cwd",
  "self/root",
  "self/task",
  "self/mem",
  "self/cmdline",
  "self/environ",
  "self/auxv",
  "self/comm",
  "self/limits",
  "self/mounts",
  "self/mountinfo",
  "self/cgroup",
  "self/oom_score_adj",
  "self/io",
  "self/smaps",
  "self/pagemap",
  "self/wchan",
  "self/ns",
  "thread-self",
  "meminfo",
  "stat",
  "uptime",
  "mounts",
  "cpuinfo",
  "version",
  "filesystems",
  "net",
  "net/unix",
  "net/tcp",
  "locks",
  "sys",
  "sys/kernel",
  "sys/kernel/hostname",
  "sys/fs/pipe-max-size",
  "loadavg",
  "1",
  "1/maps",
  "1/status",
  "nothing",
];
const ODD = [
  "",
  "a".repeat(255),
  "a".repeat(256),
  `${"d0/".repeat(200)}f`,
  "/".repeat(4095),
  "x".repeat(4096),
  "l0/../l0/../f0",
  "f0/x",
  "\u{1f600}",
  "/proc/self/fd/999999999999",
  "dev/pts/4294967296",
];
const BIN = ["bin/hello", "bin/exit", "bin/fork", "bin/fuzz", "bin/none", "proc/self/exe"];

export class Scene {
  readonly random: Random;
  readonly memory: Memory;
  readonly uid: number;
  /** Values that name descriptors: results of calls, or places that calls fill. */
  readonly fds: Value[] = [];
  /** Values that name processes. */
  readonly pids: Value[] = [];

  constructor(random: Random, memory: Memory, uid: number) {
    this.random = random;
    this.memory = memory;
    this.uid = uid;
  }

  fd(): Value {
    const { random } = this;
    if (this.fds.length > 0 && random.chance(80)) return random.pick(this.fds);
    return random.chance(70)
      ? hex(random.below(24))
      : hex(random.pick([-1n, -100n, 1023n, 1024n, 65536n, 0x7fffffffn, 0x80000000n, 0xffffffffn]));
  }

  pid(): Value {
    const { random } = this;
    if (random.chance(40)) return random.pick(["tid", "pid", "ppid"]);
    if (this.pids.length > 0 && random.chance(60)) return random.pick(this.pids);
    // -1 is everybody: that ends a round early, so it is rare.
    return random.chance(10)
      ? hex(-1)
      : hex(random.pick([0n, 1n, 2n, 3n, 5n, 32768n, 0x7fffffffn, -2n, 0x80000000n, 0x3fffffffn, 4194304n]));
  }

  path(): string {
    const { random } = this;
    const kind = random.below(100);
    if (kind < 50) return random.pick(PLAIN);
    if (kind < 65) return random.pick(HOST);
    if (kind < 75) return random.pick(DEVICES);
    if (kind < 90) return `proc/${random.pick(PROC)}`;
    return kind < 95 ? random.pick(ODD) : random.pick(BIN);
  }
}
