/** inotify(7): inotify_init1, inotify_add_watch, inotify_rm_watch. */
import { fget } from "../../kernel/fs/fdtable.ts";
import { inodeType } from "../../kernel/fs/inode.ts";
import { asInotify, inotifyFile } from "../../kernel/fs/inotify.ts";
import { nd } from "../../kernel/fs/namei.ts";
import { addWatch, removeWatch } from "../../kernel/fs/notify.ts";
import { inodePermission, MAY_READ } from "../../kernel/fs/permission.ts";
import { EINVAL, ENOTDIR } from "../../kernel/uapi/errno.ts";
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_CLOEXEC, O_NONBLOCK } from "../../kernel/uapi/fcntl.ts";
import * as uapi from "../../kernel/uapi/inotify.ts";
import { S_IFDIR } from "../../kernel/uapi/stat.ts";
import type { Ref } from "../../rcu/index.ts";
import { fd, flagSet, int, path } from "../args.ts";
import { installFile } from "../ipc/event.ts";
import { syscall } from "../syscall.ts";
import { filesOf, userPathAt } from "./user.ts";

const { INOTIFY_EVENT_BYTES: _bytes, ...masks } = uapi;

/** One of them must be set, if only IN_ONESHOT. */
const ALL_BITS = Object.values(masks).reduce((all, bits) => all | bits, 0);

export const inotifyInit1 = syscall({
  nr: 26,
  name: "inotify_init1",
  args: [flagSet({ IN_CLOEXEC: O_CLOEXEC, IN_NONBLOCK: O_NONBLOCK })],
  returns: fd,
  handler: (task, flags) => installFile(task, inotifyFile(flags), flags),
});

/** The instance that a descriptor names: -EBADF, -EINVAL. */
function instanceOf(task: Ref<"task">, descriptor: number): Ref<"inotify"> | number {
  const file = fget(filesOf(task), descriptor);
  if (file < 0) return file;
  const instance = asInotify(file as Ref<"file">);
  return instance === 0 ? -EINVAL : instance;
}

export const inotifyAddWatch = syscall({
  nr: 27,
  name: "inotify_add_watch",
  args: [fd, path, flagSet(masks)],
  partial:
    "mounts that are watched cannot say IN_UNMOUNT; changes of a host folder made by the host are not seen",
  handler(task, descriptor, name, mask) {
    const both = uapi.IN_MASK_ADD | uapi.IN_MASK_CREATE;
    if ((mask & ALL_BITS) === 0 || (mask & both) === both) return -EINVAL;
    const instance = instanceOf(task, descriptor);
    if (instance < 0) return instance;
    const error = userPathAt(AT_FDCWD, name, (mask & uapi.IN_DONT_FOLLOW) !== 0 ? AT_SYMLINK_NOFOLLOW : 0);
    if (error < 0) return error;
    if ((mask & uapi.IN_ONLYDIR) !== 0 && inodeType(nd.inode) !== S_IFDIR) return -ENOTDIR;
    const denied = inodePermission(nd.inode, MAY_READ);
    return denied < 0 ? denied : addWatch(instance as Ref<"inotify">, nd.inode, mask);
  },
});

export const inotifyRmWatch = syscall({
  nr: 28,
  name: "inotify_rm_watch",
  args: [fd, int],
  handler(task, descriptor, wd) {
    const instance = instanceOf(task, descriptor);
    if (instance < 0) return instance;
    return removeWatch(instance as Ref<"inotify">, wd) ? 0 : -EINVAL;
  },
});
