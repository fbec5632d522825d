/** Corners of the file calls, as the manual pages have them and Linux was seen to do. */
import test from "ava";
import { File } from "../../kernel/fs/file.ts";
import { newCred } from "../../kernel/task/cred.ts";
import { Task } from "../../kernel/task/task.ts";
import {
  E2BIG,
  EACCES,
  EAGAIN,
  EBADF,
  EEXIST,
  EFAULT,
  EINVAL,
  ENODATA,
  ENOENT,
  ENOTDIR,
  EOPNOTSUPP,
  EOVERFLOW,
  EPERM,
  EPIPE,
  ERANGE,
  EROFS,
  ESPIPE,
  ESRCH,
} from "../../kernel/uapi/errno.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  F_GET_SEALS,
  F_GETFL,
  F_GETOWN,
  F_SEAL_EXEC,
  F_SEAL_SEAL,
  F_SETOWN_EX,
  O_APPEND,
  O_CREAT,
  O_LARGEFILE,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_TMPFILE,
  O_TRUNC,
  O_WRONLY,
  RENAME_EXCHANGE,
  RESOLVE_BENEATH,
  RESOLVE_CACHED,
  RESOLVE_IN_ROOT,
  RWF_APPEND,
  RWF_NOAPPEND,
  SEEK_CUR,
} from "../../kernel/uapi/fcntl.ts";
import { MS_RDONLY } from "../../kernel/uapi/mount.ts";
import type { Held, Ref } from "../../rcu/index.ts";
import { boot, call, fileAt, getBytes, putBytes, putWords, settle } from "../kernel/ipc/machine.ts";

const { task, memory } = boot();
const A = memory;
const B = memory + 8192;
const DATA = memory + 16384;
const BAD = 8;

const at = (address: number, text: string): number => {
  putBytes(address, new TextEncoder().encode(`${text}\0`));
  return address;
};
const sys = (name: string, ...args: number[]): number => call(task, name, ...args);
const open = (path: string, flags: number, mode = 0o644): number =>
  sys("openat", AT_FDCWD, at(A, path), flags, mode);
const mkdir = (path: string, mode = 0o755): number => sys("mkdirat", AT_FDCWD, at(A, path), mode);
const rename = (from: string, to: string, flags = 0): number =>
  sys("renameat2", AT_FDCWD, at(A, from), AT_FDCWD, at(B, to), flags);
const unlink = (path: string, flags = 0): number => sys("unlinkat", AT_FDCWD, at(A, path), flags);
const put = (path: string, text = "0123456789"): void => {
  const fd = open(path, O_CREAT | O_TRUNC | O_WRONLY);
  sys("write", fd, at(DATA, text), text.length);
  sys("close", fd);
};
const modeOf = (path: string): number => {
  sys("newfstatat", AT_FDCWD, at(A, path), DATA, 0);
  return new DataView(getBytes(DATA, 128).buffer).getUint32(16, true) & 0o7777;
};
/** Runs with the file system ids of a user. */
function as(uid: number, work: () => void): void {
  const root = Task.cred.access(task) as Ref<"cred">;
  Task.cred.assign(1 as Held, task, newCred(uid, uid) as Ref<"cred">);
  work();
  Task.cred.assign(1 as Held, task, root);
}

test.afterEach.always(() => {
  sys("close_range", 0, 0xffff_ffff, 0);
  settle(task);
});

test.serial("open ignores flags it does not know, and F_GETFL does not show them; O_TMPFILE stays", (t) => {
  put("/f");
  t.is(sys("fcntl", open("/f", 0x80000000 | O_RDWR), F_GETFL, 0), O_RDWR | O_LARGEFILE);
  t.is(sys("fcntl", open("/", O_TMPFILE | O_RDWR), F_GETFL, 0), O_TMPFILE | O_RDWR | O_LARGEFILE);
});

test.serial("openat2 refuses what openat ignores", (t) => {
  const openat2 = (flags: number, resolve = 0): number => {
    putWords(DATA, flags, 0, 0, 0, resolve, 0);
    return sys("openat2", AT_FDCWD, at(A, "/f"), DATA, 24);
  };
  put("/f");
  t.is(openat2(1 << 30), -EINVAL);
  t.is(openat2(O_PATH | O_RDWR), -EINVAL);
  t.is(openat2(O_RDONLY, RESOLVE_BENEATH | RESOLVE_IN_ROOT), -EINVAL);
  t.is(openat2(O_RDWR | O_TRUNC, RESOLVE_CACHED), -EAGAIN);
  t.true(openat2(O_RDWR, RESOLVE_CACHED) >= 0);
});

test.serial("RWF_APPEND and RWF_NOAPPEND are this call's alone: the open file keeps its flags", (t) => {
  put("/f");
  const fd = open("/f", O_RDWR);
  putWords(B, DATA, 0, 3, 0);
  at(DATA, "abc");
  t.is(sys("pwritev2", fd, B, 1, 0, 0, RWF_APPEND), 3);
  t.is(sys("fcntl", fd, F_GETFL, 0) & O_APPEND, 0);
  t.is(sys("pread64", fd, DATA, 100, 0), 13);
  const appending = open("/f", O_WRONLY | O_APPEND);
  t.is(sys("pwritev2", appending, B, 1, 0, 0, RWF_NOAPPEND), 3);
  t.is(sys("pwritev2", appending, B, 1, 0, 0, RWF_NOAPPEND | RWF_APPEND), -EINVAL);
  t.is(sys("pread64", fd, DATA, 100, 0), 13);
  t.not(File.flags.load(fileAt(task, appending)) & O_APPEND, 0);
});

test.serial("ranges that no off_t and no address names", (t) => {
  put("/f");
  const fd = open("/f", O_RDWR);
  t.is(sys("pread64", fd, DATA, 1, 2 ** 63), -EINVAL);
  t.is(sys("read", fd, DATA, 2 ** 64 - 1), -EFAULT);
  t.is(sys("write", fd, DATA, 2 ** 64 - 1), -EFAULT);
  t.is(sys("lseek", fd, 0, 77), -EINVAL);
  sys("pipe2", B, 0);
  t.is(sys("lseek", new Int32Array(getBytes(B, 4).buffer)[0]!, 0, SEEK_CUR), -ESPIPE);
  putWords(B, -1, 0x7fff_ffff);
  t.is(sys("copy_file_range", fd, B, open("/f", O_RDWR), 0, 10, 0), 0, "nothing is there");
  putWords(B, -9, -1);
  t.is(sys("copy_file_range", fd, B, open("/f", O_RDWR), 0, 10, 0), -EOVERFLOW);
  t.is(sys("copy_file_range", fd, B, open("/f", O_RDWR), 0, 8, 0), -EINVAL);
  t.is(sys("copy_file_range", open("/f", O_WRONLY), 0, fd, 0, 10, 0), -EBADF);
});

test.serial("what is not there is ENOENT before EACCES, and EROFS before both", (t) => {
  mkdir("/root-only");
  put("/root-only/x");
  mkdir("/ro");
  sys("mount", at(DATA, "none"), at(A, "/ro"), at(B, "tmpfs"), MS_RDONLY, 0);
  as(1000, () => {
    t.is(unlink("/root-only/none"), -ENOENT);
    t.is(unlink("/root-only/x"), -EACCES);
    t.is(rename("/root-only/none", "/root-only/y"), -ENOENT);
    t.is(rename("/root-only/x", "/root-only/y"), -EACCES);
    t.is(unlink("/ro/none"), -EROFS);
    t.is(rename("/ro/none", "/ro/y"), -EROFS);
  });
  t.is(sys("umount2", at(A, "/ro"), 0), 0);
});

test.serial("a name with a slash behind it: what exists is EEXIST, what is no directory ENOTDIR", (t) => {
  put("/f");
  put("/g");
  t.is(sys("symlinkat", at(A, "x"), AT_FDCWD, at(B, "/f/")), -EEXIST);
  t.is(sys("symlinkat", at(A, "x"), AT_FDCWD, at(B, "/new/")), -ENOENT);
  t.is(sys("linkat", AT_FDCWD, at(A, "/f"), AT_FDCWD, at(B, "/g/"), 0), -EEXIST);
  t.is(rename("/f", "/g/", RENAME_EXCHANGE), -ENOTDIR);
  t.is(sys("mknodat", AT_FDCWD, at(A, "/link"), 0o120666, 0), -EINVAL);
});

test.serial("set-id bits: dropped by chown, not given to files of a group that is not the maker's", (t) => {
  put("/f");
  sys("fchmodat", AT_FDCWD, at(A, "/f"), 0o6777);
  t.is(sys("fchownat", AT_FDCWD, at(A, "/f"), 0xffff_ffff, 0xffff_ffff, 0), 0);
  t.is(modeOf("/f"), 0o777);
  sys("umask", 0);
  mkdir("/shared", 0o777);
  sys("fchownat", AT_FDCWD, at(A, "/shared"), 0, 50, 0);
  sys("fchmodat", AT_FDCWD, at(A, "/shared"), 0o2777);
  as(1000, () => {
    t.true(open("/shared/x", O_CREAT, 0o2755) >= 0);
    t.is(modeOf("/shared/x"), 0o755);
    t.is(sys("fchownat", AT_FDCWD, at(A, "/f"), 0xffff_ffff, 0xffff_ffff, 0), 0);
  });
});

test.serial("seals belong to memfds; one without x bits keeps them off", (t) => {
  t.is(sys("fcntl", open("/tmpfile", O_CREAT | O_RDWR), F_GET_SEALS, 0), F_SEAL_SEAL);
  const memfd = sys("memfd_create", at(A, "m"), 8);
  t.is(sys("fcntl", memfd, F_GET_SEALS, 0), F_SEAL_EXEC);
  t.is(sys("fchmod", memfd, 0o777), -EPERM);
  t.is(sys("fchmod", memfd, 0o600), 0);
});

test.serial("utimensat with nothing to change looks nothing up; statx takes NULL with AT_EMPTY_PATH", (t) => {
  const omit = 0x3fff_fffe;
  putWords(B, 0, 0, omit, 0, 0, 0, omit, 0);
  t.is(sys("utimensat", AT_FDCWD, at(A, "/none"), B, 0), 0);
  put("/f");
  t.is(sys("statx", open("/f", 0), 0, AT_EMPTY_PATH, 0x7ff, DATA), 0);
  t.is(sys("statx", open("/f", 0), BAD, AT_EMPTY_PATH, 0x7ff, DATA), -EFAULT);
});

test.serial("splice looks at both ends first: their modes, and whether anybody reads", (t) => {
  const pipe = (): Int32Array => {
    sys("pipe2", B, 0);
    return new Int32Array(getBytes(B, 8).buffer);
  };
  const [from, into] = [pipe(), pipe()];
  t.is(sys("splice", into[1]!, 0, from[1]!, 0, 4, 0), -EBADF);
  t.is(sys("splice", from[0]!, 0, into[0]!, 0, 4, 0), -EBADF);
  t.is(sys("tee", into[1]!, from[1]!, 4, 0), -EBADF);
  sys("write", from[1]!, at(DATA, "abcd"), 4);
  sys("close", into[0]!);
  t.is(sys("splice", from[0]!, 0, into[1]!, 0, 4, 0), -EPIPE);
});

test.serial("F_SETOWN_EX refuses owners of no kind", (t) => {
  const fd = open("/owned", O_CREAT | O_RDWR);
  const own = sys("getpid");
  const group = sys("getpgid", 0);
  for (const [type, pid, result, owner] of [
    [1, own, 0, own],
    [2, group, 0, -group],
    [1, 77777, -ESRCH, -group],
    [2, 77777, -ESRCH, -group],
    [3, 1, -EINVAL, -group],
    [-1, 1, -EINVAL, -group],
    [0, -1, -ESRCH, -group],
  ] as const) {
    putWords(DATA, type, pid);
    t.is(sys("fcntl", fd, F_SETOWN_EX, DATA), result);
    t.is(sys("fcntl", fd, F_GETOWN, 0), owner);
  }
});

test.serial("xattr calls look at flags, name, size and value, then at the file, then at who may", (t) => {
  put("/plain");
  sys("mknodat", AT_FDCWD, at(A, "/fifo"), 0o10666, 0);
  const name = (text: string): number => at(DATA, text);
  const set = (path: string, attribute: string | number, value = B, size = 1, flags = 0): number =>
    sys(
      "setxattr",
      at(A, path),
      typeof attribute === "number" ? attribute : name(attribute),
      value,
      size,
      flags,
    );
  const get = (path: string, attribute: string, size = 1): number =>
    sys("getxattr", at(A, path), name(attribute), BAD, size);
  t.is(set("/none", BAD, BAD, 65537, 4), -EINVAL);
  t.is(set("/none", BAD, BAD, 65537, 3), -EFAULT);
  for (const wrong of ["", "user.".padEnd(256, "a")]) {
    t.is(set("/none", wrong, BAD, 65537), -ERANGE);
    t.is(get("/none", wrong), -ERANGE);
    t.is(sys("removexattr", at(A, "/none"), name(wrong)), -ERANGE);
    t.is(sys("fgetxattr", 99, name(wrong), BAD, 1), -ERANGE);
  }
  for (const size of [65537, 2 ** 32, 2 ** 53, 2 ** 64]) t.is(set("/none", "user.a", BAD, size), -E2BIG);
  t.is(set("/none", "user.a", BAD), -EFAULT);
  t.is(set("/none", "user.a", BAD, 0), -ENOENT);
  t.is(set("/plain", "user.".padEnd(255, "a")), -EOPNOTSUPP);
  t.is(sys("fsetxattr", 99, name("user.a"), BAD, 1, 0), -EFAULT);
  t.is(sys("fsetxattr", 99, name("user.a"), B, 1, 0), -EBADF);
  t.is(set("/fifo", "user.a"), -EPERM);
  t.is(get("/fifo", "user.a"), -ENODATA);
  t.is(set("/fifo", "other.a"), -EOPNOTSUPP);
  for (const size of [0, 1, 2 ** 64]) t.is(get("/plain", "user.a", size), -EOPNOTSUPP);
  t.is(sys("listxattr", at(A, "/plain"), BAD, 2 ** 64), 0);
  t.is(get("/plain", "trusted.a"), -EOPNOTSUPP);
  as(1000, () => {
    t.is(set("/plain", "user.a"), -EACCES);
    t.is(set("/plain", "other.a"), -EACCES);
    t.is(get("/plain", "user.a"), -EOPNOTSUPP);
    t.is(set("/plain", "trusted.a"), -EPERM);
    t.is(get("/plain", "trusted.a"), -ENODATA);
    t.is(set("/plain", "security.a"), -EPERM);
    t.is(set("/plain", "system.a"), -EOPNOTSUPP);
  });
});
