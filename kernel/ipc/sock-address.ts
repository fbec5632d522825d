/** struct sockaddr in user memory, whatever the family: what programs give, and the names of sockets that they ask for. */
import { copyFromUser, copyToUser, faultIn, getUser32, putUser32 } from "../mm/uaccess.ts";
import { EADDRINUSE, EAFNOSUPPORT, EFAULT, EINVAL, EOPNOTSUPP } from "../uapi/errno.ts";
import {
  AF_INET,
  AF_INET6,
  AF_UNIX,
  AF_UNSPEC,
  SOCK_DGRAM,
  SOCKADDR_IN_BYTES,
  SOCKADDR_IN6_MIN,
  SOCKADDR_UN_BYTES,
  SOCKADDR_UN_PATH,
} from "../uapi/socket.ts";
import { ACCESS } from "../usermode.ts";
import { inetConnect, inetDisconnect, isUdp, wildcard } from "./inet.ts";
import {
  HOST_ANY,
  inet,
  inetAutobind,
  inetBind,
  inetMayListen,
  inetName,
  readInet,
  seenHost,
} from "./inet-name.ts";
import { isNetlink, netlinkBind, netlinkConnect, netlinkName } from "./netlink.ts";
import { isInet, isNamed, OPT_V6ONLY, type S, Sock } from "./sock.ts";
import { sockListen } from "./sock-connect.ts";
import { unixBind, unixConnect, unixDisconnect, unixName } from "./unix-name.ts";

/**
 * Result of readAddress. `path`: sun_path without the NUL that ends it. `host`, `port`: as in inet-name.ts. `bytes`: all of
 * it, for netlink.
 */
export const address = { family: 0, path: new Uint8Array(0), host: 0, port: 0, bytes: new Uint8Array(0) };

/** Bytes of the longest address (struct sockaddr_storage). */
export const ADDRESS_BYTES_MAX = 128;

/** Reads a struct sockaddr for a socket: 0, -EFAULT, -EINVAL, -EAFNOSUPPORT. AF_UNSPEC is left to the caller. */
export function readAddress(sock: S, at: number, length: number): number {
  if (length < 2 || length > ADDRESS_BYTES_MAX) return -EINVAL;
  const bytes = copyFromUser(at, length);
  if (bytes === null) return -EFAULT;
  address.family = bytes[0]! | (bytes[1]! << 8);
  address.path = new Uint8Array(0);
  address.host = 0;
  address.port = 0;
  address.bytes = bytes;
  if (isNetlink(sock)) return 0;
  if (isInet(sock)) return readInetAddress(sock, bytes);
  if (address.family === AF_UNSPEC) return 0;
  if (address.family !== AF_UNIX || length > SOCKADDR_UN_BYTES) return -EINVAL;
  const path = bytes.subarray(SOCKADDR_UN_PATH);
  const end = path.length > 0 && path[0] !== 0 ? path.indexOf(0) : -1;
  address.path = new Uint8Array(end < 0 ? path : path.subarray(0, end));
  return 0;
}

function readInetAddress(sock: S, bytes: Uint8Array): number {
  const error = readInet(bytes, Sock.family.get(sock));
  // A family of its own kind only has to be right where it is used.
  if (error < 0) return address.family === AF_UNSPEC ? 0 : error;
  // IPv6 datagrams go to IPv4 addresses too, unless the socket is told not to.
  const foreign = address.family === AF_INET && Sock.family.get(sock) !== AF_INET;
  if (foreign && !isUdp(sock)) return bytes.length < SOCKADDR_IN6_MIN ? -EINVAL : -EAFNOSUPPORT;
  if (foreign && (Sock.options.load(sock) & OPT_V6ONLY) !== 0) return -EAFNOSUPPORT;
  address.host = inet.host;
  address.port = inet.port;
  return 0;
}

/** bind(2): 0 or -errno. */
export function sockBind(sock: S, at: number, length: number): number {
  const error = readAddress(sock, at, length);
  if (error < 0) return error;
  if (isNetlink(sock)) return netlinkBind(sock, address.bytes);
  if (!isInet(sock)) return address.family === AF_UNIX ? unixBind(sock, address.path) : -EINVAL;
  const family = Sock.family.get(sock);
  const wildcardOfOld =
    address.family === AF_UNSPEC &&
    family === AF_INET &&
    length >= SOCKADDR_IN_BYTES &&
    address.host === HOST_ANY;
  if (family === AF_INET6 && length < SOCKADDR_IN6_MIN) return -EINVAL;
  if (address.family !== family && !wildcardOfOld) return -EAFNOSUPPORT;
  return inetBind(sock, address.host, address.port);
}

/** listen(2): 0 or -errno. An internet socket without a name gets a port of its own. */
export function sockStartListening(sock: S, backlog: number): number {
  const type = Sock.type.get(sock);
  if (type === SOCK_DGRAM) return -EOPNOTSUPP;
  if (!isNamed(sock)) {
    const error = isInet(sock) ? inetAutobind(sock, wildcard(sock)) : -EINVAL;
    if (error < 0) return error;
  }
  return isInet(sock) && !inetMayListen(sock) ? -EADDRINUSE : sockListen(sock, backlog);
}

/** connect(2) to what readAddress read: 0, -errno; -EAGAIN: wait on connectWait, then try again. */
export function sockConnect(sock: S): number {
  if (isNetlink(sock)) return netlinkConnect(sock, address.bytes);
  if (isInet(sock))
    return address.family === AF_UNSPEC
      ? inetDisconnect(sock)
      : inetConnect(sock, address.host, address.port);
  return address.family === AF_UNSPEC ? unixDisconnect(sock) : unixConnect(sock, address.path);
}

/** getsockname(2): a struct sockaddr. */
export function ownName(sock: S): Uint8Array {
  if (isNetlink(sock)) return netlinkName(Sock.port.load(sock));
  if (isInet(sock)) return inetName(Sock.family.get(sock), Sock.host.load(sock), Sock.port.load(sock));
  return unixSockaddr(sock);
}

/** getpeername(2); null when the socket is not connected. */
export function peerName(sock: S): Uint8Array | null {
  const family = Sock.family.get(sock);
  if (isNetlink(sock)) return netlinkName(0);
  if (isUdp(sock)) {
    const port = Sock.remotePort.load(sock);
    return port === 0 ? null : inetName(family, Sock.remoteHost.load(sock), port);
  }
  const peer = Sock.peer.load(sock);
  if (peer === 0) return null;
  return isInet(sock) ? inetName(family, Sock.host.load(peer), Sock.port.load(peer)) : unixSockaddr(peer);
}

/** What recvfrom(2) tells `receiver` of who sent: empty when that has no name. */
export function senderName(sender: S | 0, receiver: S): Uint8Array {
  if (isNetlink(receiver)) return netlinkName(0);
  if (sender === 0) return new Uint8Array(0);
  if (!isInet(sender)) return unixSockaddr(sender);
  const from = seenHost(Sock.host.load(sender), Sock.host.load(receiver));
  return inetName(Sock.family.get(receiver), from, Sock.port.load(sender));
}

function unixSockaddr(sock: S): Uint8Array {
  const name = unixName(sock);
  const terminated = name.length > 0 && name[0] !== 0;
  const bytes = new Uint8Array(SOCKADDR_UN_PATH + name.length + (terminated ? 1 : 0));
  bytes[0] = AF_UNIX;
  bytes.set(name, SOCKADDR_UN_PATH);
  return bytes;
}

/** Writes a struct sockaddr, cut to *lengthAt, which then says how long it is. 0, -EFAULT, -EINVAL. */
export function writeName(name: Uint8Array, at: number, lengthAt: number): number {
  if (at === 0 || lengthAt === 0) return 0;
  if (faultIn(lengthAt, 4, ACCESS.WRITE) < 0) return -EFAULT;
  return writeNameCut(name, at, lengthAt, getUser32(lengthAt));
}

/** The same for who has read *lengthAt: `room`. */
export function writeNameCut(name: Uint8Array, at: number, lengthAt: number, room: number): number {
  if (room < 0) return -EINVAL;
  if (copyToUser(at, name.subarray(0, Math.min(room, name.length))) < 0) return -EFAULT;
  putUser32(lengthAt, name.length);
  return 0;
}
