/** Calls that change an address space as a whole, in parts: others have the CPU in between, and the threads of the process never see them half done. */
import test from "ava";
import { Mm, mmRss } from "../../../kernel/mm/mm.ts";
import { activateMm } from "../../../kernel/mm/tlb.ts";
import { YIELD } from "../../../kernel/sched/block.ts";
import { Cpu, clearNeedResched, cpuOf, setNeedResched } from "../../../kernel/sched/cpus.ts";
import { waitForMm } from "../../../kernel/sched/hold.ts";
import { clearRestart } from "../../../kernel/sched/restart.ts";
import { GROUP_EXITING, Group, Task } from "../../../kernel/task/task.ts";
import type { Held, Ref } from "../../../rcu/index.ts";
import { boot, call, getBytes, newTask, putBytes } from "../ipc/machine.ts";

const { task, memory } = boot();
const mm = Task.mm.access(task) as Ref<"mm">;
const cpu = cpuOf(0);
const sys = (name: string, ...args: number[]): number => call(task, name, ...args);
const PAGE = 4096;
const PRIVATE = 0x22;
const SHARED_FIXED_POPULATED = 0x8011;
const FIXED = 0x10;
const NORESERVE = 0x4000;
const RW = 3;
const PAGES = 2048;
const TIMES = 12;
const BYTES = PAGES * TIMES * PAGE;

/** Another thread of the process, as a CPU comes to it. */
const thread = newTask("thread");
Task.mm.assign(1 as Held, thread, mm);
Mm.users.add(mm, 1);
const held = (): boolean => waitForMm(thread, cpu);

/** Makes the call while somebody wants the CPU all the time; in each pause no other thread may run. */
function wanted(name: string, ...args: number[]): { result: number; yields: number } {
  for (let yields = 0; ; yields++) {
    if (yields > 10_000) throw new Error(`${name} makes no progress`);
    setNeedResched(0);
    const result = sys(name, ...args);
    clearNeedResched(0);
    if (result !== YIELD) return { result, yields };
    if (!held()) throw new Error(`${name}: a thread runs in the middle of it`);
  }
}

/** Many present pages: a file of a few, mapped again and again; with a byte at the begin and at the end that is told again by `marks`. */
function mapped(): number {
  putBytes(memory, new TextEncoder().encode("pages\0"));
  const fd = sys("memfd_create", memory, 0);
  for (;;) if (sys("fallocate", fd, 0, 0, PAGES * PAGE) !== YIELD) break;
  const base = sys("mmap", 0, BYTES, 0, PRIVATE, -1, 0);
  for (let n = 0; n < TIMES; n++)
    sys("mmap", base + n * PAGES * PAGE, PAGES * PAGE, RW, SHARED_FIXED_POPULATED, fd, 0);
  sys("close", fd);
  putBytes(base, Uint8Array.of(17));
  putBytes(base + BYTES - PAGE, Uint8Array.of(23));
  return base;
}
const marks = (at: number): number[] => [getBytes(at, 1)[0]!, getBytes(at + BYTES - PAGE, 1)[0]!];
function unmap(at: number): void {
  while (sys("munmap", at, BYTES) === YIELD);
}

test.afterEach((t) => {
  t.is(Mm.owner.load(mm), 0, "nobody has it to himself any more");
  t.false(held());
});

test.serial("mprotect of many pages is one step for other threads", (t) => {
  const at = mapped();
  const run = wanted("mprotect", at, BYTES, 0);
  t.deepEqual([run.result, run.yields >= 2], [0, true]);
  for (const place of [0, BYTES / 2, BYTES - PAGE]) t.throws(() => getBytes(at + place, 1));
  t.is(wanted("mprotect", at, BYTES, RW).result, 0);
  t.deepEqual(marks(at), [17, 23]);
  sys("munmap", at + PAGE * PAGES, PAGE);
  t.is(wanted("mprotect", at, BYTES, 1).result, -12, "what lies before a hole is changed");
  t.throws(() => putBytes(at, Uint8Array.of(1)));
  putBytes(at + BYTES - PAGE, Uint8Array.of(24));
  unmap(at);
});

test.serial("a mapping that takes the place of many pages is one step for other threads", (t) => {
  const at = mapped();
  const before = mmRss(mm);
  const { result, yields } = wanted("mmap", at, BYTES, RW, PRIVATE | FIXED | NORESERVE, -1, 0);
  t.is(result, at);
  t.true(yields >= 2, `${yields} yields`);
  t.deepEqual(marks(at), [0, 0]);
  t.true(mmRss(mm) < before - PAGES);
  unmap(at);
});

test.serial("what mremap moves onto many areas takes their place in one step for other threads", (t) => {
  const pages = 2400;
  const target = sys("mmap", 0, pages * PAGE, 1, PRIVATE, -1, 0);
  for (let page = 0; page < pages; page += 2) sys("mprotect", target + page * PAGE, PAGE, RW);
  putBytes(target, Uint8Array.of(1));
  const at = sys("mmap", 0, pages * PAGE, RW, PRIVATE, -1, 0);
  putBytes(at + PAGE, Uint8Array.of(5));
  putBytes(at + (pages - 1) * PAGE, Uint8Array.of(6));
  const size = Mm.totalVm.racy(mm);
  const present = mmRss(mm);
  const { result, yields } = wanted("mremap", at, pages * PAGE, pages * PAGE, 3, target);
  t.is(result, target);
  t.true(yields >= 2, `${yields} yields`);
  t.deepEqual(
    [0, 1, pages - 1].map((page) => getBytes(target + page * PAGE, 1)[0]),
    [0, 5, 6],
  );
  t.is(Mm.totalVm.racy(mm), size - pages);
  t.is(mmRss(mm), present, "one page is gone, and one was read");
  t.throws(() => getBytes(at + PAGE, 1));
  sys("munmap", target, pages * PAGE);
});

test.serial("the end of a call in the middle gives the address space back", (t) => {
  const at = mapped();
  setNeedResched(0);
  t.is(sys("mprotect", at, BYTES, 1), YIELD);
  t.true(held());
  clearRestart(task);
  t.false(held());
  unmap(at);
});

test.serial("a thread that dies does not wait", (t) => {
  const at = mapped();
  setNeedResched(0);
  t.is(sys("mprotect", at, BYTES, 1), YIELD);
  t.true(held());
  Group.flags.or(Task.group.get(thread), GROUP_EXITING);
  t.false(held());
  Group.flags.and(Task.group.get(thread), ~GROUP_EXITING);
  t.is(wanted("mprotect", at, BYTES, 1).result, 0);
  unmap(at);
});

test.serial("who comes second waits, and makes his call afterwards", (t) => {
  const at = mapped();
  setNeedResched(0);
  t.is(sys("mprotect", at, BYTES, 1), YIELD);
  const second = (): number => {
    activateMm(mm);
    return call(thread, "mprotect", at, BYTES, RW);
  };
  t.is(second(), YIELD);
  t.is(wanted("mprotect", at, BYTES, 1).result, 0);
  for (;;) if (second() !== YIELD) break;
  putBytes(at, Uint8Array.of(1));
  unmap(at);
});

test.serial("fork copies many pages in parts, and shares them with the child", (t) => {
  const at = mapped();
  const before = mmRss(mm);
  const SIGCHLD = 17;
  const { result, yields } = wanted("clone", SIGCHLD, 0, 0, 0, 0);
  t.true(result > 0, `${result}`);
  t.true(yields >= 2, `${yields} yields`);
  t.is(mmRss(mm), before);
  t.is(Cpu.parked.peek(cpu), 1, "a thread has been here in between");
  unmap(at);
});
