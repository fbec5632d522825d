/** fcntl(2), ioctl(2), flock(2). */
import { fgetRaw, getCloexec, setCloexec } from "../../kernel/fs/fdtable.ts";
import { File, FMODE_LSEEK, FMODE_PATH, FMODE_READ, FMODE_WRITE } from "../../kernel/fs/file.ts";
import { Inode, inodeType } from "../../kernel/fs/inode.ts";
import { flock as flockFile, setRecordLock, testRecordLock } from "../../kernel/fs/locks.ts";
import { addSeals, getSeals } from "../../kernel/fs/memfd.ts";
import { FOPS, fileOpsOf } from "../../kernel/fs/ops.ts";
import { pipeOf, pipeSize, setPipeSize } from "../../kernel/ipc/pipe.ts";
import {
  faultIn,
  getUser16,
  getUser32,
  getUserU32,
  putUser16,
  putUser32,
  putUser64,
  signed64,
} from "../../kernel/mm/uaccess.ts";
import { CAP_SYS_RESOURCE, capable } from "../../kernel/task/cred.ts";
import { Task } from "../../kernel/task/task.ts";
import { EBADF, EFAULT, EINVAL, ENOTTY, EOVERFLOW, ESRCH } from "../../kernel/uapi/errno.ts";
import * as uapi from "../../kernel/uapi/fcntl.ts";
import { FASYNC, O_APPEND, O_CLOEXEC, O_DIRECT, O_NOATIME, O_NONBLOCK } from "../../kernel/uapi/fcntl.ts";
import { FIOASYNC, FIOCLEX, FIONBIO, FIONCLEX, FIONREAD } from "../../kernel/uapi/ioctl.ts";
import { NSIG } from "../../kernel/uapi/signal.ts";
import { S_IFREG } from "../../kernel/uapi/stat.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";
import { asPointer, fd, hexArg, uint, word } from "../args.ts";
import { syscall } from "../syscall.ts";
import { lookup, pgrpExists } from "../task/ids.ts";
import { fcntlCommand, flockOp } from "./flags.ts";
import { duplicate } from "./open.ts";
import { filesOf, withFile } from "./user.ts";

type F = Ref<"file">;

const INT_MIN = -(2 ** 31);

/** What F_SETFL may change. */
const SETFL = O_APPEND | O_NONBLOCK | FASYNC | O_DIRECT | O_NOATIME;

export const fcntl = syscall({
  nr: 25,
  name: "fcntl",
  args: [fd, fcntlCommand, word],
  partial: "F_SETOWN and F_SETSIG are remembered, no SIGIO is sent",
  handler(task, descriptor, command, arg) {
    const files = filesOf(task);
    const found = fgetRaw(files, descriptor);
    if (found < 0) return found;
    const file = found as F;
    switch (command) {
      case uapi.F_DUPFD:
        return duplicateFrom(task, descriptor, 0, arg);
      case uapi.F_DUPFD_CLOEXEC:
        return duplicateFrom(task, descriptor, O_CLOEXEC, arg);
      case uapi.F_GETFD:
        return getCloexec(files, descriptor);
      case uapi.F_SETFD:
        return setCloexec(files, descriptor, (arg & uapi.FD_CLOEXEC) !== 0);
      case uapi.F_GETFL:
        return File.flags.load(file);
    }
    return (File.mode.get(file) & FMODE_PATH) !== 0 ? -EBADF : fileCommand(task, file, command, arg);
  },
});

/** F_DUPFD and F_DUPFD_CLOEXEC. */
function duplicateFrom(task: Ref<"task">, descriptor: number, flags: number, arg: number): number {
  const from = arg | 0;
  return from < 0 ? -EINVAL : duplicate(task, descriptor, flags, from);
}

/** Numbers are int or unsigned int for Linux, whatever the register has in its upper half. */
function fileCommand(task: Ref<"task">, file: F, command: number, arg: number): number {
  switch (command) {
    case uapi.F_SETFL:
      setFlags(file, arg);
      return 0;
    case uapi.F_GETLK:
    case uapi.F_OFD_GETLK:
    case uapi.F_SETLK:
    case uapi.F_SETLKW:
    case uapi.F_OFD_SETLK:
    case uapi.F_OFD_SETLKW:
      return recordLock(task, file, command, asPointer(arg));
    case uapi.F_SETOWN:
      if ((arg | 0) === INT_MIN) return -EINVAL;
      if (!ownerExists(arg | 0)) return -ESRCH;
      File.ownerIsThread.store(file, 0);
      File.owner.store(file, arg | 0);
      return 0;
    case uapi.F_GETOWN:
      return File.owner.load(file);
    case uapi.F_SETOWN_EX:
      return setOwner(file, asPointer(arg));
    case uapi.F_GETOWN_EX:
      return getOwner(file, asPointer(arg));
    case uapi.F_SETSIG: {
      const signo = arg | 0;
      if (signo < 0 || signo > NSIG) return -EINVAL;
      File.signal.store(file, signo);
      return 0;
    }
    case uapi.F_GETSIG:
      return File.signal.load(file);
    case uapi.F_GETPIPE_SZ:
      return File.fops.get(file) === FOPS.PIPE ? pipeSize(pipeOf(file)) : -EBADF;
    case uapi.F_SETPIPE_SZ:
      if (File.fops.get(file) !== FOPS.PIPE) return -EBADF;
      return setPipeSize(pipeOf(file), arg >>> 0, capable(task, CAP_SYS_RESOURCE));
    case uapi.F_ADD_SEALS:
      return addSeals(file, arg | 0);
    case uapi.F_GET_SEALS:
      return getSeals(file);
    default:
      return -EINVAL;
  }
}

/** struct f_owner_ex: type and pid. File.owner holds a process group as a negative number, as F_GETOWN shows it. */
function setOwner(file: F, address: number): number {
  if (faultIn(address, 8, ACCESS.READ) < 0) return -EFAULT;
  const type = getUserU32(address);
  const pid = getUser32(address + 4);
  if (type > uapi.F_OWNER_PGRP) return -EINVAL;
  if (pid < 0) return -ESRCH;
  const owner = type === uapi.F_OWNER_PGRP ? -pid : pid;
  if (!ownerExists(owner)) return -ESRCH;
  File.ownerIsThread.store(file, type === uapi.F_OWNER_TID ? 1 : 0);
  File.owner.store(file, owner);
  return 0;
}

/** A task, a process group (negative), or nobody (0). */
const ownerExists = (owner: number): boolean =>
  owner === 0 || (owner > 0 ? lookup(owner) !== 0 : pgrpExists(-owner));

function getOwner(file: F, address: number): number {
  if (faultIn(address, 8, ACCESS.WRITE) < 0) return -EFAULT;
  const owner = File.owner.load(file);
  const process = File.ownerIsThread.load(file) !== 0 ? uapi.F_OWNER_TID : uapi.F_OWNER_PID;
  putUser32(address, owner < 0 ? uapi.F_OWNER_PGRP : process);
  putUser32(address + 4, Math.abs(owner));
  return 0;
}

function setFlags(file: F, flags: number): void {
  for (;;) {
    const old = File.flags.load(file);
    if (File.flags.cas(file, old, (old & ~SETFL) | (flags & SETFL))) return;
  }
}

/** struct flock: type, whence (16 bits each), start at 8, length at 16, pid at 24. */
const FLOCK = { TYPE: 0, WHENCE: 2, START: 8, LENGTH: 16, PID: 24, BYTES: 32 } as const;

function recordLock(task: Ref<"task">, file: F, command: number, address: number): number {
  if (faultIn(address, FLOCK.BYTES, ACCESS.READ) < 0) return -EFAULT;
  const type = getUser16(address + FLOCK.TYPE);
  const whence = getUser16(address + FLOCK.WHENCE);
  const ofd = command >= uapi.F_OFD_GETLK && command <= uapi.F_OFD_SETLKW;
  if (ofd && getUser32(address + FLOCK.PID) !== 0) return -EINVAL;
  const range = lockRange(file, whence, address);
  if (typeof range === "number") return range;
  const [start, end] = range;
  const by = ofd ? { owner: file, pid: -1 } : { owner: filesOf(task), pid: Task.tgid.get(task) };
  if (command === uapi.F_GETLK || command === uapi.F_OFD_GETLK) {
    if (type !== uapi.F_RDLCK && type !== uapi.F_WRLCK) return -EINVAL;
    return getLock(address, testRecordLock(file, by, type, start, end));
  }
  const mode = File.mode.get(file);
  if (type === uapi.F_RDLCK && (mode & FMODE_READ) === 0) return -EBADF;
  if (type === uapi.F_WRLCK && (mode & FMODE_WRITE) === 0) return -EBADF;
  if (type > uapi.F_UNLCK) return -EINVAL;
  return setRecordLock(
    file,
    by,
    type,
    start,
    end,
    command === uapi.F_SETLKW || command === uapi.F_OFD_SETLKW,
  );
}

const OFFSET_MAX = 2n ** 63n - 1n;

/** First byte and the one behind the last of the struct flock, Infinity when it has no end; or -EINVAL, -EOVERFLOW. */
function lockRange(file: F, whence: number, address: number): [number, number] | number {
  if (whence > uapi.SEEK_END) return -EINVAL;
  let base = 0;
  if (whence === uapi.SEEK_CUR) base = File.pos.racy(file);
  else if (whence === uapi.SEEK_END) base = Inode.size.racy(File.inode.get(file));
  const [offsetLow, offsetHigh] = [getUser32(address + FLOCK.START), getUser32(address + FLOCK.START + 4)];
  const [lengthLow, lengthHigh] = [getUser32(address + FLOCK.LENGTH), getUser32(address + FLOCK.LENGTH + 4)];
  const start = base + signed64(offsetLow, offsetHigh);
  const length = signed64(lengthLow, lengthHigh);
  // What is too large for doubles is looked at bit by bit.
  if (Math.max(Math.abs(start), Math.abs(length)) > Number.MAX_SAFE_INTEGER / 2)
    return wideRange(BigInt(base) + big(offsetLow, offsetHigh), big(lengthLow, lengthHigh));
  if (start < 0 || start + length < 0) return -EINVAL;
  if (length === 0) return [start, Number.POSITIVE_INFINITY];
  return length > 0 ? [start, start + length] : [start + length, start];
}

const big = (low: number, high: number): bigint => (BigInt(high) << 32n) | BigInt(low >>> 0);

function wideRange(start: bigint, length: bigint): [number, number] | number {
  const end = start + length;
  if (start > OFFSET_MAX) return -EOVERFLOW;
  if (start < 0n || end < 0n) return -EINVAL;
  if (length > 0n && end - 1n > OFFSET_MAX) return -EOVERFLOW;
  if (length < 0n) return [Number(end), Number(start)];
  return [Number(start), length === 0n || end > OFFSET_MAX ? Number.POSITIVE_INFINITY : Number(end)];
}

function getLock(address: number, found: ReturnType<typeof testRecordLock>): number {
  if (faultIn(address, FLOCK.BYTES, ACCESS.WRITE) < 0) return -EFAULT;
  if (found === null) {
    putUser16(address + FLOCK.TYPE, uapi.F_UNLCK);
    return 0;
  }
  if (found.start > Number.MAX_SAFE_INTEGER) return -EOVERFLOW;
  putUser16(address + FLOCK.TYPE, found.type);
  putUser16(address + FLOCK.WHENCE, uapi.SEEK_SET);
  putUser64(address + FLOCK.START, found.start);
  putUser64(address + FLOCK.LENGTH, found.end === Number.POSITIVE_INFINITY ? 0 : found.end - found.start);
  putUser32(address + FLOCK.PID, found.pid);
  return 0;
}

const LOCK_MAND = 32;

export const flock = syscall({
  nr: 32,
  name: "flock",
  args: [fd, flockOp],
  handler(task, descriptor, operation) {
    // LOCK_MAND, which Linux gave up, is accepted with whatever comes along, and does nothing.
    if ((operation & LOCK_MAND) !== 0) return 0;
    if (![uapi.LOCK_SH, uapi.LOCK_EX, uapi.LOCK_UN].includes(operation & ~uapi.LOCK_NB)) return -EINVAL;
    return withFile(task, descriptor, (file) => flockFile(file, operation));
  },
});

export const ioctl = syscall({
  nr: 29,
  name: "ioctl",
  args: [fd, { ...uint, format: (value) => `0x${value.toString(16)}` }, hexArg],
  handler(task, descriptor, command, arg) {
    return withFile(task, descriptor, (file) => {
      switch (command) {
        case FIOCLEX:
          return setCloexec(filesOf(task), descriptor, true);
        case FIONCLEX:
          return setCloexec(filesOf(task), descriptor, false);
        case FIONBIO:
        case FIOASYNC: {
          if (faultIn(arg, 4, ACCESS.READ) < 0) return -EFAULT;
          const bit = command === FIONBIO ? O_NONBLOCK : FASYNC;
          if (getUser32(arg) !== 0) File.flags.or(file, bit);
          else File.flags.and(file, ~bit);
          return 0;
        }
      }
      const result = fileOpsOf(File.fops.get(file)).ioctl?.(file, command, arg) ?? -ENOTTY;
      if (result !== -ENOTTY || command !== FIONREAD) return result;
      return available(file, arg);
    });
  },
});

/** FIONREAD where the file has no answer of its own. */
function available(file: F, address: number): number {
  const inode = File.inode.get(file);
  const regular = inodeType(inode) === S_IFREG && (File.mode.get(file) & FMODE_LSEEK) !== 0;
  const bytes =
    fileOpsOf(File.fops.get(file)).available?.(file) ??
    (regular ? Inode.size.racy(inode) - File.pos.racy(file) : -1);
  if (bytes < 0 && !regular) return -ENOTTY;
  if (faultIn(address, 4, ACCESS.WRITE) < 0) return -EFAULT;
  putUser32(address, Math.min(bytes, 0x7fffffff));
  return 0;
}
