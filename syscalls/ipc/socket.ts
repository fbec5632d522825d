/** Sockets: socket(2) and what is done with one. */
import { allocFd } from "../../kernel/fs/fdtable.ts";
import { fput } from "../../kernel/fs/file.ts";
import { dropFiles } from "../../kernel/ipc/inflight.ts";
import { OPT_RAW, Sock } from "../../kernel/ipc/sock.ts";
import {
  ownName,
  peerName,
  senderName,
  sockBind,
  sockStartListening,
  writeName,
} from "../../kernel/ipc/sock-address.ts";
import { newSocket, pair, sockOf, sockPair, sockShutdown } from "../../kernel/ipc/sock-connect.ts";
import { received } from "../../kernel/ipc/sock-io.ts";
import { accept, connect, receive, send, socketType } from "../../kernel/ipc/socket.ts";
import { socketOf } from "../../kernel/ipc/socket-file.ts";
import {
  claimed,
  controlFiles,
  header,
  messageIo,
  readControl,
  readHeader,
  writeReceived,
} from "../../kernel/ipc/socket-msg.ts";
import { getOption, setOption } from "../../kernel/ipc/socket-options.ts";
import { MAX_RW_COUNT, UserIo } from "../../kernel/mm/iov.ts";
import { faultIn, putUser32 } from "../../kernel/mm/uaccess.ts";
import { isBlock, YIELD } from "../../kernel/sched/block.ts";
import { nowNs } from "../../kernel/sched/current.ts";
import { fatalPending, mustYield, partAlso, resetPart } from "../../kernel/sched/yield.ts";
import { Task } from "../../kernel/task/task.ts";
import { EFAULT, EINVAL, ENOTCONN, EOPNOTSUPP } from "../../kernel/uapi/errno.ts";
import {
  AF_INET,
  AF_INET6,
  AF_NETLINK,
  AF_UNIX,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_TCP,
  MMSGHDR_BYTES,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_PEEK,
  MSG_TRUNC,
  MSG_WAITALL,
  MSG_WAITFORONE,
  MSGHDR,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  SOCK_TYPE_MASK,
  SOL_SOCKET,
} from "../../kernel/uapi/socket.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";
import {
  type Arg,
  fd,
  flagSet,
  inBuffer,
  int,
  messageOut,
  messagesOut,
  oneOf,
  only,
  outBuffer,
  outFdPair,
  ptr,
  size,
  sockaddr,
  timespec,
  uint,
  within,
} from "../args.ts";
import { type Syscall, syscall } from "../syscall.ts";
import { readTimespec, timespecNs, writeTimespecNs } from "../time/timespec.ts";
import { installFile } from "./event.ts";

const domain = oneOf({ AF_UNIX, AF_INET, AF_INET6, AF_NETLINK });
const typeNames = oneOf({ SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET });
const typeFlags = flagSet({ SOCK_NONBLOCK, SOCK_CLOEXEC });
const socketTypeArg: Arg = {
  decode: int.decode,
  values: [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_NONBLOCK, SOCK_CLOEXEC],
  format(value, call) {
    const flags = value & (SOCK_NONBLOCK | SOCK_CLOEXEC);
    const name = typeNames.format(value & ~flags, call);
    return flags === 0 ? name : `${name}|${typeFlags.format(flags, call)}`;
  },
};
const msgFlags = flagSet({ MSG_PEEK, MSG_TRUNC, MSG_DONTWAIT, MSG_WAITALL, MSG_NOSIGNAL, MSG_WAITFORONE });
/** Of calls with struct msghdr: MSG_CMSG_COMPAT, the top bit, is the kernel's own. */
const messageFlags = only(msgFlags, 0x7fffffff);
const level = oneOf({ SOL_SOCKET, SOL_IP: IPPROTO_IP, SOL_TCP: IPPROTO_TCP, SOL_IPV6: IPPROTO_IPV6 });

const filesOf = (task: Ref<"task">): Ref<"files"> => Task.files.access(task) as Ref<"files">;

export const socket = syscall({
  nr: 198,
  name: "socket",
  args: [domain, socketTypeArg, int],
  returns: fd,
  partial: "AF_UNIX, AF_INET and AF_INET6 on the loopback, NETLINK_ROUTE: no raw sockets",
  handler(task, family, type, protocol) {
    const kind = socketType(family, type, protocol);
    if (kind < 0) return kind;
    const file = newSocket(family, kind, type);
    if (file > 0 && family === AF_NETLINK && (type & SOCK_TYPE_MASK) === SOCK_RAW)
      Sock.options.or(sockOf(file as Ref<"file">), OPT_RAW);
    return installFile(task, file, type);
  },
});

export const socketpair = syscall({
  nr: 199,
  name: "socketpair",
  args: [domain, socketTypeArg, int, outFdPair],
  handler(task, family, type, protocol, fds) {
    if ((type & ~(SOCK_TYPE_MASK | SOCK_NONBLOCK | SOCK_CLOEXEC)) !== 0) return -EINVAL;
    if (faultIn(fds, 8, ACCESS.WRITE) < 0) return -EFAULT;
    const kind = socketType(family, type, protocol);
    if (kind < 0) return kind;
    if (family !== AF_UNIX) return -EOPNOTSUPP;
    const error = sockPair(kind, type, fput);
    if (error < 0) return error;
    const [a, b] = pair;
    const first = installFile(task, a, type);
    const second = first < 0 ? first : allocFd(filesOf(task), b, type);
    if (second < 0) fput(b);
    if (second < 0) return second;
    putUser32(fds, first);
    putUser32(fds + 4, second);
    return 0;
  },
});

/** Runs `work` with the socket that a descriptor names. */
function withSocket(task: Ref<"task">, descriptor: number, work: (file: Ref<"file">) => number): number {
  const file = socketOf(filesOf(task), descriptor);
  return file < 0 ? file : work(file as Ref<"file">);
}

export const bind = syscall({
  nr: 200,
  name: "bind",
  args: [fd, sockaddr(2), uint],
  handler: (task, descriptor, at, length) =>
    withSocket(task, descriptor, (file) => sockBind(sockOf(file), at, length)),
});

export const listen = syscall({
  nr: 201,
  name: "listen",
  args: [fd, int],
  handler: (task, descriptor, backlog) =>
    withSocket(task, descriptor, (file) => sockStartListening(sockOf(file), backlog)),
});

function doAccept(
  task: Ref<"task">,
  descriptor: number,
  at: number,
  lengthAt: number,
  flags: number,
): number {
  return withSocket(task, descriptor, (file) => {
    const connection = accept(file, flags);
    if (connection < 0) return connection;
    const peer = peerName(sockOf(connection as Ref<"file">)) ?? new Uint8Array(0);
    const error = writeName(peer, at, lengthAt);
    if (error < 0) {
      fput(connection as Ref<"file">);
      return error;
    }
    return installFile(task, connection, flags);
  });
}

export const acceptCall = syscall({
  nr: 202,
  name: "accept",
  args: [fd, ptr, ptr],
  returns: fd,
  handler: (task, descriptor, at, lengthAt) => doAccept(task, descriptor, at, lengthAt, 0),
});

export const accept4 = syscall({
  nr: 242,
  name: "accept4",
  args: [fd, ptr, ptr, typeFlags],
  returns: fd,
  handler: (task, descriptor, at, lengthAt, flags) =>
    (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) !== 0
      ? -EINVAL
      : doAccept(task, descriptor, at, lengthAt, flags),
});

export const connectCall = syscall({
  nr: 203,
  name: "connect",
  args: [fd, sockaddr(2), uint],
  handler: (task, descriptor, at, length) =>
    withSocket(task, descriptor, (file) => connect(file, at, length)),
});

export const getsockname = syscall({
  nr: 204,
  name: "getsockname",
  args: [fd, ptr, ptr],
  handler: (task, descriptor, at, lengthAt) =>
    withSocket(task, descriptor, (file) =>
      lengthAt === 0 ? -EFAULT : writeName(ownName(sockOf(file)), at, lengthAt),
    ),
});

export const getpeername = syscall({
  nr: 205,
  name: "getpeername",
  args: [fd, ptr, ptr],
  handler: (task, descriptor, at, lengthAt) =>
    withSocket(task, descriptor, (file) => {
      const peer = peerName(sockOf(file));
      if (peer === null) return -ENOTCONN;
      return lengthAt === 0 ? -EFAULT : writeName(peer, at, lengthAt);
    }),
});

const io = new UserIo();

export const sendto = syscall({
  nr: 206,
  name: "sendto",
  args: [fd, inBuffer(2), size, msgFlags, sockaddr(5), uint],
  handler: (task, descriptor, buffer, length, flags, to, toLength) =>
    withSocket(task, descriptor, (file) => {
      const error = io.setUser(buffer, Math.min(length, MAX_RW_COUNT));
      return error < 0 ? error : send(task, file, io, flags, to, toLength);
    }),
});

export const recvfrom = syscall({
  nr: 207,
  name: "recvfrom",
  args: [fd, outBuffer, size, msgFlags, ptr, ptr],
  handler: (task, descriptor, buffer, length, flags, from, fromLength) =>
    withSocket(task, descriptor, (file) => {
      const error = io.setUser(buffer, Math.min(length, MAX_RW_COUNT));
      if (error < 0) return error;
      const count = receive(task, file, io, flags);
      if (count < 0) return count;
      if (received.files !== 0) dropFiles(received.files);
      const failed = writeName(senderName(received.sender, sockOf(file)), from, fromLength);
      return failed < 0 ? failed : count;
    }),
});

export const setsockopt = syscall({
  nr: 208,
  name: "setsockopt",
  args: [fd, level, int, ptr, within(int, 0, 2 ** 31 - 1)],
  partial: "options that only networks use are accepted and do nothing",
  handler: (task, descriptor, at, option, value, length) =>
    withSocket(task, descriptor, (file) => setOption(sockOf(file), at, option, value, length)),
});

export const getsockopt = syscall({
  nr: 209,
  name: "getsockopt",
  args: [fd, level, int, ptr, ptr],
  handler: (task, descriptor, at, option, value, lengthAt) =>
    withSocket(task, descriptor, (file) => getOption(sockOf(file), at, option, value, lengthAt)),
});

export const shutdown = syscall({
  nr: 210,
  name: "shutdown",
  args: [fd, oneOf({ SHUT_RD: 0, SHUT_WR: 1, SHUT_RDWR: 2 })],
  handler: (task, descriptor, how) => withSocket(task, descriptor, (file) => sockShutdown(sockOf(file), how)),
});

function sendOne(task: Ref<"task">, file: Ref<"file">, at: number, flags: number): number {
  let error = readHeader(at);
  if (error === 0) error = readControl(sockOf(file), filesOf(task));
  if (error < 0) return error;
  const name = header.nameLength === 0 ? 0 : header.name;
  const attached = { files: controlFiles, identity: claimed };
  return send(task, file, messageIo, flags, name, header.nameLength, attached);
}

function receiveOne(task: Ref<"task">, file: Ref<"file">, at: number, flags: number): number {
  const error = readHeader(at);
  if (error < 0) return error;
  const count = receive(task, file, messageIo, flags);
  if (count < 0) return count;
  const failed = writeReceived(sockOf(file), filesOf(task), flags);
  return failed < 0 ? failed : count;
}

export const sendmsg = syscall({
  nr: 211,
  name: "sendmsg",
  args: [fd, messageOut, messageFlags],
  handler: (task, descriptor, message, flags) =>
    withSocket(task, descriptor, (file) => sendOne(task, file, message, flags)),
});

export const recvmsg = syscall({
  nr: 212,
  name: "recvmsg",
  args: [fd, ptr, messageFlags],
  handler: (task, descriptor, message, flags) =>
    withSocket(task, descriptor, (file) => receiveOne(task, file, message, flags)),
});

/** Most messages of one sendmmsg or recvmmsg (UIO_MAXIOV). */
const MMSG_MAX = 1024;

function many(
  task: Ref<"task">,
  file: Ref<"file">,
  vector: number,
  count: number,
  flags: number,
  one: typeof sendOne,
  deadline = Number.POSITIVE_INFINITY,
): number {
  // Task.partial is what earlier runs moved of the message in progress, Task.partialAlso the messages before it.
  let done = Task.restarting.get(task) === 0 ? 0 : partAlso();
  Task.partialAlso.set(task, done);
  while (done < Math.min(count, MMSG_MAX)) {
    // As on Linux, the time is looked at when a message has come.
    if (done > 0 && nowNs() >= deadline) break;
    const at = vector + done * MMSGHDR_BYTES;
    if (faultIn(at, MMSGHDR_BYTES, ACCESS.WRITE) < 0) return done > 0 ? done : -EFAULT;
    // Once one message went through, the call does not wait: it would run again from its start.
    const wait = done === 0 ? 0 : MSG_DONTWAIT;
    const result = one(task, file, at, (flags & ~MSG_WAITFORONE) | wait);
    if (result < 0) return done > 0 && !isBlock(result) ? done : result;
    putUser32(at + MSGHDR.BYTES, result);
    resetPart();
    Task.partialAlso.set(task, ++done);
    if (mustYield()) return fatalPending(task) ? done : YIELD;
  }
  return done;
}

export const sendmmsg = syscall({
  nr: 269,
  name: "sendmmsg",
  args: [fd, messagesOut(2), uint, messageFlags],
  partial: "waits for the first message only",
  handler: (task, descriptor, vector, count, flags) =>
    withSocket(task, descriptor, (file) => many(task, file, vector, count, flags, sendOne)),
});

export const recvmmsg = syscall({
  nr: 243,
  name: "recvmmsg",
  args: [fd, ptr, uint, messageFlags, timespec],
  partial: "waits for the first message only, and counts its time-out from the end of that wait",
  handler(task, descriptor, vector, count, flags, timeout) {
    if (timeout === 0)
      return withSocket(task, descriptor, (file) => many(task, file, vector, count, flags, receiveOne));
    const error = readTimespec(timeout);
    if (error < 0) return error;
    // No message but the first waits, and uses Task.restartDeadline for that.
    const goesOn = Task.restarting.get(task) !== 0 && partAlso() > 0;
    const deadline = goesOn ? Task.restartDeadline.get(task) : nowNs() + timespecNs();
    const result = withSocket(task, descriptor, (file) =>
      many(task, file, vector, count, flags, receiveOne, deadline),
    );
    if (result === YIELD && partAlso() > 0) Task.restartDeadline.set(task, deadline);
    if (result <= 0) return result;
    return writeTimespecNs(timeout, Math.max(0, deadline - nowNs())) < 0 ? -EFAULT : result;
  },
});

export const calls: readonly Syscall[] = [
  socket,
  socketpair,
  bind,
  listen,
  acceptCall,
  accept4,
  connectCall,
  getsockname,
  getpeername,
  sendto,
  recvfrom,
  setsockopt,
  getsockopt,
  shutdown,
  sendmsg,
  recvmsg,
  sendmmsg,
  recvmmsg,
];
