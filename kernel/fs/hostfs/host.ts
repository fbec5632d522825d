/**
 * The host side of hostfs: error numbers, and paths that cannot lead out of the mounted folder.
 *
 * A host path has at most one component below a directory that is known by identity. On Linux that directory is a
 * descriptor, and paths are /proc/self/fd/N/name: whatever happens to the names above, N stays the same directory. Elsewhere
 * the path is put together from the names, and the directory's device and inode numbers are compared before it is used.
 * The last component is never followed when it is a symbolic link.
 */
import fs from "node:fs";
import { EIO, ENFILE, ERRNO, ESTALE } from "../../uapi/errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from "../../uapi/fcntl.ts";

const byName = new Map([...ERRNO].map(([number, { name }]) => [name, number]));

/** The negative error number of an exception of node:fs. What is no system error is a kernel bug and thrown on. */
export function hostError(error: unknown): number {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === undefined || (error as NodeJS.ErrnoException).syscall === undefined) throw error;
  // That the process has no descriptor left is not the guest task's own limit.
  return code === "EMFILE" ? -ENFILE : -(byName.get(code) ?? EIO);
}

/** Gives up a descriptor of the machine's when the host has none left; false when there is none to give up (opener.ts). */
let relief: () => boolean = () => false;
export function setRelief(give: () => boolean): void {
  relief = give;
}

/** Runs a host call: its result, or -errno. Runs it again while descriptors that it lacks can be had. */
export function hostCall<T>(call: () => T): T | number {
  for (;;) {
    try {
      return call();
    } catch (error) {
      const result = hostError(error);
      if (result !== -ENFILE || !relief()) return result;
    }
  }
}

export const BY_DESCRIPTOR = process.platform === "linux";

/** A host path: text, or bytes where a name is not UTF-8. */
export type HostPath = string | Buffer;

/** directory/name as a host path. */
export function joinName(directory: HostPath, name: Uint8Array): HostPath {
  let text: string | null = "";
  for (let i = 0; i < name.length && text !== null; i++)
    text = name[i]! < 0x80 ? text + String.fromCharCode(name[i]!) : null;
  if (text === null) {
    const decoded = Buffer.from(name).toString("utf8");
    text = decoded.includes("\ufffd") ? null : decoded;
  }
  if (text !== null && typeof directory === "string") return `${directory}/${text}`;
  return Buffer.concat([Buffer.from(directory), Buffer.from("/"), name]);
}

/** Opens a directory to stand for its path; -errno. */
export function openDirectory(path: HostPath): number {
  const flags = BY_DESCRIPTOR ? O_PATH | O_DIRECTORY | O_NOFOLLOW : fs.constants.O_RDONLY;
  return hostCall(() => fs.openSync(path, flags)) as number;
}

/** lstat, null when there is nothing, or -errno. */
export function hostLstat(path: HostPath): fs.Stats | null | number {
  const found = hostCall(() => fs.lstatSync(path, { throwIfNoEntry: false }));
  return found === undefined ? null : found;
}

/** Opens a file without following a link and without waiting; -errno, -ESTALE when it is not the file expected. */
export function openHostFile(path: HostPath, flags: number, expected: (st: fs.Stats) => boolean): number {
  const constants = fs.constants;
  const fd = hostCall(() =>
    fs.openSync(path, flags | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)),
  );
  if (fd < 0) return fd;
  const st = hostCall(() => fs.fstatSync(fd));
  if (typeof st !== "number" && st.isFile() && expected(st)) return fd;
  closeHost(fd);
  return -ESTALE;
}

/** Closes a descriptor of ours: an error here means that we closed it twice. */
export function closeHost(fd: number): void {
  fs.closeSync(fd);
}

/** The host user is the guest's root: its files belong to root inside. */
const hostUid = process.geteuid?.() ?? 0;
const hostGid = process.getegid?.() ?? 0;
export const toGuestUid = (uid: number): number => (uid === hostUid ? 0 : uid);
export const toGuestGid = (gid: number): number => (gid === hostGid ? 0 : gid);
/** Ids have 32 bits and no sign for the host; the kernel's words hold them signed. */
export const toHostUid = (uid: number): number => (uid === 0 ? hostUid : uid >>> 0);
export const toHostGid = (gid: number): number => (gid === 0 ? hostGid : gid >>> 0);
