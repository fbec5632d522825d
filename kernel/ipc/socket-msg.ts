/** sendmsg(2) and recvmsg(2): struct msghdr, control messages. */
import { freeArray, type Ref } from "../../rcu/index.ts";
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
import { EFAULT, EINVAL, EMSGSIZE, ENOMEM } from "../uapi/errno.ts";
import { O_CLOEXEC } from "../uapi/fcntl.ts";
import {
  CMSGHDR_BYTES,
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
import { type S, Sock } from "./sock.ts";
import { senderName, writeNameCut } from "./sock-address.ts";
import { received } from "./sock-io.ts";

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
  header.control = getUserU64(at + MSGHDR.CONTROL);
  header.controlLength = header.control === 0 ? 0 : getUserU64(at + MSGHDR.CONTROLLEN);
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

/** Reads the control messages of a send: SCM_RIGHTS; SCM_CREDENTIALS is what the kernel says anyway. */
export function readControl(files: Ref<"files">): number {
  controlFiles = 0;
  if (header.controlLength === 0) return 0;
  if (header.controlLength > 65536) return -EINVAL;
  const bytes = copyFromUser(header.control, header.controlLength);
  if (bytes === null) return -EFAULT;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + CMSGHDR_BYTES <= bytes.length; ) {
    const length = Number(view.getBigUint64(at, true));
    if (length < CMSGHDR_BYTES || at + length > bytes.length) return failed(-EINVAL);
    const level = view.getInt32(at + 8, true);
    const type = view.getInt32(at + 12, true);
    if (level !== SOL_SOCKET || (type !== SCM_RIGHTS && type !== SCM_CREDENTIALS)) return failed(-EINVAL);
    if (type === SCM_RIGHTS) {
      const error = takeFiles(files, view, at + CMSGHDR_BYTES, (length - CMSGHDR_BYTES) >> 2);
      if (error < 0) return failed(error);
    }
    at += (length + 7) & ~7;
  }
  return 0;
}

function failed(error: number): number {
  if (controlFiles !== 0) dropFiles(controlFiles);
  controlFiles = 0;
  return error;
}

function takeFiles(files: Ref<"files">, view: DataView, at: number, count: number): number {
  if (count > SCM_MAX_FD || controlFiles !== 0) return -EINVAL;
  if (count === 0) return 0;
  const array = newFlight(count);
  if (array === 0) return -ENOMEM;
  controlFiles = array;
  for (let i = 0; i < count; i++) {
    const file = fgetRef(files, view.getInt32(at + i * 4, true));
    if (file < 0) return file;
    setFlightFile(array, i, file as Ref<"file">);
  }
  return takeOff(current(), array);
}

/** After a receive: descriptors and credentials into the control buffer, name and flags into the header. */
export function writeReceived(sock: S, files: Ref<"files">, flags: number): number {
  let used = 0;
  let outFlags = received.flags | (flags & MSG_CMSG_CLOEXEC);
  const room = header.controlLength;
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
    const fits = Math.floor((room - used - CMSGHDR_BYTES) / 4);
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
