/**
 * Extended attributes (xattr(7)). No file system here has any, so nothing is stored. The calls fail for the same reasons as on such a
 * file system of Linux, in the same order: flags, name, size, value, then the file, then what the file and the caller allow.
 */
import { File } from "../../kernel/fs/file.ts";
import { inodeType } from "../../kernel/fs/inode.ts";
import { mountReadOnly } from "../../kernel/fs/mount.ts";
import { nd } from "../../kernel/fs/namei.ts";
import { inodePermission, MAY_READ, MAY_WRITE } from "../../kernel/fs/permission.ts";
import { faultIn, strncpyFromUser } from "../../kernel/mm/uaccess.ts";
import { CAP_SYS_ADMIN, capable } from "../../kernel/task/cred.ts";
import { E2BIG, ENAMETOOLONG, ENODATA, EOPNOTSUPP, EPERM, ERANGE, EROFS } from "../../kernel/uapi/errno.ts";
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW } from "../../kernel/uapi/fcntl.ts";
import { S_IFDIR, S_IFREG } from "../../kernel/uapi/stat.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";
import { fd, flagSet, only, path, ptr, size, str } from "../args.ts";
import { syscall } from "../syscall.ts";
import { userPathAt, withFile } from "./user.ts";

/** Bytes of a name without its NUL, and of a value. */
const XATTR_NAME_MAX = 255;
const XATTR_SIZE_MAX = 65536;

const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
const setFlags = only(flagSet({ XATTR_CREATE, XATTR_REPLACE }), XATTR_CREATE | XATTR_REPLACE);

/** An attribute's name; -EFAULT, -ERANGE for an empty or long one. */
function attributeName(address: number): string | number {
  const bytes = strncpyFromUser(address, XATTR_NAME_MAX + 1);
  if (typeof bytes === "number") return bytes === -ENAMETOOLONG ? -ERANGE : bytes;
  return bytes.length === 0 ? -ERANGE : Buffer.from(bytes).toString("latin1");
}

/** Of setxattr: the name, once the value is found to be there. -E2BIG, -EFAULT. */
function attributeWith(address: number, value: number, length: number): string | number {
  const name = attributeName(address);
  if (typeof name === "number") return name;
  if (length > XATTR_SIZE_MAX) return -E2BIG;
  const error = faultIn(value, length, ACCESS.READ);
  return error < 0 ? error : name;
}

/** Why the caller may not read or change the attribute of this inode; -EOPNOTSUPP if it may: there are none. */
function refuse(
  task: Ref<"task">,
  mount: Ref<"mount">,
  inode: Ref<"inode">,
  name: string,
  write: boolean,
): number {
  if (write && mountReadOnly(mount)) return -EROFS;
  const hidden = write ? -EPERM : -ENODATA;
  if (name.startsWith("system.")) return -EOPNOTSUPP;
  if (name.startsWith("security.")) return write && !capable(task, CAP_SYS_ADMIN) ? -EPERM : -EOPNOTSUPP;
  if (name.startsWith("trusted.")) return capable(task, CAP_SYS_ADMIN) ? -EOPNOTSUPP : hidden;
  const type = inodeType(inode);
  if (name.startsWith("user.") && type !== S_IFREG && type !== S_IFDIR) return hidden;
  const denied = inodePermission(inode, write ? MAY_WRITE : MAY_READ);
  return denied < 0 ? denied : -EOPNOTSUPP;
}

/** `attribute`: its name, or why there is none. */
function onPath(
  task: Ref<"task">,
  name: number,
  lookup: number,
  attribute: string | number,
  write: boolean,
): number {
  if (typeof attribute === "number") return attribute;
  const error = userPathAt(AT_FDCWD, name, lookup);
  return error < 0 ? error : refuse(task, nd.mount, nd.inode, attribute, write);
}

function onFd(task: Ref<"task">, descriptor: number, attribute: string | number, write: boolean): number {
  if (typeof attribute === "number") return attribute;
  return withFile(task, descriptor, (file) =>
    refuse(task, File.mount.get(file) as Ref<"mount">, File.inode.get(file), attribute, write),
  );
}

/** Lists are empty, and fit in any buffer. */
function list(name: number, lookup: number): number {
  return Math.min(userPathAt(AT_FDCWD, name, lookup), 0);
}

export const setxattr = syscall({
  nr: 5,
  name: "setxattr",
  args: [path, str, ptr, size, setFlags],
  handler: (task, name, attribute, value, length) =>
    onPath(task, name, 0, attributeWith(attribute, value, length), true),
});
export const lsetxattr = syscall({
  nr: 6,
  name: "lsetxattr",
  args: [path, str, ptr, size, setFlags],
  handler: (task, name, attribute, value, length) =>
    onPath(task, name, AT_SYMLINK_NOFOLLOW, attributeWith(attribute, value, length), true),
});
export const fsetxattr = syscall({
  nr: 7,
  name: "fsetxattr",
  args: [fd, str, ptr, size, setFlags],
  handler: (task, descriptor, attribute, value, length) =>
    onFd(task, descriptor, attributeWith(attribute, value, length), true),
});
export const getxattr = syscall({
  nr: 8,
  name: "getxattr",
  args: [path, str, ptr, size],
  handler: (task, name, attribute) => onPath(task, name, 0, attributeName(attribute), false),
});
export const lgetxattr = syscall({
  nr: 9,
  name: "lgetxattr",
  args: [path, str, ptr, size],
  handler: (task, name, attribute) =>
    onPath(task, name, AT_SYMLINK_NOFOLLOW, attributeName(attribute), false),
});
export const fgetxattr = syscall({
  nr: 10,
  name: "fgetxattr",
  args: [fd, str, ptr, size],
  handler: (task, descriptor, attribute) => onFd(task, descriptor, attributeName(attribute), false),
});
export const listxattr = syscall({
  nr: 11,
  name: "listxattr",
  args: [path, ptr, size],
  handler: (_task, name) => list(name, 0),
});
export const llistxattr = syscall({
  nr: 12,
  name: "llistxattr",
  args: [path, ptr, size],
  handler: (_task, name) => list(name, AT_SYMLINK_NOFOLLOW),
});
export const flistxattr = syscall({
  nr: 13,
  name: "flistxattr",
  args: [fd, ptr, size],
  handler: (task, descriptor) => withFile(task, descriptor, () => 0),
});
export const removexattr = syscall({
  nr: 14,
  name: "removexattr",
  args: [path, str],
  handler: (task, name, attribute) => onPath(task, name, 0, attributeName(attribute), true),
});
export const lremovexattr = syscall({
  nr: 15,
  name: "lremovexattr",
  args: [path, str],
  handler: (task, name, attribute) => onPath(task, name, AT_SYMLINK_NOFOLLOW, attributeName(attribute), true),
});
export const fremovexattr = syscall({
  nr: 16,
  name: "fremovexattr",
  args: [fd, str],
  handler: (task, descriptor, attribute) => onFd(task, descriptor, attributeName(attribute), true),
});
