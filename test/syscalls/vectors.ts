/**
 * The table of boundary calls: for each system call, each argument in turn takes its boundary values while the others have
 * usual ones. A call with a selector (fcntl's command, prctl's operation) does so once for each of the selector's values.
 * The guest program boundary.c makes the calls; the numbers below are those of its setup().
 */
import { type Arg, DECODE, fd, hexArg, path, size, str } from "../../syscalls/args.ts";
import type { Syscall } from "../../syscalls/syscall.ts";
import { boundaryValues, FEW, register } from "./boundary.ts";

export const BUFFER = 0x30000000;
export const NAME = BUFFER + 0x8000;
export const FD = {
  FILE: 3,
  STREAM: 4,
  DATAGRAM: 6,
  EPOLL: 7,
  TIMERFD: 8,
  INOTIFY: 9,
  PIPE_OUT: 10,
  PIPE_IN: 11,
  FOLDER: 12,
  EVENTFD: 13,
  NETLINK: 14,
  MASTER: 15,
  TERMINAL: 16,
  /** A datagram with a descriptor waits in it. */
  MESSAGE: 18,
  TCP: 19,
  DATAGRAM6: 20,
  /** An AF_UNIX datagram socket without a name. */
  UNNAMED: 21,
  /** A pipe that holds 8 bytes. */
  FULL_PIPE: 22,
  OOM_SCORE_ADJ: 24,
  COMM: 25,
};

/** Calls that cannot be tried this way, and why. */
export const LEFT_OUT: Readonly<Record<string, string>> = {
  clone: "a child on the caller's own stack: test/guest/src/numbers.c tries its exit signals",
};

/** Usual arguments that the type alone does not tell: by call, then by position. */
const USUAL: Readonly<Record<string, Readonly<Record<number, number>>>> = {
  epoll_ctl: { 0: FD.EPOLL, 2: FD.PIPE_OUT },
  epoll_pwait: { 0: FD.EPOLL, 3: 0, 4: 0 },
  epoll_pwait2: { 0: FD.EPOLL, 4: 0 },
  timerfd_settime: { 0: FD.TIMERFD },
  timerfd_gettime: { 0: FD.TIMERFD },
  signalfd4: { 0: -1 },
  inotify_add_watch: { 0: FD.INOTIFY },
  inotify_rm_watch: { 0: FD.INOTIFY },
  splice: { 0: FD.PIPE_OUT, 1: 0, 2: FD.FILE, 3: 0 },
  tee: { 0: FD.PIPE_OUT, 1: FD.PIPE_IN },
  vmsplice: { 0: FD.PIPE_IN, 2: 1 },
  getdents64: { 0: FD.FOLDER, 2: 4096 },
  fchdir: { 0: FD.FOLDER },
  timer_settime: { 0: 0 },
  timer_gettime: { 0: 0 },
  timer_getoverrun: { 0: 0 },
  timer_delete: { 0: 0 },
  sendfile: { 0: FD.FILE, 1: FD.FILE, 2: 0 },
  copy_file_range: { 1: 0, 3: 0, 5: 0 },
  mmap: { 0: 0, 1: 4096, 2: 3, 3: 0x22, 4: -1, 5: 0 },
  mremap: { 1: 4096, 2: 4096, 4: 0 },
  munmap: { 1: 4096 },
  mprotect: { 1: 4096, 2: 3 },
  madvise: { 1: 4096 },
  mincore: { 1: 4096 },
  mlock: { 1: 4096 },
  mlock2: { 1: 4096, 2: 0 },
  munlock: { 1: 4096 },
  msync: { 1: 4096, 2: 4 },
  openat2: { 3: 24 },
  clone3: { 1: 88 },
  sched_getaffinity: { 1: 128 },
  set_robust_list: { 1: 24 },
  getcwd: { 1: 4096 },
  socket: { 1: 1, 2: 0 },
  socketpair: { 1: 1, 2: 0 },
  eventfd2: { 1: 0 },
  fallocate: { 1: 0, 3: 4096 },
  getgroups: { 0: 0 },
  setgroups: { 0: 0 },
  waitid: { 0: 0, 3: 5 },
  wait4: { 0: -1, 2: 1 },
  rt_sigaction: { 0: 10 },
  pselect6: { 5: 0 },
  ppoll: { 3: 0 },
  membarrier: { 1: 0 },
  close_range: { 0: 100, 1: 200 },
  statx: { 3: 0x7ff },
  faccessat: { 2: 0 },
  faccessat2: { 2: 0 },
};
const SOCKETS =
  /^(bind|listen|accept4?|connect|getsockname|getpeername|sendto|recvfrom|[sg]etsockopt|shutdown|(send|recv)m?msg)$/;
/** Values of a selector that start what never ends, or change what the next calls need. */
const NOT_CHOSEN: Readonly<Record<string, readonly number[]>> = {};

/** What an argument of this type usually is. */
function usual(arg: Arg): number {
  if (arg.format === path.format || arg.format === str.format) return NAME;
  if (arg.selector === true) return arg.values![0]!;
  if (arg.range?.bits !== undefined) return 0;
  switch (arg.decode) {
    case DECODE.LONG:
      return 0;
    case DECODE.ULONG:
      return arg.format === size.format ? 8 : arg.format === hexArg.format ? 0 : BUFFER;
    default:
      return 0;
  }
}

export interface Vector {
  readonly call: Syscall;
  /** What is varied: an argument's number, or the name of a field. */
  readonly index: number | string;
  readonly args: readonly bigint[];
  /** What the buffer holds, else zeros: offset, number of bytes, value. */
  readonly memory?: readonly (readonly [at: number, bytes: number, value: bigint | number])[];
}

function base(call: Syscall): number[] {
  return call.args.map((arg, index) => {
    const known = USUAL[call.name]?.[index];
    if (known !== undefined) return known;
    if (index === 0 && SOCKETS.test(call.name)) return FD.STREAM;
    return arg === fd ? FD.FILE : usual(arg);
  });
}

/** All vectors of a call, in a fixed order. */
export function vectorsOf(call: Syscall): Vector[] {
  const vectors: Vector[] = [];
  const add = (from: readonly number[], index: number, values: readonly bigint[]): void => {
    for (const value of values) {
      const args = from.map(register);
      args[index] = value;
      vectors.push({ call, index, args });
    }
  };
  const usualArgs = base(call);
  if (call.args.length === 0) vectors.push({ call, index: -1, args: [] });
  call.args.forEach((arg, index) => {
    add(usualArgs, index, boundaryValues(arg));
  });
  call.args.forEach((selector, at) => {
    if (selector.selector !== true) return;
    for (const value of selector.values!) {
      if (NOT_CHOSEN[call.name]?.includes(value) === true) continue;
      const chosen = usualArgs.with(at, value);
      call.args.forEach((arg, index) => {
        if (index !== at && arg.selector !== true) add(chosen, index, FEW.map(register));
      });
    }
  });
  return vectors;
}

/** The line of boundary.c's input. `waits`: the call may wait for something that never comes. */
export function line(vector: Vector, waits: boolean): string {
  const words = [waits ? 1n : 0n, BigInt(vector.call.nr), ...vector.args];
  while (words.length < 8) words.push(0n);
  for (const [at, bytes, value] of vector.memory ?? [])
    words.push(BigInt(at), BigInt(bytes), register(value));
  return `${words.map((word) => word.toString(16)).join(" ")}\n`;
}
