/** Naming and connecting unix sockets: bind, listen, connect, accept, socketpair, shutdown. */
import {
  allocString,
  freeString,
  type Held,
  hashBytes,
  type Ref,
  stringBytes,
  stringEquals,
} from "../../rcu/index.ts";
import { makeNode } from "../fs/dir.ts";
import { allocFile, File, FMODE_READ, FMODE_WRITE, newAnonInode } from "../fs/file.ts";
import { igrab, inodeType, iput } from "../fs/inode.ts";
import { LOOKUP_FOLLOW, nd, pathLookup } from "../fs/namei.ts";
import { FOPS } from "../fs/ops.ts";
import { inodePermission, MAY_WRITE } from "../fs/permission.ts";
import { current } from "../sched/current.ts";
import { wakeUp } from "../sched/waitqueue.ts";
import { Task } from "../task/task.ts";
import {
  EADDRINUSE,
  EAGAIN,
  ECONNREFUSED,
  EEXIST,
  EINVAL,
  EISCONN,
  ENOMEM,
  ENOTCONN,
  EOPNOTSUPP,
  EPROTOTYPE,
} from "../uapi/errno.ts";
import { AT_FDCWD, O_NONBLOCK, O_RDWR } from "../uapi/fcntl.ts";
import { POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../uapi/poll.ts";
import { SHUT_RD, SHUT_RDWR, SHUT_WR, SOCK_DGRAM, SOCK_STREAM, SOMAXCONN } from "../uapi/socket.ts";
import { S_IFSOCK } from "../uapi/stat.ts";
import {
  enterName,
  findBound,
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
  sockPut,
  sockRelease,
  takeIdentity,
} from "./unix-sock.ts";

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
    return -ENOMEM;
  }
  File.priv.init(file as Ref<"file">, sock);
  return file;
}

/** socket(2): an unconnected one, or -errno. */
export function unixSocket(type: number, flags: number): Ref<"file"> | number {
  const sock = sockCreate(type);
  return sock === 0 ? -ENOMEM : sockFile(sock, flags);
}

/** Connects two sockets that nobody else can reach, or whose locks are held. */
function join(a: S, b: S): void {
  Sock.peer.store(a, sockGet(b));
  Sock.peer.store(b, sockGet(a));
  Sock.state.store(a, SS_CONNECTED);
  Sock.state.store(b, SS_CONNECTED);
}

/** Result of unixPair. */
export const pair: [Ref<"file">, Ref<"file">] = [0 as Ref<"file">, 0 as Ref<"file">];

/** socketpair(2): fills `pair`; 0 or -errno. */
export function unixPair(type: number, flags: number, drop: (file: Ref<"file">) => void): number {
  const a = sockCreate(type);
  const b = a === 0 ? 0 : sockCreate(type);
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

/** bind(2). `name` is sun_path: a path (its NUL cut off), or an abstract name that starts with NUL. */
export function unixBind(sock: S, name: Uint8Array): number {
  if (Sock.address.load(sock) !== 0) return -EINVAL;
  if (name.length === 0) return autobind(sock);
  const address = allocString(name);
  if (address === 0) return -ENOMEM;
  let inode: Ref<"inode"> | 0 = 0;
  if (name[0] !== 0) {
    const made = makeNode(AT_FDCWD, name, S_IFSOCK | 0o777, 0);
    const error = made < 0 ? (made === -EEXIST ? -EADDRINUSE : made) : pathLookup(AT_FDCWD, name);
    if (error < 0) {
      freeString(address);
      return error;
    }
    inode = nd.inode;
    igrab(inode);
    Sock.inode.store(sock, inode);
  }
  Sock.address.store(sock, address);
  const free = enterName(sock, (other) =>
    inode !== 0 ? Sock.inode.load(other) === inode : sameName(other, name),
  );
  if (free) return 0;
  Sock.address.store(sock, 0);
  freeString(address);
  return -EADDRINUSE;
}

const sameName = (sock: S, name: Uint8Array): boolean => {
  const address = Sock.address.load(sock);
  return address !== 0 && Sock.inode.load(sock) === 0 && stringEquals(address, name, hashBytes(name));
};

/** An empty address: an abstract name of five hexadecimal digits. */
function autobind(sock: S): number {
  for (let attempt = 0; attempt < 64; attempt++) {
    const digits = Math.floor(Math.random() * 0x100000)
      .toString(16)
      .padStart(5, "0");
    const error = unixBind(sock, new TextEncoder().encode(`\0${digits}`));
    if (error !== -EADDRINUSE) return error;
  }
  return -EADDRINUSE;
}

/** The socket bound to the name, with a count, or -errno. */
export function unixFind(name: Uint8Array, type: number): S | number {
  let found: S | 0;
  if (name.length === 0) return -EINVAL;
  if (name[0] === 0) found = findBound((sock) => sameName(sock, name));
  else {
    const error = pathLookup(AT_FDCWD, name, LOOKUP_FOLLOW);
    if (error < 0) return error;
    const inode = nd.inode;
    if (inodeType(inode) !== S_IFSOCK) return -ECONNREFUSED;
    const denied = inodePermission(inode, MAY_WRITE);
    if (denied < 0) return denied;
    found = findBound((sock) => Sock.inode.load(sock) === inode);
  }
  if (found === 0) return -ECONNREFUSED;
  if (Sock.type.get(found) === type) return found;
  sockPut(found);
  return -EPROTOTYPE;
}

/** Name that the socket is bound to, empty for none. */
export function unixName(sock: S | 0): Uint8Array {
  if (sock === 0) return new Uint8Array(0);
  const shownAs = Sock.shownAs.get(sock);
  const address = Sock.address.load(shownAs !== 0 ? shownAs : sock);
  return address === 0 ? new Uint8Array(0) : stringBytes(address);
}

/** listen(2). */
export function unixListen(sock: S, backlog: number): number {
  if (Sock.type.get(sock) === SOCK_DGRAM) return -EOPNOTSUPP;
  if (Sock.address.load(sock) === 0) return -EINVAL;
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

/** connect(2): 0 or -errno; -EAGAIN when the listener's queue is full: wait on connectWait, then try again. */
export function unixConnect(sock: S, name: Uint8Array): number {
  const type = Sock.type.get(sock);
  if (type !== SOCK_DGRAM && Sock.state.load(sock) !== SS_UNCONNECTED)
    return Sock.state.load(sock) === SS_LISTENING ? -EINVAL : -EISCONN;
  const found = unixFind(name, type);
  if (found < 0) return found;
  const target = found as S;
  const error = type === SOCK_DGRAM ? connectDatagram(sock, target) : connectStream(sock, target);
  sockPut(target);
  return error;
}

/** connect(AF_UNSPEC) on a datagram socket forgets the peer. */
export function unixDisconnect(sock: S): number {
  if (Sock.type.get(sock) !== SOCK_DGRAM) return -EINVAL;
  const old = Sock.peer.exchange(sock, 0);
  if (old !== 0) sockPut(old);
  return 0;
}

function connectDatagram(sock: S, target: S): number {
  const old = Sock.peer.exchange(sock, sockGet(target));
  if (old !== 0) sockPut(old);
  return 0;
}

function connectStream(sock: S, listener: S): number {
  const server = sockCreate(Sock.type.get(sock));
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
    nameServer(server, listener);
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

/** The accepted socket shows the listener's name, without being bound to it. */
function nameServer(server: S, listener: S): void {
  const address = Sock.address.load(listener);
  if (address !== 0) Sock.shownAs.init(server, sockGet(listener));
}

function enqueue(held: Held<"lock">, listener: S, server: S): void {
  const last = Sock.lastPending.get(held, listener);
  if (last === 0) Sock.firstPending.set(held, listener, server);
  else Sock.nextPending.set(last, server);
  Sock.lastPending.set(held, listener, server);
  Sock.pending.set(held, listener, Sock.pending.get(held, listener) + 1);
}

/** accept(2): the next connection as a file, -EAGAIN when there is none, -EINVAL for what does not listen. */
export function unixAccept(listener: S, flags: number): Ref<"file"> | number {
  if (Sock.type.get(listener) === SOCK_DGRAM) return -EOPNOTSUPP;
  const held = Sock.lock.lock(listener);
  const state = Sock.state.load(listener);
  const server = Sock.firstPending.get(held, listener);
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
export function unixShutdown(sock: S, how: number): number {
  if (how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
  const peer = Sock.peer.load(sock);
  if (Sock.type.get(sock) === SOCK_STREAM && Sock.state.load(sock) === SS_UNCONNECTED) return -ENOTCONN;
  const bits =
    how === SHUT_RD ? RCV_SHUTDOWN : how === SHUT_WR ? SEND_SHUTDOWN : RCV_SHUTDOWN | SEND_SHUTDOWN;
  Sock.shutdown.or(sock, bits);
  if (peer !== 0 && Sock.state.load(peer) !== SS_DEAD) {
    const mirrored =
      ((bits & RCV_SHUTDOWN) !== 0 ? SEND_SHUTDOWN : 0) | ((bits & SEND_SHUTDOWN) !== 0 ? RCV_SHUTDOWN : 0);
    if (Sock.type.get(sock) !== SOCK_DGRAM) Sock.shutdown.or(peer, mirrored);
    wakeUp(Sock.wait.at(peer), 0);
  }
  wakeUp(Sock.wait.at(sock), 0);
  return 0;
}

/** The peer that getpeername shows, 0 when the socket is not connected. */
export const connectedPeer = (sock: S): S | 0 => Sock.peer.load(sock);
export const currentFiles = (): Ref<"files"> => Task.files.access(current()) as Ref<"files">;
