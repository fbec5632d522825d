/**
 * Sending and receiving on sockets. Bytes move between user memory and the receiver's ring with the receiver's lock
 * held, as in pipes (pipe.ts says why that is safe).
 */
import { type Held, type Ref, tryAlloc } from "../../rcu/index.ts";
import type { UserIo } from "../mm/iov.ts";
import { current } from "../sched/current.ts";
import { wakeUp } from "../sched/waitqueue.ts";
import { sendSignal } from "../signal/send.ts";
import { credOf } from "../task/cred.ts";
import { Cred, Task } from "../task/task.ts";
import { EAGAIN, ECONNREFUSED, EFAULT, EINVAL, EMSGSIZE, ENOMEM, ENOTCONN, EPIPE } from "../uapi/errno.ts";
import { POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../uapi/poll.ts";
import { SIGPIPE } from "../uapi/signal.ts";
import { MSG_CTRUNC, MSG_NOSIGNAL, MSG_PEEK, MSG_TRUNC, SOCK_DGRAM, SOCK_STREAM } from "../uapi/socket.ts";
import { ACCESS } from "../usermode.ts";
import { dropFiles, mayTake } from "./inflight.ts";
import { ringConsume, ringPeekTo, ringReadTo, ringRoom, ringUnwrite, ringWriteFrom } from "./ring.ts";
import {
  freeMessage,
  isInet,
  isNamed,
  MAX_MESSAGES,
  Message,
  peerOf,
  RCV_SHUTDOWN,
  type S,
  SEND_SHUTDOWN,
  SOCK_BYTES,
  Sock,
  SS_CONNECTED,
  SS_DEAD,
  SS_LISTENING,
  sockGet,
} from "./sock.ts";

/** Who sent a message, as SCM_CREDENTIALS says it. */
export interface Identity {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** What goes along with the bytes of a send. */
export interface Attached {
  /** Counted files, or 0. */
  readonly files: Ref<"array"> | 0;
  /** Who the sender may say that it is; null: who it is. */
  readonly identity: Identity | null;
}
const NOTHING: Attached = { files: 0, identity: null };

/** A byte of the stream carries the message, so a message of a stream needs one. */
function addMessage(
  held: Held<"lock">,
  to: S,
  from: S | 0,
  at: number,
  length: number,
  { files, identity }: Attached,
): Ref<"sock_message"> | 0 {
  const message = tryAlloc(Message);
  if (message === 0) return 0;
  const task = current();
  Message.length.init(message, length);
  Message.at.init(message, at);
  Message.files.init(message, files);
  Message.sender.init(message, from !== 0 && isNamed(from) ? sockGet(from) : 0);
  Message.pid.init(message, identity?.pid ?? (from === 0 ? 0 : Task.tgid.get(task)));
  Message.uid.init(message, identity?.uid ?? (from === 0 ? 0 : Cred.uid.get(credOf(task))));
  Message.gid.init(message, identity?.gid ?? (from === 0 ? 0 : Cred.gid.get(credOf(task))));
  const last = Sock.lastMessage.get(held, to);
  if (last === 0) Sock.firstMessage.set(held, to, message);
  else Message.next.set(last, message);
  Sock.lastMessage.set(held, to, message);
  Sock.messages.set(held, to, Sock.messages.get(held, to) + 1);
  return message;
}

/**
 * Sends what `io` has left to `to` (the peer, or the destination of a datagram): bytes sent, which for streams may be
 * fewer; -EAGAIN when there is no room; -EPIPE with SIGPIPE unless MSG_NOSIGNAL. The files that are attached are taken over
 * only when the result is >= 0.
 */
export function sockSend(from: S, to: S, io: UserIo, flags: number, attached: Attached = NOTHING): number {
  const stream = Sock.type.get(from) === SOCK_STREAM;
  const wanted = io.remaining;
  if ((Sock.shutdown.load(from) & SEND_SHUTDOWN) !== 0) return brokenSocket(flags);
  if (!stream && wanted > SOCK_BYTES) return -EMSGSIZE;
  if (stream && wanted === 0) {
    // No byte carries them.
    if (attached.files !== 0) dropFiles(attached.files);
    return 0;
  }
  if (io.prefault(Math.min(wanted, SOCK_BYTES), ACCESS.READ) < 0) return -EFAULT;
  const held = Sock.lock.lock(to);
  const result = sendLocked(held, from, to, io, wanted, stream, attached);
  Sock.lock.unlock(to);
  if (result === -EPIPE) return brokenSocket(flags);
  if (result >= 0) wakeUp(Sock.wait.at(to), 1, POLLIN | POLLRDNORM);
  return result;
}

/** A datagram from the kernel itself, a kernel buffer of at most SOCK_BYTES: its bytes, -EAGAIN when there is no room, -errno. */
export function sockPost(to: S, io: UserIo): number {
  const held = Sock.lock.lock(to);
  const result = sendLocked(held, 0, to, io, io.remaining, false, NOTHING);
  Sock.lock.unlock(to);
  if (result >= 0) wakeUp(Sock.wait.at(to), 1, POLLIN | POLLRDNORM);
  return result;
}

function sendLocked(
  held: Held<"lock">,
  from: S | 0,
  to: S,
  io: UserIo,
  wanted: number,
  stream: boolean,
  attached: Attached,
): number {
  const connected = from !== 0 && Sock.peer.load(from) === to && Sock.peer.load(to) === from;
  if (Sock.state.load(to) === SS_DEAD)
    return connected || Sock.type.get(to) !== SOCK_DGRAM ? -EPIPE : -ECONNREFUSED;
  if ((Sock.shutdown.load(to) & RCV_SHUTDOWN) !== 0) return -EPIPE;
  const ring = Sock.ring.get(to);
  const room = ringRoom(ring);
  if (stream ? room === 0 : room < wanted || (wanted === 0 && room === 0)) return -EAGAIN;
  const at = Sock.sent.get(held, to);
  let message: Ref<"sock_message"> | 0 = 0;
  // A stream's bytes need a record only when something comes along with them.
  const passes = from !== 0 && !isInet(to) && (Sock.passCred.load(to) | Sock.passCred.load(from)) !== 0;
  if (!stream || attached.files !== 0 || passes) {
    if (Sock.messages.get(held, to) >= MAX_MESSAGES) return -EAGAIN;
    message = addMessage(held, to, from, at, wanted, attached);
    if (message === 0) return -ENOMEM;
  }
  const count = wanted === 0 ? 0 : ringWriteFrom(ring, io, wanted);
  if (message !== 0 && (stream ? count <= 0 : count < wanted)) {
    // User memory or RAM gave out: nothing was sent.
    undoMessage(held, to, message);
    if (count > 0) ringUnwrite(ring, count);
    return count < 0 ? -EFAULT : count === 0 && wanted > 0 ? -ENOMEM : -EFAULT;
  }
  if (count < 0) return -EFAULT;
  if (count === 0 && wanted > 0) return -ENOMEM;
  if (message !== 0) Message.length.init(message, count);
  Sock.sent.set(held, to, at + count);
  return count;
}

function undoMessage(held: Held<"lock">, to: S, message: Ref<"sock_message">): void {
  let previous: Ref<"sock_message"> | 0 = 0;
  for (
    let one = Sock.firstMessage.get(held, to);
    one !== message;
    one = Message.next.get(one as Ref<"sock_message">)
  )
    previous = one;
  if (previous === 0) Sock.firstMessage.set(held, to, 0);
  else Message.next.set(previous, 0);
  Sock.lastMessage.set(held, to, previous);
  Sock.messages.set(held, to, Sock.messages.get(held, to) - 1);
  Message.files.init(message, 0);
  freeMessage(message);
}

function brokenSocket(flags: number): number {
  if ((flags & MSG_NOSIGNAL) === 0) sendSignal(current(), SIGPIPE);
  return -EPIPE;
}

/** What came with the bytes of the last sockReceive: files that now belong to the caller, sender, MSG_TRUNC. */
export const received = {
  files: 0 as Ref<"array"> | 0,
  sender: 0 as S | 0,
  pid: 0,
  uid: 0,
  gid: 0,
  flags: 0,
  /** Length of the datagram, which may be more than was asked for. */
  length: 0,
};

/** Receives into `io`: bytes, 0 at the end, -EAGAIN when there is nothing yet. MSG_PEEK leaves all in place. */
export function sockReceive(sock: S, io: UserIo, flags: number): number {
  received.files = 0;
  received.sender = 0;
  received.flags = 0;
  received.length = 0;
  received.pid = 0;
  received.uid = 65534;
  received.gid = 65534;
  const state = Sock.state.load(sock);
  const stream = Sock.type.get(sock) === SOCK_STREAM;
  if (state === SS_LISTENING) return isInet(sock) ? -ENOTCONN : -EINVAL;
  if (stream && io.remaining === 0) return 0;
  const error = Sock.error.exchange(sock, 0);
  if (error !== 0) return -error;
  if (io.prefault(Math.min(io.remaining, SOCK_BYTES), ACCESS.WRITE) < 0) return -EFAULT;
  const held = Sock.lock.lock(sock);
  const result = stream ? receiveStream(held, sock, io, flags) : receiveMessage(held, sock, io, flags);
  const over = result === -EAGAIN && isOver(sock);
  Sock.lock.unlock(sock);
  if (refused) {
    dropFiles(received.files as Ref<"array">);
    received.files = 0;
    received.flags |= MSG_CTRUNC;
    refused = false;
  }
  if (over) return 0;
  if (result === -EAGAIN && stream && state !== SS_CONNECTED) return -ENOTCONN;
  if (result >= 0 && (flags & MSG_PEEK) === 0) {
    const peer = peerOf(sock);
    wakeUp(Sock.wait.at(sock), 0, POLLOUT | POLLWRNORM);
    if (peer !== 0) wakeUp(Sock.wait.at(peer), 0, POLLOUT | POLLWRNORM);
  }
  return result;
}

/** No more bytes will come. */
function isOver(sock: S): boolean {
  if ((Sock.shutdown.load(sock) & RCV_SHUTDOWN) !== 0) return true;
  // Datagrams may come from anybody: what the peer does ends nothing.
  if (Sock.state.load(sock) !== SS_CONNECTED || Sock.type.get(sock) === SOCK_DGRAM) return false;
  const peer = peerOf(sock);
  return peer === 0 || (Sock.shutdown.load(peer) & SEND_SHUTDOWN) !== 0;
}

function receiveStream(held: Held<"lock">, sock: S, io: UserIo, flags: number): number {
  const at = Sock.received.get(held, sock);
  let limit = Sock.sent.get(held, sock) - at;
  if (limit === 0) return -EAGAIN;
  // One read takes the descriptors of one message, whatever bytes stand before it, and nothing behind it (unix(7)).
  const message = Sock.firstMessage.get(held, sock);
  const before = message === 0 ? limit : Message.at.get(held, message) - at;
  if (message !== 0) limit = Math.min(limit, before + Message.length.get(message));
  const ring = Sock.ring.get(sock);
  const wanted = Math.min(limit, io.remaining);
  const count = (flags & MSG_PEEK) !== 0 ? ringPeekTo(ring, io, wanted) : ringReadTo(ring, io, wanted);
  if (count <= 0 || (flags & MSG_PEEK) !== 0) return count;
  Sock.received.set(held, sock, at + count);
  if (message !== 0 && count > before) takeMessage(held, sock, message);
  return count;
}

function receiveMessage(held: Held<"lock">, sock: S, io: UserIo, flags: number): number {
  const message = Sock.firstMessage.get(held, sock);
  if (message === 0) return -EAGAIN;
  const length = Message.length.get(message);
  const ring = Sock.ring.get(sock);
  const wanted = Math.min(length, io.remaining);
  const count = wanted === 0 ? 0 : ringPeekTo(ring, io, wanted);
  if (count < 0) return count;
  received.length = length;
  if (count < length) received.flags |= MSG_TRUNC;
  if ((flags & MSG_PEEK) === 0) {
    if (length > 0) ringConsume(ring, length);
    Sock.received.set(held, sock, Sock.received.get(held, sock) + length);
    takeMessage(held, sock, message);
  } else received.sender = Message.sender.get(message);
  return (flags & MSG_TRUNC) !== 0 ? length : count;
}

/** What the message brought is not to be had (mayTake): it is dropped when the lock is. */
let refused = false;

/** Takes the first message off the queue; its files and its sender's count go to `received`. */
function takeMessage(held: Held<"lock">, sock: S, message: Ref<"sock_message">): void {
  const next = Message.next.get(message);
  Sock.firstMessage.set(held, sock, next);
  if (next === 0) Sock.lastMessage.set(held, sock, 0);
  Sock.messages.set(held, sock, Sock.messages.get(held, sock) - 1);
  received.files = Message.files.get(message);
  refused = received.files !== 0 && !mayTake(Sock.gcRun.get(held, sock));
  received.pid = Message.pid.get(message);
  received.uid = Message.uid.get(message);
  received.gid = Message.gid.get(message);
  received.sender = Message.sender.get(message);
  Message.files.init(message, 0);
  // The caller reads the sender's name in this handler; dropping the count now leaves it readable until then.
  freeMessage(message);
}
