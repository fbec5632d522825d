/**
 * Internet sockets on the loopback: tcp(7) and udp(7) as programs of one machine see them. Nothing is split into segments or
 * lost on the way: a connection is two sockets that are each other's peer, a datagram goes straight to its receiver's queue.
 * Other hosts cannot be reached: ENETUNREACH.
 */
import type { UserIo } from "../mm/iov.ts";
import {
  EAGAIN,
  ECONNREFUSED,
  EDESTADDRREQ,
  EFAULT,
  EINVAL,
  EISCONN,
  EMSGSIZE,
  ENETUNREACH,
  EPIPE,
} from "../uapi/errno.ts";
import { AF_INET, AF_INET6, MSG_NOSIGNAL, SOCK_DGRAM, SOCK_STREAM } from "../uapi/socket.ts";
import { ACCESS } from "../usermode.ts";
import {
  destinationHost,
  HOST_ANY,
  HOST_ANY6,
  HOST_FOREIGN,
  HOST_LOOPBACK6,
  inetAutobind,
  inetFind,
  seenHost,
  sourceHost,
} from "./inet-name.ts";
import {
  isInet,
  OPT_V6ONLY,
  type S,
  SEND_SHUTDOWN,
  Sock,
  SS_LISTENING,
  SS_UNCONNECTED,
  sockPut,
} from "./sock.ts";
import { connectStream } from "./sock-connect.ts";
import { sockSend } from "./sock-io.ts";

/** Largest payload of UDP over IPv4. */
const DATAGRAM_MAX = 65507;

export const isUdp = (sock: S): boolean => Sock.type.get(sock) === SOCK_DGRAM && isInet(sock);

/** The host that stands for all of them. */
export const wildcard = (sock: S): number => (Sock.family.get(sock) === AF_INET ? HOST_ANY : HOST_ANY6);

/** Can the socket send there at all? The host it goes to, or -ENETUNREACH. */
function route(sock: S, host: number): number {
  const to = destinationHost(host);
  const foreign = to === HOST_FOREIGN || (to !== HOST_LOOPBACK6 && v6Only(sock));
  return foreign ? -ENETUNREACH : to;
}
const v6Only = (sock: S): boolean =>
  Sock.family.get(sock) === AF_INET6 && (Sock.options.load(sock) & OPT_V6ONLY) !== 0;

/** connect(2): 0 or -errno; -EAGAIN when the listener's queue is full: wait on connectWait, then try again. */
export function inetConnect(sock: S, host: number, port: number): number {
  const to = route(sock, host);
  if (Sock.type.get(sock) === SOCK_DGRAM) return to < 0 ? to : connectDatagram(sock, to, port);
  const state = Sock.state.load(sock);
  if (state !== SS_UNCONNECTED) return state === SS_LISTENING ? -EINVAL : -EISCONN;
  if (to < 0) return to;
  const listener = inetFind(SOCK_STREAM, to, port, (other) =>
    Sock.state.load(other) === SS_LISTENING ? 1 : 0,
  );
  if (listener === 0) return -ECONNREFUSED;
  let error = nameSource(sock, to);
  if (error === 0)
    error = connectStream(sock, listener, (server) => {
      Sock.host.store(server, to);
      Sock.port.store(server, port);
      Sock.options.store(server, Sock.options.load(listener));
    });
  sockPut(listener);
  return error;
}

/** Who connects has a full name: a port, and the host it sends from. */
function nameSource(sock: S, to: number): number {
  if (Sock.port.load(sock) === 0) return inetAutobind(sock, sourceHost(to));
  Sock.host.store(sock, seenHost(Sock.host.load(sock), to));
  return 0;
}

function connectDatagram(sock: S, to: number, port: number): number {
  const error = nameSource(sock, to);
  if (error < 0) return error;
  Sock.remoteHost.store(sock, to);
  Sock.remotePort.store(sock, port);
  return 0;
}

/** connect(AF_UNSPEC): datagrams come from everywhere again. */
export function inetDisconnect(sock: S): number {
  if (Sock.type.get(sock) !== SOCK_DGRAM) return -EINVAL;
  Sock.remotePort.store(sock, 0);
  return 0;
}

/**
 * Sends one datagram to a host and port; port 0: where the socket is connected to. Bytes or -errno. Never waits: what finds no room
 * is dropped, as udp(7) may. What finds nobody is dropped too; a connected socket learns of it with its next call (ICMP).
 */
export function udpSend(sock: S, io: UserIo, flags: number, host: number, port: number): number {
  const connected = port === 0;
  if (connected && Sock.remotePort.load(sock) === 0) return -EDESTADDRREQ;
  const to = connected ? Sock.remoteHost.load(sock) : route(sock, host);
  if (to < 0) return to;
  const length = io.remaining;
  if (length > DATAGRAM_MAX) return -EMSGSIZE;
  const pending = Sock.error.exchange(sock, 0);
  if (pending !== 0) return -pending;
  const error = Sock.port.load(sock) === 0 ? inetAutobind(sock, wildcard(sock)) : 0;
  if (error < 0) return error;
  const target = inetFind(SOCK_DGRAM, to, connected ? Sock.remotePort.load(sock) : port, (other) =>
    accepts(other, sock, to),
  );
  // Nobody gets the bytes, but they must be there.
  if (target === 0 && io.prefault(length, ACCESS.READ) < 0) return -EFAULT;
  const sent = target === 0 ? -ECONNREFUSED : sockSend(sock, target, io, flags | MSG_NOSIGNAL);
  if (target !== 0) sockPut(target);
  if (sent === -ECONNREFUSED && Sock.remotePort.load(sock) !== 0) Sock.error.store(sock, ECONNREFUSED);
  const mine = (Sock.shutdown.load(sock) & SEND_SHUTDOWN) !== 0;
  const dropped = sent === -ECONNREFUSED || sent === -EAGAIN || (sent === -EPIPE && !mine);
  return dropped ? length : sent;
}

/** How well a receiver fits: 2 connected to this sender, 1 to nobody, 0 to somebody else. */
function accepts(receiver: S, sender: S, to: number): number {
  const port = Sock.remotePort.load(receiver);
  if (port === 0) return 1;
  const from = seenHost(Sock.host.load(sender), to);
  return port === Sock.port.load(sender) && Sock.remoteHost.load(receiver) === from ? 2 : 0;
}
