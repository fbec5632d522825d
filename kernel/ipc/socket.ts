/** The socket calls on descriptors: waiting, time-outs, partial transfers. What moves the bytes is sock-io.ts. */
import type { Ref } from "../../rcu/index.ts";
import { File } from "../fs/file.ts";
import type { UserIo } from "../mm/iov.ts";
import { BLOCK } from "../sched/block.ts";
import { nowNs } from "../sched/current.ts";
import { blockUntil, restartDeadline } from "../sched/restart.ts";
import { waitOn } from "../sched/waitqueue.ts";
import { mustYield, yieldPart } from "../sched/yield.ts";
import { Task } from "../task/task.ts";
import {
  EAFNOSUPPORT,
  EAGAIN,
  ECONNREFUSED,
  EINPROGRESS,
  EINVAL,
  EISCONN,
  ENODATA,
  EOPNOTSUPP,
  EPROTONOSUPPORT,
  ESOCKTNOSUPPORT,
} from "../uapi/errno.ts";
import { O_NONBLOCK } from "../uapi/fcntl.ts";
import { NETLINK_ROUTE } from "../uapi/netlink.ts";
import {
  AF_INET,
  AF_INET6,
  AF_NETLINK,
  AF_UNIX,
  AF_UNSPEC,
  IPPROTO_MPTCP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  MSG_DONTWAIT,
  MSG_OOB,
  MSG_PEEK,
  MSG_WAITALL,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  SOCK_TYPE_MASK,
} from "../uapi/socket.ts";
import { isUdp, udpSend } from "./inet.ts";
import { dropFiles } from "./inflight.ts";
import { isNetlink, netlinkSend } from "./netlink.ts";
import { isInet, isTcp, OPT_CONNECTING, type S, Sock, sockPut } from "./sock.ts";
import { ADDRESS_BYTES_MAX, address, readAddress, sockConnect } from "./sock-address.ts";
import { connectWait, sockAccept, sockOf } from "./sock-connect.ts";
import { type Attached, received, sockReceive, sockSend } from "./sock-io.ts";
import { defaultTarget } from "./socket-file.ts";
import { unixFind } from "./unix-name.ts";

/** Checks the arguments of socket and socketpair: SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET, or -errno. */
export function socketType(domain: number, type: number, protocol: number): number {
  if (domain !== AF_UNIX && domain !== AF_INET && domain !== AF_INET6 && domain !== AF_NETLINK)
    return -EAFNOSUPPORT;
  if ((type & ~(SOCK_TYPE_MASK | SOCK_NONBLOCK | SOCK_CLOEXEC)) !== 0) return -EINVAL;
  const kind = type & SOCK_TYPE_MASK;
  if (domain === AF_NETLINK) return netlinkType(kind, protocol);
  return domain === AF_UNIX ? unixType(kind, protocol) : inetType(kind, protocol);
}

function netlinkType(kind: number, protocol: number): number {
  if (kind !== SOCK_RAW && kind !== SOCK_DGRAM) return -ESOCKTNOSUPPORT;
  return protocol === NETLINK_ROUTE ? SOCK_DGRAM : -EPROTONOSUPPORT;
}

function unixType(kind: number, protocol: number): number {
  if (protocol !== 0 && protocol !== AF_UNIX) return -EPROTONOSUPPORT;
  if (kind === SOCK_RAW) return SOCK_DGRAM;
  return kind === SOCK_STREAM || kind === SOCK_DGRAM || kind === SOCK_SEQPACKET ? kind : -ESOCKTNOSUPPORT;
}

/** TCP and UDP are all there is: no raw sockets. */
function inetType(kind: number, protocol: number): number {
  if (protocol < 0 || protocol > IPPROTO_MPTCP) return -EINVAL;
  if (kind !== SOCK_STREAM && kind !== SOCK_DGRAM)
    return kind === SOCK_RAW ? -EPROTONOSUPPORT : -ESOCKTNOSUPPORT;
  return protocol === 0 || protocol === (kind === SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP)
    ? kind
    : -EPROTONOSUPPORT;
}

const NOTHING: Attached = { files: 0, identity: null };

const nonBlocking = (file: Ref<"file">, flags: number): boolean =>
  (flags & MSG_DONTWAIT) !== 0 || (File.flags.load(file) & O_NONBLOCK) !== 0;

/** Prepares to wait on a queue, until the socket's time-out; 0, -EAGAIN when that is over, -ENOMEM. */
function prepareWait(queue: number, timeoutMs: number): number {
  const deadline = restartDeadline(timeoutMs === 0 ? -1 : timeoutMs * 1e6);
  if (nowNs() >= deadline) return -EAGAIN;
  const error = waitOn(queue);
  if (error < 0) return error;
  if (timeoutMs !== 0) blockUntil(deadline);
  return 0;
}

/** recv in all its forms: bytes, 0 at the end, -errno, BLOCK. What came along is in `received`. */
export function receive(task: Ref<"task">, file: Ref<"file">, io: UserIo, flags: number): number {
  if ((flags & MSG_OOB) !== 0) return -EOPNOTSUPP;
  const sock = sockOf(file);
  const all = (flags & (MSG_WAITALL | MSG_PEEK)) === MSG_WAITALL && Sock.type.get(sock) === SOCK_STREAM;
  let done = all ? Task.partial.get(task) : 0;
  if (done > 0) io.skip(done);
  for (let joined = false; ; ) {
    const count = sockReceive(sock, io, flags);
    if (count > 0) done += count;
    const short = all && count > 0 && io.remaining > 0 && received.files === 0;
    if (count !== -EAGAIN && !short) return count >= 0 || done > 0 ? Math.max(done, count) : count;
    if (nonBlocking(file, flags)) return done > 0 ? done : -EAGAIN;
    if (short) {
      const stop = mustYield() ? yieldPart(done) : 0;
      if (stop !== 0) return stop;
      continue;
    }
    if (joined) {
      Task.partial.set(task, done);
      return BLOCK;
    }
    const error = prepareWait(Sock.wait.at(sock), Sock.receiveTimeout.load(sock));
    if (error < 0) return done > 0 ? done : error;
    joined = true;
  }
}

/**
 * send in all its forms: bytes, -errno, BLOCK. `to` is 0 or the address of a struct sockaddr. Files that are attached are taken
 * over, whatever happens, unless the result is BLOCK: then they are dropped, and made again when the call runs again.
 */
export function send(
  task: Ref<"task">,
  file: Ref<"file">,
  io: UserIo,
  flags: number,
  to: number,
  toLength: number,
  { files, identity }: Attached = NOTHING,
): number {
  const sock = sockOf(file);
  if ((flags & MSG_OOB) !== 0 && !isTcp(sock)) {
    if (files !== 0) dropFiles(files);
    return -EOPNOTSUPP;
  }
  if (isUdp(sock) || isNetlink(sock)) return sendDatagram(sock, io, flags, to, toLength, files);
  const found = destination(sock, to, toLength);
  if (found < 0) {
    if (files !== 0) dropFiles(files);
    return found;
  }
  const result = sendTo(task, file, sock, found as S, io, flags, { files, identity });
  if (isNamed(sock, to, toLength)) sockPut(found as S);
  return result;
}

/** Whether a message to this address looks for its socket. A connected TCP socket does not look at the address; no bytes are none. */
const isNamed = (sock: S, to: number, toLength: number): boolean =>
  to !== 0 && toLength !== 0 && !isInet(sock);

/** Where it goes: the peer, or the named socket with a count. */
function destination(sock: S, to: number, toLength: number): S | number {
  if (!isNamed(sock, to, toLength)) return defaultTarget(sock);
  if (toLength > ADDRESS_BYTES_MAX) return -EINVAL;
  if (Sock.type.get(sock) !== SOCK_DGRAM) return Sock.peer.load(sock) === 0 ? -EOPNOTSUPP : -EISCONN;
  const error = readAddress(sock, to, toLength);
  if (error < 0) return error;
  return address.family === AF_UNIX ? unixFind(address.path, SOCK_DGRAM) : -EINVAL;
}

/** Descriptors go neither by UDP nor by netlink. */
function sendDatagram(
  sock: S,
  io: UserIo,
  flags: number,
  to: number,
  toLength: number,
  files: Ref<"array"> | 0,
): number {
  if (files !== 0) {
    dropFiles(files);
    return -EINVAL;
  }
  if (isNetlink(sock) && io.remaining === 0) return -ENODATA;
  if (to === 0 || (isNetlink(sock) && toLength === 0))
    return isNetlink(sock) ? netlinkSend(sock, io, null) : udpSend(sock, io, flags, 0, 0);
  const error = readAddress(sock, to, toLength);
  const six = Sock.family.get(sock) === AF_INET6;
  if (error < 0) return error === -EAFNOSUPPORT && six ? -EINVAL : error;
  if (isNetlink(sock)) return netlinkSend(sock, io, address.bytes);
  if (six && address.family === AF_UNSPEC) return udpSend(sock, io, flags, 0, 0);
  return address.port === 0 ? -EINVAL : udpSend(sock, io, flags, address.host, address.port);
}

function sendTo(
  task: Ref<"task">,
  file: Ref<"file">,
  sock: S,
  target: S,
  io: UserIo,
  flags: number,
  attached: Attached,
): number {
  let done = Task.partial.get(task);
  let { files } = attached;
  if (done > 0) {
    // The first bytes went at an earlier run, and the descriptors with them.
    io.skip(done);
    if (files !== 0) dropFiles(files);
    files = 0;
  }
  const stream = Sock.type.get(sock) === SOCK_STREAM;
  let result = 0;
  for (let joined = false; ; ) {
    result = sockSend(sock, target, io, flags, files === attached.files ? attached : NOTHING);
    if (result >= 0) {
      files = 0;
      done += result;
      if (!stream || io.remaining === 0) break;
      const stop = done > 0 && mustYield() ? yieldPart(done) : 0;
      if (stop !== 0) return stop;
      continue;
    }
    if (result !== -EAGAIN || nonBlocking(file, flags)) break;
    if (joined) {
      Task.partial.set(task, done);
      result = BLOCK;
      break;
    }
    // A connected socket is told on its own queue; who sends to many waits where the room is.
    const queue = Sock.peer.load(target) === sock ? Sock.wait.at(sock) : Sock.wait.at(target);
    result = prepareWait(queue, Sock.sendTimeout.load(sock));
    if (result < 0) break;
    joined = true;
  }
  if (files !== 0) dropFiles(files);
  return result === BLOCK ? BLOCK : done > 0 ? done : Math.min(result, 0);
}

/**
 * What a call that waits makes of `attempt`, which is made once more when the queue is joined: that closes the race with a wake-up.
 * Which queue that is may be known only after the first attempt.
 */
function attemptOrWait(
  file: Ref<"file">,
  queue: () => number,
  timeoutMs: number,
  attempt: () => number,
): number {
  const result = attempt();
  if (result !== -EAGAIN || nonBlocking(file, 0)) return result;
  const failed = prepareWait(queue(), timeoutMs);
  if (failed < 0) return failed;
  const again = attempt();
  return again === -EAGAIN ? BLOCK : again;
}

/** connect(2): 0, -errno, BLOCK. */
export function connect(file: Ref<"file">, at: number, length: number): number {
  const sock = sockOf(file);
  const error = readAddress(sock, at, length);
  if (error < 0) return error;
  const failed = isTcp(sock) ? Sock.error.exchange(sock, 0) : 0;
  if (failed !== 0) return -failed;
  const result = attemptOrWait(
    file,
    () => connectWait,
    Sock.sendTimeout.load(sock),
    () => sockConnect(sock),
  );
  // Of one that blocks, that is its time-out.
  if (result === -EAGAIN && !nonBlocking(file, 0)) return -EINPROGRESS;
  return isTcp(sock) ? tcpConnected(sock, result, nonBlocking(file, 0)) : result;
}

/**
 * What a TCP connect says, connect(2): one that may not wait is always in progress, though its outcome is settled here; poll(2) and
 * SO_ERROR tell of it, and the next connect.
 */
function tcpConnected(sock: S, result: number, immediate: boolean): number {
  if (result === -EISCONN && (Sock.options.load(sock) & OPT_CONNECTING) !== 0) {
    Sock.options.and(sock, ~OPT_CONNECTING);
    return 0;
  }
  if (!immediate || (result !== 0 && result !== -ECONNREFUSED)) return result;
  if (result === 0) Sock.options.or(sock, OPT_CONNECTING);
  else Sock.error.store(sock, ECONNREFUSED);
  return -EINPROGRESS;
}

/** accept(2): a file, -errno, BLOCK. */
export function accept(file: Ref<"file">, flags: number): Ref<"file"> | number {
  const sock = sockOf(file);
  const timeout = Sock.receiveTimeout.load(sock);
  return attemptOrWait(
    file,
    () => Sock.wait.at(sock),
    timeout,
    () => sockAccept(sock, flags),
  );
}
