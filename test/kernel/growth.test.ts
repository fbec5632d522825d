/** What a program may have thousands of costs in proportion: counted (work.ts), since a square shows at any speed. */
import test from "ava";
import { mountFs } from "../../kernel/fs/vfs.ts";
import { YIELD } from "../../kernel/sched/block.ts";
import { Task } from "../../kernel/task/task.ts";
import { boot, call, getWords, newTask, putBytes, putWords } from "./ipc/machine.ts";
import { growth } from "./work.ts";

const { task, memory } = boot();
/** A call that makes room goes on at once: nobody else is there. */
function sys(name: string, ...args: number[]): number {
  for (;;) {
    const result = call(task, name, ...args);
    if (result !== YIELD) return result;
  }
}
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

linear("queued signals that are ignored from now on", 200, (count, fail) => {
  putWords(memory, -1, -1);
  sys("rt_sigprocmask", 2, memory, 0, 8);
  putWords(memory, 0, 0, -1, 0, 0, 0, 0, 0);
  for (let n = 0; n < count; n++)
    if (sys("rt_sigqueueinfo", Task.tgid.get(task), 34 + (n % 30), memory) !== 0) fail("rt_sigqueueinfo");
  for (let signo = 34; signo < 64; signo++) {
    putWords(memory, 1, 0, 0, 0, 0, 0); // SIG_IGN
    if (sys("rt_sigaction", signo, memory, 0, 8) !== 0) fail("rt_sigaction");
    putWords(memory, 0, 0, 0, 0, 0, 0);
    sys("rt_sigaction", signo, memory, 0, 8);
  }
  if (sys("rt_sigpending", memory, 8) !== 0 || getWords(memory, 2).some((word) => word !== 0))
    fail("pending");
});

linear("process groups that get a signal", 100, (count, fail) => {
  const tasks = Array.from({ length: count }, () => newTask("member"));
  for (const each of tasks) if (sys("kill", -Task.tgid.get(each), 0) !== 0) fail("kill");
});

linear("descriptors opened and closed", 200, (count, fail) => {
  putPath("/dev/null");
  for (let n = 0; n < count; n++) if (sys("openat", AT_FDCWD, PATH, 0, 0) < 0) fail("open");
  if (sys("close_range", 3, 0xffffffff, 0) !== 0) fail("close_range");
});

linear("epoll items of one file, ended in the order in which they were made", 200, (count, fail) => {
  const [ep, fd] = [sys("epoll_create1", 0), sys("eventfd2", 0, 0)];
  putWords(memory, 1, 0, 0, 0);
  for (let n = 0; n < count; n++)
    if (sys("epoll_ctl", ep, 1, sys("dup", fd), memory) !== 0) fail("epoll_ctl");
  for (let n = 0; n < count; n++) if (sys("epoll_ctl", ep, 2, fd + 1 + n, 0) !== 0) fail("EPOLL_CTL_DEL");
  if (sys("close_range", 3, 0xffffffff, 0) !== 0) fail("close_range");
});

linear("names in a directory, listed and removed", 200, (count, fail) => {
  mountFs("tmpfs", "wide", "/tmp");
  for (let n = 0; n < count; n++) {
    putPath(`/tmp/${n}`);
    if (sys("mknodat", AT_FDCWD, PATH, 0o100644, 0) !== 0) fail("mknod");
  }
  putPath("/tmp");
  const fd = sys("openat", AT_FDCWD, PATH, 0, 0);
  while (sys("getdents64", fd, memory + PAGE, 128) > 0);
  sys("close", fd);
  for (let n = 0; n < count; n++) {
    putPath(`/tmp/${n}`);
    if (sys("unlinkat", AT_FDCWD, PATH, 0) !== 0) fail("unlink");
  }
  putPath("/tmp");
  if (sys("umount2", PATH, 0) !== 0) fail("umount");
});

linear("items of an epoll", 150, (count, fail) => {
  const epoll = sys("epoll_create1", 0);
  const fds: number[] = [];
  for (let n = 0; n < count; n++) {
    const fd = sys("eventfd2", 1, 0);
    fds.push(fd);
    putWords(memory, 1, 0, fd, 0);
    if (sys("epoll_ctl", epoll, 1, fd, memory) !== 0) fail("epoll_ctl");
  }
  if (sys("epoll_pwait", epoll, memory, 16, 0, 0, 8) !== 16) fail("epoll_pwait");
  for (const fd of fds) sys("close", fd);
  sys("close", epoll);
});

linear("unix sockets with names", 100, (count, fail) => {
  const fds: number[] = [];
  for (let n = 0; n < count; n++) {
    const fd = sys("socket", 1, 2, 0);
    fds.push(fd);
    const name = `\x01\0\0name ${n}`;
    putBytes(memory, new TextEncoder().encode(name));
    if (sys("bind", fd, memory, name.length) !== 0) fail("bind");
  }
  for (const fd of fds) sys("close", fd);
});

linear("UDP sockets with ports", 300, (count, fail) => {
  const fds: number[] = [];
  for (let n = 0; n < count; n++) {
    const fd = sys("socket", 2, 2, 0);
    fds.push(fd);
    putWords(memory, 2, 0x0100007f, 0, 0);
    if (sys("bind", fd, memory, 16) !== 0) fail("bind");
  }
  for (const fd of fds) sys("close", fd);
});

linear("queued signals of a process", 200, (count, fail) => {
  putWords(memory, 0, 1 << 8);
  sys("rt_sigprocmask", 0, memory, 0, 8);
  for (let n = 0; n < count; n++) {
    putWords(memory + 64, 41, 0, -1, 0, 0, 0, 5, 0);
    if (sys("rt_sigqueueinfo", Task.tgid.get(task), 41, memory + 64) !== 0) fail("rt_sigqueueinfo");
  }
  putWords(memory + 64, 0, 0, 0, 0);
  for (let n = 0; n < count; n++)
    if (sys("rt_sigtimedwait", memory, 0, memory + 64, 8) !== 41) fail("rt_sigtimedwait");
});

linear("watches of an inotify", 100, (count, fail) => {
  const fd = sys("inotify_init1", 0);
  mountFs("tmpfs", "watched", "/tmp");
  for (let n = 0; n < count; n++) {
    putPath(`/tmp/${n}`);
    sys("mknodat", AT_FDCWD, PATH, 0o100644, 0);
    if (sys("inotify_add_watch", fd, PATH, 2) < 0) fail("inotify_add_watch");
  }
  sys("close", fd);
  putPath("/tmp");
  if (sys("umount2", PATH, 0) !== 0) fail("umount");
});
