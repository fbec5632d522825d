import test from "ava";
import { filesPut } from "../../../kernel/fs/close-range.ts";
import { filesFork } from "../../../kernel/fs/fd-copy.ts";
import { flock, type RecordOwner, setRecordLock, testRecordLock } from "../../../kernel/fs/locks.ts";
import { EAGAIN } from "../../../kernel/uapi/errno.ts";
import {
  F_RDLCK,
  F_UNLCK,
  F_WRLCK,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  LOCK_UN,
  O_RDWR,
} from "../../../kernel/uapi/fcntl.ts";
import type { Ref } from "../../../rcu/index.ts";
import { close, fileOf, open, put } from "./calls.ts";
import { bootMachine, settle } from "./machine.ts";

const { task, files } = bootMachine();
put("/f", "0123456789");
const fresh = (): number => open("/f", O_RDWR);
const other: RecordOwner = { owner: 2, pid: 2 };
const me: RecordOwner = { owner: files, pid: 1 };
const end = Number.POSITIVE_INFINITY;

test.afterEach.always(() => {
  for (let fd = 0; fd < 16; fd++) close(fd);
  settle(task);
});

test.serial("flock: shared with shared, exclusive with nobody, converted, dropped by the last close", (t) => {
  const [a, b] = [fresh(), fresh()];
  t.is(flock(fileOf(a), LOCK_SH | LOCK_NB), 0);
  t.is(flock(fileOf(b), LOCK_SH | LOCK_NB), 0);
  t.is(flock(fileOf(a), LOCK_EX | LOCK_NB), -EAGAIN);
  t.is(flock(fileOf(b), LOCK_UN), 0);
  t.is(flock(fileOf(a), LOCK_EX | LOCK_NB), 0);
  t.is(flock(fileOf(b), LOCK_SH | LOCK_NB), -EAGAIN);
  // A forked table keeps the open file, and so its lock.
  const child = filesFork(files) as Ref<"files">;
  close(a);
  settle(task);
  t.is(flock(fileOf(b), LOCK_SH | LOCK_NB), -EAGAIN);
  filesPut(child);
  settle(task);
  t.is(flock(fileOf(b), LOCK_EX | LOCK_NB), 0);
});

test.serial("record locks: ranges, conflicts of others, splitting and joining", (t) => {
  const fd = fresh();
  const file = fileOf(fd);
  t.is(setRecordLock(file, me, F_WRLCK, 0, 10, false), 0);
  t.is(setRecordLock(file, other, F_RDLCK, 5, 20, false), -EAGAIN);
  t.is(setRecordLock(file, other, F_WRLCK, 10, 20, false), 0);
  t.is(setRecordLock(file, me, F_UNLCK, 3, 6, false), 0);
  t.is(setRecordLock(file, other, F_WRLCK, 3, 6, false), 0);
  t.deepEqual(testRecordLock(file, other, F_RDLCK, 0, end), { type: F_WRLCK, start: 0, end: 3, pid: 1 });
  t.deepEqual(testRecordLock(file, me, F_RDLCK, 3, 10), { type: F_WRLCK, start: 3, end: 6, pid: 2 });
  t.is(setRecordLock(file, other, F_UNLCK, 0, end, false), 0);
  t.is(setRecordLock(file, me, F_RDLCK, 2, 7, false), 0);
  // [0, 2) write, [2, 7) read, [7, 10) write.
  t.is(setRecordLock(file, other, F_RDLCK, 2, 7, false), 0);
  t.is(setRecordLock(file, other, F_RDLCK, 6, 8, false), -EAGAIN);
  t.is(setRecordLock(file, me, F_WRLCK, 2, 3, false), -EAGAIN);
  t.is(setRecordLock(file, other, F_UNLCK, 0, end, false), 0);
});

test.serial("closing any descriptor of the file drops the process's record locks, not other owners'", (t) => {
  const [a, b] = [fresh(), fresh()];
  setRecordLock(fileOf(a), me, F_WRLCK, 0, 5, false);
  setRecordLock(fileOf(a), other, F_WRLCK, 5, 10, false);
  close(b);
  t.is(testRecordLock(fileOf(a), other, F_WRLCK, 0, 5), null);
  t.not(testRecordLock(fileOf(a), me, F_WRLCK, 5, 10), null);
  setRecordLock(fileOf(a), other, F_UNLCK, 0, end, false);
});

test.serial("flock and record locks do not see each other", (t) => {
  const [a, b] = [fresh(), fresh()];
  t.is(flock(fileOf(a), LOCK_EX | LOCK_NB), 0);
  t.is(setRecordLock(fileOf(b), other, F_WRLCK, 0, end, false), 0);
  setRecordLock(fileOf(b), other, F_UNLCK, 0, end, false);
});
