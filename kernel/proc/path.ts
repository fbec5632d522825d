/** Names of open files, as links to them show them. */
import { type Ref, stringText } from "../../rcu/index.ts";
import { dPath } from "../fs/dpath.ts";
import { File } from "../fs/file.ts";
import { Inode, inodeType } from "../fs/inode.ts";
import { S_IFIFO, S_IFSOCK } from "../uapi/stat.ts";

/** The path of the file, or what it is when it has none: "pipe:[7]", "anon_inode:[eventfd]". */
export function fileName(file: Ref<"file">): string {
  const label = File.label.get(file);
  if (label !== 0) return stringText(label);
  const dentry = File.dentry.get(file);
  const mount = File.mount.get(file);
  if (dentry !== 0 && mount !== 0) return dPath(mount, dentry);
  const inode = File.inode.get(file);
  const type = inodeType(inode);
  const kind = type === S_IFIFO ? "pipe" : type === S_IFSOCK ? "socket" : "anon_inode";
  return `${kind}:[${Inode.ino.get(inode)}]`;
}
