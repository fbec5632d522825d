/** What connects two sockets, whatever their family: socketpair, listen, connect, accept, shutdown. */
import type { Held, Ref } from "../../rcu/index.ts";
import { allocFile, File, FMODE_READ, FMODE_WRITE, newAnonInode } from "../fs/file.ts";
import { iput } from "../fs/inode.ts";
import { FOPS } from "../fs/ops.ts";
import { wakeUp } from "../sched/waitqueue.ts";
import { EAGAIN, ECONNREFUSED, EINVAL, ENOMEM, ENOTCONN, EOPNOTSUPP } from "../uapi/errno.ts";
import { O_NONBLOCK, O_RDWR } from "../uapi/fcntl.ts";
import { POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../uapi/poll.ts";
import {
  AF_NETLINK,
  AF_UNIX,
  SHUT_RD,
  SHUT_RDWR,
  SHUT_WR,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOMAXCONN,
} from "../uapi/socket.ts";
import { S_IFSOCK } from "../uapi/stat.ts";
import { mayTake } from "./inflight.ts";
import {
  isInet,
  RCV_SHUTDOWN,
  type S,
  SEND_SHUTDOWN,
  Sock,
  SS_CONNECTED,
  SS_DEAD,
  SS_LISTENING,
  SS_UNCONNECTED,
  sockCreate,
  sockGet,
  sockRelease,
  takeIdentity,
} from "./sock.ts";

/** The socket of an open file, which must be one (socketOf in socket-file.ts checks). */
export const sockOf = (file: Ref<"file">): S => File.priv.peek(file) as S;

/** A file for the socket, with one count; takes over the socket's count, also on failure. */
export function sockFile(sock: S, flags: number): Ref<"file"> | number {
  const inode = newAnonInode(S_IFSOCK | 0o777);
  const file =
    inode === 0
      ? -ENOMEM
      : allocFile(inode, FOPS.SOCKET, FMODE_READ | FMODE_WRITE, O_RDWR | (flags & O_NONBLOCK));
  if (inode === 0 || file < 0) {
    if (inode !== 0) iput(inode);
    sockRelease(sock);
    return file;
  }
  File.priv.init(file as Ref<"file">, sock);
  return file;
}

/** socket(2): an unconnected one, or -errno. */
export function newSocket(family: number, type: number, flags: number): Ref<"file"> | number {
  const sock = sockCreate(family, type);
  return sock === 0 ? -ENOMEM : sockFile(sock, flags);
}

/** Connects two sockets that nobody else can reach, or whose locks are held. */
function join(a: S, b: S): void {
  Sock.peer.store(a, sockGet(b));
  Sock.peer.store(b, sockGet(a));
  Sock.state.store(a, SS_CONNECTED);
  Sock.state.store(b, SS_CONNECTED);
}

/** Result of sockPair. */
export const pair: [Ref<"file">, Ref<"file">] = [0 as Ref<"file">, 0 as Ref<"file">];

/** socketpair(2) of AF_UNIX: fills `pair`; 0 or -errno. */
export function sockPair(type: number, flags: number, drop: (file: Ref<"file">) => void): number {
  const a = sockCreate(AF_UNIX, type);
  const b = a === 0 ? 0 : sockCreate(AF_UNIX, type);
  if (a === 0 || b === 0) {
    if (a !== 0) sockRelease(a);
    return -ENOMEM;
  }
  join(a, b);
  const first = sockFile(a, flags);
  if (first < 0) {
    sockRelease(b);
    return first;
  }
  const second = sockFile(b, flags);
  if (second < 0) {
    drop(first as Ref<"file">);
    return second;
  }
  pair[0] = first as Ref<"file">;
  pair[1] = second as Ref<"file">;
  return 0;
}

/** listen(2) of a socket that has its name. */
export function sockListen(sock: S, backlog: number): number {
  const held = Sock.lock.lock(sock);
  const state = Sock.state.load(sock);
  if (state === SS_UNCONNECTED || state === SS_LISTENING) {
    Sock.state.store(sock, SS_LISTENING);
    Sock.backlog.set(held, sock, Math.min(backlog < 0 ? SOMAXCONN : backlog, SOMAXCONN));
    takeIdentity(sock);
  }
  Sock.lock.unlock(sock);
  return state === SS_CONNECTED ? -EINVAL : 0;
}

/** Where a connect that had to wait is waiting: the listener's queue. */
export let connectWait = 0;

/** Queues a connection at the listener; `name` gives its new end the name that it has there. As connect(2), -EAGAIN as above. */
export function connectStream(sock: S, listener: S, name: (server: S) => void): number {
  const server = sockCreate(Sock.family.get(listener), Sock.type.get(sock));
  if (server === 0) return -ENOMEM;
  const held = Sock.lock.lock(listener);
  let error = 0;
  if (Sock.state.load(listener) !== SS_LISTENING) error = -ECONNREFUSED;
  else if (Sock.pending.get(held, listener) > Sock.backlog.get(held, listener)) error = -EAGAIN;
  else {
    takeIdentity(sock);
    Sock.pid.store(server, Sock.pid.load(listener));
    Sock.uid.store(server, Sock.uid.load(listener));
    Sock.gid.store(server, Sock.gid.load(listener));
    name(server);
    join(sock, server);
    enqueue(held, listener, server);
  }
  Sock.lock.unlock(listener);
  if (error === 0) {
    wakeUp(Sock.wait.at(listener), 1, POLLIN | POLLRDNORM);
    wakeUp(Sock.wait.at(sock), 0, POLLOUT | POLLWRNORM);
    return 0;
  }
  connectWait = Sock.wait.at(listener);
  sockRelease(server);
  return error;
}

function enqueue(held: Held<"lock">, listener: S, server: S): void {
  const last = Sock.lastPending.get(held, listener);
  if (last === 0) Sock.firstPending.set(held, listener, server);
  else Sock.nextPending.set(last, server);
  Sock.lastPending.set(held, listener, server);
  Sock.pending.set(held, listener, Sock.pending.get(held, listener) + 1);
}

/** accept(2): the next connection as a file, -EAGAIN when there is none, -EINVAL for what does not listen. */
export function sockAccept(listener: S, flags: number): Ref<"file"> | number {
  if (Sock.type.get(listener) === SOCK_DGRAM) return -EOPNOTSUPP;
  const held = Sock.lock.lock(listener);
  const state = Sock.state.load(listener);
  const first = Sock.firstPending.get(held, listener);
  const server = first !== 0 && mayTake(Sock.gcRun.get(held, listener)) ? first : 0;
  if (server !== 0) {
    const next = Sock.nextPending.get(server);
    Sock.firstPending.set(held, listener, next);
    if (next === 0) Sock.lastPending.set(held, listener, 0);
    Sock.pending.set(held, listener, Sock.pending.get(held, listener) - 1);
  }
  Sock.lock.unlock(listener);
  if (state !== SS_LISTENING) return -EINVAL;
  if ((Sock.shutdown.load(listener) & RCV_SHUTDOWN) !== 0 && server === 0) return -EINVAL;
  if (server === 0) return -EAGAIN;
  wakeUp(Sock.wait.at(listener), 0, POLLOUT | POLLWRNORM);
  return sockFile(server, flags);
}

/** shutdown(2). */
export function sockShutdown(sock: S, how: number): number {
  if (how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
  if (Sock.family.get(sock) === AF_NETLINK) return -EOPNOTSUPP;
  const peer = Sock.peer.load(sock);
  const inet = isInet(sock);
  const loose = Sock.state.load(sock) === SS_UNCONNECTED && Sock.remotePort.load(sock) === 0;
  const over = Sock.shutdown.load(sock) === (RCV_SHUTDOWN | SEND_SHUTDOWN);
  if (inet ? loose || over : loose && Sock.type.get(sock) === SOCK_STREAM) return -ENOTCONN;
  const bits =
    how === SHUT_RD ? RCV_SHUTDOWN : how === SHUT_WR ? SEND_SHUTDOWN : RCV_SHUTDOWN | SEND_SHUTDOWN;
  Sock.shutdown.or(sock, bits);
  if (peer !== 0 && Sock.state.load(peer) !== SS_DEAD) {
    // TCP has no word for "I read no more".
    const mirrored =
      ((bits & RCV_SHUTDOWN) !== 0 && !inet ? SEND_SHUTDOWN : 0) |
      ((bits & SEND_SHUTDOWN) !== 0 ? RCV_SHUTDOWN : 0);
    if (Sock.type.get(sock) !== SOCK_DGRAM) Sock.shutdown.or(peer, mirrored);
    wakeUp(Sock.wait.at(peer), 0);
  }
  wakeUp(Sock.wait.at(sock), 0);
  return 0;
}
