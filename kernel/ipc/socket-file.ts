/** Sockets as open files: read, write, poll, FIONREAD. */
import type { Ref } from "../../rcu/index.ts";
import { fget } from "../fs/fdtable.ts";
import { File } from "../fs/file.ts";
import { FOPS, registerFileOps } from "../fs/ops.ts";
import { copyToUser } from "../mm/uaccess.ts";
import { EINVAL, ENOTCONN, ENOTSOCK, ENOTTY } from "../uapi/errno.ts";
import { TIOCOUTQ } from "../uapi/ioctl.ts";
import { SIOCATMARK } from "../uapi/netlink.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRNORM } from "../uapi/poll.ts";
import { SOCK_DGRAM } from "../uapi/socket.ts";
import { isUdp, udpSend } from "./inet.ts";
import { dropFiles } from "./inflight.ts";
import { interfaceIoctl } from "./netif.ts";
import { isNetlink, netlinkSend } from "./netlink.ts";
import { Ring, ringRoom } from "./ring.ts";
import {
  isInet,
  isTcp,
  peerOf,
  RCV_SHUTDOWN,
  type S,
  SEND_SHUTDOWN,
  Sock,
  SS_CONNECTED,
  SS_DEAD,
  SS_LISTENING,
  sockRelease,
} from "./sock.ts";
import { sockOf } from "./sock-connect.ts";
import { received, sockReceive, sockSend } from "./sock-io.ts";

/** The socket of a descriptor: -EBADF, -ENOTSOCK. */
export function socketOf(files: Ref<"files">, fd: number): Ref<"file"> | number {
  const file = fget(files, fd);
  if (file < 0) return file;
  return File.fops.get(file as Ref<"file">) === FOPS.SOCKET ? file : -ENOTSOCK;
}

/** Where a send without a destination goes: the peer, or -ENOTCONN. */
export function defaultTarget(sock: S): S | number {
  const peer = peerOf(sock);
  return peer === 0 ? -ENOTCONN : peer;
}

function poll(sock: S): number {
  const state = Sock.state.load(sock);
  if (state === SS_LISTENING) return Sock.pending.racy(sock) !== 0 ? POLLIN | POLLRDNORM : 0;
  const peer = peerOf(sock);
  const shutdown = Sock.shutdown.load(sock);
  const dgram = Sock.type.get(sock) === SOCK_DGRAM;
  const peerGone = !dgram && state === SS_CONNECTED && (peer === 0 || Sock.state.load(peer) === SS_DEAD);
  let mask = 0;
  if (Sock.error.load(sock) !== 0) mask |= POLLERR;
  if (Sock.firstMessage.racy(sock) !== 0 || Ring.used.get(Sock.ring.get(sock)) !== 0)
    mask |= POLLIN | POLLRDNORM;
  if ((shutdown & RCV_SHUTDOWN) !== 0 || peerGone) mask |= POLLIN | POLLRDNORM | POLLRDHUP;
  const bothDown = shutdown === (RCV_SHUTDOWN | SEND_SHUTDOWN);
  // A TCP socket whose peer said no more could still send: it has hung up only when both ends have.
  const hungUp = peerGone && (!isInet(sock) || (shutdown & SEND_SHUTDOWN) !== 0);
  if (bothDown || hungUp || (!dgram && state !== SS_CONNECTED)) mask |= POLLHUP;
  if (peer === 0 || Sock.state.load(peer) === SS_DEAD) mask |= dgram || peerGone ? POLLOUT | POLLWRNORM : 0;
  else if (ringRoom(Sock.ring.get(peer)) >= 4096) mask |= POLLOUT | POLLWRNORM;
  if (!dgram && state !== SS_CONNECTED) mask |= POLLOUT | POLLWRNORM;
  return mask;
}

/** SIOCOUTQ, unix(7): bytes that the other end has not read. What UDP sends has arrived, or is lost. */
function unsent(sock: S, address: number): number {
  if (isNetlink(sock)) return -ENOTTY;
  if (Sock.state.load(sock) === SS_LISTENING) return -EINVAL;
  const peer = isUdp(sock) ? 0 : peerOf(sock);
  const bytes = peer === 0 ? 0 : Ring.used.get(Sock.ring.get(peer));
  return copyToUser(address, new Uint8Array(Int32Array.of(bytes).buffer));
}

registerFileOps(FOPS.SOCKET, {
  read(file, io) {
    const count = sockReceive(sockOf(file), io, 0);
    // read(2) has no place for descriptors: they are closed.
    if (count >= 0 && received.files !== 0) dropFiles(received.files);
    return count;
  },
  write(file, io) {
    if (isUdp(sockOf(file))) return udpSend(sockOf(file), io, 0, 0, 0);
    if (isNetlink(sockOf(file))) return netlinkSend(sockOf(file), io, null);
    const target = defaultTarget(sockOf(file));
    return target < 0 ? target : sockSend(sockOf(file), target as S, io, 0);
  },
  poll: (file) => poll(sockOf(file)),
  waitQueues(file, visit) {
    const sock = sockOf(file);
    visit(Sock.wait.at(sock));
    // Room in the receiver of datagrams is announced on its own queue.
    const peer = peerOf(sock);
    if (peer !== 0 && Sock.type.get(sock) === SOCK_DGRAM) visit(Sock.wait.at(peer));
  },
  ioctl(file, command, address) {
    const sock = sockOf(file);
    if (command === TIOCOUTQ) return unsent(sock, address);
    if (command !== SIOCATMARK) return interfaceIoctl(sock, command, address);
    // Nothing is ever urgent here: no mark is reached.
    return isTcp(sock) ? copyToUser(address, new Uint8Array(4)) : -ENOTTY;
  },
  available: (file) => {
    const sock = sockOf(file);
    return Ring.used.get(Sock.ring.get(sock));
  },
  release: (file) => sockRelease(sockOf(file)),
});
