/** What a script opens first: a few files of every kind, of which its calls are then told. */
import type { Generator } from "./generate.ts";
import type { Value } from "./script.ts";
import { hex } from "./values.ts";

type Open = (g: Generator) => readonly Value[];

const NR = {
  eventfd2: 19,
  epoll_create1: 20,
  inotify_init1: 26,
  mknodat: 33,
  openat: 56,
  pipe2: 59,
  signalfd4: 74,
  timerfd_create: 85,
  socket: 198,
  socketpair: 199,
  bind: 200,
  listen: 201,
  connect: 203,
  memfd_create: 279,
  pidfd_open: 434,
  ftruncate: 46,
  write: 64,
  mmap: 222,
} as const;

function call(g: Generator, name: keyof typeof NR, ...args: (Value | number)[]): Value {
  return g.emit(
    name,
    NR[name],
    args.map((arg) => (typeof arg === "number" ? hex(arg) : arg)),
  );
}

function open(g: Generator, path: string, flags: number): Value {
  return call(g, "openat", -100, g.memory.text(path), flags, 0o644);
}

/** Two descriptors that a call stores at an address. */
function pair(g: Generator, make: (at: number) => unknown): readonly Value[] {
  const at = g.memory.put(new Uint8Array(8));
  make(at);
  return [`m${hex(at)}`, `m${hex(at + 4)}`];
}

const path = (bytes: number[], text = "") => Buffer.concat([Buffer.from(bytes), Buffer.from(text)]);

const OPENINGS: readonly Open[] = [
  (g) => pair(g, (at) => call(g, "pipe2", at, g.random.pick([0, 0o4000]))),
  (g) => pair(g, (at) => call(g, "socketpair", 1, g.random.pick([1, 2, 5, 1 | 0o4000]), 0, at)),
  (g) => [call(g, "eventfd2", g.random.below(3), g.random.pick([0, 0o4000, 1]))],
  (g) => [call(g, "epoll_create1", 0)],
  (g) => [call(g, "inotify_init1", g.random.pick([0, 0o4000]))],
  (g) => [call(g, "timerfd_create", g.random.pick([0, 1]), 0)],
  (g) => [call(g, "signalfd4", hex(-1), g.memory.put(new Uint8Array(8).fill(0xff)), 8, 0)],
  (g) => [call(g, "memfd_create", g.memory.text("m"), g.random.pick([0, 1, 2]))],
  (g) => [call(g, "pidfd_open", "pid", 0)],
  (g) => {
    const file = open(g, g.random.pick(["f0", "f1", "d0/f0"]), 0o102);
    if (g.random.chance(50)) call(g, "ftruncate", file, g.random.below(40_000));
    return [file];
  },
  (g) => [open(g, g.random.pick(["host/h0", "host/h1", "host/d/h4"]), g.random.pick([0, 2, 0o102, 0o2002]))],
  (g) => [
    open(g, g.random.pick([".", "d0", "host", "proc", "proc/self", "dev/pts", "proc/self/fd"]), 0o200000),
  ],
  (g) => [open(g, g.random.pick(["f0", "d0", "host/h0", "l0"]), 0o10000000)],
  (g) => {
    const master = open(g, "dev/ptmx", 2 | 0o400);
    // TIOCSPTLCK 0, then the slave.
    g.emit("ioctl", 29, [master, hex(0x40045431), hex(g.memory.put(new Uint8Array(4)))]);
    return [master, g.emit("ioctl", 29, [master, hex(0x5441), hex(0o402)])];
  },
  (g) => {
    call(g, "mknodat", -100, g.memory.text("p0"), 0o10666, 0);
    return [open(g, "p0", g.random.pick([0o4000, 2]))];
  },
  (g) => {
    const type = g.random.pick([1, 1, 5, 2]);
    const name = g.memory.put(path([1, 0], "s0\0"));
    const server = call(g, "socket", 1, type, 0);
    call(g, "bind", server, name, 110);
    call(g, "listen", server, g.random.below(3));
    const client = call(g, "socket", 1, type | 0o4000, 0);
    call(g, "connect", client, name, 110);
    return [server, client];
  },
  (g) => {
    const type = g.random.pick([1, 1, 2]);
    const name = g.memory.put(path([2, 0, 19, 137, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]));
    const server = call(g, "socket", 2, type, 0);
    call(g, "bind", server, name, 16);
    call(g, "listen", server, g.random.below(3));
    const client = call(g, "socket", 2, type | 0o4000, 0);
    call(g, "connect", client, name, 16);
    return [server, client];
  },
  (g) => [call(g, "socket", 16, 3, 0)],
  (g) => [open(g, g.random.pick(["dev/null", "dev/zero", "dev/full", "dev/urandom", "dev/tty"]), 2)],
  (g) => [
    open(
      g,
      `proc/${g.random.pick(["self/maps", "self/status", "meminfo", "self/mem", "stat", "self/mountinfo", "net/unix"])}`,
      0,
    ),
  ],
];

export function opening(g: Generator): void {
  for (let n = 3 + g.random.below(8); n > 0; n--) g.scene.fds.push(...g.random.pick(OPENINGS)(g));
}
