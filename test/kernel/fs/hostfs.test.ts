import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import test from "ava";
import "../../../kernel/fs/hostfs/index.ts";
import { changeMode, changeTimes, truncatePath } from "../../../kernel/fs/attr.ts";
import { dcacheCount } from "../../../kernel/fs/dcache.ts";
import { makeLink, makeNode } from "../../../kernel/fs/dir.ts";
import { File } from "../../../kernel/fs/file.ts";
import { Inode, inodeSeconds, MTIME } from "../../../kernel/fs/inode.ts";
import { nd } from "../../../kernel/fs/namei.ts";
import { renamePath } from "../../../kernel/fs/rename.ts";
import { mountHost, umountPath } from "../../../kernel/fs/vfs.ts";
import { mappingPage } from "../../../kernel/mm/pagecache.ts";
import { EACCES, ENOENT, EPERM, EROFS, EXDEV } from "../../../kernel/uapi/errno.ts";
import { AT_FDCWD, O_CREAT, O_RDWR, O_WRONLY } from "../../../kernel/uapi/fcntl.ts";
import { S_IFIFO, S_IFLNK } from "../../../kernel/uapi/stat.ts";
import type { Ref } from "../../../rcu/index.ts";
import {
  close,
  fileOf,
  get,
  list,
  lookup,
  mkdir,
  open,
  pread,
  put,
  pwrite,
  rmdir,
  symlink,
  typeOf,
  unlink,
} from "./calls.ts";
import { bootMachine, settle } from "./machine.ts";

const { task } = bootMachine();
/** How long hostfs believes what it knows, with room to spare. */
const VALIDITY_MS = 80;
const temporary = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "sternix-hostfs-")));
const outside = path.join(temporary, "outside");
fs.mkdirSync(outside);
fs.writeFileSync(path.join(outside, "secret"), "secret");

let nr = 0;
/** A host folder of its own, mounted at the second value. */
function place(writable: boolean): [string, string] {
  const host = path.join(temporary, `host${nr}`);
  fs.mkdirSync(host);
  const guest = `/mnt/h${nr++}`;
  if (mountHost(host, guest, writable) !== 0) throw new Error("mount");
  return [host, guest];
}
const hostText = (file: string): string => fs.readFileSync(file, "utf8");

test.afterEach.always(() => settle(task));
test.after.always(() => fs.rmSync(temporary, { recursive: true }));

test.serial("reads files, lists folders, shows types", (t) => {
  const [host, guest] = place(false);
  fs.writeFileSync(path.join(host, "f"), "hello");
  fs.mkdirSync(path.join(host, "sub"));
  fs.writeFileSync(path.join(host, "sub", "big"), Buffer.alloc(300_000, "z"));
  fs.symlinkSync("sub/big", path.join(host, "link"));
  t.is(get(`${guest}/f`), "hello");
  t.deepEqual(list(guest), ["f", "link", "sub"]);
  t.deepEqual(list(guest, 64), ["f", "link", "sub"]);
  t.is(typeOf(`${guest}/link`, 0), S_IFLNK);
  const fd = open(`${guest}/link`);
  t.is((pread(fd, 400_000, 0) as Uint8Array).length, 300_000);
  t.is((pread(fd, 10, 299_995) as Uint8Array).length, 5);
  close(fd);
});

test.serial("no way out: host links are resolved in the guest, .. stops at the mount", (t) => {
  const [host, guest] = place(true);
  fs.symlinkSync(outside, path.join(host, "absolute"));
  fs.symlinkSync("../outside", path.join(host, "relative"));
  fs.symlinkSync(path.join(outside, "secret"), path.join(host, "file"));
  fs.mkdirSync(path.join(host, "d"));
  for (const name of [
    "absolute/secret",
    "relative/secret",
    "file",
    "d/../../outside/secret",
    "../outside/secret",
  ])
    t.is(get(`${guest}/${name}`), -ENOENT, name);
  t.is(put(`${guest}/absolute/new`, "x"), -ENOENT);
  t.deepEqual(fs.readdirSync(outside), ["secret"]);
});

test.serial("a folder that becomes a link after it was looked up leads nowhere", (t) => {
  const [host, guest] = place(true);
  fs.mkdirSync(path.join(host, "d"));
  fs.writeFileSync(path.join(host, "d", "secret"), "own");
  t.is(get(`${guest}/d/secret`), "own");
  // The guest itself swaps it, with the old folder still known.
  lookup(`${guest}/d`);
  t.is(renamePath(AT_FDCWD, `${guest}/d`, AT_FDCWD, `${guest}/moved`, 0), 0);
  t.is(symlink(outside, `${guest}/d`), 0);
  t.is(get(`${guest}/d/secret`), -ENOENT);
  t.is(get(`${guest}/moved/secret`), "own");
  // Now the host does, and what is cached is not asked again yet.
  fs.mkdirSync(path.join(host, "e"));
  t.is(lookup(`${guest}/e`), 0);
  fs.rmdirSync(path.join(host, "e"));
  fs.symlinkSync(outside, path.join(host, "e"));
  t.true((get(`${guest}/e/secret`) as number) < 0);
  t.true(put(`${guest}/e/planted`, "x") < 0);
  t.deepEqual(fs.readdirSync(outside), ["secret"]);
});

test.serial("special files of the host are shown and cannot be opened", (t) => {
  const [host, guest] = place(true);
  if (process.platform === "win32") return t.pass();
  execFileSync("mkfifo", [path.join(host, "fifo")]);
  t.is(typeOf(`${guest}/fifo`), S_IFIFO);
  t.is(open(`${guest}/fifo`), -EACCES);
  t.is(makeNode(AT_FDCWD, `${guest}/made`, S_IFIFO | 0o644, 0), -EPERM);
  const devices = "/mnt/host-dev";
  t.is(mountHost("/dev", devices, true), 0);
  t.is(open(`${devices}/null`), -EACCES);
  t.is(open(`${devices}/zero`, O_RDWR), -EACCES);
});

test.serial("a read-only mount refuses every change, whatever the host would allow", (t) => {
  const [host, guest] = place(false);
  fs.writeFileSync(path.join(host, "f"), "kept");
  fs.mkdirSync(path.join(host, "d"));
  t.is(open(`${guest}/f`, O_WRONLY), -EROFS);
  t.is(open(`${guest}/new`, O_CREAT | O_WRONLY), -EROFS);
  t.is(mkdir(`${guest}/new`), -EROFS);
  t.is(unlink(`${guest}/f`), -EROFS);
  t.is(rmdir(`${guest}/d`), -EROFS);
  t.is(symlink("f", `${guest}/l`), -EROFS);
  t.is(renamePath(AT_FDCWD, `${guest}/f`, AT_FDCWD, `${guest}/g`, 0), -EROFS);
  lookup(`${guest}/f`);
  t.is(changeMode(nd.mount, nd.inode, 0o777), -EROFS);
  t.is(truncatePath(nd.mount, nd.inode, 0), -EROFS);
  t.is(changeTimes(nd.mount, nd.inode, null, null), -EROFS);
  t.is(hostText(path.join(host, "f")), "kept");
  t.deepEqual(fs.readdirSync(host).sort(), ["d", "f"]);
});

test.serial("a writable mount: the host sees what the guest does", (t) => {
  const [host, guest] = place(true);
  t.is(put(`${guest}/f`, "text", 0o640), 4);
  t.is(hostText(path.join(host, "f")), "text");
  t.is(fs.statSync(path.join(host, "f")).mode & 0o777, 0o640);
  const fd = open(`${guest}/f`, O_RDWR);
  const big = new Uint8Array(150_000).map((_, n) => n % 251);
  t.is(pwrite(fd, big, 3), 150_000);
  t.is(fs.statSync(path.join(host, "f")).size, 150_003);
  t.deepEqual(fs.readFileSync(path.join(host, "f")).subarray(3), Buffer.from(big));
  t.deepEqual(pread(fd, 150_000, 3), big);
  close(fd);
  t.is(mkdir(`${guest}/d`, 0o750), 0);
  t.is(renamePath(AT_FDCWD, `${guest}/f`, AT_FDCWD, `${guest}/d/g`, 0), 0);
  lookup(`${guest}/d/g`);
  t.is(truncatePath(nd.mount, nd.inode, 5), 0);
  t.is(changeMode(nd.mount, nd.inode, 0o600), 0);
  t.is(changeTimes(nd.mount, nd.inode, null, { seconds: 1_000_000, nanoseconds: 0 }), 0);
  const st = fs.statSync(path.join(host, "d", "g"));
  t.deepEqual([st.size, st.mode & 0o777, st.mtimeMs], [5, 0o600, 1_000_000_000]);
  t.is(makeLink(nd.inode, nd.mount, AT_FDCWD, `${guest}/hard`), 0);
  t.is(renamePath(AT_FDCWD, `${guest}/hard`, AT_FDCWD, "/away", 0), -EXDEV);
  t.is(symlink("d/g", `${guest}/soft`), 0);
  t.is(fs.readlinkSync(path.join(host, "soft")), "d/g");
  t.is(unlink(`${guest}/d/g`), 0);
  t.is(get(`${guest}/hard`)?.toString().length, 5);
  t.is(rmdir(`${guest}/d`), 0);
  t.deepEqual(fs.readdirSync(host).sort(), ["hard", "soft"]);
});

test.serial("changes on the host show up", async (t) => {
  const [host, guest] = place(false);
  const file = path.join(host, "f");
  fs.writeFileSync(file, "old contents");
  t.is(get(`${guest}/f`), "old contents");
  t.is(get(`${guest}/later`), -ENOENT);
  fs.writeFileSync(file, "new");
  fs.utimesSync(file, 5, 5);
  fs.writeFileSync(path.join(host, "later"), "here");
  await sleep(VALIDITY_MS);
  t.is(get(`${guest}/f`), "new");
  lookup(`${guest}/f`);
  t.is(inodeSeconds(nd.inode, MTIME), 5);
  t.is(get(`${guest}/later`), "here");
  // Replaced by another file of the same name, while the first is open.
  const fd = open(`${guest}/f`);
  fs.writeFileSync(path.join(host, "tmp"), "replaced");
  fs.renameSync(path.join(host, "tmp"), file);
  fs.rmSync(path.join(host, "later"));
  await sleep(VALIDITY_MS);
  t.is(get(`${guest}/f`), "replaced");
  t.is(Buffer.from(pread(fd, 10, 0) as Uint8Array).toString(), "new");
  t.is(get(`${guest}/later`), -ENOENT);
  close(fd);
});

test.serial("hard links are one inode with one set of pages", (t) => {
  const [host, guest] = place(true);
  fs.writeFileSync(path.join(host, "a"), "shared");
  fs.linkSync(path.join(host, "a"), path.join(host, "b"));
  const [a, b] = [open(`${guest}/a`), open(`${guest}/b`)];
  const inode = File.inode.get(fileOf(a));
  t.is(File.inode.get(fileOf(b)), inode);
  t.is(Inode.nlink.load(inode), 2);
  const mapping = Inode.mapping.get(inode) as Ref<"mapping">;
  pread(a, 10, 0);
  const frame = mappingPage(mapping, 0, false);
  pread(b, 10, 0);
  t.is(mappingPage(mapping, 0, false), frame);
  close(a);
  close(b);
});

test.serial("a single file can be mounted", (t) => {
  const file = path.join(temporary, "single");
  fs.writeFileSync(file, "alone");
  t.is(mountHost(file, "/mnt/single", true), 0);
  t.is(get("/mnt/single"), "alone");
  t.is(put("/mnt/single", "changed"), 7);
  t.is(hostText(file), "changed");
  t.is(mountHost(path.join(temporary, "none"), "/mnt/none", false), -ENOENT);
});

test.serial("cached names are bounded, negative ones too, and what is in use stays", (t) => {
  const [, guest] = place(true);
  mkdir(`${guest}/d`);
  put(`${guest}/d/f`, "kept");
  const fd = open(`${guest}/d/f`);
  const inode = File.inode.get(fileOf(fd));
  for (let n = 0; n < 40_000; n++) {
    if (lookup(`${guest}/d/none-${n}`) !== -ENOENT) t.fail();
    if (n % 1000 === 0) settle(task);
  }
  t.true(dcacheCount() <= 32_768 + 64);
  t.is(get(`${guest}/d/f`), "kept");
  lookup(`${guest}/d/f`);
  t.is(nd.inode, inode);
  close(fd);
});

test.serial("umount gives every host descriptor back", (t) => {
  if (process.platform !== "linux") return t.pass();
  const [host, guest] = place(true);
  settle(task);
  const opened = (): number =>
    fs.readdirSync("/proc/self/fd").filter((fd) => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${fd}`).startsWith(host);
      } catch {
        return false;
      }
    }).length;
  mkdir(`${guest}/d`);
  for (let n = 0; n < 5; n++) put(`${guest}/d/f${n}`, "x");
  t.true(opened() > 0);
  settle(task);
  t.is(umountPath(guest, 0), 0);
  settle(task);
  t.is(opened(), 0);
});
