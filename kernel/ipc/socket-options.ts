/** setsockopt(2) and getsockopt(2): SOL_SOCKET, socket(7), and what networks add, ip(7), ipv6(7), tcp(7), netlink(7). */
import {
  copyFromUser,
  copyToUser,
  faultIn,
  getUser8,
  getUser32,
  getUserU32,
  putUser32,
} from "../mm/uaccess.ts";
import { current } from "../sched/current.ts";
import { CAP_NET_ADMIN, capable } from "../task/cred.ts";
import { EACCES, EDOM, EFAULT, EINVAL, ENOPROTOOPT, EOPNOTSUPP, EPERM } from "../uapi/errno.ts";
import {
  NETLINK_ADD_MEMBERSHIP,
  NETLINK_DROP_MEMBERSHIP,
  NETLINK_EXT_ACK,
  NETLINK_NO_ENOBUFS,
  SOL_NETLINK,
} from "../uapi/netlink.ts";
import {
  AF_INET6,
  AF_NETLINK,
  IP_BIND_ADDRESS_NO_PORT,
  IP_FREEBIND,
  IP_MTU_DISCOVER,
  IP_RECVERR,
  IP_TOS,
  IP_TTL,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPV6_MTU_DISCOVER,
  IPV6_RECVERR,
  IPV6_TCLASS,
  IPV6_UNICAST_HOPS,
  IPV6_V6ONLY,
  SO_ACCEPTCONN,
  SO_BROADCAST,
  SO_DEBUG,
  SO_DOMAIN,
  SO_DONTROUTE,
  SO_ERROR,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_OOBINLINE,
  SO_PASSCRED,
  SO_PEERCRED,
  SO_PRIORITY,
  SO_PROTOCOL,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_RCVLOWAT,
  SO_RCVTIMEO,
  SO_RCVTIMEO_NEW,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SO_SNDLOWAT,
  SO_SNDTIMEO,
  SO_SNDTIMEO_NEW,
  SO_TYPE,
  SOCK_RAW,
  SOCK_STREAM,
  SOL_SOCKET,
  TCP_CORK,
  TCP_DEFER_ACCEPT,
  TCP_FASTOPEN,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_LINGER2,
  TCP_MAXSEG,
  TCP_NODELAY,
  TCP_QUICKACK,
  TCP_SYNCNT,
  TCP_USER_TIMEOUT,
} from "../uapi/socket.ts";
import { ACCESS } from "../usermode.ts";
import {
  isInet,
  OPT_RAW,
  OPT_REUSEADDR,
  OPT_REUSEPORT,
  OPT_V6ONLY,
  type S,
  SOCK_BYTES,
  Sock,
  SS_LISTENING,
} from "./sock.ts";

/** Switches: level and option -> bit of Sock.options. Those above OPT_V6ONLY are remembered and change nothing on a loopback. */
const SWITCHES: Readonly<Record<number, ReadonlyMap<number, number>>> = {
  [SOL_SOCKET]: new Map([
    [SO_REUSEADDR, OPT_REUSEADDR],
    [SO_REUSEPORT, OPT_REUSEPORT],
    [SO_KEEPALIVE, 1 << 8],
    [SO_BROADCAST, 1 << 9],
    [SO_DEBUG, 1 << 10],
    [SO_DONTROUTE, 1 << 11],
    [SO_OOBINLINE, 1 << 12],
  ]),
  [IPPROTO_IP]: new Map([
    [IP_RECVERR, 1 << 13],
    [IP_FREEBIND, 1 << 14],
    [IP_BIND_ADDRESS_NO_PORT, 1 << 15],
  ]),
  [IPPROTO_IPV6]: new Map([
    [IPV6_V6ONLY, OPT_V6ONLY],
    [IPV6_RECVERR, 1 << 16],
  ]),
  [IPPROTO_TCP]: new Map([
    [TCP_NODELAY, 1 << 17],
    [TCP_CORK, 1 << 18],
    [TCP_QUICKACK, 1 << 19],
  ]),
  [SOL_NETLINK]: new Map([
    [NETLINK_EXT_ACK, 1 << 20],
    [NETLINK_NO_ENOBUFS, 1 << 21],
  ]),
};

/** Numbers that only a real network looks at: they can be set, and getsockopt answers what they are here. */
const NUMBERS: Readonly<Record<number, ReadonlyMap<number, number>>> = {
  [SOL_SOCKET]: new Map([
    [SO_SNDBUF, SOCK_BYTES],
    [SO_RCVBUF, SOCK_BYTES],
    [SO_SNDBUFFORCE, SOCK_BYTES],
    [SO_RCVBUFFORCE, SOCK_BYTES],
    [SO_PRIORITY, 0],
    [SO_RCVLOWAT, 1],
  ]),
  [IPPROTO_IP]: new Map([
    [IP_TOS, 0],
    [IP_TTL, 64],
    [IP_MTU_DISCOVER, 1],
  ]),
  [IPPROTO_IPV6]: new Map([
    [IPV6_UNICAST_HOPS, 64],
    [IPV6_MTU_DISCOVER, 1],
    [IPV6_TCLASS, 0],
  ]),
  [IPPROTO_TCP]: new Map([
    [TCP_MAXSEG, 32768],
    [TCP_KEEPIDLE, 7200],
    [TCP_KEEPINTVL, 75],
    [TCP_KEEPCNT, 9],
    [TCP_SYNCNT, 6],
    [TCP_LINGER2, 60],
    [TCP_DEFER_ACCEPT, 0],
    [TCP_USER_TIMEOUT, 0],
    [TCP_FASTOPEN, 0],
  ]),
  // Groups in which nothing is ever said.
  [SOL_NETLINK]: new Map([
    [NETLINK_ADD_MEMBERSHIP, 0],
    [NETLINK_DROP_MEMBERSHIP, 0],
  ]),
};

type Taken = readonly [isTaken: (value: number) => boolean, refusal: number];
/** Values that are taken, by level and option, where not every int is; and what others answer. */
const TAKEN: Readonly<Record<number, ReadonlyMap<number, Taken>>> = {
  [SOL_SOCKET]: new Map<number, Taken>([
    [SO_DEBUG, [(value) => value === 0 || capable(current(), CAP_NET_ADMIN), -EACCES]],
    [SO_PRIORITY, [(value) => (value >= 0 && value <= 6) || capable(current(), CAP_NET_ADMIN), -EPERM]],
    [SO_SNDBUFFORCE, [() => capable(current(), CAP_NET_ADMIN), -EPERM]],
    [SO_RCVBUFFORCE, [() => capable(current(), CAP_NET_ADMIN), -EPERM]],
  ]),
  [IPPROTO_IP]: new Map<number, Taken>([
    [IP_TTL, [(value) => value === -1 || between(value, 1, 255), -EINVAL]],
    [IP_MTU_DISCOVER, [(value) => between(value, 0, 5), -EINVAL]],
  ]),
  [IPPROTO_IPV6]: new Map<number, Taken>([
    [IPV6_UNICAST_HOPS, [(value) => between(value, -1, 255), -EINVAL]],
    [IPV6_MTU_DISCOVER, [(value) => between(value, 0, 5), -EINVAL]],
    [IPV6_TCLASS, [(value) => between(value, -1, 255), -EINVAL]],
  ]),
  [IPPROTO_TCP]: new Map<number, Taken>([
    [TCP_MAXSEG, [(value) => value === 0 || between(value, 88, 32767), -EINVAL]],
    [TCP_KEEPIDLE, [(value) => between(value, 1, 32767), -EINVAL]],
    [TCP_KEEPINTVL, [(value) => between(value, 1, 32767), -EINVAL]],
    [TCP_KEEPCNT, [(value) => between(value, 1, 127), -EINVAL]],
    [TCP_SYNCNT, [(value) => between(value, 1, 127), -EINVAL]],
    [TCP_USER_TIMEOUT, [(value) => value >= 0, -EINVAL]],
    [TCP_FASTOPEN, [(value) => value >= 0, -EINVAL]],
  ]),
  [SOL_NETLINK]: new Map<number, Taken>([
    [NETLINK_ADD_MEMBERSHIP, [(value) => between(value, 1, GROUPS), -EINVAL]],
    [NETLINK_DROP_MEMBERSHIP, [(value) => between(value, 1, GROUPS), -EINVAL]],
  ]),
};
function between(value: number, min: number, max: number): boolean {
  return value >= min && value <= max;
}
/** Multicast groups of NETLINK_ROUTE (RTNLGRP_MAX). */
const GROUPS = 37;

/** Does the level mean anything to the socket? */
function hasLevel(sock: S, level: number): boolean {
  if (level === SOL_SOCKET) return true;
  if (level === SOL_NETLINK) return Sock.family.get(sock) === AF_NETLINK;
  if (level === IPPROTO_IP) return isInet(sock);
  if (level === IPPROTO_IPV6) return Sock.family.get(sock) === AF_INET6;
  return level === IPPROTO_TCP && isInet(sock) && Sock.type.get(sock) === SOCK_STREAM;
}

export function setOption(sock: S, level: number, option: number, at: number, length: number): number {
  if (!hasLevel(sock, level)) return -EOPNOTSUPP;
  if (level === SOL_SOCKET && timeoutField(option) !== null) return setTimeout(sock, option, at, length);
  const bit = SWITCHES[level]!.get(option);
  if (level === IPPROTO_IPV6 && bit === undefined && !NUMBERS[level]!.has(option)) return -ENOPROTOOPT;
  if (level === IPPROTO_IP && option === IP_FREEBIND && length === 0) return -EINVAL;
  const error = readValue(level, at, length);
  if (error < 0) return error;
  const { value } = readValue;
  const [isTaken, refusal] = TAKEN[level]!.get(option) ?? [null, 0];
  if (isTaken !== null && !isTaken(value)) return refusal;
  if (bit !== undefined) {
    if (bit === OPT_REUSEPORT && value !== 0 && !isInet(sock)) return -EOPNOTSUPP;
    // Which names conflict is settled when they are given.
    if (bit === OPT_V6ONLY && Sock.port.load(sock) !== 0) return -EINVAL;
    if (value === 0) Sock.options.and(sock, ~bit);
    else Sock.options.or(sock, bit);
    return 0;
  }
  if (level === SOL_SOCKET && option === SO_PASSCRED) {
    Sock.passCred.store(sock, value === 0 ? 0 : 1);
    return 0;
  }
  if (level === SOL_SOCKET && option === SO_LINGER) return length < 8 ? -EINVAL : 0;
  return NUMBERS[level]!.has(option) ? 0 : -ENOPROTOOPT;
}

/** Time-outs by option: which of the socket's; null for another option. */
const timeoutField = (option: number): typeof Sock.receiveTimeout | null => {
  if (option === SO_RCVTIMEO || option === SO_RCVTIMEO_NEW) return Sock.receiveTimeout;
  return option === SO_SNDTIMEO || option === SO_SNDTIMEO_NEW ? Sock.sendTimeout : null;
};

function setTimeout(sock: S, option: number, at: number, length: number): number {
  if (length < 16) return -EINVAL;
  const bytes = copyFromUser(at, 16);
  if (bytes === null) return -EFAULT;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const [seconds, micros] = [Number(view.getBigInt64(0, true)), Number(view.getBigInt64(8, true))];
  if (!between(micros, 0, 999_999)) return -EDOM;
  // A time-out that has passed: as short as one can be, since 0 means none.
  const ms = seconds < 0 ? 1 : seconds * 1000 + Math.ceil(micros / 1000);
  timeoutField(option)!.store(sock, Math.min(ms, 0x7fffffff));
  return 0;
}

/** Reads an option's int into `readValue.value`: 0, -EINVAL, -EFAULT. IP takes a byte too, and nothing for 0; netlink nothing. */
function readValue(level: number, at: number, length: number): number {
  readValue.value = 0;
  if (length >= 4) {
    if (faultIn(at, 4, ACCESS.READ) < 0) return -EFAULT;
    readValue.value = getUser32(at);
  } else if (level === IPPROTO_IP && length > 0) {
    if (faultIn(at, 1, ACCESS.READ) < 0) return -EFAULT;
    readValue.value = getUser8(at);
  } else if (level !== IPPROTO_IP && level !== SOL_NETLINK) return -EINVAL;
  return 0;
}
readValue.value = 0;

export function getOption(sock: S, level: number, option: number, at: number, lengthAt: number): number {
  if (!hasLevel(sock, level)) return -EOPNOTSUPP;
  if (faultIn(lengthAt, 4, ACCESS.WRITE) < 0) return -EFAULT;
  // IPv6 takes a negative length for a large one.
  const room = level === IPPROTO_IPV6 ? getUserU32(lengthAt) : getUser32(lengthAt);
  if (room < 0) return -EINVAL;
  const words = optionWords(sock, level, option);
  if (words === null) return -ENOPROTOOPT;
  if (level === SOL_NETLINK && room < 4) return -EINVAL;
  const bytes = new Uint8Array(Int32Array.from(words).buffer);
  const length = Math.min(room, bytes.length);
  if (copyToUser(at, bytes.subarray(0, length)) < 0) return -EFAULT;
  putUser32(lengthAt, length);
  return 0;
}

function optionWords(sock: S, level: number, option: number): number[] | null {
  const bit = SWITCHES[level]!.get(option);
  if (bit !== undefined) return [(Sock.options.load(sock) & bit) === 0 ? 0 : 1];
  const number = NUMBERS[level]!.get(option);
  // Groups are joined and left; which ones, nobody tells.
  if (number !== undefined) return level === SOL_NETLINK ? null : [number];
  return level === SOL_SOCKET ? socketWords(sock, option) : null;
}

function socketWords(sock: S, option: number): number[] | null {
  switch (option) {
    case SO_TYPE:
      return [(Sock.options.load(sock) & OPT_RAW) !== 0 ? SOCK_RAW : Sock.type.get(sock)];
    case SO_DOMAIN:
      return [Sock.family.get(sock)];
    case SO_PROTOCOL:
      if (!isInet(sock)) return [0];
      return [Sock.type.get(sock) === SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP];
    case SO_ERROR:
      return [Sock.error.exchange(sock, 0)];
    case SO_ACCEPTCONN:
      return [Sock.state.load(sock) === SS_LISTENING ? 1 : 0];
    case SO_PASSCRED:
      return [Sock.passCred.load(sock)];
    case SO_PEERCRED: {
      const peer = Sock.peer.load(sock);
      return peer === 0 ? [0, -1, -1] : [Sock.pid.load(peer), Sock.uid.load(peer), Sock.gid.load(peer)];
    }
    case SO_SNDLOWAT:
      return [1];
    case SO_LINGER:
      return [0, 0];
    default: {
      const field = timeoutField(option);
      return field === null ? null : timeval(field.load(sock));
    }
  }
}

const timeval = (ms: number): number[] => [Math.floor(ms / 1000), 0, (ms % 1000) * 1000, 0];
