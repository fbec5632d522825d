/**
 * sysstat: how long system calls take, by call and by task: latency histograms in RCU hash maps, that CPUs add to and
 * /proc/sysstat reads, neither waiting for the other.
 *
 * A blocking call counts from its beginning to its result. A task's histogram goes to its program's when it ends.
 */
import {
  bytes,
  fixed,
  free,
  freeArray,
  INSERTED,
  kfreeArrayRcu,
  kfreeRcu,
  owned,
  type RcuHashMap,
  type RcuScope,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  struct,
  tryAlloc,
  wide,
} from "../../../rcu/index.ts";
import {
  type ContextOf,
  defineSubsystem,
  EINVAL,
  nowNs,
  syscallName,
  type TaskView,
  table,
} from "../../index.ts";
import { merge, newHistogram, record, type Summary, summarize } from "./histogram.ts";

/** A task that made calls, or (key: hash of its name) a program whose tasks ended. */
const Stat = struct("sysstat", {
  histogram: fixed<Ref<"array">>(),
  comm: bytes(16),
  // The CPU on which the task runs.
  /** When the call in progress began; 0: none. */
  entered: wide(),
  /** Its number plus 1. */
  call: owned(),
});
type StatRef = Ref<"sysstat">;

const tables = {
  tasks: table.hashMap<StatRef>({ buckets: 64 }),
  calls: table.hashMap<Ref<"array">>({ buckets: 128 }),
  programs: table.hashMap<StatRef>({ buckets: 64 }),
  Stat,
};
type Tables = ContextOf<typeof tables>["tables"];

function setComm(stat: StatRef, comm: string): void {
  for (let n = 0; n < 16; n++) Stat.comm.set(stat, n, n < 15 ? (comm.charCodeAt(n) || 0) & 0xff : 0);
}
function commOf(stat: StatRef): string {
  return Buffer.from(Stat.comm.view(stat)).toString("latin1").split("\0")[0]!;
}

/** The object of that key, made when it is not there; 0 without memory. */
function findStat(
  map: RcuHashMap<number, StatRef>,
  scope: RcuScope,
  key: number,
  comm: () => string,
): StatRef | 0 {
  const found = map.lookup(scope, key);
  if (found !== 0) return found;
  const fresh = tryAlloc(Stat);
  const histogram = fresh === 0 ? 0 : newHistogram();
  if (fresh === 0 || histogram === 0) {
    if (fresh !== 0) free(Stat, fresh);
    return 0;
  }
  Stat.histogram.init(fresh, histogram);
  setComm(fresh, comm());
  if (map.tryInsertNew(key, fresh) === INSERTED) return fresh;
  // Another CPU was first, or there is no memory: nobody has seen ours.
  freeArray(histogram);
  free(Stat, fresh);
  return map.lookup(scope, key);
}

function findCall(calls: RcuHashMap<number, Ref<"array">>, scope: RcuScope, nr: number): Ref<"array"> | 0 {
  const found = calls.lookup(scope, nr);
  if (found !== 0) return found;
  const fresh = newHistogram();
  if (fresh === 0 || calls.tryInsertNew(nr, fresh) === INSERTED) return fresh;
  freeArray(fresh);
  return calls.lookup(scope, nr);
}

function forget(stat: StatRef): void {
  kfreeArrayRcu(Stat.histogram.get(stat));
  kfreeRcu(Stat, stat);
}

function reset({ tasks, calls, programs }: Tables): void {
  for (const map of [tasks, programs]) {
    const guard = map.lock();
    guard.drain((_key, stat) => forget(stat));
    guard.unlock();
  }
  const guard = calls.lock();
  guard.drain((_nr, histogram) => kfreeArrayRcu(histogram));
  guard.unlock();
}

/** FNV-1a: tasks of one program find its entry by name. Names that collide are counted together. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let n = 0; n < text.length; n++) value = Math.imul(value ^ text.charCodeAt(n), 0x01000193);
  return value | 0;
}

function taskEnds({ tasks, programs }: Tables, task: TaskView): void {
  const stat = tasks.remove(task.tid);
  if (stat === undefined) return;
  const scope = rcuReadLock();
  const comm = task.comm;
  const program = findStat(programs, scope, hash(comm), () => comm);
  if (program !== 0) merge(Stat.histogram.get(stat), Stat.histogram.get(program));
  rcuReadUnlock();
  forget(stat);
}

type Row = readonly [string, Summary];

const microseconds = (ns: number): string => (ns / 1000).toFixed(1);

function format(title: string, rows: Row[]): string {
  const lines = rows
    .sort(([, a], [, b]) => b.sumNs - a.sumNs)
    .map(([name, { count, sumNs, p50, p99 }]) =>
      [
        name.padEnd(24),
        String(count).padStart(10),
        microseconds(sumNs / Math.max(1, count)).padStart(10),
        microseconds(p50).padStart(10),
        microseconds(p99).padStart(10),
        (sumNs / 1e6).toFixed(2).padStart(10),
      ].join(" "),
    );
  const head = `${title.padEnd(24)} ${["calls", "mean us", "p50 <= us", "p99 <= us", "total ms"].map((one) => one.padStart(10)).join(" ")}`;
  return `${[head, ...lines].join("\n")}\n`;
}

interface Rows {
  readonly call: Row[];
  readonly task: Row[];
  readonly program: Row[];
}

function collect({ tasks, calls, programs }: Tables): Rows {
  const rows: Rows = { call: [], task: [], program: [] };
  const scope = rcuReadLock();
  calls.forEach(scope, (nr, histogram) => void rows.call.push([syscallName(nr), summarize(histogram)]));
  tasks.forEach(
    scope,
    (tid, stat) => void rows.task.push([`${tid} (${commOf(stat)})`, summarize(Stat.histogram.get(stat))]),
  );
  programs.forEach(
    scope,
    (_key, stat) => void rows.program.push([commOf(stat), summarize(Stat.histogram.get(stat))]),
  );
  rcuReadUnlock();
  return rows;
}

function describe(tables: Tables): string {
  const { call, task, program } = collect(tables);
  return `${format("call", call)}\n${format("task", task)}\n${format("ended program", program)}`;
}

/** One histogram a line: its kind and name, a tab, and `FROM:CALLS` for each bucket that counted, FROM in nanoseconds. */
function histograms(tables: Tables): string {
  return Object.entries(collect(tables))
    .flatMap(([kind, rows]: [string, Row[]]) =>
      rows.map(([name, { buckets }]) => {
        const counted = buckets.flatMap((calls, n) =>
          calls === 0 ? [] : [`${n === 0 ? 0 : 2 ** n}:${calls}`],
        );
        return `${kind} ${name}\t${counted.join(" ")}\n`;
      }),
    )
    .join("");
}

export default defineSubsystem({
  name: "sysstat",
  tables,
  exit: ({ tables: mine }) => reset(mine),
  hooks: {
    syscallEnter({ tables: { tasks } }, task, call) {
      const scope = rcuReadLock();
      const stat = findStat(tasks, scope, task.tid, () => task.comm);
      if (stat !== 0) {
        Stat.call.set(stat, call.nr + 1);
        Stat.entered.set(stat, nowNs());
      }
      rcuReadUnlock();
      return 0;
    },
    syscallExit({ tables: { tasks, calls } }, task, call) {
      const now = nowNs();
      const scope = rcuReadLock();
      const stat = tasks.lookup(scope, task.tid);
      // Not for a call that began before a reset.
      if (stat !== 0 && Stat.call.get(stat) === call.nr + 1) {
        Stat.call.set(stat, 0);
        const ns = now - Stat.entered.get(stat);
        record(Stat.histogram.get(stat), ns);
        const histogram = findCall(calls, scope, call.nr);
        if (histogram !== 0) record(histogram, ns);
      }
      rcuReadUnlock();
    },
    taskExec({ tables: { tasks } }, task) {
      const scope = rcuReadLock();
      const stat = tasks.lookup(scope, task.tid);
      if (stat !== 0) setComm(stat, task.comm);
      rcuReadUnlock();
    },
    taskExit: ({ tables: mine }, task) => taskEnds(mine, task),
  },
  proc: {
    read: ({ tables: mine }) => describe(mine),
    write({ tables: mine }, text) {
      if (text.trim() !== "reset") return -EINVAL;
      reset(mine);
      return 0;
    },
  },
  sys: { histograms: { read: ({ tables: mine }) => histograms(mine) } },
  report: ({ tables: mine }) => describe(mine),
});
