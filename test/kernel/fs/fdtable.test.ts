import test from "ava";
import { closePart, filesPut } from "../../../kernel/fs/close-range.ts";
import { filesFork, unshareFiles } from "../../../kernel/fs/fd-copy.ts";
import {
  allocFd,
  closeFd,
  fget,
  fgetRawRef,
  filesGet,
  getCloexec,
  getUnusedFd,
  NR_OPEN,
  replaceFd,
  setCloexec,
} from "../../../kernel/fs/fdtable.ts";
import { File } from "../../../kernel/fs/file.ts";
import { Group, Task } from "../../../kernel/task/task.ts";
import { EBADF, EMFILE } from "../../../kernel/uapi/errno.ts";
import { O_CLOEXEC } from "../../../kernel/uapi/fcntl.ts";
import { liveObjects, type Ref } from "../../../rcu/index.ts";
import { close, fileOf, open, put, read } from "./calls.ts";
import { bootMachine, settle } from "./machine.ts";

const { task, files } = bootMachine();

/** open(2) as the call does it: the number first. */
const vfsOpenFd = (): number => getUnusedFd(files, 0);

/** dup(2) onto a number. */
const dupTo = (fd: number, onto: number, flags = 0): number =>
  replaceFd(files, onto, fgetRawRef(files, fd) as Ref<"file">, flags);

test.afterEach.always(() => {
  for (let fd = 0; fd < 2048; fd++) closeFd(files, fd);
  settle(task);
});

test.serial("open gives the lowest free descriptor", (t) => {
  put("/a", "");
  t.deepEqual([open("/a"), open("/a"), open("/a")], [0, 1, 2]);
  close(1);
  t.is(open("/a"), 1);
  t.is(open("/a"), 3);
});

test.serial("a closed descriptor is EBADF, also the second time", (t) => {
  put("/a", "");
  const fd = open("/a");
  t.is(close(fd), 0);
  t.is(close(fd), -EBADF);
  t.is(fget(files, fd), -EBADF);
  t.is(fget(files, -1), -EBADF);
  t.is(fget(files, 1 << 30), -EBADF);
});

test.serial("dup shares the position, and clears close-on-exec", (t) => {
  put("/a", "hello world");
  const fd = open("/a", O_CLOEXEC);
  t.is(dupTo(fd, 7), 7);
  t.is(read(fd, 6), "hello ");
  t.is(read(7, 5), "world");
  t.is(getCloexec(files, fd), 1);
  t.is(getCloexec(files, 7), 0);
});

test.serial("dup onto an open descriptor closes what it named", (t) => {
  put("/a", "A");
  put("/b", "B");
  const [a, b] = [open("/a"), open("/b")];
  settle(task);
  const before = liveObjects(File);
  dupTo(a, b);
  settle(task);
  t.is(liveObjects(File), before - 1);
  t.is(read(b), "A");
});

test.serial("the table grows, and keeps files and flags", (t) => {
  put("/a", "x");
  const fd = open("/a", O_CLOEXEC);
  t.is(dupTo(fd, 1000, O_CLOEXEC), 1000);
  t.is(fileOf(1000), fileOf(fd));
  t.is(getCloexec(files, 1000), 1);
  t.is(getCloexec(files, fd), 1);
  for (let n = 1; n < 200; n++) t.is(open("/a"), n);
});

test.serial("RLIMIT_NOFILE: EMFILE for the lowest free, EBADF for a chosen number", (t) => {
  put("/a", "");
  const group = Task.group.get(task);
  Group.rlimits.set(group, 28, 4);
  Group.rlimits.set(group, 29, 0);
  for (let n = 0; n < 4; n++) t.is(open("/a"), n);
  settle(task);
  const before = liveObjects(File);
  t.is(vfsOpenFd(), -EMFILE);
  t.is(dupTo(0, 4), -EBADF);
  close(2);
  t.is(open("/a"), 2);
  Group.rlimits.set(group, 28, -1);
  Group.rlimits.set(group, 29, -1);
  settle(task);
  t.is(liveObjects(File), before);
});

test.serial("fork copies the table: numbers part, open files stay shared", (t) => {
  put("/a", "abcdef");
  const fd = open("/a", O_CLOEXEC);
  const child = filesFork(files) as Ref<"files">;
  t.is(read(fd, 3), "abc");
  const file = fget(child, fd) as Ref<"file">;
  t.is(file, fileOf(fd));
  t.is(getCloexec(child, fd), 1);
  close(fd);
  t.is(fget(files, fd), -EBADF);
  t.is(fget(child, fd), file);
  t.is(allocFd(child, fgetRawRef(child, fd) as Ref<"file">, 0), 1);
  t.is(open("/a"), 0);
  filesPut(child);
});

test.serial("the last count of an open file is put once, whichever table held it", (t) => {
  put("/a", "");
  settle(task);
  const before = liveObjects(File);
  const fd = open("/a");
  const child = filesFork(files) as Ref<"files">;
  close(fd);
  settle(task);
  t.is(liveObjects(File), before + 1);
  filesPut(child);
  settle(task);
  t.is(liveObjects(File), before);
});

test.serial("exec closes what is marked close-on-exec, and nothing else", (t) => {
  put("/a", "");
  for (let n = 0; n < 70; n++) open("/a", n % 3 === 0 ? O_CLOEXEC : 0);
  setCloexec(files, 1, true);
  setCloexec(files, 3, false);
  for (let fd = 0; fd < NR_OPEN; ) fd = closePart(files, fd, NR_OPEN, true);
  const open_ = Array.from({ length: 70 }, (_, n) => n).filter((fd) => fget(files, fd) > 0);
  t.deepEqual(
    open_,
    Array.from({ length: 70 }, (_, n) => n).filter((n) => (n % 3 !== 0 && n !== 1) || n === 3),
  );
});

test.serial("unshare: a table with other users is copied, one of its own is kept", (t) => {
  put("/a", "z");
  const fd = open("/a");
  t.is(unshareFiles(task), 0);
  t.is(Task.files.access(task), files);
  filesGet(files); // Another task with CLONE_FILES.
  t.is(unshareFiles(task), 0);
  const own = Task.files.access(task) as Ref<"files">;
  t.not(own, files);
  t.is(fget(own, fd), fget(files, fd));
  close(fd);
  t.true(fget(files, fd) > 0);
  Task.files.exchange(task, files);
  filesPut(own);
});
