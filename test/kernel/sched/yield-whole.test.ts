/** Calls that are done as a whole and may be long make room too: in parts, of which each goes on where the last one ended. */
import test from "ava";
import { frameTotal, freeFrames } from "../../../kernel/mm/frame.ts";
import { Mm, mmRss } from "../../../kernel/mm/mm.ts";
import { YIELD } from "../../../kernel/sched/block.ts";
import { clearNeedResched, setNeedResched } from "../../../kernel/sched/cpus.ts";
import { sendSignal } from "../../../kernel/signal/send.ts";
import { GROUP_EXITING, Group, Task } from "../../../kernel/task/task.ts";
import { shedMemory } from "../../../kernel/task/tidy.ts";
import { ENOMEM } from "../../../kernel/uapi/errno.ts";
import { SIGUSR1 } from "../../../kernel/uapi/signal.ts";
import type { Ref } from "../../../rcu/index.ts";
import { boot, call, getBytes, getWords, putBytes, putWords } from "../ipc/machine.ts";

const { task, memory } = boot();
const mm = Task.mm.access(task) as Ref<"mm">;
const sys = (name: string, ...args: number[]): number => call(task, name, ...args);
const PAGE = 4096;
const PRIVATE = 0x22;
const POPULATE = 0x8000;
const RW = 3;

/** Makes the call while somebody wants the CPU all the time: its result, and how often it made room. */
function wanted(name: string, ...args: number[]): { result: number; yields: number } {
  for (let yields = 0; ; yields++) {
    if (yields > 100_000) throw new Error(`${name} makes no progress`);
    setNeedResched(0);
    const result = sys(name, ...args);
    clearNeedResched(0);
    if (result !== YIELD) return { result, yields };
  }
}
const present = (): number => mmRss(mm);

test.serial(
  "MAP_POPULATE, mlock, mlockall and MADV_POPULATE_WRITE make room, and every page is there afterwards",
  (t) => {
    const before = present();
    const { result: at, yields } = wanted("mmap", 0, 64 * PAGE, RW, PRIVATE | POPULATE, -1, 0);
    t.true(at > 0 && yields > 8, `${at} after ${yields}`);
    t.is(present(), before + 64);
    const areas = (): number => Mm.totalVm.racy(mm);
    const size = areas();
    for (const [name, ...args] of [
      ["madvise", 64 * PAGE, 23],
      ["mlock", 64 * PAGE],
    ] as const) {
      t.is(sys("madvise", at, 64 * PAGE, 4), 0);
      t.is(present(), before);
      const run = wanted(name, at, ...args);
      t.deepEqual([run.result, run.yields > 8], [0, true], name);
      t.is(present(), before + 64, name);
    }
    t.is(sys("munlock", at, 64 * PAGE), 0);
    t.is(sys("madvise", at, 64 * PAGE, 4), 0);
    const all = wanted("mlockall", 1);
    t.deepEqual([all.result, all.yields > 8], [0, true]);
    t.true(present() >= before + 64);
    t.is(sys("munlockall"), 0);
    t.is(areas(), size, "an area is made once, however often the call runs");
    t.is(sys("munmap", at, 64 * PAGE), 0);
  },
);

test.serial("a locked area that moves while it grows is moved once", (t) => {
  const at = sys("mmap", 0x40000000, 8 * PAGE, RW, PRIVATE, -1, 0);
  const wall = sys("mmap", at + 8 * PAGE, PAGE, 0, PRIVATE, -1, 0);
  t.is(wall, at + 8 * PAGE);
  sys("mlock", at, 8 * PAGE);
  putBytes(at, Uint8Array.of(1, 2, 3));
  const size = Mm.totalVm.racy(mm);
  const { result, yields } = wanted("mremap", at, 8 * PAGE, 40 * PAGE, 1, 0);
  t.true(result > 0 && result !== at && yields > 8);
  t.is(Mm.totalVm.racy(mm), size + 32);
  t.deepEqual([...getBytes(result, 3)], [1, 2, 3]);
  sys("munmap", result, 40 * PAGE);
  sys("munmap", wall, PAGE);
});

/** So many pages of a file, mapped `times` times over. */
function mapped(pages: number, times: number): number {
  putBytes(memory, new TextEncoder().encode("pages\0"));
  const fd = sys("memfd_create", memory, 0);
  const { result, yields } = wanted("fallocate", fd, 0, 0, pages * PAGE);
  if (result !== 0 || yields < pages / 4) throw new Error(`fallocate: ${result} after ${yields}`);
  const base = sys("mmap", 0, pages * times * PAGE, 0, PRIVATE, -1, 0);
  for (let n = 0; n < times; n++)
    sys("mmap", base + n * pages * PAGE, pages * PAGE, RW, 0x11 | POPULATE, fd, 0);
  sys("close", fd);
  return base;
}
const PAGES = 2048;
const BYTES = PAGES * PAGE;

test.serial("MADV_DONTNEED and munmap of many pages make room; a hole before them is still told of", (t) => {
  const before = present();
  const at = mapped(PAGES, 12);
  t.true(present() >= before + 12 * PAGES);
  sys("munmap", at, PAGE);
  const advised = wanted("madvise", at, 12 * BYTES, 4);
  t.is(advised.result, -ENOMEM);
  t.true(advised.yields >= 2, `${advised.yields} yields`);
  t.true(present() < before + PAGES);
  sys("munmap", at, 12 * BYTES);

  const again = mapped(PAGES, 12);
  const { result, yields } = wanted("munmap", again, 12 * BYTES);
  t.deepEqual([result, yields >= 2], [0, true]);
  t.is(sys("madvise", again, 12 * BYTES, 4), -ENOMEM);
  t.is(sys("mincore", again + 11 * BYTES, PAGE, memory), -ENOMEM, "nothing is left of it");
});

test.serial("what another thread maps where munmap is done stays", (t) => {
  const at = mapped(PAGES, 12);
  setNeedResched(0);
  t.is(sys("munmap", at, 12 * BYTES), YIELD);
  // The other thread: a call of its own, between two runs of the first.
  const [partial, also, restarting] = [Task.partial, Task.partialAlso, Task.restarting].map((field) =>
    field.get(task),
  );
  Task.partial.set(task, 0);
  Task.restarting.set(task, 0);
  t.is(sys("mmap", at, PAGE, RW, PRIVATE | 0x10, -1, 0), at);
  Task.partial.set(task, partial!);
  Task.partialAlso.set(task, also!);
  Task.restarting.set(task, restarting!);
  t.is(sys("munmap", at, 12 * BYTES), 0);
  t.is(sys("mincore", at, PAGE, memory), 0);
  t.is(sys("mincore", at + PAGE, PAGE, memory), -ENOMEM);
  sys("munmap", at, PAGE);
});

test.serial("a signal that has a handler leaves such a call alone; the end of the process ends it", (t) => {
  const at = sys("mmap", 0, 64 * PAGE, RW, PRIVATE, -1, 0);
  putWords(memory, 0x10000, 0, 0, 0, 0, 0);
  t.is(sys("rt_sigaction", SIGUSR1, memory, 0, 8), 0);
  sendSignal(task, SIGUSR1);
  setNeedResched(0);
  t.is(sys("mlock", at, 64 * PAGE), YIELD);
  const group = Task.group.get(task);
  Group.flags.or(group, GROUP_EXITING);
  setNeedResched(0);
  const ended = sys("mlock", at, 64 * PAGE);
  t.true(ended < 0 && ended !== YIELD, `${ended}`);
  Group.flags.and(group, ~GROUP_EXITING);
  t.is(Task.partial.get(task), 0, "the next call begins anew");
  sys("munmap", at, 64 * PAGE);
});

test.serial("poll of very many descriptors makes room, and counts each ready one once", (t) => {
  const count = 20_000;
  const fds = sys("mmap", 0, count * 8, RW, PRIVATE | POPULATE, -1, 0);
  putWords(memory, count, 0, count, 0);
  t.is(sys("prlimit64", 0, 7, memory, 0), 0);
  const event = sys("eventfd2", 1, 0);
  for (let n = 0; n < count; n++) putWords(fds + 8 * n, n % 1000 === 7 ? event : -1, 1);
  const { result, yields } = wanted("ppoll", fds, count, 0, 0, 8);
  t.is(result, 20);
  t.true(yields >= 2, `${yields} yields`);
  t.is(getWords(fds + 8 * 19_007 + 4, 1)[0]! >>> 16, 1);
  sys("close", event);
});

test.serial("/proc/PID/maps is made in pieces, which follow each other wherever a read begins", (t) => {
  const first = 0x50000000;
  for (let n = 0; n < 700; n++)
    sys("mmap", first + n * 2 * PAGE, PAGE, 1 + (n & 1) * 2, PRIVATE | 0x10, -1, 0);
  putBytes(memory, new TextEncoder().encode("/proc\0proc\0/proc/self/maps\0/proc/self/smaps\0"));
  sys("mkdirat", -100, memory, 0o755);
  t.is(sys("mount", memory + 6, memory, memory + 6, 0, 0), 0);
  const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  for (const path of [memory + 11, memory + 27]) {
    const fd = sys("openat", -100, path, 0, 0);
    const area = memory + 65536;
    let text = "";
    let reads = 0;
    for (;;) {
      const count = sys("read", fd, area, 500_000);
      if (count <= 0) break;
      text += decode(getBytes(area, count));
      reads++;
    }
    t.true(reads >= 3, `${reads} reads`);
    const starts = [...text.matchAll(/^([0-9a-f]{8})-[0-9a-f]{8} /gm)].map(([, start]) =>
      parseInt(start!, 16),
    );
    t.deepEqual(
      starts,
      [...new Set(starts)].sort((a, b) => a - b),
      "in order, each once",
    );
    t.is(starts.filter((start) => start >= first && start < first + 1400 * PAGE).length, 700);
    // Back, within a piece, and far ahead in a fresh file, which makes room after each piece.
    t.is(decode(getBytes(area, sys("pread64", fd, area, 20, 10))), text.slice(10, 30));
    sys("close", fd);
    const fresh = sys("openat", -100, path, 0, 0);
    const far = text.length - 40;
    const { result, yields } = wanted("pread64", fresh, area, 40, far);
    t.is(decode(getBytes(area, result)), text.slice(far));
    t.true(yields >= 2, `${yields} yields`);
    t.is(sys("pread64", fresh, area, 40, text.length), 0);
    sys("close", fresh);
  }
  sys("munmap", first, 1400 * PAGE);
});

test.serial("a task that exits gives its pages back in parts, also those that the file has no more", (t) => {
  mapped(PAGES, 12);
  const before = present();
  const free = freeFrames();
  let times = 0;
  for (setNeedResched(0); !shedMemory(task); setNeedResched(0)) {
    clearNeedResched(0);
    times++;
    t.true(present() < before);
  }
  clearNeedResched(0);
  Task.partial.set(task, 0);
  t.true(times >= 2, `${times} times`);
  t.is(present(), 0);
  t.true(freeFrames() > free && freeFrames() <= frameTotal());
});
