/** Summaries of system calls: what `strace -c -o FILE` and `sternix run --stats=FILE` write. */

export interface SummaryRow {
  readonly name: string;
  readonly calls: number;
  /** How many of them failed. */
  readonly errors: number;
}

/** The rows of all tables in the text, by name, most frequent first; none when there is no table in it. */
export function parseSummary(text: string): SummaryRow[] {
  const rows = text.trimStart().startsWith("{") ? statsRows(text) : straceRows(text);
  const sums = new Map<string, SummaryRow>();
  for (const { name, calls, errors } of rows) {
    const sum = sums.get(name);
    sums.set(name, { name, calls: calls + (sum?.calls ?? 0), errors: errors + (sum?.errors ?? 0) });
  }
  return [...sums.values()].filter(({ calls }) => calls > 0).sort((a, b) => b.calls - a.calls);
}

/** Columns are named by the header (strace -U chooses them); a row leaves the errors out when there were none. */
function* straceRows(text: string): Generator<SummaryRow> {
  let columns: string[] = [];
  for (const line of text.split("\n")) {
    const words = line.replace("% time", "%time").trim().split(/\s+/);
    const last = words.at(-1)!;
    if (words.includes("calls") && /^(syscall|name)$/.test(last)) {
      columns = words;
      continue;
    }
    if (columns.length === 0 || line.trim() === "" || /^[-\s]+$/.test(line) || last === "total") continue;
    const full = words.length === columns.length;
    const shown = full ? columns : columns.filter((name) => name !== "errors");
    if (words.length !== shown.length || !/^\w+$/.test(last)) continue;
    const value = (name: string) => Number(words[shown.indexOf(name)] ?? 0);
    const calls = value("calls");
    const errors = shown.includes("errors") ? value("errors") : 0;
    if (Number.isInteger(calls) && Number.isInteger(errors)) yield { name: last, calls, errors };
  }
}

function* statsRows(text: string): Generator<SummaryRow> {
  let report: { syscalls?: unknown };
  try {
    report = JSON.parse(text);
  } catch {
    return;
  }
  if (typeof report.syscalls !== "object" || report.syscalls === null) return;
  for (const [name, calls] of Object.entries(report.syscalls))
    if (typeof calls === "number") yield { name, calls, errors: 0 };
}

/**
 * The default mix: esbuild 0.28.2 bundles this project's command line on an x86-64 Linux host, two CPUs. Made with
 *
 *   strace -f -c -o summary.txt node_modules/esbuild/bin/esbuild userland/cli/main.ts --bundle --splitting --format=esm
 *     --platform=node --packages=external --target=node24 --minify --outdir=/tmp/out --log-level=warning
 */
export const DEFAULT_SUMMARY = `
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ------------------
 53.16    0.287680         561       512        16 futex
 15.99    0.086540          68      1269           nanosleep
 14.75    0.079823         126       629         2 newfstatat
  5.76    0.031145          23      1302           fcntl
  3.02    0.016317          49       329           openat
  2.40    0.012972          22       585           read
  1.70    0.009224          28       329           close
  1.16    0.006287          19       325       324 epoll_ctl
  0.89    0.004833          16       291           fstat
  0.45    0.002435          40        60           getdents64
  0.44    0.002364         236        10           sched_yield
  0.12    0.000656           9        72           epoll_pwait
  0.08    0.000450           9        48           mmap
  0.02    0.000111          18         6           clone
  0.01    0.000074           3        22           rt_sigreturn
  0.01    0.000070           5        13           gettid
  0.01    0.000067           3        20           rt_sigprocmask
  0.01    0.000054           2        22           tgkill
  0.01    0.000042           3        14           sigaltstack
  0.01    0.000031           1        22           getpid
  0.00    0.000000           0         3           write
  0.00    0.000000           0       114           rt_sigaction
  0.00    0.000000           0         2         2 ioctl
  0.00    0.000000           0         1           pread64
  0.00    0.000000           0         2           madvise
  0.00    0.000000           0         1           execve
  0.00    0.000000           0         1           arch_prctl
  0.00    0.000000           0         2           sched_getaffinity
  0.00    0.000000           0         2         1 mkdirat
  0.00    0.000000           0         1           eventfd2
  0.00    0.000000           0         1           epoll_create1
  0.00    0.000000           0         1           prlimit64
------ ----------- ----------- --------- --------- ------------------
100.00    0.541175          90      6011       345 total
`;
