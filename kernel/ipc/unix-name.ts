/** Names of unix sockets, unix(7): inodes in the file system, and abstract ones; connecting to them. */
import {
  arrayGet,
  arrayLength,
  arraySet,
  freeArray,
  freeString,
  type Held,
  locked,
  type Ref,
  spinlock,
  stringBytes,
  stringEquals,
  stringHash,
  struct,
  tryAlloc,
  tryAllocArray,
  tryAllocString,
} from "../../rcu/index.ts";
import { hashBytes } from "../../rcu/kernel.ts";
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

/** Bound sockets, in chains by the hash of their name: the table doubles with their number. */
const Names = struct("unix_names", {
  lock: spinlock(35),
  buckets: locked<"lock", Ref<"array">>("lock"),
  count: locked("lock"),
});
const names = kernelGlobal<Ref<"unix_names">>("unix names");
const FIRST_BUCKETS = 64;

/** Once per machine, at boot. */
export function unixInit(): void {
  const ref = tryAlloc(Names);
  const buckets = tryAllocArray(FIRST_BUCKETS);
  if (ref === 0 || buckets === 0) throw new Error("no memory for the table of unix sockets");
  Names.buckets.init(ref, buckets);
  names.init(ref);
}

const inodeHash = (inode: Ref<"inode">): number => Math.imul(inode, 0x9e3779b1) >>> 8;

/** A socket in the file system goes by its inode, another one by its name. */
function hashOf(sock: S): number {
  const inode = Sock.inode.load(sock);
  return inode !== 0 ? inodeHash(inode) : stringHash(Sock.address.load(sock) as Ref<"string">);
}

/** The first in the chain of `hash` that `test` accepts; 0 when there is none. The lock is held. */
function inChain(buckets: Ref<"array">, hash: number, test: (sock: S) => boolean): S | 0 {
  let sock = arrayGet(buckets, hash & (arrayLength(buckets) - 1)) as S | 0;
  while (sock !== 0 && !test(sock)) sock = Sock.nextBound.get(sock);
  return sock;
}

function link(buckets: Ref<"array">, sock: S): void {
  const index = hashOf(sock) & (arrayLength(buckets) - 1);
  Sock.nextBound.set(sock, arrayGet(buckets, index) as S | 0);
  arraySet(buckets, index, sock);
}

/** Twice as many chains; when memory is short the old ones grow longer. */
function grow(held: Held<"lock">, table: Ref<"unix_names">): void {
  const old = Names.buckets.get(held, table);
  const larger = tryAllocArray(2 * arrayLength(old));
  if (larger === 0) return;
  for (let index = 0; index < arrayLength(old); index++)
    for (let sock = arrayGet(old, index) as S | 0; sock !== 0; ) {
      const next = Sock.nextBound.get(sock);
      link(larger, sock);
      sock = next;
    }
  Names.buckets.set(held, table, larger);
  freeArray(old);
}

/** The bound socket with this hash that `test` accepts, with a count; 0 when there is none. */
function findBound(hash: number, test: (sock: S) => boolean): S | 0 {
  const table = names.get();
  const held = Names.lock.lock(table);
  const sock = inChain(Names.buckets.get(held, table), hash, test);
  if (sock !== 0) sockGet(sock);
  Names.lock.unlock(table);
  return sock;
}

/** Enters the socket under its name, unless `taken` finds it in use; says whether it did. */
function enterName(sock: S, taken: (other: S) => boolean): boolean {
  const table = names.get();
  const held = Names.lock.lock(table);
  const free = inChain(Names.buckets.get(held, table), hashOf(sock), taken) === 0;
  if (free) {
    const count = Names.count.get(held, table) + 1;
    Names.count.set(held, table, count);
    if (count > arrayLength(Names.buckets.get(held, table))) grow(held, table);
    link(Names.buckets.get(held, table), sock);
  }
  Names.lock.unlock(table);
  return free;
}

function leaveName(sock: S): void {
  const table = names.get();
  const held = Names.lock.lock(table);
  const buckets = Names.buckets.get(held, table);
  const next = Sock.nextBound.get(sock);
  const index = hashOf(sock) & (arrayLength(buckets) - 1);
  let at = arrayGet(buckets, index) as S | 0;
  if (at === sock) arraySet(buckets, index, next);
  else while (at !== 0 && Sock.nextBound.get(at) !== sock) at = Sock.nextBound.get(at);
  if (at !== 0) {
    if (at !== sock) Sock.nextBound.set(at, next);
    Names.count.set(held, table, Names.count.get(held, table) - 1);
  }
  Names.lock.unlock(table);
}

onSockRelease(AF_UNIX, leaveName);

/** bind(2). `name` is sun_path: a path (its NUL cut off), or an abstract name that starts with NUL. */
export function unixBind(sock: S, name: Uint8Array): number {
  if (Sock.address.load(sock) !== 0) return -EINVAL;
  if (name.length === 0) return autobind(sock);
  const address = tryAllocString(name);
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
  if (name[0] === 0) found = findBound(hashBytes(name), (sock) => sameName(sock, name));
  else {
    const error = pathLookup(AT_FDCWD, name, LOOKUP_FOLLOW);
    if (error < 0) return error;
    const inode = nd.inode;
    if (inodeType(inode) !== S_IFSOCK) return -ECONNREFUSED;
    const denied = inodePermission(inode, MAY_WRITE);
    if (denied < 0) return denied;
    found = findBound(inodeHash(inode), (sock) => Sock.inode.load(sock) === inode);
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
