/**
 * Names of internet sockets, ip(7), ipv6(7): hosts and ports of the one network that exists, this machine's own loopback.
 *
 * A host is one integer. IPv4 addresses are themselves, as are IPv4-mapped IPv6 ones; the two other addresses of
 * IPv6 take values that no local IPv4 address has. All of 127/8 is local.
 */
import {
  arrayGet,
  arraySet,
  fixed,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  tryAllocArray,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { current } from "../sched/current.ts";
import { partAlso, partDone, yieldWhole } from "../sched/yield.ts";
import { credOf } from "../task/cred.ts";
import { Cred } from "../task/task.ts";
import { EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EINVAL } from "../uapi/errno.ts";
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  SOCK_DGRAM,
  SOCKADDR_IN,
  SOCKADDR_IN_BYTES,
  SOCKADDR_IN6,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_IN6_MIN,
} from "../uapi/socket.ts";
import {
  OPT_REUSEADDR,
  OPT_REUSEPORT,
  OPT_V6ONLY,
  onSockRelease,
  type S,
  Sock,
  SS_LISTENING,
  sockGet,
} from "./sock.ts";

/** 0.0.0.0, ::1, ::, 127.0.0.1. */
export const HOST_ANY = 0;
export const HOST_LOOPBACK6 = 1;
export const HOST_ANY6 = 2;
export const HOST_LOOPBACK = 0x7f000001;
/** Any address that is not this machine's. */
export const HOST_FOREIGN = 3;

const isLoopback4 = (host: number): boolean => host >>> 24 === 127;

/** Ports that the kernel hands out (/proc/sys/net/ipv4/ip_local_port_range), and those that only root may bind. */
const FIRST_EPHEMERAL = 32768;
const LAST_EPHEMERAL = 60999;
const PRIVILEGED = 1024;

/** Chains of bound sockets, by port: one for each port that the kernel hands out, and as many for all others. */
const BUCKETS = 32768;
const Ports = struct("inet_ports", { lock: spinlock(35), buckets: fixed<Ref<"array">>() });
const ports = kernelGlobal<Ref<"inet_ports">>("inet ports");

/** Once per machine, at boot. */
export function inetInit(): void {
  const ref = tryAlloc(Ports);
  const buckets = tryAllocArray(BUCKETS);
  if (ref === 0 || buckets === 0) throw new Error("no memory for the table of ports");
  Ports.buckets.init(ref, buckets);
  ports.init(ref);
}

const chain = (port: number): S | 0 => arrayGet(Ports.buckets.get(ports.get()), port % BUCKETS) as S | 0;

/** Do two names of one port name one socket's worth of hosts? */
function overlaps(a: S, b: S): boolean {
  return covers(a, Sock.host.load(b)) || covers(b, Sock.host.load(a));
}

/** Does a socket's name include the host? A wildcard of IPv6 includes IPv4, unless it is told not to. */
function covers(sock: S, host: number): boolean {
  const own = Sock.host.load(sock);
  if (own === host) return true;
  if (own === HOST_ANY) return isLoopback4(host);
  if (own !== HOST_ANY6) return false;
  return host === HOST_LOOPBACK6 || (Sock.options.load(sock) & OPT_V6ONLY) === 0;
}

/** May both have the port? socket(7): SO_REUSEADDR, unless one listens; SO_REUSEPORT. */
function sharesPort(a: S, b: S): boolean {
  const both = Sock.options.load(a) & Sock.options.load(b);
  if ((both & OPT_REUSEPORT) !== 0) return true;
  if ((both & OPT_REUSEADDR) === 0) return false;
  return Sock.type.get(a) === SOCK_DGRAM || Sock.state.load(b) !== SS_LISTENING;
}

/** A socket that keeps `sock` from having its name; 0 when there is none. Needs the table's lock. */
function rival(sock: S, port: number): S | 0 {
  for (let other = chain(port); other !== 0; other = Sock.nextBound.get(other)) {
    if (other === sock || Sock.port.load(other) !== port || Sock.type.get(other) !== Sock.type.get(sock))
      continue;
    if (overlaps(sock, other) && !sharesPort(sock, other)) return other;
  }
  return 0;
}

/** Enters the socket under a host and port: 0, -EADDRINUSE, or -EINVAL when it has one already. */
function enterPort(sock: S, host: number, port: number): number {
  const table = ports.get();
  Ports.lock.lock(table);
  // Looked at with the lock held: threads share sockets, and a socket must be in one chain, once.
  if (Sock.port.load(sock) !== 0) {
    Ports.lock.unlock(table);
    return -EINVAL;
  }
  Sock.host.store(sock, host);
  const free = rival(sock, port) === 0;
  if (free) {
    Sock.nextBound.set(sock, chain(port));
    arraySet(Ports.buckets.get(table), port % BUCKETS, sock);
    Sock.port.store(sock, port);
  } else Sock.host.store(sock, HOST_ANY);
  Ports.lock.unlock(table);
  return free ? 0 : -EADDRINUSE;
}

/** Accepted sockets have a name that is not in the table. */
function leavePort(sock: S): void {
  const table = ports.get();
  Ports.lock.lock(table);
  const port = Sock.port.load(sock);
  const next = Sock.nextBound.get(sock);
  let at = chain(port);
  if (at === sock) arraySet(Ports.buckets.get(table), port % BUCKETS, next);
  else {
    while (at !== 0 && Sock.nextBound.get(at) !== sock) at = Sock.nextBound.get(at);
    if (at !== 0) Sock.nextBound.set(at, next);
  }
  Ports.lock.unlock(table);
}
onSockRelease(AF_INET, leavePort);
onSockRelease(AF_INET6, leavePort);

/** bind(2): 0 or -errno. Port 0: any free one. */
export function inetBind(sock: S, host: number, port: number): number {
  if (Sock.port.load(sock) !== 0) return -EINVAL;
  if (host === HOST_FOREIGN) return -EADDRNOTAVAIL;
  if (port === 0) return inetAutobind(sock, host);
  if (port < PRIVILEGED && Cred.euid.get(credOf(current())) !== 0) return -EACCES;
  return enterPort(sock, host, port);
}

/** Gives the socket a port of the kernel's choice, unless another thread just did: 0, -EADDRINUSE when all are taken, or YIELD. */
export function inetAutobind(sock: S, host: number): number {
  const count = LAST_EPHEMERAL - FIRST_EPHEMERAL + 1;
  const from = partDone();
  const start = from === 0 ? Math.floor(Math.random() * count) : partAlso();
  for (let n = from; n < count; n++) {
    if (enterPort(sock, host, FIRST_EPHEMERAL + ((start + n) % count)) !== -EADDRINUSE) return 0;
    const stop = (n + 1) % PART_PORTS === 0 ? yieldWhole(n + 1, start) : 0;
    if (stop !== 0) return stop;
  }
  return -EADDRINUSE;
}

/** Ports that are tried in one part, where nearly all are taken. */
const PART_PORTS = 1024;

/** listen(2) of a name that SO_REUSEADDR let several sockets have: only one of them may listen. */
export function inetMayListen(sock: S): boolean {
  const table = ports.get();
  Ports.lock.lock(table);
  const free = rival(sock, Sock.port.load(sock)) === 0;
  Ports.lock.unlock(table);
  return free;
}

/**
 * The socket that gets what is sent to a host and port, with a count; 0 when there is none. The one that `matches` most:
 * a listener, a datagram socket connected to the sender, one bound to the very address.
 */
export function inetFind(type: number, host: number, port: number, matches: (sock: S) => number): S | 0 {
  const table = ports.get();
  let best: S | 0 = 0;
  let bestScore = 0;
  Ports.lock.lock(table);
  for (let sock = chain(port); sock !== 0; sock = Sock.nextBound.get(sock)) {
    if (Sock.port.load(sock) !== port || Sock.type.get(sock) !== type || !covers(sock, host)) continue;
    const match = matches(sock);
    const score = match === 0 ? 0 : match * 2 + (Sock.host.load(sock) === host ? 1 : 0);
    if (score <= bestScore) continue;
    best = sock;
    bestScore = score;
  }
  if (best !== 0) sockGet(best);
  Ports.lock.unlock(table);
  return best;
}

/** Result of readInet. */
export const inet = { host: 0, port: 0 };

/**
 * Reads a sockaddr_in or sockaddr_in6 for a socket of that family into `inet`: 0, -EINVAL, -EAFNOSUPPORT. One of IPv6 reads both:
 * whether it may use a sockaddr_in is the caller's to say.
 */
export function readInet(bytes: Uint8Array, family: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const given = view.getUint16(0, true);
  const four = family === AF_INET || given === AF_INET;
  if (bytes.length < (four ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_MIN)) return -EINVAL;
  inet.port = view.getUint16(SOCKADDR_IN.PORT);
  if (family === AF_INET) {
    // Old programs leave the family out: of a destination, and of a wildcard that they bind.
    if (given !== AF_INET && given !== AF_UNSPEC) return -EAFNOSUPPORT;
    inet.host = local4(view.getInt32(SOCKADDR_IN.ADDR));
    return 0;
  }
  if (given === AF_INET) {
    inet.host = local4(view.getInt32(SOCKADDR_IN.ADDR));
    return 0;
  }
  if (given !== AF_INET6) return -EAFNOSUPPORT;
  inet.host = local6(view, SOCKADDR_IN6.ADDR);
  return 0;
}

const local4 = (host: number): number => (host === 0 || isLoopback4(host) ? host : HOST_FOREIGN);

function local6(view: DataView, at: number): number {
  const [a, b, c, d] = [0, 4, 8, 12].map((offset) => view.getInt32(at + offset)) as [
    number,
    number,
    number,
    number,
  ];
  if (a !== 0 || b !== 0) return HOST_FOREIGN;
  if (c === 0) return d === 0 ? HOST_ANY6 : d === 1 ? HOST_LOOPBACK6 : HOST_FOREIGN;
  return c === 0xffff && d !== 0 ? local4(d) : HOST_FOREIGN;
}

/** A host and port as a struct sockaddr of a family; a foreign family's host comes IPv4-mapped. */
export function inetName(family: number, host: number, port: number): Uint8Array {
  if (family === AF_INET) {
    const bytes = new Uint8Array(SOCKADDR_IN_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, AF_INET, true);
    view.setUint16(SOCKADDR_IN.PORT, port);
    view.setInt32(SOCKADDR_IN.ADDR, host);
    return bytes;
  }
  const bytes = new Uint8Array(SOCKADDR_IN6_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_INET6, true);
  view.setUint16(SOCKADDR_IN6.PORT, port);
  if (host === HOST_LOOPBACK6) view.setUint8(SOCKADDR_IN6.ADDR + 15, 1);
  else if (isLoopback4(host)) {
    view.setUint16(SOCKADDR_IN6.ADDR + 10, 0xffff);
    view.setInt32(SOCKADDR_IN6.ADDR + 12, host);
  }
  return bytes;
}

/** Where a packet to this host really goes: a wildcard means this machine. */
export const destinationHost = (host: number): number =>
  host === HOST_ANY ? HOST_LOOPBACK : host === HOST_ANY6 ? HOST_LOOPBACK6 : host;

/** The host that a socket bound to `host` is seen to send from: of a wildcard, the one that reaches the destination. */
export const seenHost = (host: number, destination: number): number =>
  host === HOST_ANY || host === HOST_ANY6 ? sourceHost(destination) : host;

/** The host that one who sends to `destination` sends from. */
export const sourceHost = (destination: number): number =>
  destination === HOST_LOOPBACK6 ? HOST_LOOPBACK6 : HOST_LOOPBACK;
