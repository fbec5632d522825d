/** Names of unix sockets, unix(7): inodes in the file system, and abstract ones; connecting to them. */
import {
  alloc,
  allocString,
  freeString,
  hashBytes,
  locked,
  type Ref,
  spinlock,
  stringBytes,
  stringEquals,
  struct,
} from "../../rcu/index.ts";
import { makeNode } from "../fs/dir.ts";
import { igrab, inodeType } from "../fs/inode.ts";
import { LOOKUP_FOLLOW, nd, pathLookup } from "../fs/namei.ts";
import { inodePermission, MAY_WRITE } from "../fs/permission.ts";
import { kernelGlobal } from "../global.ts";
import { EADDRINUSE, ECONNREFUSED, EEXIST, EINVAL, EISCONN, ENOMEM, EPROTOTYPE } from "../uapi/errno.ts";
import { AT_FDCWD } from "../uapi/fcntl.ts";
import { AF_UNIX, SOCK_DGRAM } from "../uapi/socket.ts";
import { S_IFSOCK } from "../uapi/stat.ts";
import { onSockRelease, type S, Sock, SS_LISTENING, SS_UNCONNECTED, sockGet, sockPut } from "./sock.ts";
import { connectStream } from "./sock-connect.ts";

const Names = struct("unix_names", { lock: spinlock(35), first: locked<"lock", S | 0>("lock") });
const names = kernelGlobal<Ref<"unix_names">>("unix names");

/** Once per machine, at boot. */
export function unixInit(): void {
  const ref = alloc(Names);
  if (ref === 0) throw new Error("no memory for the table of unix sockets");
  names.init(ref);
}

/** The bound socket that `test` accepts, with a count; 0 when there is none. */
function findBound(test: (sock: S) => boolean): S | 0 {
  const table = names.get();
  const held = Names.lock.lock(table);
  let sock = Names.first.get(held, table);
  while (sock !== 0 && !test(sock)) sock = Sock.nextBound.get(sock);
  if (sock !== 0) sockGet(sock);
  Names.lock.unlock(table);
  return sock;
}

/** Enters the socket under its name, unless `taken` finds it in use; says whether it did. */
function enterName(sock: S, taken: (other: S) => boolean): boolean {
  const table = names.get();
  const held = Names.lock.lock(table);
  let other = Names.first.get(held, table);
  while (other !== 0 && !taken(other)) other = Sock.nextBound.get(other);
  if (other === 0) {
    Sock.nextBound.set(sock, Names.first.get(held, table));
    Names.first.set(held, table, sock);
  }
  Names.lock.unlock(table);
  return other === 0;
}

function leaveName(sock: S): void {
  const table = names.get();
  const held = Names.lock.lock(table);
  const next = Sock.nextBound.get(sock);
  let at = Names.first.get(held, table);
  if (at === sock) Names.first.set(held, table, next);
  else {
    while (at !== 0 && Sock.nextBound.get(at) !== sock) at = Sock.nextBound.get(at);
    if (at !== 0) Sock.nextBound.set(at, next);
  }
  Names.lock.unlock(table);
}

onSockRelease(AF_UNIX, leaveName);

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

/** connect(2): 0 or -errno; -EAGAIN when the listener's queue is full: wait on connectWait, then try again. */
export function unixConnect(sock: S, name: Uint8Array): number {
  const type = Sock.type.get(sock);
  if (type !== SOCK_DGRAM && Sock.state.load(sock) !== SS_UNCONNECTED)
    return Sock.state.load(sock) === SS_LISTENING ? -EINVAL : -EISCONN;
  const found = unixFind(name, type);
  if (found < 0) return found;
  const target = found as S;
  const error =
    type === SOCK_DGRAM
      ? connectDatagram(sock, target)
      : connectStream(sock, target, (server) => nameServer(server, target));
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

/** The accepted socket shows the listener's name, without being bound to it. */
function nameServer(server: S, listener: S): void {
  const address = Sock.address.load(listener);
  if (address !== 0) Sock.shownAs.init(server, sockGet(listener));
}
