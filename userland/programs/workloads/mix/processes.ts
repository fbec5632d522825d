/** Calls on processes, signals and time. */
import { ECHILD, EINVAL, ESRCH } from "../../../../kernel/uapi/errno.ts";
import { SIGUSR1 } from "../../../../kernel/uapi/signal.ts";
import { WNOHANG } from "../../../../kernel/uapi/wait.ts";
import type { Steps } from "../../program.ts";
import { type Args, direct, type MixCall, plain } from "./call.ts";

/** A child that ends at once. */
function* nothing(): Steps<void> {}

const intoBuffer: Args = (w) => [w.buffer];

export const PROCESS_CALLS: readonly (readonly [string, MixCall])[] = [
  ...["getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "sched_yield"].map((name) =>
    plain(name),
  ),
  [
    "clone",
    {
      *run(world) {
        const pid = yield* world.sys.fork(() => nothing());
        if (pid > 0) yield* world.also("wait4", pid, 0, 0, 0);
        return pid;
      },
    },
  ],
  ["wait4", { run: direct("wait4", () => [-1, 0, WNOHANG, 0]), ends: ECHILD }],
  ["waitid", { run: direct("waitid", () => [0, 0, 0, 4 | WNOHANG, 0]), ends: ECHILD }],
  plain("getpgid", () => [0], [ESRCH, () => [0x3fffffff]]),
  plain("getsid", () => [0]),
  plain("getpriority", () => [0, 0]),
  plain("getgroups", (w) => [32, w.buffer]),
  plain("getresuid", (w) => [w.buffer, w.buffer + 8, w.buffer + 16]),
  plain("getresgid", (w) => [w.buffer, w.buffer + 8, w.buffer + 16]),
  plain("prctl", (w) => [16, w.buffer, 0, 0, 0], [EINVAL, () => [0x7fff, 0, 0, 0, 0]]),
  plain("umask", () => [0o22]),
  plain("set_tid_address", (w) => [w.at.event + 64]),
  plain("sched_getaffinity", (w) => [0, 8, w.buffer]),
  plain("getcpu", (w) => [w.buffer, 0, 0]),
  plain("kill", (w) => [w.pid, 0], [ESRCH, () => [0x3fffffff, 0]]),
  plain("tkill", (w) => [w.pid, 0]),
  plain("tgkill", (w) => [w.pid, w.pid, 0], [ESRCH, (w) => [w.pid, 0x3fffffff, 0]]),
  // A handler returns: for that a signal has to be sent.
  [
    "rt_sigreturn",
    {
      *run(world) {
        return yield* world.also("tgkill", world.pid, world.pid, SIGUSR1);
      },
    },
  ],
  plain("rt_sigaction", (w) => [SIGUSR1, 0, w.buffer, 8], [EINVAL, (w) => [65, 0, w.buffer, 8]]),
  plain("rt_sigprocmask", (w) => [0, 0, w.buffer, 8]),
  plain("rt_sigpending", (w) => [w.buffer, 8]),
  plain("sigaltstack", (w) => [0, w.buffer]),
  plain("nanosleep", (w) => [w.at.soon, 0], [EINVAL, (w) => [w.at.wrong, 0]]),
  plain("clock_nanosleep", (w) => [1, 0, w.at.soon, 0]),
  plain("clock_gettime", (w) => [1, w.buffer], [EINVAL, (w) => [99, w.buffer]]),
  plain("clock_getres", (w) => [1, w.buffer]),
  plain("gettimeofday", (w) => [w.buffer, 0]),
  ...["times", "uname", "sysinfo"].map((name) => plain(name, intoBuffer)),
  plain("getrusage", (w) => [0, w.buffer]),
  plain("prlimit64", (w) => [0, 7, 0, w.buffer]),
  plain("getrlimit", (w) => [7, w.buffer]),
  plain("getrandom", (w) => [w.buffer, 16, 0]),
];
