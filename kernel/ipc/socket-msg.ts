/** sendmsg(2) and recvmsg(2): struct msghdr, control messages. */
import { freeArray, type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { allocFd, fgetRef } from "../fs/fdtable.ts";
import { fput } from "../fs/file.ts";
import { UserIo } from "../mm/iov.ts";
import { seenMode } from "../mm/seen.ts";
import {
  copyFromUser,
  copyToUser,
  faultIn,
  getUserU32,
  getUserU64,
  putUser32,
  putUser64,
} from "../mm/uaccess.ts";
import { current } from "../sched/current.ts";
import { CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN, capable, credOf } from "../task/cred.ts";
import { findTask } from "../task/pid.ts";
import { Cred, Task } from "../task/task.ts";
import { EFAULT, EINVAL, EMSGSIZE, ENOBUFS, ENOMEM, EPERM, ESRCH } from "../uapi/errno.ts";
import { O_CLOEXEC } from "../uapi/fcntl.ts";
import {
  CMSGHDR_BYTES,
  IP_PKTINFO,
  IP_TOS,
  IP_TTL,
  IPPROTO_IP,
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSGHDR,
  SCM_CREDENTIALS,
  SCM_MAX_FD,
  SCM_RIGHTS,
  SOL_SOCKET,
  UCRED_BYTES,
} from "../uapi/socket.ts";
import { ACCESS } from "../usermode.ts";
import { dropFiles, flightFile, flightLength, land, newFlight, setFlightFile, takeOff } from "./inflight.ts";
import { isInet, isTcp, type S, Sock } from "./sock.ts";
import { ADDRESS_BYTES_MAX, senderName, writeNameCut } from "./sock-address.ts";
import { type Identity, received } from "./sock-io.ts";

type F = Ref<"file">;

/** One struct msghdr, read from user memory; `io` stands at its vector. */
export interface MessageHeader {
  at: number;
  name: number;
  nameLength: number;
  control: number;
  controlLength: number;
}
export const header: MessageHeader = { at: 0, name: 0, nameLength: 0, control: 0, controlLength: 0 };
export const messageIo = new UserIo();

/** Fills `header` and `messageIo`: 0 or -errno. */
export function readHeader(at: number): number {
  if (faultIn(at, MSGHDR.BYTES, ACCESS.WRITE) < 0) return -EFAULT;
  header.at = at;
  header.name = getUserU64(at + MSGHDR.NAME);
  header.nameLength = getUserU32(at + MSGHDR.NAMELEN);
  if (seenMode !== 0 && !nameAsSeen(at)) return -EFAULT;
  if (header.name === 0) header.nameLength = 0;
  if (header.nameLength >= 2 ** 31) return -EINVAL;
  header.nameLength = Math.min(header.nameLength, ADDRESS_BYTES_MAX);
  header.control = getUserU64(at + MSGHDR.CONTROL);
  header.controlLength = getUserU64(at + MSGHDR.CONTROLLEN);
  const count = getUserU64(at + MSGHDR.IOVLEN);
  if (count > 1024) return -EMSGSIZE;
  return messageIo.setIovec(getUserU64(at + MSGHDR.IOV), count);
}

/** The address that a subsystem judged, if one did. False when it could not read the header. */
function nameAsSeen(at: number): boolean {
  const bytes = copyFromUser(at, MSGHDR.NAMELEN + 4);
  if (bytes === null) return false;
  const view = new DataView(bytes.buffer);
  header.name = Number(view.getBigUint64(MSGHDR.NAME, true));
  header.nameLength = view.getUint32(MSGHDR.NAMELEN, true);
  return true;
}

/** Result of readControl: counted files to send, or 0. */
export let controlFiles: Ref<"array"> | 0 = 0;

/** Result of readControl: who the sender says that it is; null: the kernel says it. */
export let claimed: Identity | null = null;

/** As many bytes of control messages are too many for one send (net.core.optmem_max). */
const CONTROL_MAX = 131072;

/** Reads the control messages of a send: what the family of the socket knows is taken, what is of another level is not looked at. */
export function readControl(sock: S, files: Ref<"files">): number {
  controlFiles = 0;
  claimed = null;
  if (header.controlLength === 0) return 0;
  if (header.controlLength >= CONTROL_MAX) return -ENOBUFS;
  const bytes = copyFromUser(header.control, header.controlLength);
  if (bytes === null) return -EFAULT;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const taken: F[] = [];
  const error = eachControl(view, (level, type, at, length) => {
    if (isInet(sock)) return checkInetControl(sock, level, type);
    if (level !== SOL_SOCKET) return 0;
    if (type === SCM_RIGHTS) return takeFiles(files, view, at, length >> 2, taken);
    return type === SCM_CREDENTIALS ? takeCredentials(view, at, length) : -EINVAL;
  });
  return error < 0 || taken.length === 0 ? dropTaken(taken, error) : fly(taken);
}

type Control = (level: number, type: number, at: number, length: number) => number;

/** Calls `take` for each control message, with the place and length of its data, until it fails: 0 or -errno. */
function eachControl(view: DataView, take: Control): number {
  for (let at = 0; at + CMSGHDR_BYTES <= view.byteLength; ) {
    // 64 bits; what is not exact is far too large.
    const length = Number(view.getBigUint64(at, true));
    if (length < CMSGHDR_BYTES || length > view.byteLength - at) return -EINVAL;
    const [level, type] = [view.getInt32(at + 8, true), view.getInt32(at + 12, true)];
    const error = take(level, type, at + CMSGHDR_BYTES, length - CMSGHDR_BYTES);
    if (error < 0) return error;
    at += (length + 7) & ~7;
  }
  return 0;
}

/** What goes along with a message by TCP or UDP changes nothing on a loopback; what Linux does not know is refused. */
function checkInetControl(sock: S, level: number, type: number): number {
  if (level === SOL_SOCKET) return type === SCM_RIGHTS || type === SCM_CREDENTIALS ? 0 : -EINVAL;
  if (level !== IPPROTO_IP || isTcp(sock)) return 0;
  return type === IP_TOS || type === IP_TTL || type === IP_PKTINFO ? 0 : -EINVAL;
}

function takeFiles(files: Ref<"files">, view: DataView, at: number, count: number, taken: F[]): number {
  if (taken.length + count > SCM_MAX_FD) return -EINVAL;
  for (let i = 0; i < count; i++) {
    const file = fgetRef(files, view.getInt32(at + i * 4, true));
    if (file < 0) return file;
    taken.push(file as F);
  }
  return 0;
}

function dropTaken(taken: readonly F[], error: number): number {
  for (const file of taken) fput(file);
  return error;
}

/** The files of all SCM_RIGHTS take off together. */
function fly(taken: readonly F[]): number {
  const array = newFlight(taken.length);
  if (array === 0) return dropTaken(taken, -ENOMEM);
  taken.forEach((file, i) => {
    setFlightFile(array, i, file);
  });
  const error = takeOff(current(), array);
  if (error < 0) dropFiles(array);
  else controlFiles = array;
  return error;
}

function taskExists(pid: number): boolean {
  const scope = rcuReadLock();
  const found = findTask(scope, pid) !== 0;
  rcuReadUnlock();
  return found;
}

/** SCM_CREDENTIALS: a process says who it is, and only who may be anybody says something else, unix(7). */
function takeCredentials(view: DataView, at: number, length: number): number {
  if (length !== UCRED_BYTES) return -EINVAL;
  const task = current();
  const cred = credOf(task);
  const [pid, uid, gid] = [0, 4, 8].map((offset) => view.getInt32(at + offset, true)) as [
    number,
    number,
    number,
  ];
  const ownUid = [Cred.uid, Cred.euid, Cred.suid].some((field) => field.get(cred) === uid);
  const ownGid = [Cred.gid, Cred.egid, Cred.sgid].some((field) => field.get(cred) === gid);
  if (uid === -1 || gid === -1) return -EINVAL;
  if (pid !== Task.tgid.get(task) && !capable(task, CAP_SYS_ADMIN)) return -EPERM;
  if ((!ownUid && !capable(task, CAP_SETUID)) || (!ownGid && !capable(task, CAP_SETGID))) return -EPERM;
  if (pid !== Task.tgid.get(task) && !taskExists(pid)) return -ESRCH;
  claimed = { pid, uid, gid };
  return 0;
}

/** After a receive: descriptors and credentials into the control buffer, name and flags into the header. */
export function writeReceived(sock: S, files: Ref<"files">, flags: number): number {
  let used = 0;
  let outFlags = received.flags | (flags & MSG_CMSG_CLOEXEC);
  const room = header.control === 0 ? 0 : header.controlLength;
  const put = (type: number, data: Uint8Array): boolean => {
    if (used + CMSGHDR_BYTES + data.length > room) return false;
    const at = header.control + used;
    if (faultIn(at, CMSGHDR_BYTES + data.length, ACCESS.WRITE) < 0) return false;
    putUser64(at, CMSGHDR_BYTES + data.length);
    putUser32(at + 8, SOL_SOCKET);
    putUser32(at + 12, type);
    copyToUser(at + CMSGHDR_BYTES, data);
    used = Math.min(room, used + ((CMSGHDR_BYTES + data.length + 7) & ~7));
    return true;
  };
  if (Sock.passCred.load(sock) !== 0) {
    const cred = new Uint8Array(UCRED_BYTES);
    new Int32Array(cred.buffer).set([received.pid, received.uid, received.gid]);
    if (!put(SCM_CREDENTIALS, cred)) outFlags |= MSG_CTRUNC;
  }
  if (received.files !== 0) {
    let fits = Math.max(0, Math.floor((room - used - CMSGHDR_BYTES) / 4));
    const bytes = CMSGHDR_BYTES + 4 * Math.min(fits, flightLength(received.files));
    // A descriptor that the program is not told of would stay open for nothing.
    if (fits > 0 && faultIn(header.control + used, bytes, ACCESS.WRITE) < 0) fits = 0;
    const fds = installFiles(received.files, files, fits, (flags & MSG_CMSG_CLOEXEC) !== 0 ? O_CLOEXEC : 0);
    if (fds.length < receivedCount) outFlags |= MSG_CTRUNC;
    if (fds.length > 0) put(SCM_RIGHTS, new Uint8Array(Int32Array.from(fds).buffer));
  }
  if (header.name !== 0) {
    const name = senderName(received.sender, sock);
    const error = writeNameCut(name, header.name, header.at + MSGHDR.NAMELEN, header.nameLength | 0);
    if (error < 0) return error;
  } else putUser32(header.at + MSGHDR.NAMELEN, 0);
  putUser64(header.at + MSGHDR.CONTROLLEN, used);
  putUser32(header.at + MSGHDR.FLAGS, outFlags);
  return 0;
}

let receivedCount = 0;

/** Gives the files descriptors, as many as fit; the others are closed. Frees the array. */
function installFiles(array: Ref<"array">, files: Ref<"files">, fits: number, flags: number): number[] {
  const fds: number[] = [];
  receivedCount = flightLength(array);
  land(array);
  for (let i = 0; i < receivedCount; i++) {
    const file = flightFile(array, i) as Ref<"file">;
    const fd = fds.length < fits ? allocFd(files, file, flags) : -EINVAL;
    if (fd < 0) fput(file);
    else fds.push(fd);
  }
  freeArray(array);
  return fds;
}
