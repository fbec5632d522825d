/** Mounts: counts kept by CPU, which umount must see wherever they were taken and dropped; and the table that finds them. */
import test from "ava";
import { truncateInode } from "../../../kernel/fs/attr.ts";
import { makeDirectory, removeDirectory } from "../../../kernel/fs/dir.ts";
import { fallocateFile } from "../../../kernel/fs/fallocate.ts";
import { File } from "../../../kernel/fs/file.ts";
import { setCwd } from "../../../kernel/fs/fsinfo.ts";
import { Inode } from "../../../kernel/fs/inode.ts";
import { Mount, mntGet, mntGetLive, mntPut } from "../../../kernel/fs/mount.ts";
import { currentFs, nd, pathLookup } from "../../../kernel/fs/namei.ts";
import { SOPS, superOpsOf } from "../../../kernel/fs/ops.ts";
import { mountFs, umountPath } from "../../../kernel/fs/vfs.ts";
import { PageQuota } from "../../../kernel/mm/page-quota.ts";
import { setThisCpu, thisCpu } from "../../../kernel/sched/current.ts";
import { EBUSY, EINVAL, ENOENT, ENOSPC } from "../../../kernel/uapi/errno.ts";
import { AT_FDCWD, O_CREAT, O_RDWR } from "../../../kernel/uapi/fcntl.ts";
import { MNT_DETACH, MS_BIND, MS_REMOUNT } from "../../../kernel/uapi/mount.ts";
import { liveObjects, type Ref } from "../../../rcu/index.ts";
import { close, fileOf, mkdir, open, pwrite, unlink } from "./calls.ts";
import { bootMachine, type Machine, settle } from "./machine.ts";

let machine: Machine;
test.before(() => {
  machine = bootMachine();
});

/** Runs `work` as if on that CPU. */
function on<T>(cpu: number, work: () => T): T {
  const here = thisCpu();
  setThisCpu(cpu);
  try {
    return work();
  } finally {
    setThisCpu(here);
  }
}
function mounted(path: string): Ref<"mount"> {
  makeDirectory(AT_FDCWD, path, 0o755);
  if (mountFs("tmpfs", "none", path) !== 0 || pathLookup(AT_FDCWD, path) !== 0) throw new Error(path);
  return nd.mount;
}

test.serial("umount is busy while a count is held, whichever CPUs took and dropped others", (t) => {
  const before = liveObjects(Mount);
  const mount = mounted("/busy");
  for (const cpu of [0, 1, 15, 16, 29]) on(cpu, () => mntGet(mount));
  t.is(umountPath("/busy", 0), -EBUSY);
  for (const cpu of [3, 4, 5, 0]) on(cpu, () => mntPut(mount));
  t.is(umountPath("/busy", 0), -EBUSY);
  t.true(
    on(7, () => mntGetLive(mount)),
    "it is found by its place again",
  );
  on(8, () => mntPut(mount));
  on(9, () => mntPut(mount));
  t.is(umountPath("/busy", 0), 0);
  t.false(mntGetLive(mount));
  settle(machine.task);
  t.is(liveObjects(Mount), before);
});

test.serial("MNT_DETACH hides a mount at once; it goes with the last count, dropped on any CPU", (t) => {
  const before = liveObjects(Mount);
  const mount = mounted("/lazy");
  on(2, () => mntGet(mount));
  t.is(umountPath("/lazy", MNT_DETACH), 0);
  t.true(
    on(3, () => mntGetLive(mount)),
    "who has one may have another",
  );
  on(4, () => mntPut(mount));
  settle(machine.task);
  t.is(liveObjects(Mount), before + 1);
  on(5, () => mntPut(mount));
  t.false(mntGetLive(mount));
  settle(machine.task);
  t.is(liveObjects(Mount), before);
});

test.serial("a hidden mount cannot be unmounted again from inside", (t) => {
  mounted("/inside");
  t.is(setCwd(currentFs(), nd.mount, nd.dentry), 0);
  t.is(umountPath("/inside", MNT_DETACH), 0);
  t.is(umountPath(".", MNT_DETACH), -EINVAL);
  t.is(umountPath(".", 0), -EINVAL);
  t.is(pathLookup(AT_FDCWD, "/"), 0);
  t.is(setCwd(currentFs(), nd.mount, nd.dentry), 0);
});

test.serial("nothing is mounted in a hidden mount: nobody could take it off again", (t) => {
  settle(machine.task);
  const before = liveObjects(Mount);
  mounted("/outer");
  t.is(setCwd(currentFs(), nd.mount, nd.dentry), 0);
  t.is(makeDirectory(AT_FDCWD, "inner", 0o755), 0);
  t.is(umountPath("/outer", MNT_DETACH), 0);
  t.is(mountFs("tmpfs", "none", "inner"), -EINVAL);
  t.is(mountFs("/", "/", "inner", MS_BIND), -EINVAL);
  t.is(pathLookup(AT_FDCWD, "/"), 0);
  t.is(setCwd(currentFs(), nd.mount, nd.dentry), 0);
  settle(machine.task);
  t.is(liveObjects(Mount), before);
});

/** Mounts a tmpfs on each of `count` directories in `folder`. */
function many(folder: string, count: number): readonly string[] {
  makeDirectory(AT_FDCWD, folder, 0o755);
  const paths = Array.from({ length: count }, (_, n) => `${folder}/${n}`);
  for (const path of paths) {
    mounted(path);
    settle(machine.task);
  }
  return paths;
}

test.serial("the table grows with its mounts, and each is found by its place until it is unmounted", (t) => {
  settle(machine.task);
  const before = liveObjects(Mount);
  const paths = many("/many", 600);
  const seen = new Set(paths.map((path) => (pathLookup(AT_FDCWD, path) === 0 ? nd.mount : 0)));
  t.is(seen.size, paths.length);
  t.false(seen.has(0));
  for (const [n, path] of paths.entries()) if (n % 2 === 0) t.is(umountPath(path, 0), 0);
  for (const [n, path] of paths.entries()) {
    t.is(pathLookup(AT_FDCWD, path), 0);
    t.is(seen.has(nd.mount), n % 2 === 1, path);
  }
  for (const [n, path] of paths.entries()) if (n % 2 === 1) t.is(umountPath(path, 0), 0);
  settle(machine.task);
  t.is(liveObjects(Mount), before);
});

test.serial(
  "a directory is a mountpoint until the last of the mounts on it is gone, whatever their parents",
  (t) => {
    const before = liveObjects(Mount);
    makeDirectory(AT_FDCWD, "/shown", 0o755);
    makeDirectory(AT_FDCWD, "/shown/point", 0o755);
    makeDirectory(AT_FDCWD, "/view", 0o755);
    t.is(mountFs("none", "/shown", "/view", MS_BIND), 0);
    t.is(mountFs("tmpfs", "none", "/shown/point"), 0);
    t.is(mountFs("tmpfs", "none", "/view/point"), 0);
    t.is(umountPath("/shown/point", 0), 0);
    t.is(removeDirectory(AT_FDCWD, "/shown/point"), -EBUSY, "it is covered in the other view");
    t.is(umountPath("/view/point", 0), 0);
    t.is(removeDirectory(AT_FDCWD, "/shown/point"), 0);
    t.is(umountPath("/view", 0), 0);
    settle(machine.task);
    t.is(liveObjects(Mount), before);
  },
);

test.serial("mounts on one place lie on each other: the last one shows, the ones below come back", (t) => {
  const before = liveObjects(Mount);
  makeDirectory(AT_FDCWD, "/pile", 0o755);
  const shown: number[] = [];
  for (let n = 0; n < 3; n++) shown.push(mounted("/pile"));
  for (const mount of shown.reverse()) {
    t.is(pathLookup(AT_FDCWD, "/pile"), 0);
    t.is(nd.mount, mount as Ref<"mount">);
    t.is(umountPath("/pile", 0), 0);
  }
  settle(machine.task);
  t.is(liveObjects(Mount), before);
});

test.serial("MNT_DETACH takes all mounts below along, to any depth", (t) => {
  const before = liveObjects(Mount);
  mounted("/tree");
  mounted("/tree/a");
  mounted("/tree/a/deep");
  mounted("/tree/b");
  t.is(umountPath("/tree", 0), -EBUSY);
  t.is(umountPath("/tree", MNT_DETACH), 0);
  t.is(pathLookup(AT_FDCWD, "/tree/a"), -ENOENT);
  settle(machine.task);
  t.is(liveObjects(Mount), before);
});

test.serial("a tmpfs keeps to its size, in all its files together, and says so", (t) => {
  const before = liveObjects(PageQuota);
  const mount = (options: string, flags = 0): number => mountFs("tmpfs", "none", "/small", flags, options);
  const page = new Uint8Array(4096).fill(1);
  mkdir("/small");
  t.is(mount("size=16k,nr_inodes=4,mode=700"), 0);
  t.is(pathLookup(AT_FDCWD, "/small"), 0);
  const sb = Mount.sb.get(nd.mount);
  t.is(superOpsOf(SOPS.TMPFS).options!(sb), "size=16k,nr_inodes=4");
  const free = (): number => (superOpsOf(SOPS.TMPFS).statfs!(sb) as { bfree: number }).bfree;
  const [a, b] = [open("/small/a", O_CREAT | O_RDWR), open("/small/b", O_CREAT | O_RDWR)];
  for (let n = 0; n < 3; n++) t.is(pwrite(a, page, n * 4096), 4096);
  t.is(pwrite(b, page, 0), 4096);
  t.is(free(), 0);
  t.is(pwrite(b, page, 4096), -ENOSPC);
  t.is(pwrite(b, page, 0), 4096, "a page that is there may be written again");
  t.is(mount("size=8k", MS_REMOUNT), -EINVAL, "more is in use");
  t.is(mount("size=20k", MS_REMOUNT), 0);
  t.is(pwrite(b, page, 4096), 4096);
  close(a);
  unlink("/small/a");
  settle(machine.task);
  t.is(free(), 3);
  // fallocate takes pages, which stay; one that fails leaves none.
  const c = open("/small/b", O_RDWR);
  t.is(fallocateFile(fileOf(c), 0, 0, 4 * 4096), 0);
  t.is(free(), 1);
  t.is(fallocateFile(fileOf(c), 1, 0, 5 * 4096), 0, "behind the end, too");
  t.is(free(), 0);
  t.is(fallocateFile(fileOf(c), 0, 0, 6 * 4096), -ENOSPC);
  settle(machine.task);
  t.is(free(), 1, "what lay behind the end is gone");
  t.is(Inode.size.racy(File.inode.get(fileOf(c))), 4 * 4096);
  truncateInode(File.inode.get(fileOf(c)), 2 * 4096);
  close(c);
  settle(machine.task);
  t.is(free(), 3);
  t.is(mkdir("/small/c"), 0);
  t.is(mkdir("/small/d"), 0);
  t.is(mkdir("/small/e"), -ENOSPC, "the root counts");
  close(b);
  settle(machine.task);
  t.is(umountPath("/small", 0), 0);
  settle(machine.task);
  t.is(liveObjects(PageQuota), before);
});

test.serial("tmpfs refuses what is no option of it", (t) => {
  const before = liveObjects(Mount);
  mkdir("/options");
  for (const options of [
    "size",
    "size=",
    "size=-1",
    "size=4q",
    "mode=8",
    "uid=x",
    "colour=red",
    "nr_inodes=1%",
  ])
    t.is(mountFs("tmpfs", "none", "/options", 0, options), -EINVAL, options);
  for (const options of [
    "",
    "size=50%,huge=never",
    "size=0,nr_inodes=0",
    "nr_blocks=1k,uid=1,gid=2,inode64",
  ]) {
    t.is(mountFs("tmpfs", "none", "/options", 0, options), 0, options);
    t.is(umountPath("/options", 0), 0);
  }
  t.is(mountFs("ramfs", "none", "/options", 0, "size=4k,colour=red"), 0);
  t.is(umountPath("/options", 0), 0);
  settle(machine.task);
  t.is(liveObjects(Mount), before);
});

test.serial("a chain of 15000 mounts, each the last user of the one below, goes without recursion", (t) => {
  const before = liveObjects(Mount);
  const held: Ref<"mount">[] = [];
  makeDirectory(AT_FDCWD, "/chain", 0o755);
  let place = "/chain";
  for (let n = 0; n < 15000; n++) {
    if (mountFs("tmpfs", "none", place) !== 0) break;
    t.is(pathLookup(AT_FDCWD, place), 0);
    if (n === 0 || n === 14999) held.push(nd.mount);
    setCwd(currentFs(), nd.mount, nd.dentry);
    makeDirectory(AT_FDCWD, "d", 0o755);
    place = "d";
  }
  t.is(liveObjects(Mount), before + 15000);
  const [, last] = held as [Ref<"mount">, Ref<"mount">];
  mntGet(last);
  t.is(pathLookup(AT_FDCWD, "/"), 0);
  setCwd(currentFs(), nd.mount, nd.dentry);
  t.is(umountPath("/chain", MNT_DETACH), 0);
  settle(machine.task);
  t.is(liveObjects(Mount), before + 15000, "whoever stands in the last one holds them all");
  mntPut(last);
  settle(machine.task);
  t.is(liveObjects(Mount), before);
});
