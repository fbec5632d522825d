import test from "ava";
import { makeNode } from "../../../kernel/fs/dir.ts";
import { dPath, pathOf, pathReachable } from "../../../kernel/fs/dpath.ts";
import { File } from "../../../kernel/fs/file.ts";
import { fsFork, fsPut, setCwd, setRoot } from "../../../kernel/fs/fsinfo.ts";
import { Inode } from "../../../kernel/fs/inode.ts";
import {
  currentFs,
  LOOKUP_DIRECTORY,
  LOOKUP_EMPTY,
  LOOKUP_FOLLOW,
  nd,
  pathLookup,
} from "../../../kernel/fs/namei.ts";
import { renamePath } from "../../../kernel/fs/rename.ts";
import { mountFs, umountPath } from "../../../kernel/fs/vfs.ts";
import { setCurrent } from "../../../kernel/sched/current.ts";
import {
  EACCES,
  EBUSY,
  EEXIST,
  EINVAL,
  EISDIR,
  ELOOP,
  ENAMETOOLONG,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  EROFS,
  EXDEV,
} from "../../../kernel/uapi/errno.ts";
import {
  AT_FDCWD,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
} from "../../../kernel/uapi/fcntl.ts";
import { MS_BIND, MS_RDONLY, MS_REMOUNT } from "../../../kernel/uapi/mount.ts";
import { S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG } from "../../../kernel/uapi/stat.ts";
import type { Ref } from "../../../rcu/index.ts";
import {
  close,
  fileOf,
  get,
  list,
  lookup,
  mkdir,
  open,
  put,
  read,
  rmdir,
  symlink,
  typeOf,
  unlink,
} from "./calls.ts";
import { bootMachine, newTask, settle } from "./machine.ts";

const { task } = bootMachine();
const rename = (from: string, to: string, flags = 0): number =>
  renamePath(AT_FDCWD, from, AT_FDCWD, to, flags);
let nr = 0;
/** A fresh directory for one test. */
function place(): string {
  const path = `/t${nr++}`;
  mkdir(path);
  return path;
}
const inodeAt = (path: string): number => (lookup(path, 0) < 0 ? 0 : nd.inode);

test.afterEach.always(() => settle(task));

test.serial("dots, repeated slashes and .. above the root", (t) => {
  const d = place();
  mkdir(`${d}/a`);
  put(`${d}/a/f`, "x");
  const f = inodeAt(`${d}/a/f`);
  for (const path of [`${d}/./a/../a//f`, `//..//../${d}/a/f`, `${d}/a/./././f`])
    t.is(inodeAt(path), f, path);
  t.is(inodeAt("/.."), inodeAt("/"));
});

test.serial("a trailing slash asks for a directory", (t) => {
  const d = place();
  put(`${d}/f`, "");
  mkdir(`${d}/dir`);
  symlink("dir", `${d}/link`);
  t.is(lookup(`${d}/f/`), -ENOTDIR);
  t.is(lookup(`${d}/f/.`), -ENOTDIR);
  t.is(lookup(`${d}/dir/`), 0);
  t.is(typeOf(`${d}/link/`, 0), S_IFDIR);
  t.is(typeOf(`${d}/link`, 0), S_IFLNK);
  t.is(lookup(`${d}/f`, LOOKUP_FOLLOW | LOOKUP_DIRECTORY), -ENOTDIR);
  t.is(open(`${d}/new/`, O_CREAT | O_WRONLY), -EISDIR);
  t.is(mkdir(`${d}/made/`), 0);
});

test.serial("the empty path is ENOENT, unless AT_EMPTY_PATH", (t) => {
  t.is(lookup(""), -ENOENT);
  t.is(pathLookup(AT_FDCWD, "", LOOKUP_EMPTY), 0);
});

test.serial("a name may have 255 bytes, a path 4095", (t) => {
  const d = place();
  const name = "n".repeat(255);
  t.is(put(`${d}/${name}`, "long"), 4);
  t.is(get(`${d}/${name}`), "long");
  t.deepEqual(list(d), [name]);
  t.is(put(`${d}/${name}n`, ""), -ENAMETOOLONG);
  const dots = `${d}/${"./".repeat(3000)}`.slice(0, 4095);
  t.is(lookup(dots), 0);
  t.is(lookup(`${dots}/`), -ENAMETOOLONG);
});

test.serial("names are bytes: what is not UTF-8 is kept", (t) => {
  const d = place();
  const raw = new Uint8Array([...new TextEncoder().encode(`${d}/`), 0xff, 0xfe, 0x80]);
  t.is(makeNode(AT_FDCWD, raw, S_IFREG | 0o644, 0), 0);
  t.is(pathLookup(AT_FDCWD, raw), 0);
  t.is(lookup(`${d}/\ufffd\ufffd\ufffd`), -ENOENT);
});

test.serial("symbolic links: relative, absolute, in the middle, 40 of them and no more", (t) => {
  const d = place();
  mkdir(`${d}/a`);
  put(`${d}/a/f`, "found");
  symlink("a", `${d}/rel`);
  symlink(`${d}/rel/f`, `${d}/abs`);
  t.is(get(`${d}/rel/f`), "found");
  t.is(get(`${d}/abs`), "found");
  t.is(get(`${d}/rel/../abs`), "found");
  symlink("loop", `${d}/loop`);
  t.is(lookup(`${d}/loop`), -ELOOP);
  let target = "a/f";
  for (let n = 1; n <= 41; n++) {
    symlink(target, `${d}/l${n}`);
    target = `l${n}`;
  }
  t.is(get(`${d}/l40`), "found");
  t.is(get(`${d}/l41`), -ELOOP);
});

test.serial("O_NOFOLLOW refuses a link, O_PATH | O_NOFOLLOW opens it", (t) => {
  const d = place();
  put(`${d}/f`, "");
  symlink("f", `${d}/l`);
  t.is(open(`${d}/l`, O_NOFOLLOW), -ELOOP);
  const fd = open(`${d}/l`, O_PATH | O_NOFOLLOW);
  t.true(fd >= 0);
  close(fd);
});

test.serial("O_CREAT follows a dangling link and makes what it names; O_EXCL does not", (t) => {
  const d = place();
  symlink("target", `${d}/l`);
  t.is(open(`${d}/l`, O_CREAT | O_EXCL | O_WRONLY), -EEXIST);
  t.is(put(`${d}/l`, "through"), 7);
  t.is(get(`${d}/target`), "through");
});

test.serial("open flags: O_EXCL, O_DIRECTORY, writing to directories, O_TRUNC", (t) => {
  const d = place();
  put(`${d}/f`, "content");
  t.is(open(`${d}/f`, O_CREAT | O_EXCL | O_RDWR), -EEXIST);
  t.is(open(`${d}/f`, O_DIRECTORY), -ENOTDIR);
  t.is(open(d, O_WRONLY), -EISDIR);
  t.is(open(d, O_CREAT | O_RDWR), -EISDIR);
  t.is(open(`${d}/none`, O_WRONLY), -ENOENT);
  t.is(open(`${d}/f/x`, O_CREAT | O_WRONLY), -ENOTDIR);
  close(open(`${d}/f`, O_WRONLY | O_TRUNC));
  t.is(get(`${d}/f`), "");
});

test.serial("unlink and rmdir: what they refuse", (t) => {
  const d = place();
  mkdir(`${d}/sub`);
  put(`${d}/sub/f`, "");
  t.is(unlink(`${d}/sub`), -EISDIR);
  t.is(rmdir(`${d}/sub`), -ENOTEMPTY);
  t.is(rmdir(`${d}/sub/f`), -ENOTDIR);
  t.is(rmdir(`${d}/sub/.`), -EINVAL);
  t.is(rmdir(`${d}/sub/..`), -ENOTEMPTY);
  t.is(rmdir("/"), -EBUSY);
  t.is(unlink(`${d}/sub/f/`), -ENOTDIR);
  t.is(unlink(`${d}/sub/f`), 0);
  t.is(rmdir(`${d}/sub`), 0);
  t.is(lookup(`${d}/sub`), -ENOENT);
});

test.serial("nothing can be made in a directory that was removed while it was open or current", (t) => {
  const d = place();
  mkdir(`${d}/gone`);
  lookup(`${d}/gone`);
  t.is(setCwd(currentFs(), nd.mount, nd.dentry), 0);
  t.is(rmdir(`${d}/gone`), 0);
  t.is(put("here", ""), -ENOENT);
  t.is(mkdir("here"), -ENOENT);
  t.is(lookup(".."), 0);
  t.is(inodeAt(".."), inodeAt(d));
  lookup("/");
  setCwd(currentFs(), nd.mount, nd.dentry);
});

test.serial("a file lives on while it is open, after its name is gone", (t) => {
  const d = place();
  put(`${d}/f`, "kept");
  const fd = open(`${d}/f`, O_RDWR);
  unlink(`${d}/f`);
  settle(task);
  put(`${d}/f`, "another");
  t.is(get(`${d}/f`), "another");
  t.is(read(fd), "kept");
  t.is(Inode.nlink.load(File.inode.get(fileOf(fd))), 0);
  close(fd);
});

test.serial("rename: replaces files, empty directories; refuses the rest", (t) => {
  const d = place();
  put(`${d}/a`, "A");
  put(`${d}/b`, "B");
  mkdir(`${d}/dir`);
  mkdir(`${d}/empty`);
  mkdir(`${d}/full`);
  put(`${d}/full/x`, "");
  t.is(rename(`${d}/a`, `${d}/b`), 0);
  t.is(get(`${d}/b`), "A");
  t.is(get(`${d}/a`), -ENOENT);
  t.is(rename(`${d}/b`, `${d}/dir`), -EISDIR);
  t.is(rename(`${d}/dir`, `${d}/b`), -ENOTDIR);
  t.is(rename(`${d}/dir`, `${d}/full`), -ENOTEMPTY);
  t.is(rename(`${d}/dir`, `${d}/dir/below`), -EINVAL);
  t.is(rename(`${d}/full/x`, `${d}/full`), -ENOTEMPTY);
  t.is(rename(`${d}/full`, `${d}/empty`), 0);
  t.is(lookup(`${d}/empty/x`), 0);
  t.is(rename(`${d}/none`, `${d}/b`), -ENOENT);
  t.is(rename(`${d}/b`, `${d}/b/`), -ENOTDIR);
  t.deepEqual(list(d), ["b", "dir", "empty"]);
});

test.serial("rename of a directory moves its subtree, .. and link counts", (t) => {
  const d = place();
  for (const path of ["p", "q", "p/sub", "p/sub/deep"]) mkdir(`${d}/${path}`);
  lookup(`${d}/p/sub/deep`);
  const [mount, dentry] = [nd.mount, nd.dentry];
  const links = (path: string): number => {
    lookup(path);
    return Inode.nlink.load(nd.inode);
  };
  t.is(rename(`${d}/p/sub`, `${d}/q/moved`), 0);
  t.is(dPath(mount, dentry), `${d}/q/moved/deep`);
  t.is(inodeAt(`${d}/q/moved/..`), inodeAt(`${d}/q`));
  t.deepEqual([links(`${d}/p`), links(`${d}/q`)], [2, 3]);
});

test.serial("RENAME_NOREPLACE and RENAME_EXCHANGE", (t) => {
  const d = place();
  put(`${d}/f`, "file");
  mkdir(`${d}/dir`);
  put(`${d}/dir/in`, "inside");
  t.is(rename(`${d}/f`, `${d}/dir`, RENAME_NOREPLACE), -EEXIST);
  t.is(rename(`${d}/f`, `${d}/none`, RENAME_EXCHANGE), -ENOENT);
  t.is(rename(`${d}/f`, `${d}/dir`, RENAME_EXCHANGE), 0);
  t.is(get(`${d}/f/in`), "inside");
  t.is(get(`${d}/dir`), "file");
});

test.serial("mounts cover a directory, .. leads out of them, and they cannot be removed", (t) => {
  const d = place();
  mkdir(`${d}/m`);
  put(`${d}/m/under`, "");
  t.is(mountFs("tmpfs", "none", `${d}/m`), 0);
  t.is(lookup(`${d}/m/under`), -ENOENT);
  put(`${d}/m/on`, "top");
  t.is(get(`${d}/m/../m/on`), "top");
  t.is(inodeAt(`${d}/m/..`), inodeAt(d));
  t.is(rmdir(`${d}/m`), -EBUSY);
  t.is(rename(`${d}/m/on`, `${d}/on`), -EXDEV);
  const fd = open(`${d}/m/on`);
  t.is(umountPath(`${d}/m`, 0), -EBUSY);
  close(fd);
  settle(task);
  t.is(umountPath(`${d}/m`, 0), 0);
  t.is(lookup(`${d}/m/under`), 0);
  t.is(umountPath(`${d}/m`, 0), -EINVAL);
});

test.serial("bind mounts show the same files; a read-only one refuses every change", (t) => {
  const d = place();
  mkdir(`${d}/src`);
  mkdir(`${d}/ro`);
  put(`${d}/src/f`, "shared");
  t.is(mountFs("", `${d}/src`, `${d}/ro`, MS_BIND), 0);
  t.is(inodeAt(`${d}/ro/f`), inodeAt(`${d}/src/f`));
  t.is(put(`${d}/ro/f`, "changed"), 7);
  t.is(mountFs("", "", `${d}/ro`, MS_BIND | MS_REMOUNT | MS_RDONLY), 0);
  t.is(open(`${d}/ro/f`, O_WRONLY), -EROFS);
  t.is(open(`${d}/ro/new`, O_CREAT | O_WRONLY), -EROFS);
  t.is(unlink(`${d}/ro/f`), -EROFS);
  t.is(mkdir(`${d}/ro/dir`), -EROFS);
  t.is(rename(`${d}/ro/f`, `${d}/ro/g`), -EROFS);
  t.is(get(`${d}/ro/f`), "changed");
  settle(task);
  t.is(umountPath(`${d}/ro`, 0), 0);
});

test.serial("chroot: neither .. nor absolute links lead out", (t) => {
  const d = place();
  mkdir(`${d}/jail`);
  put(`${d}/secret`, "no");
  put(`${d}/jail/secret`, "inside");
  symlink(`${d}/secret`, `${d}/jail/abs`);
  symlink("../../../secret", `${d}/jail/up`);
  const inside = newTask(0, 0);
  setCurrent(inside.task);
  lookup(`${d}/jail`);
  const [mount, dentry] = [nd.mount, nd.dentry];
  setRoot(currentFs(), mount, dentry);
  setCwd(currentFs(), mount, dentry);
  t.is(get("/secret"), "inside");
  t.is(get("/../../secret"), "inside");
  t.is(get("up"), "inside");
  t.is(get("abs"), -ENOENT);
  setCurrent(task);
});

test.serial("permissions: read, write, search, owner and group, for who is not root", (t) => {
  const d = place();
  put(`${d}/private`, "s", 0o600);
  put(`${d}/public`, "p", 0o644);
  mkdir(`${d}/closed`, 0o700);
  put(`${d}/closed/f`, "");
  mkdir(`${d}/open`, 0o777);
  lookup(`${d}/open`);
  Inode.mode.store(nd.inode, S_IFDIR | 0o777);
  mkdir(`${d}/sticky`);
  lookup(`${d}/sticky`);
  Inode.mode.store(nd.inode, S_IFDIR | 0o1777);
  put(`${d}/sticky/roots`, "");
  put(`${d}/grouped`, "g", 0o640);
  lookup(`${d}/grouped`);
  Inode.gid.store(nd.inode, 50);
  const user = newTask(1000, 50);
  setCurrent(user.task);
  t.is(open(`${d}/private`), -EACCES);
  t.is(get(`${d}/public`), "p");
  t.is(open(`${d}/public`, O_RDWR), -EACCES);
  t.is(lookup(`${d}/closed/f`), -EACCES);
  t.is(lookup(`${d}/closed`), 0);
  t.is(put(`${d}/new`, ""), -EACCES);
  t.is(unlink(`${d}/public`), -EACCES);
  t.is(get(`${d}/grouped`), "g");
  t.is(open(`${d}/grouped`, O_WRONLY), -EACCES);
  t.is(put(`${d}/open/mine`, "m"), 1);
  lookup(`${d}/open/mine`);
  t.is(Inode.uid.load(nd.inode), 1000);
  t.is(Inode.mode.load(nd.inode), S_IFREG | 0o644);
  t.is(unlink(`${d}/sticky/roots`), -EPERM);
  t.is(rename(`${d}/sticky/roots`, `${d}/sticky/x`), -EPERM);
  t.is(put(`${d}/sticky/own`, ""), 0);
  t.is(unlink(`${d}/sticky/own`), 0);
  setCurrent(task);
});

test.serial("umask and mode bits of what is made; a FIFO can be made by anybody", (t) => {
  const d = place();
  put(`${d}/f`, "", 0o777);
  lookup(`${d}/f`);
  t.is(Inode.mode.load(nd.inode), S_IFREG | 0o755);
  t.is(makeNode(AT_FDCWD, `${d}/fifo`, S_IFIFO | 0o666, 0), 0);
  t.is(typeOf(`${d}/fifo`), S_IFIFO);
});

test.serial("getdents: every name once, in whatever pieces it is read", (t) => {
  const d = place();
  const names = Array.from({ length: 300 }, (_, n) => `file-${n}`).sort();
  for (const name of names) put(`${d}/${name}`, "");
  t.deepEqual(list(d, 4096), names);
  t.deepEqual(list(d, 64), names);
  for (const name of names) unlink(`${d}/${name}`);
  t.deepEqual(list(d), []);
});

test.serial("a place outside a task's root is named from the machine's", (t) => {
  const d = place();
  mkdir(`${d}/jail`);
  mkdir(`${d}/outside`);
  const fs = fsFork(currentFs()) as Ref<"fsinfo">;
  lookup(`${d}/jail`);
  setRoot(fs, nd.mount, nd.dentry);
  lookup(`${d}/outside`);
  t.is(Buffer.from(pathOf(fs, nd.mount, nd.dentry)).toString(), `${d}/outside`);
  t.false(pathReachable(fs, nd.mount, nd.dentry));
  fsPut(fs);
});
