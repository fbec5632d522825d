/** setsockopt(2) and getsockopt(2) of SOL_SOCKET. */
import { copyFromUser, copyToUser, faultIn, getUser32, putUser32 } from "../mm/uaccess.ts";
import { EFAULT, EINVAL, ENOPROTOOPT, EOPNOTSUPP } from "../uapi/errno.ts";
import {
  AF_UNIX,
  SO_ACCEPTCONN,
  SO_BROADCAST,
  SO_DEBUG,
  SO_DOMAIN,
  SO_DONTROUTE,
  SO_ERROR,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_PASSCRED,
  SO_PEERCRED,
  SO_PROTOCOL,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_RCVLOWAT,
  SO_RCVTIMEO,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SO_SNDLOWAT,
  SO_SNDTIMEO,
  SO_TYPE,
  SOL_SOCKET,
} from "../uapi/socket.ts";
import { ACCESS } from "../usermode.ts";
import { type S, SOCK_BYTES, Sock, SS_LISTENING } from "./unix-sock.ts";

/** Options that mean something for networks only: they can be set, and unix sockets do without them. */
const ACCEPTED = new Set([
  SO_DEBUG,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SO_DONTROUTE,
  SO_BROADCAST,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_SNDBUF,
  SO_RCVBUF,
  SO_SNDBUFFORCE,
  SO_RCVBUFFORCE,
]);

export function setOption(sock: S, level: number, option: number, at: number, length: number): number {
  if (level !== SOL_SOCKET) return -EOPNOTSUPP;
  if (option === SO_RCVTIMEO || option === SO_SNDTIMEO) {
    if (length < 16) return -EINVAL;
    const bytes = copyFromUser(at, 16);
    if (bytes === null) return -EFAULT;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const [seconds, micros] = [Number(view.getBigInt64(0, true)), Number(view.getBigInt64(8, true))];
    if (micros < 0 || micros >= 1_000_000 || seconds < 0) return -EINVAL;
    const field = option === SO_RCVTIMEO ? Sock.receiveTimeout : Sock.sendTimeout;
    field.store(sock, Math.min(seconds * 1000 + Math.ceil(micros / 1000), 0x7fffffff));
    return 0;
  }
  if (length < 4) return -EINVAL;
  if (faultIn(at, 4, ACCESS.READ) < 0) return -EFAULT;
  if (option === SO_PASSCRED) {
    Sock.passCred.store(sock, getUser32(at) === 0 ? 0 : 1);
    return 0;
  }
  return ACCEPTED.has(option) ? 0 : -ENOPROTOOPT;
}

export function getOption(sock: S, level: number, option: number, at: number, lengthAt: number): number {
  if (faultIn(lengthAt, 4, ACCESS.WRITE) < 0) return -EFAULT;
  const room = getUser32(lengthAt);
  if (room < 0) return -EINVAL;
  if (level !== SOL_SOCKET) return -EOPNOTSUPP;
  const words = optionWords(sock, option);
  if (words === null) return -ENOPROTOOPT;
  const bytes = new Uint8Array(Int32Array.from(words).buffer);
  const length = Math.min(room, bytes.length);
  if (copyToUser(at, bytes.subarray(0, length)) < 0) return -EFAULT;
  putUser32(lengthAt, length);
  return 0;
}

function optionWords(sock: S, option: number): number[] | null {
  switch (option) {
    case SO_TYPE:
      return [Sock.type.get(sock)];
    case SO_DOMAIN:
      return [AF_UNIX];
    case SO_PROTOCOL:
      return [0];
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
    case SO_SNDBUF:
    case SO_RCVBUF:
      return [SOCK_BYTES];
    case SO_RCVLOWAT:
    case SO_SNDLOWAT:
      return [1];
    case SO_LINGER:
      return [0, 0];
    case SO_RCVTIMEO:
      return timeval(Sock.receiveTimeout.load(sock));
    case SO_SNDTIMEO:
      return timeval(Sock.sendTimeout.load(sock));
    default:
      return ACCEPTED.has(option) ? [0] : null;
  }
}

const timeval = (ms: number): number[] => [Math.floor(ms / 1000), 0, (ms % 1000) * 1000, 0];
