/** Copies of large descriptor tables, made while others have the CPU. */
import test from "ava";
import { filesPut } from "../../../kernel/fs/close-range.ts";
import { copyFiles, takeCopy } from "../../../kernel/fs/fd-copy.ts";
import { Files, filesGet, forEachFd, getCloexec, getUnusedFd } from "../../../kernel/fs/fdtable.ts";
import { File } from "../../../kernel/fs/file.ts";
import { YIELD } from "../../../kernel/sched/block.ts";
import { clearNeedResched, setNeedResched } from "../../../kernel/sched/cpus.ts";
import { doLater } from "../../../kernel/sched/later.ts";
import { clearRestart } from "../../../kernel/sched/restart.ts";
import { Task } from "../../../kernel/task/task.ts";
import { liveObjects, type Ref } from "../../../rcu/index.ts";
import { boot, call, fileAt, putWords, settle } from "../ipc/machine.ts";

const { task, files, memory } = boot();
const sys = (name: string, ...args: number[]): number => call(task, name, ...args);
const COUNT = 20_000;
const RLIMIT_NOFILE = 7;

/** So many descriptors of one file. */
function fill(): void {
  putWords(memory, 100_000, 0, 100_000, 0);
  sys("prlimit64", 0, RLIMIT_NOFILE, memory, 0);
  sys("eventfd2", 0, 0);
  for (let n = 1; n < COUNT; n++) sys("dup", 0);
}
function empty(): void {
  while (sys("close_range", 0, 0xffff_ffff, 0) === YIELD) settle(task);
  doLater(task, () => false);
  settle(task);
}

/** A run of the call while somebody wants the CPU. */
function run(): number {
  setNeedResched(0);
  const result = copyFiles(task);
  clearNeedResched(0);
  return result;
}

/** What another task does between two runs: the call in progress is not its. */
function another(work: () => void): void {
  const copy = Task.filesCopy.get(task);
  Task.filesCopy.set(task, 0);
  work();
  Task.filesCopy.set(task, copy);
}

/** All that a table names: descriptor, file, close-on-exec. */
const contents = (table: Ref<"files">): [number, number, number][] => {
  const all: [number, number, number][] = [];
  forEachFd(table, (fd, file) => all.push([fd, file, getCloexec(table, fd)]));
  return all;
};

test.serial("a copy made in parts is the table as it was when the copy was taken", (t) => {
  fill();
  filesGet(files); // Another task with CLONE_FILES.
  sys("dup3", sys("eventfd2", 0, 0), 100, 0);
  sys("close", COUNT);
  let runs = 0;
  for (let result = run(); result !== 0; result = run()) {
    t.is(result, YIELD);
    if (runs++ > 2) continue;
    const change = runs;
    another(() => {
      // Before and behind what was copied.
      sys("close", change);
      sys("close", COUNT - 10 * change);
      sys("fcntl", 10 + change, 2, 1);
      sys("dup3", 0, 40_000 * change, 0x80000);
    });
  }
  t.true(runs > 2);
  another(() => sys("dup3", 0, 100, 0)); // Now only the copy has it.
  t.is(liveObjects(File), 2);
  const copy = takeCopy(task) as Ref<"files">;
  t.deepEqual(contents(copy), contents(files));
  t.is(getUnusedFd(copy, 0), getUnusedFd(files, 0));
  settle(task);
  t.is(liveObjects(File), 1);
  t.is(File.refcount.load(fileAt(task, 0)), 2 * contents(files).length);
  filesPut(copy);
  filesPut(files);
  empty();
  t.is(liveObjects(File), 0);
});

test.serial("a call that ends without its copy gives it back", (t) => {
  fill();
  t.is(run(), YIELD);
  t.is(liveObjects(Files), 2);
  clearRestart(task);
  t.is(Task.filesCopy.get(task), 0);
  doLater(task, () => false);
  settle(task);
  t.is(liveObjects(Files), 1);
  t.is(File.refcount.load(fileAt(task, 0)), COUNT);
  empty();
});
