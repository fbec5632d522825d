/**
 * The table of calls whose arguments point to something: each field of a structure in turn takes its boundary values while the
 * others hold usual ones. The layouts are those that x86-64 and riscv64 share. boundary.c writes the bytes and makes the calls;
 * the descriptors are those of its setup().
 */
import type { Syscall } from "../../syscalls/syscall.ts";
import { syscalls } from "../../syscalls/table.ts";
import { register } from "./boundary.ts";
import { BUFFER, FD, NAME, type Vector } from "./vectors.ts";

/** Bytes at an offset of the buffer, 1, 2, 4 or 8 of them. */
export type Poke = readonly [at: number, bytes: number, value: bigint | number];

/** What is varied: bytes of the buffer; with more values than those of its width, or with these alone. */
type Field = readonly [
  name: string,
  at: number,
  bytes: number,
  more?: readonly (bigint | number)[],
  alone?: "alone",
];

interface Case {
  readonly call: string;
  /** Which of the call's cases it is, in the names of its vectors. */
  readonly as?: string;
  readonly args: readonly (bigint | number)[];
  readonly memory?: readonly Poke[];
  readonly fields?: readonly Field[];
  /** Arguments that are varied besides: their number, and values. */
  readonly vary?: Readonly<Record<number, readonly (bigint | number)[]>>;
}

const VALUES: Readonly<Record<number, readonly (bigint | number)[]>> = {
  1: [0, 1, 127, 128, 255],
  2: [0, 1, 2, 3, 4, 0x7fff, 0x8000, 0xffff],
  4: [0, 1, 2, 3, 4, 100, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff0],
  8: [
    ...[0, 1, 3, 8, 16, 4095, 4096, 1_000_000, 999_999_999, 1_000_000_000],
    ...[2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 32n + 1n, 2n ** 43n],
    ...[2n ** 53n + 1n, 2n ** 63n - 4096n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 8n, 2n ** 64n - 1n],
  ],
};

const at = (offset: number): number => BUFFER + offset;
/** Where cases keep what their structures point to. */
const VECTOR = 0x100;
const DATA = 0x200;
const CONTROL = 0x300;
const ADDRESS = 0x400;
const TIMES = 0x500;

// Structures.

const timespec = (offset: number): Field[] => [
  ["tv_sec", offset, 8],
  ["tv_nsec", offset + 8, 8],
];
const pair = (offset: number, first: string, second: string): Field[] => [
  ...timespec(offset).map(([name, ...rest]): Field => [`${first}.${name}`, ...rest]),
  ...timespec(offset + 16).map(([name, ...rest]): Field => [`${second}.${name}`, ...rest]),
];
const MSG_DONTWAIT = 0x40;
const MSGHDR: readonly Field[] = [
  ["msg_name", 0, 8],
  ["msg_namelen", 8, 4],
  ["msg_iov", 16, 8],
  ["msg_iovlen", 24, 8, [1024, 1025]],
  ["msg_control", 32, 8],
  ["msg_controllen", 40, 8, [15, 17, 20, 65536, 2n ** 17n]],
  ["iov_base", VECTOR, 8],
  ["iov_len", VECTOR + 8, 8],
];
const vector: readonly Poke[] = [
  [VECTOR, 8, at(DATA)],
  [VECTOR + 8, 8, 8],
];
const header = (control: number, name = 0): readonly Poke[] => [
  [0, 8, name === 0 ? 0 : at(ADDRESS)],
  [8, 4, name],
  [16, 8, at(VECTOR)],
  [24, 8, 1],
  [32, 8, control === 0 ? 0 : at(CONTROL)],
  [40, 8, control],
  ...vector,
];
const SOL_SOCKET = 1;
const cmsg = (length: number, type: number, offset = CONTROL): readonly Poke[] => [
  [offset, 8, length],
  [offset + 8, 4, SOL_SOCKET],
  [offset + 12, 4, type],
];
const CMSGHDR: readonly Field[] = [
  ["cmsg_len", CONTROL, 8, [15, 17, 18, 19, 20, 21, 24, 25, 28, 40]],
  ["cmsg_level", CONTROL + 8, 4, [41]],
  ["cmsg_type", CONTROL + 12, 4],
];
const rights = [...cmsg(20, 1), [CONTROL + 16, 4, FD.FILE] as const];
const sockaddrIn: readonly Poke[] = [
  [ADDRESS, 2, 2],
  [ADDRESS + 2, 2, 0x3905],
];

const messages: readonly Case[] = [
  {
    call: "sendmsg",
    as: "rights",
    args: [FD.STREAM, BUFFER, MSG_DONTWAIT],
    memory: [...header(24), ...rights],
    fields: [...MSGHDR, ...CMSGHDR, ["fd", CONTROL + 16, 4]],
  },
  {
    call: "sendmsg",
    as: "two",
    args: [FD.STREAM, BUFFER, MSG_DONTWAIT],
    memory: [...header(48), ...rights, ...cmsg(20, 1, CONTROL + 24), [CONTROL + 40, 4, FD.FILE]],
    fields: [
      ...CMSGHDR,
      ["second_len", CONTROL + 24, 8, [15, 16, 20, 24, 25]],
      ["second_type", CONTROL + 36, 4],
    ],
  },
  {
    call: "sendmsg",
    as: "credentials",
    args: [FD.STREAM, BUFFER, MSG_DONTWAIT],
    memory: [...header(32), ...cmsg(28, 2)],
    fields: [
      ["cmsg_len", CONTROL, 8, [27, 28, 29, 32]],
      ["uid", CONTROL + 20, 4, [1000]],
      ["gid", CONTROL + 24, 4, [1000]],
    ],
  },
  {
    call: "sendmsg",
    as: "inet",
    args: [FD.DATAGRAM, BUFFER, MSG_DONTWAIT],
    memory: [...header(24, 16), ...sockaddrIn, [ADDRESS + 4, 4, 0x0100007f], ...rights],
    fields: [...MSGHDR, ...CMSGHDR, ["sin_family", ADDRESS, 2, [10]], ["sin_port", ADDRESS + 2, 2]],
  },
  {
    call: "sendmsg",
    as: "netlink",
    args: [FD.NETLINK, BUFFER, MSG_DONTWAIT],
    // A struct nlmsghdr, a struct ifinfomsg, and IFLA_IFNAME "lo".
    memory: [
      ...header(0, 12),
      [VECTOR + 8, 8, 40],
      [ADDRESS, 2, 16],
      [DATA, 4, 40],
      [DATA + 4, 2, 18],
      [DATA + 6, 2, 1],
      [DATA + 32, 2, 7],
      [DATA + 34, 2, 3],
      [DATA + 36, 2, 0x6f6c],
    ],
    fields: [
      ...MSGHDR,
      ["nl_family", ADDRESS, 2],
      ["nl_pid", ADDRESS + 4, 4],
      ["nlmsg_len", DATA, 4, [15, 16, 17, 32, 39, 40, 41]],
      ["nlmsg_type", DATA + 4, 2, [16, 18, 20, 22, 24, 26]],
      ["nlmsg_flags", DATA + 6, 2, [0x300, 0x301, 0x305]],
      ["nlmsg_pid", DATA + 12, 4],
      ["ifi_index", DATA + 20, 4],
      ["rta_len", DATA + 32, 2, [5, 6, 7, 8]],
      ["rta_type", DATA + 34, 2],
    ],
  },
  {
    call: "recvmsg",
    args: [FD.MESSAGE, BUFFER, MSG_DONTWAIT],
    memory: [...header(24, 16)],
    fields: MSGHDR,
  },
  {
    call: "recvmsg",
    as: "peek",
    args: [FD.MESSAGE, BUFFER, MSG_DONTWAIT | 2],
    memory: [...header(24)],
    fields: [["msg_controllen", 40, 8]],
  },
  {
    call: "recvmsg",
    as: "netlink",
    args: [FD.NETLINK, BUFFER, MSG_DONTWAIT],
    memory: [...header(0, 12)],
    fields: MSGHDR,
  },
  {
    call: "sendmmsg",
    args: [FD.STREAM, BUFFER, 1, MSG_DONTWAIT],
    memory: [...header(24), ...rights],
    fields: MSGHDR,
    vary: { 2: [0, 2, 1024, 1025, 2 ** 31, 2 ** 32 - 1] },
  },
  {
    call: "recvmmsg",
    args: [FD.MESSAGE, BUFFER, 1, MSG_DONTWAIT, at(TIMES)],
    memory: [...header(24, 16)],
    fields: [...MSGHDR, ...timespec(TIMES)],
    vary: { 2: [0, 2, 1024, 1025, 2 ** 31, 2 ** 32 - 1] },
  },
];

const LENGTHS = [
  0,
  1,
  2,
  3,
  4,
  8,
  15,
  16,
  17,
  24,
  28,
  29,
  107,
  108,
  110,
  111,
  127,
  128,
  129,
  2 ** 31,
  2 ** 32 - 1,
];
const families: readonly (readonly [as: string, fd: number, family: number, length: number])[] = [
  ["inet", FD.DATAGRAM, 2, 16],
  ["inet6", FD.DATAGRAM6, 10, 28],
  ["tcp", FD.TCP, 2, 16],
  ["unix", FD.UNNAMED, 1, 8],
  ["netlink", FD.NETLINK, 16, 12],
];
const FAMILY: Field = ["family", ADDRESS, 2, [10, 16]];
const addresses: readonly Case[] = families.flatMap(([as, fd, family, length]): Case[] =>
  ["bind", "connect", "sendto"].flatMap((call): Case[] => {
    if (as === "tcp" && call !== "bind") return [];
    const named = [at(ADDRESS), length];
    return [
      {
        call,
        as,
        args: call === "sendto" ? [fd, at(DATA), 8, MSG_DONTWAIT, ...named] : [fd, ...named],
        memory: [
          [ADDRESS, 2, family],
          [ADDRESS + 2, 2, as === "unix" ? 0x6600 : 0x3905],
        ],
        // Whether a name of AF_UNIX leads anywhere is another question.
        fields:
          as === "unix"
            ? [FAMILY]
            : [FAMILY, ["port", ADDRESS + 2, 2], ["address", ADDRESS + 4, 4, [0x0100007f, 0x0100000a]]],
        vary: { [call === "sendto" ? 5 : 2]: LENGTHS },
      },
    ];
  }),
);

/** Options by level that take an int: what Linux takes as their values. */
const OPTIONS: readonly (readonly [level: number, fd: number, options: readonly number[]])[] = [
  [
    SOL_SOCKET,
    FD.STREAM,
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15, 16, 18, 19, 20, 21, 30, 38, 39, 66, 67, 68],
  ],
  [SOL_SOCKET, FD.DATAGRAM, [6, 8, 12, 18, 20]],
  [0, FD.DATAGRAM, [1, 2, 8, 10, 11, 15, 24]],
  [6, FD.TCP, [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 18, 23]],
  [41, FD.DATAGRAM6, [10, 16, 23, 25, 26, 67]],
  [270, FD.NETLINK, [1, 2, 3, 4, 5, 11]],
];
const INTS = [-1, 0, 1, 2, 9, 64, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 0x7fffffff, -0x80000000];
const SIZES_OF_OPTIONS = [0, 1, 3, 4, 7, 8, 15, 16, 17, 4096];
const options: readonly Case[] = OPTIONS.flatMap(([level, fd, list]) =>
  list.flatMap((option): Case[] => [
    {
      call: "setsockopt",
      as: `${level}.${option}`,
      args: [fd, level, option, BUFFER, 16],
      fields: [["value", 0, 4, INTS.map((value) => value >>> 0)]],
      vary: { 4: SIZES_OF_OPTIONS },
    },
    {
      call: "getsockopt",
      as: `${level}.${option}`,
      args: [fd, level, option, BUFFER, at(16)],
      memory: [[16, 4, 16]],
      fields: [["length", 16, 4, [8, 12]]],
    },
  ]),
);
const timeouts: readonly Case[] = [20, 21].map((option) => ({
  call: "setsockopt",
  as: `timeout${option}`,
  args: [FD.STREAM, SOL_SOCKET, option, BUFFER, 16],
  fields: timespec(0),
}));
const names: readonly Case[] = ["getsockname", "getpeername", "accept4"].map((call) => ({
  call,
  args: [FD.STREAM, at(ADDRESS), BUFFER, 0],
  memory: [[0, 4, 16]],
  fields: [["length", 0, 4]],
}));

const iovecs: readonly Case[] = ["readv", "writev", "preadv", "pwritev", "vmsplice"].map((call) => ({
  call,
  args: [call === "vmsplice" ? FD.PIPE_IN : FD.FILE, at(VECTOR), 2, 0],
  memory: [...vector, [VECTOR + 16, 8, at(DATA)], [VECTOR + 24, 8, 8]],
  fields: [
    ["iov_base", VECTOR, 8],
    ["iov_len", VECTOR + 8, 8],
    ["second_base", VECTOR + 16, 8],
    ["second_len", VECTOR + 24, 8],
  ],
  vary: { 2: [0, 1, 1024, 1025, 2n ** 32n + 1n, 2n ** 60n, 2n ** 64n - 1n] },
}));

/** Offsets in memory that a call reads and moves on. */
const offsets: readonly Case[] = [
  { call: "sendfile", args: [FD.PIPE_IN, FD.FILE, BUFFER, 8], fields: [["offset", 0, 8]] },
  { call: "splice", args: [FD.FILE, BUFFER, FD.PIPE_IN, 0, 8, 2], fields: [["offset", 0, 8]] },
  { call: "splice", as: "out", args: [FD.FULL_PIPE, 0, FD.FILE, BUFFER, 8, 2], fields: [["offset", 0, 8]] },
  {
    call: "copy_file_range",
    args: [FD.FILE, BUFFER, FD.FILE, at(8), 8, 0],
    memory: [[8, 8, 4096]],
    fields: [
      ["from", 0, 8],
      ["to", 8, 8],
    ],
  },
  {
    call: "write",
    as: "eventfd",
    args: [FD.EVENTFD, BUFFER, 8],
    fields: [["count", 0, 8, [2n ** 64n - 2n]]],
    vary: { 2: [0, 4, 7, 9] },
  },
];

const UTIME = [0x3fffffff, 0x3ffffffe];
const FAR = [0, 2n ** 40n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];
const times: readonly Case[] = [
  { call: "nanosleep", args: [BUFFER, 0], fields: timespec(0) },
  { call: "clock_nanosleep", args: [1, 0, BUFFER, 0], fields: timespec(0) },
  { call: "clock_nanosleep", as: "absolute", args: [0, 1, BUFFER, 0], fields: timespec(0) },
  { call: "clock_settime", args: [0, BUFFER], fields: timespec(0) },
  { call: "settimeofday", args: [BUFFER, 0], fields: timespec(0) },
  { call: "timerfd_settime", args: [FD.TIMERFD, 0, BUFFER, at(64)], fields: pair(0, "interval", "value") },
  {
    call: "timerfd_settime",
    as: "absolute",
    args: [FD.TIMERFD, 1, BUFFER, at(64)],
    fields: pair(0, "interval", "value"),
  },
  ...[0, 1].map((flags) => ({
    call: "timer_settime",
    as: `flags${flags}`,
    args: [0, flags, BUFFER, at(64)],
    // The timer's signal ends the process: it must not come at once.
    memory: [[16, 8, 2n ** 40n] as const],
    fields: pair(0, "interval", "value").map(
      ([name, ...rest]): Field => (name === "value.tv_sec" ? [name, 16, 8, FAR, "alone"] : [name, ...rest]),
    ),
  })),
  {
    call: "setitimer",
    args: [0, BUFFER, at(64)],
    memory: [[16, 8, 100]],
    fields: pair(0, "interval", "value"),
  },
  {
    call: "utimensat",
    args: [-100, NAME, BUFFER, 0],
    fields: [
      ["atime.tv_sec", 0, 8],
      ["atime.tv_nsec", 8, 8, UTIME],
      ["mtime.tv_sec", 16, 8],
      ["mtime.tv_nsec", 24, 8, UTIME],
    ],
  },
  { call: "ppoll", args: [0, 0, BUFFER, 0, 8], fields: timespec(0) },
  { call: "pselect6", args: [0, 0, 0, 0, BUFFER, 0], fields: timespec(0) },
  {
    call: "pselect6",
    as: "mask",
    args: [0, 0, 0, 0, at(32), BUFFER],
    memory: [
      [0, 8, at(64)],
      [8, 8, 8],
    ],
    fields: [
      ["mask", 0, 8],
      ["size", 8, 8],
    ],
  },
  { call: "epoll_pwait2", args: [FD.EPOLL, at(64), 1, BUFFER, 0, 8], fields: timespec(0) },
  { call: "rt_sigtimedwait", args: [at(64), 0, BUFFER, 8], fields: timespec(0) },
  { call: "futex", as: "wait", args: [at(64), 0, 0, BUFFER, 0, 0], fields: timespec(0) },
  { call: "futex", as: "wait_bitset", args: [at(64), 9, 0, BUFFER, 0, -1], fields: timespec(0) },
];

const FUTEX_COUNTS = [0, 1, -1, 2 ** 31 - 1, 2 ** 31, 2n ** 32n];
const futexes: readonly Case[] = [1, 3, 4, 5, 10].map((op) => ({
  call: "futex",
  as: `op${op}`,
  args: [at(64), op, 1, 1, at(72), op === 10 ? 1 : 0],
  vary: {
    0: [at(65), at(66), at(68), 0, 8, 2n ** 32n + 64n, 2n ** 63n],
    2: FUTEX_COUNTS,
    3: FUTEX_COUNTS,
    4: [at(73), at(64), 0, 2n ** 32n],
    5: [...FUTEX_COUNTS, 0xf0000000, 0x0f000000, 0x08000000, 0x8001f000, 0x80020000, 0x70000000, 0x5f000fff],
  },
}));

/** Below every limit that a process begins with, and above. */
const LIMITS = [
  0,
  1,
  15,
  16,
  17,
  2n ** 31n,
  2n ** 32n,
  2n ** 53n + 1n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 2n,
  2n ** 64n - 1n,
];
const limits: readonly Case[] = Array.from({ length: 16 }, (_, resource): Case[] => {
  // RLIMIT_CPU: the process is killed sooner or later. RLIMIT_FSIZE, AS, DATA, STACK: as low as the next instruction needs.
  if (resource === 0) return [];
  const fields: Field[] = [
    ["rlim_cur", 0, 8, LIMITS, "alone"],
    ["rlim_max", 8, 8, LIMITS, "alone"],
  ];
  const memory: Poke[] = [
    [0, 8, 16],
    [8, 8, 16],
  ];
  return [
    { call: "setrlimit", as: `${resource}`, args: [resource, BUFFER], memory, fields },
    { call: "prlimit64", as: `${resource}`, args: [0, resource, BUFFER, at(64)], memory, fields },
  ];
}).flat();

const scheduling: readonly Case[] = [
  ...[0, 1, 2, 3, 5, 6].map((policy) => ({
    call: "sched_setscheduler",
    as: `${policy}`,
    args: [0, policy, BUFFER],
    fields: [["sched_priority", 0, 4] as const],
  })),
  { call: "sched_setparam", args: [0, BUFFER], fields: [["sched_priority", 0, 4]] },
  {
    call: "sched_setaffinity",
    args: [0, 8, BUFFER],
    memory: [[0, 8, 1]],
    fields: [["mask", 0, 8]],
    vary: { 1: [0, 1, 4, 16, 128] },
  },
];

const polls: readonly Case[] = [
  {
    call: "ppoll",
    as: "pollfd",
    args: [BUFFER, 1, at(32), 0, 8],
    memory: [
      [0, 4, FD.PIPE_OUT],
      [4, 2, 1],
    ],
    fields: [
      ["fd", 0, 4],
      ["events", 4, 2],
      ["revents", 6, 2],
    ],
    vary: { 1: [0, 2, 2 ** 21, 2 ** 31, 2 ** 32 - 1, 2n ** 32n + 1n] },
  },
  ...[1, 2, 3].map((op) => ({
    call: "epoll_ctl",
    as: `${op}`,
    args: [FD.EPOLL, op, FD.PIPE_OUT, BUFFER],
    memory: [[0, 4, 1] as const],
    fields: [
      [
        "events",
        0,
        4,
        [1 << 28, 2 ** 28 + 1, 2 ** 28 + 2 ** 30, 2 ** 28 + 2 ** 31, 0x2019, 0x1000201d],
      ] as const,
    ],
  })),
  {
    call: "epoll_pwait",
    args: [FD.EPOLL, BUFFER, 1, 0, 0, 8],
    vary: { 2: [0, 2, 134217727, 178956971, 2 ** 31 - 1] },
  },
  {
    call: "pselect6",
    as: "sets",
    args: [64, BUFFER, 0, 0, at(256), 0],
    memory: [[0, 8, 1 << FD.PIPE_OUT]],
    fields: [["set", 0, 8]],
    vary: { 0: [0, 1, 63, 65, 256, 1024, 1025, 65536, 2 ** 20 + 1, 2 ** 31 - 1, -1] },
  },
];

const F = { GETLK: 5, SETLK: 6, SETOWN_EX: 15, OFD_GETLK: 36, OFD_SETLK: 37 };
const locks: readonly Case[] = [F.GETLK, F.SETLK, F.OFD_GETLK, F.OFD_SETLK].map((command) => ({
  call: "fcntl",
  as: `lock${command}`,
  args: [FD.FILE, command, BUFFER],
  memory: [
    [0, 2, 1],
    [8, 8, 100],
    [16, 8, 10],
  ],
  fields: [
    ["l_type", 0, 2],
    ["l_whence", 2, 2],
    ["l_start", 8, 8],
    ["l_len", 16, 8, [-100, -101, 2n ** 63n - 101n, 2n ** 63n - 100n]],
    ["l_pid", 24, 4],
  ],
}));
/** Numbers that no process has, or that are none. */
const NOBODY = [0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff0];
const owners: readonly Case[] = [
  {
    call: "fcntl",
    as: "owner",
    args: [FD.STREAM, F.SETOWN_EX, BUFFER],
    fields: [
      ["type", 0, 4],
      ["pid", 4, 4, NOBODY, "alone"],
    ],
  },
];

const O_PATH = 0x200000;
const O_TMPFILE = 0x410000;
/** Signals that do nothing to who is waited for, and none. */
const SIGNALS = [0, 17, 65, 128, 255, 256, 2n ** 31n, 2n ** 32n + 17n, 2n ** 63n, -1];
const structs: readonly Case[] = [
  {
    call: "openat2",
    args: [-100, NAME, BUFFER, 24],
    memory: [[0, 8, 0]],
    fields: [
      ["flags", 0, 8, [0o100, O_PATH, O_PATH + 0o100, O_TMPFILE, O_TMPFILE + 2, 0o40000000, 0x80000]],
      ["mode", 8, 8, [0o777]],
      ["resolve", 16, 8, [2, 4, 8, 16, 32, 64, 24, 128]],
    ],
    vary: { 3: [0, 16, 23, 24, 25, 32, 4096, 4097, 2n ** 32n] },
  },
  {
    call: "openat2",
    as: "create",
    args: [-100, NAME, BUFFER, 24],
    memory: [[0, 8, 0o100]],
    fields: [["mode", 8, 8, [0o777, 0o7777, 0o10000]]],
  },
  {
    call: "clone3",
    args: [BUFFER, 88],
    memory: [[32, 8, 17]],
    fields: [
      [
        "flags",
        0,
        8,
        [
          0x200, 0x400, 0x800, 0x1000, 0x2000, 0x8000, 0x10000, 0x40000, 0x80000, 0x100000, 0x200000,
          0x400000, 0x800000, 0x1000000,
        ],
      ],
      ["pidfd", 8, 8],
      ["exit_signal", 32, 8, SIGNALS, "alone"],
      ["stack_size", 48, 8],
      ["set_tid", 64, 8],
      ["set_tid_size", 72, 8],
      ["cgroup", 80, 8],
    ],
    vary: { 1: [0, 63, 64, 72, 80, 87, 88, 89, 96, 4096, 4097] },
  },
  {
    call: "rt_sigaction",
    args: [10, BUFFER, at(64), 8],
    fields: [
      ["handler", 0, 8],
      ["flags", 8, 8],
    ],
  },
  {
    call: "sigaltstack",
    args: [BUFFER, at(64)],
    memory: [
      [0, 8, at(0x1000)],
      [16, 8, 8192],
    ],
    fields: [
      ["ss_sp", 0, 8],
      ["ss_flags", 8, 4],
      ["ss_size", 16, 8, [2047, 2048]],
    ],
  },
  {
    call: "timer_create",
    as: "sigevent",
    args: [1, BUFFER, at(64)],
    memory: [[8, 4, 10]],
    fields: [
      ["sigev_signo", 8, 4, [64, 65]],
      ["sigev_notify", 12, 4],
    ],
  },
  {
    call: "capget",
    args: [BUFFER, at(16)],
    memory: [[0, 4, 0x20080522]],
    fields: [
      ["version", 0, 4, [0x19980330, 0x20071026, 0x20080522]],
      ["pid", 4, 4, NOBODY, "alone"],
    ],
  },
  {
    call: "capset",
    args: [BUFFER, at(16)],
    memory: [[0, 4, 0x20080522]],
    fields: [
      ["version", 0, 4, [0x19980330, 0x20071026, 0x20080522]],
      ["effective", 16, 4],
      ["permitted", 20, 4],
      ["inheritable", 24, 4],
    ],
  },
  {
    call: "set_robust_list",
    args: [BUFFER, 24],
    memory: [
      [0, 8, at(64)],
      [64, 8, BUFFER],
    ],
    fields: [
      ["list", 0, 8],
      ["futex_offset", 8, 8],
      ["list_op_pending", 16, 8],
      ["next", 64, 8],
    ],
  },
  { call: "setgroups", args: [1, BUFFER], fields: [["gid", 0, 4]] },
];

const TERMIOS: readonly Field[] = [
  ["c_iflag", 0, 4],
  ["c_oflag", 4, 4],
  ["c_cflag", 8, 4],
  ["c_lflag", 12, 4],
  ["c_line", 16, 1],
  ["VTIME", 17 + 5, 1],
  ["VMIN", 17 + 6, 1],
];
const WINSIZE: readonly Field[] = [
  ["ws_row", 0, 2],
  ["ws_col", 2, 2],
  ["ws_xpixel", 4, 2],
];
const int: readonly Field[] = [["int", 0, 4]];
/** Commands of ioctl(2), and what their argument points to. */
const IOCTLS: readonly (readonly [name: string, command: number, fields: readonly Field[]])[] = [
  ["TCGETS", 0x5401, []],
  ["TCSETS", 0x5402, TERMIOS],
  ["TCSETSF", 0x5404, TERMIOS],
  ["TCSBRK", 0x5409, []],
  ["TCXONC", 0x540a, []],
  ["TCFLSH", 0x540b, []],
  ["TIOCEXCL", 0x540c, []],
  ["TIOCNXCL", 0x540d, []],
  ["TIOCSCTTY", 0x540e, []],
  ["TIOCGPGRP", 0x540f, []],
  ["TIOCSPGRP", 0x5410, int],
  ["TIOCOUTQ", 0x5411, []],
  ["TIOCGWINSZ", 0x5413, []],
  ["TIOCSWINSZ", 0x5414, WINSIZE],
  ["FIONREAD", 0x541b, []],
  ["TIOCPKT", 0x5420, int],
  ["FIONBIO", 0x5421, int],
  ["TIOCNOTTY", 0x5422, []],
  ["TIOCGSID", 0x5429, []],
  ["TIOCGPTN", 0x80045430, []],
  ["TIOCSPTLCK", 0x40045431, int],
  ["TIOCGPKT", 0x80045438, []],
  ["TIOCGPTPEER", 0x5441, []],
  ["FIONCLEX", 0x5450, []],
  ["FIOCLEX", 0x5451, []],
  ["FIOASYNC", 0x5452, int],
];
const ON = [
  "FILE",
  "STREAM",
  "DATAGRAM",
  "PIPE_OUT",
  "FOLDER",
  "EVENTFD",
  "MASTER",
  "TERMINAL",
  "INOTIFY",
] as const;
const POINTERS = [0, 1, 2n ** 32n, 2n ** 63n];
const ioctls: readonly Case[] = ON.flatMap((name) =>
  IOCTLS.map(([command, number, fields]) => ({
    call: "ioctl",
    as: `${command}.${name}`,
    args: [FD[name], number, BUFFER],
    fields: name === "MASTER" || name === "TERMINAL" ? fields : [],
    vary: { 2: name === "MASTER" || name === "TERMINAL" ? [...POINTERS, 2, 3, -1] : POINTERS },
  })),
);

/** Text for files of /proc, in pieces of a register. */
function text(string: string): Poke[] {
  const bytes = Buffer.from(`${string}${"\0".repeat(8)}`);
  const pieces: Poke[] = [];
  for (let n = 0; n + 8 <= bytes.length; n += 8) pieces.push([n, 8, bytes.readBigUInt64LE(n)]);
  return pieces;
}
const NUMBERS = [
  ...[
    "0",
    "1\n",
    "-1",
    "+1",
    "1000",
    "1001",
    "-1000",
    "-1001",
    " 5 ",
    "5 6",
    "5x",
    "x",
    "",
    "\n",
    "\0",
    "0x10",
    "010",
    "1e3",
    "1.5",
  ],
  ...["2147483647", "2147483648", "-2147483649", "4294967296", "9223372036854775807", "9223372036854775808"],
  ...[
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "9".repeat(40),
    "0".repeat(64),
    "5\x006",
    "--1",
  ],
];
const TEXT_FILES: readonly (readonly [name: string, fd: number])[] = [
  ["OOM_SCORE_ADJ", FD.OOM_SCORE_ADJ],
  ["COMM", FD.COMM],
];
const texts: readonly Case[] = TEXT_FILES.flatMap(([name, fd]) =>
  NUMBERS.flatMap((number, n): Case[] => {
    const offsets = n > 4 ? [] : [1, 4096, 2n ** 63n - 1n, -1];
    return [
      { call: "write", as: `${name}.${n}`, args: [fd, BUFFER, number.length], memory: text(number) },
      ...offsets.map(
        (offset): Case => ({
          call: "pwrite64",
          as: `${name}.${n}at${offset}`,
          args: [fd, BUFFER, number.length, offset],
          memory: text(number),
        }),
      ),
    ];
  }),
);

const CASES: readonly Case[] = [
  ...[messages, addresses, options, timeouts, names, iovecs, offsets, times, futexes, limits].flat(),
  ...[scheduling, polls, locks, owners, structs, ioctls, texts].flat(),
];

const byName = new Map(syscalls.map((call) => [call.name, call]));

function vectorsOfCase({ call: name, as, args, memory = [], fields = [], vary = {} }: Case): Vector[] {
  const call = byName.get(name) as Syscall;
  const prefix = as === undefined ? "" : `${as}.`;
  const vectors: Vector[] = [];
  const add = (what: string, list: readonly (bigint | number)[], pokes: readonly Poke[]): void => {
    vectors.push({ call, index: `${prefix}${what}`, args: list.map(register), memory: pokes });
  };
  add("usual", args, memory);
  for (const [field, offset, bytes, more = [], alone] of fields)
    for (const value of new Set([...(alone === undefined ? VALUES[bytes]! : []), ...more])) {
      const poke: Poke = [offset, bytes, value];
      add(field, args, [...memory.filter(([other]) => other !== offset), poke]);
    }
  for (const [index, values] of Object.entries(vary))
    for (const value of values) add(`arg${index}`, args.with(Number(index), value), memory);
  return vectors;
}

/** All vectors, by the call that they make. */
export function contentsOf(call: Syscall): Vector[] {
  return CASES.filter((one) => one.call === call.name).flatMap(vectorsOfCase);
}
