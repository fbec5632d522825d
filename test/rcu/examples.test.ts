/** Every program in rcu/example runs as a user runs it, in a process of its own, and prints what it shows. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import test from "ava";

const folder = fileURLToPath(new URL("../../rcu/example/", import.meta.url));
const readme = readFileSync(new URL("../../rcu/README.md", import.meta.url), "utf8");

/** What each program prints, line by line: a string exactly, an expression where numbers come from the run. */
const PRINTS: Readonly<Record<string, readonly (string | RegExp)[]>> = {
  arc: [
    "held beyond it: file 1, 2 counts",
    "still there: true",
    "weak reference finds nothing: true",
    "empty: true",
    "1 file left, the one in the cell",
  ],
  array: [
    "some looks: true, of which 0 saw a length without its elements",
    "grew: true, and again: false",
    "all 18: true",
    "the product is 0.15",
    "size 2, beyond the end: undefined",
  ],
  cache: [
    "1: inserted",
    "2: inserted",
    "3: inserted",
    "2: updated",
    "4: evicted the oldest",
    "1 is undefined, 2 is 21",
    "dropped 20 10, 3 left",
    "5: evicted the oldest, under the lock",
    "dropped 20 10 21 30 40 50, 0 left",
  ],
  callbacks: [
    "something is pending: true",
    "callback 1",
    "CorruptionError: callRcu: object N was handed to RCU twice",
    "CorruptionError: kfreeRcu: object N was handed to RCU twice",
    "25000 objects wait, 2 floods were noticed",
    "all freed at few safe points: true",
  ],
  careless: [
    "reclaimer careless: the callback threw",
    "ordinary domain: a worker that blocks holds nobody up",
    "ordinary domain: a worker that hangs holds nobody up",
    "reclaimer careless: the callback threw",
    "announcing domain: a worker that blocks holds nobody up",
    "announcing domain: a worker that hangs holds nobody up",
  ],
  dereference: [
    "rcu_dereference: 1",
    "rcu_dereference_check, in a scope: 1",
    "rcu_dereference_protected: 1",
    "rcu_dereference_check, with the lock: 2",
    "rcu_access_pointer, to compare only: true",
    "xchg gave 2",
    "cmpxchg: true",
    "rcu_dereference_raw: 3",
  ],
  domain: [
    "nested scopes read 2",
    'run threw "inside", reading: false',
    /^RcuDomainError: synchronizeBlocking\(\) inside a read scope/,
    "1000 callers, 1 grace periods",
    "every reader was quiesced: 0 threads woken",
  ],
  lazy: ["lazy: 0 ran, 100 wait, 0 grace periods", "callRcu: 1 ran, 100 wait", "rcuBarrier: 101 ran, 0 wait"],
  offload: ["ERR_RCU_NOT_OFFLOADED", "everything is freed, and the worker is still busy"],
  drain: ["queued, 3 users", "drained, 0 users; the lock is held again"],
  drop: [
    "the reader still finds 42",
    "before the grace period: 0 ran",
    "disposed of",
    "a closure ran",
    /^after it: \d+ ran$/,
  ],
  expedited: [
    "slot 1 is asked to leave its scope",
    "the grace period is over",
    /^1000 callers, [12] grace period\(s\)$/,
  ],
  global: ["the worker read version 1 in the global domain", "the same domain in this thread: true"],
  hashmap: [
    "inserted: true",
    "inode 100, key 2: undefined",
    /^updated: true, 1000 keys in (512|1024) buckets$/,
    "under the lock: 1004",
    "drained 1005, left 0",
  ],
  hotplug: [
    "a worker leaves: 500 callbacks ran",
    "a worker crashes: 1000 callbacks ran",
    "a worker joins again: 1501 callbacks ran",
    "0 pending, 0 orphans",
  ],
  idle: [
    "a grace period waits for slots 0, not for the sleeper's",
    "100 grace periods, 0 threads woken",
    "idle: false,true",
    "watched: false",
  ],
  idr: [
    "linear: 0 1 2",
    "removed the value 200, lowest free: 1",
    "cyclic: 10 11 -1 (-1: none is free)",
    "goes round to 10",
    "0=100 1=201 2=300 10=4 11=2",
  ],
  "list-node": ["active 10 15 2, inactive 3", "active nothing, inactive 3 10 15 2", "inactive 3 10 15"],
  entry: [
    "before: undefined, then 1",
    "one more: 3, of nothing: undefined",
    "/a is there: true, 2 paths",
    "/b: false, 10, removed 10, false",
    "after unlock: ERR_RCU_LOCK_PAIRING",
    "y was 0, is 4; x still 3",
  ],
  iterate: [
    "4 ages, 233 years",
    "found panic, the rest is not looked at",
    "old: Grace Kurt",
    "somebody is 41: true",
    "squares 0 1 4 9 16",
    "ids 0=7 1=8 2=9",
    "in its scope: boot",
    "later: ERR_RCU_OUTSIDE_SCOPE",
  ],
  list: ["walked 1 2 3 4 40 5", "first 1, removed: true", "strings first walk", "tasks 2 3"],
  "list-move": ["appended: first walk and last; left: true", "split: first walk | and last", "cleared: true"],
  rwsem: ["the reader leaves", "the writer is alone", "the reader is in again", "and tries: true"],
  weak: ["user 7", "kept: user 7", "gone: true, true", "the next one is found: true"],
  "lock-free-map": [
    "tickets taken: 3000, in the map: 3000",
    "visits: 9000",
    "buckets: 16",
    "there already: 1",
    "replaced the even one: true",
    "anna: 1,4, old value 1",
    "removed 2",
  ],
  queues: [
    "waiting: 1,2,3, ...",
    "jobs left: undefined",
    "first: job 0 done",
    "each job was done once: true, empty: true",
    "buffers: 1,2,3, then undefined",
  ],
  llist: ["taken 3000 of 3 workers, empty: true"],
  "percpu-ref": [
    "while it lives nobody knows how many: zero false",
    "another user: false",
    "dying true, zero false",
    "the last one is gone: zero true",
    "device 7 is closed",
    "and again: true",
    "device 7 is closed",
  ],
  pointers: [
    "after swap: 2",
    "replace gave the old one: true",
    /^StaleReferenceError: .*poison/,
    "there was one before: false",
    "before the barrier: 5 objects",
    "after it: 3 objects",
  ],
  polled: [
    "nobody started a grace period: false",
    "started: false",
    "after a quiescent state of every thread: true",
    "the earlier one as well: true",
    "one will do: true",
    "waiting again took 0 grace periods",
    "a completed one: true",
  ],
  pool: ["10 tasks on 2 threads: 499500", "after updates: 499310"],
  preempt: [
    "switched out inside a scope: true",
    "blocked by 2 tasks, done: false",
    "after its outermost unlock: true",
  ],
  pressure: [
    /^HeapFullError: .*the shared heap is full/,
    "true that it holds what was inserted",
    "nothing was corrupted: 0 undefined",
    "1000 keys more fit: true",
  ],
  prove: [
    "dereference in a scope: allowed",
    /^synchronize in a scope: .*inside a read scope/,
    /^sleep in a scope: .*inside a read scope/,
    /^context switch in a scope: .*still open/,
    /^dereference with a scope that has closed: .*outside of a read scope/,
    /^unlock too many: .*without rcuReadLock/,
    /^scope while idle: .*while idle/,
  ],
  register: [
    "one, unregistered: RcuDomainError",
    "one, unregistered: RcuDomainError",
    "one, unregistered: RcuDomainError",
    "all have left: 0 thread online",
  ],
  release: [
    "list.txt is open",
    "task 1 unlocks inode 7",
    "task 1 flushes list.txt",
    "rcu.txt is open",
    "task 1 unlocks inode 7",
    "task 1 flushes rcu.txt",
    "151 in a chain",
    /^RcuUsageError: .*10000 passes/,
    "finalize ran the other 10000",
    /^warning: .*100 passes/,
    /^warning: .*100 passes/,
    /^warning: .*100 passes/,
  ],
  scope: [
    "metric 7, held: true",
    "metric 7, nesting 2",
    "the same object: true",
    "after the block: nesting 0",
  ],
  sleep: ["after 20 ms it still waits for slot 1", "every warning came after a sleep: true"],
  srcu: [
    "another Srcu did not wait, this one is done: false",
    "the reader used 42 after an await",
    "session 1 retired",
    "synchronized, the cookie is done: true",
    "fast: read",
  ],
  stale: [
    "untagged: true, generation 0",
    "alive: false, generation 1",
    "by tag: 0",
    "read after free: StaleReferenceError ERR_RCU_USE_AFTER_FREE",
    "written after free: StaleReferenceError ERR_RCU_USE_AFTER_FREE",
    /^freed twice: CorruptionError/,
    "an old tag: StaleReferenceError ERR_RCU_USE_AFTER_FREE",
    /^a map that was freed: StaleReferenceError/,
    /^a map of another heap: WrongHeapError/,
    /^a reference that is none: StaleReferenceError/,
    /^a handle that is none: HeapError/,
  ],
  stall: [
    /^RCU grace period \d+ waits since \d+ ms for slot 1 \(thread \d+ running the indexer, -?\d+ behind\)$/,
    "it is the worker's thread: true",
    "the grace period is over",
  ],
  sync: [
    "0 files, 0 bytes (no lock)",
    "10 files, 4096 bytes (locked)",
    "20 files, 8192 bytes (locked)",
    "20 files, 8192 bytes (no lock)",
  ],
  table: [
    /^worker 0: \d+ reads$/,
    /^worker 1: \d+ reads$/,
    /^worker 2: \d+ reads$/,
    /^worker 3: \d+ reads$/,
    /^20000 updates, [1-9]\d* grace periods$/,
    /^[1-9]\d* freed, 0 waiting$/,
  ],
  "stall-flavours": [
    /^SRCU grace period 0 of sessions waits since \d+ ms for 1 scope\(s\) that slot 0 entered \(thread 0 running the main loop\)$/,
    /^Tasks RCU grace period 0 waits since \d+ ms for a task that has not switched \(the compiler\) on slot 0 \(thread 0\)$/,
    "sessions: 1 of slot 0",
    "held: true",
    "0 open, stall: null",
  ],
  tasks: [
    "while a task runs: done false",
    "after it switched: done true",
    "1 callback waits",
    "module 1 is unloaded",
  ],
  "lock-order": [
    "out of order: ERR_RCU_LOCK_ORDER: lock order: this thread takes folder.lock (rank 10)",
    "taken: page.lock by slot 0",
    "twice: ERR_RCU_WAITS_FOR_ITSELF: lock taken twice: this thread takes page.lock and holds page.lock",
    "asleep with it: ERR_RCU_LOCK_HELD: a sleep with page.lock",
    "10 folder.lock",
    "20 page.lock",
  ],
  trace: [
    /^rcu_grace_period start: [1-9]\d*$/,
    /^rcu_grace_period end: [1-9]\d*$/,
    "rcu_kvfree_callback: 4",
    "rcu_barrier Begin: 1",
    /^the first of \d+ was rcu_\w+ on slot 1$/,
    /^\{"gracePeriods":[1-9]\d*,"callbacksRun":4,"callbacksPending":0,"wakeups":\d+,"floods":0\}$/,
  ],
  values: [
    "2 dentries",
    "pi is 3.141592653589793, e is undefined",
    "bytes 3 4 5",
    "inode 100",
    /^(StaleReference|WrongType)Error$/,
    "WrongTypeError",
  ],
};

/** A million updates are for people who wait. */
const ARGUMENTS: Readonly<Record<string, readonly string[]>> = { table: ["20000"] };

async function run(name: string): Promise<{ stdout: string; stderr: string; status: number | null }> {
  const program = spawn(
    process.execPath,
    ["--conditions=sternix-source", `${folder}${name}.ts`, ...(ARGUMENTS[name] ?? [])],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  const text = async (stream: NodeJS.ReadableStream): Promise<string> => {
    let all = "";
    for await (const chunk of stream.setEncoding("utf8")) all += chunk;
    return all;
  };
  const { promise, resolve } = Promise.withResolvers<number | null>();
  program.once("close", resolve);
  const [stdout, stderr, status] = await Promise.all([text(program.stdout), text(program.stderr), promise]);
  return { stdout, stderr, status };
}

/** Processes at a time: this machine may have two cores. */
const waiting: (() => void)[] = [];
let running = 0;
async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (running >= 2) await new Promise<void>((resolve) => waiting.push(resolve));
  running++;
  try {
    return await work();
  } finally {
    running--;
    waiting.shift()?.();
  }
}

for (const [name, lines] of Object.entries(PRINTS))
  test(`example ${name}`, async (t) => {
    const { stdout, stderr, status } = await inTurn(() => run(name));
    t.is(status, 0, stderr);
    const said = stdout.trimEnd().split("\n");
    for (const [n, line] of lines.entries())
      if (typeof line === "string") t.is(said[n], line);
      else t.regex(said[n] ?? "", line);
    t.is(said.length, lines.length, stdout);
  });

test("every example is run here, is short, imports the package, and is in rcu/README.md", (t) => {
  const names = readdirSync(folder).map((file) => file.replace(/\.ts$/, ""));
  t.deepEqual(names.toSorted(), Object.keys(PRINTS).toSorted());
  for (const name of names) {
    const source = readFileSync(`${folder}${name}.ts`, "utf8");
    t.true(source.split("\n").length <= 61, name);
    t.regex(source, /from "sternix\/rcu"/);
    t.notRegex(source, /from "\.\.?\//);
    t.true(readme.includes(`(example/${name}.ts)`), `rcu/README.md names example/${name}.ts`);
  }
});
