/** Counts of mounts are kept by CPU: umount must see all of them, wherever they were taken and dropped. */
import test from "ava";
import { makeDirectory } from "../../../kernel/fs/dir.ts";
import { setCwd } from "../../../kernel/fs/fsinfo.ts";
import { Mount, mntGet, mntGetLive, mntPut } from "../../../kernel/fs/mount.ts";
import { currentFs, nd, pathLookup } from "../../../kernel/fs/namei.ts";
import { mountFs, umountPath } from "../../../kernel/fs/vfs.ts";
import { setThisCpu, thisCpu } from "../../../kernel/sched/current.ts";
import { EBUSY, EINVAL } from "../../../kernel/uapi/errno.ts";
import { AT_FDCWD } from "../../../kernel/uapi/fcntl.ts";
import { MNT_DETACH } from "../../../kernel/uapi/mount.ts";
import { liveObjects, type Ref } from "../../../rcu/index.ts";
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
