/** What a program may have thousands of costs in proportion: counted (work.ts), since a square shows at any speed. */
import test from "ava";
import { mountFs } from "../../kernel/fs/vfs.ts";
import { Task } from "../../kernel/task/task.ts";
import { boot, call, getWords, newTask, putBytes, putWords } from "./ipc/machine.ts";
import { growth } from "./work.ts";

const { task, memory } = boot();
const sys = (name: string, ...args: number[]): number => call(task, name, ...args);
const AT_FDCWD = -100;
const PAGE = 4096;
const PATH = memory;
const putPath = (path: string): void => putBytes(PATH, new TextEncoder().encode(`${path}\0`));

/** Twice as much of something is twice the work, and somewhat more where a table grows. */
const LINEAR = 2.6;

function linear(what: string, size: number, run: (size: number, fail: (why: string) => void) => void): void {
  test.serial(`${what}: twice as many are twice the work`, (t) => {
    run(size, t.fail); // Tables grow once, modules are warm.
    const { factor, where } = growth(size, (n) => run(n, t.fail));
    t.true(factor < LINEAR, `${factor.toFixed(2)} times ${where}`);
  });
}

linear("areas mapped, protected and unmapped", 400, (count, fail) => {
  const first = sys("mmap", 0, PAGE, 1, 0x21, -1, 0);
  let last = first;
  for (let n = 1; n < count; n++) last = sys("mmap", 0, PAGE, 1, 0x21, -1, 0);
  if (first - last !== (count - 1) * PAGE) fail(`areas from ${last} to ${first}`);
  if (sys("mprotect", last, count * PAGE, 3) !== 0) fail("mprotect");
  if (sys("munmap", last, count * PAGE) !== 0) fail("munmap");
});

linear("directories within each other, unmounted", 200, (count, fail) => {
  mountFs("tmpfs", "deep", "/tmp");
  putPath("/tmp");
  sys("chdir", PATH);
  putPath("d");
  for (let n = 0; n < count; n++)
    if (sys("mkdirat", AT_FDCWD, PATH, 0o755) !== 0 || sys("chdir", PATH) !== 0) fail("mkdir");
  putPath("/");
  sys("chdir", PATH);
  putPath("/tmp");
  if (sys("umount2", PATH, 0) !== 0) fail("umount");
});

linear("timers of a process", 200, (count, fail) => {
  const ids: number[] = [];
  for (let n = 0; n < count; n++) {
    if (sys("timer_create", 1, 0, memory) !== 0) fail("timer_create");
    ids.push(getWords(memory, 1)[0]!);
  }
  putWords(memory, 0, 0, 0, 0, 1000, 0, 0, 0);
  for (const id of ids) if (sys("timer_settime", id, 0, memory, 0) !== 0) fail("timer_settime");
  for (const id of ids) if (sys("timer_delete", id) !== 0) fail("timer_delete");
});

linear("process groups that get a signal", 100, (count, fail) => {
  const tasks = Array.from({ length: count }, () => newTask("member"));
  for (const each of tasks) if (sys("kill", -Task.tgid.get(each), 0) !== 0) fail("kill");
});
