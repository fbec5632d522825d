/**
 * Netlink sockets, netlink(7): a program sends requests to the kernel, whose answers wait in the socket's own ring. The only
 * protocol is NETLINK_ROUTE (rtnetlink.ts); its multicast groups may be joined, and nothing is ever said in them,
 * since the one interface does not change. A socket's port id is Sock.port.
 */
import { locked, type Ref, spinlock, struct, tryAlloc } from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { UserIo } from "../mm/iov.ts";
import { current } from "../sched/current.ts";
import { CAP_NET_ADMIN, capable } from "../task/cred.ts";
import { Task } from "../task/task.ts";
import { EADDRINUSE, EAGAIN, ECONNREFUSED, EFAULT, EINVAL, EMSGSIZE, ENOBUFS, EPERM } from "../uapi/errno.ts";
import {
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_MULTI,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_MIN_TYPE,
  NLMSGHDR,
  SOCKADDR_NL,
} from "../uapi/netlink.ts";
import { AF_NETLINK, AF_UNSPEC } from "../uapi/socket.ts";
import { routeRequest } from "./rtnetlink.ts";
import { onSockRelease, type S, SOCK_BYTES, Sock } from "./sock.ts";
import { sockPost } from "./sock-io.ts";

export const isNetlink = (sock: S): boolean => Sock.family.get(sock) === AF_NETLINK;

/** Port ids in use: a list by Sock.nextBound. */
const PortIds = struct("netlink_port_ids", { lock: spinlock(35), first: locked<"lock", S | 0>("lock") });
const portIds = kernelGlobal<Ref<"netlink_port_ids">>("netlink port ids");

/** Once per machine, at boot. */
export function netlinkInit(): void {
  const ref = tryAlloc(PortIds);
  if (ref === 0) throw new Error("no memory for netlink's port ids");
  portIds.init(ref);
}

/**
 * Gives the socket a port id, unless it has one; 0 for one of the kernel's choice: the process's, or when that is taken a negative
 * one. 0, -EADDRINUSE, or -EINVAL when it has another one than is wanted.
 */
function takePortId(sock: S, wanted: number): number {
  const table = portIds.get();
  const held = PortIds.lock.lock(table);
  // Looked at with the lock held: threads share sockets, and a socket must be in the list once.
  const own = Sock.port.load(sock);
  if (own !== 0) {
    PortIds.lock.unlock(table);
    return wanted === 0 || wanted === own ? 0 : -EINVAL;
  }
  const taken = (id: number): boolean => {
    let other = PortIds.first.get(held, table);
    while (other !== 0 && Sock.port.load(other) !== id) other = Sock.nextBound.get(other);
    return other !== 0;
  };
  let id = wanted === 0 ? Task.tgid.get(current()) : wanted;
  if (wanted === 0) for (let next = -4096; taken(id); next--) id = next;
  const free = !taken(id);
  if (free) {
    Sock.nextBound.set(sock, PortIds.first.get(held, table));
    PortIds.first.set(held, table, sock);
    Sock.port.store(sock, id);
  }
  PortIds.lock.unlock(table);
  return free ? 0 : -EADDRINUSE;
}

onSockRelease(AF_NETLINK, (sock) => {
  const table = portIds.get();
  const held = PortIds.lock.lock(table);
  const next = Sock.nextBound.get(sock);
  let at = PortIds.first.get(held, table);
  if (at === sock) PortIds.first.set(held, table, next);
  else {
    while (at !== 0 && Sock.nextBound.get(at) !== sock) at = Sock.nextBound.get(at);
    if (at !== 0) Sock.nextBound.set(at, next);
  }
  PortIds.lock.unlock(table);
});

/** Port id of a struct sockaddr_nl, or null when the bytes are none. */
function portIdOf(bytes: Uint8Array): number | null {
  if (bytes.length < SOCKADDR_NL.BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return view.getUint16(0, true) === AF_NETLINK ? view.getInt32(SOCKADDR_NL.PID, true) : null;
}

/** bind(2): 0, -EINVAL, -EADDRINUSE. Joining further groups later is allowed, another port id is not. */
export function netlinkBind(sock: S, name: Uint8Array): number {
  const wanted = portIdOf(name);
  return wanted === null ? -EINVAL : takePortId(sock, wanted);
}

/** What who speaks to another process gets: most may not, and nobody listens. */
const notKernel = (): number => (capable(current(), CAP_NET_ADMIN) ? -ECONNREFUSED : -EPERM);

/** connect(2): only the kernel is there to talk to. */
export function netlinkConnect(sock: S, name: Uint8Array): number {
  // AF_UNSPEC: back to the kernel, to which it speaks anyway.
  if (name[0] === AF_UNSPEC && name[1] === 0) return 0;
  const to = portIdOf(name);
  if (to === null) return -EINVAL;
  if (to !== 0) return notKernel();
  return takePortId(sock, 0);
}

/** The struct sockaddr_nl of a port id; 0 is the kernel. */
export function netlinkName(portId: number): Uint8Array {
  const bytes = new Uint8Array(SOCKADDR_NL.BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_NETLINK, true);
  view.setInt32(SOCKADDR_NL.PID, portId, true);
  return bytes;
}

/** Sends requests, to the struct sockaddr_nl `to` or where connect(2) said (null): bytes or -errno. The answers are there when it returns. */
export function netlinkSend(sock: S, io: UserIo, to: Uint8Array | null): number {
  if (to !== null) {
    const portId = portIdOf(to);
    if (portId === null) return -EINVAL;
    if (portId !== 0) return notKernel();
  }
  const error = takePortId(sock, 0);
  if (error < 0) return error;
  if (io.remaining > SOCK_BYTES) return -EMSGSIZE;
  const bytes = new Uint8Array(io.remaining);
  if (bytes.length > 0 && io.copyFrom(bytes, 0, bytes.length) !== bytes.length) return -EFAULT;
  const view = new DataView(bytes.buffer);
  for (let at = 0; at + NLMSGHDR.BYTES <= bytes.length; ) {
    const length = view.getUint32(at + NLMSGHDR.LEN, true);
    if (length < NLMSGHDR.BYTES || at + length > bytes.length) break;
    answer(sock, bytes.subarray(at, at + length));
    at += (length + 3) & ~3;
  }
  return bytes.length;
}

/** Carries one request out. */
function answer(sock: S, request: Uint8Array): void {
  const view = new DataView(request.buffer, request.byteOffset, request.length);
  const flags = view.getUint16(NLMSGHDR.FLAGS, true);
  const type = view.getUint16(NLMSGHDR.TYPE, true);
  const forKernel = (flags & NLM_F_REQUEST) !== 0 && type >= NLMSG_MIN_TYPE;
  const found = forKernel ? routeRequest(type, flags, request.subarray(NLMSGHDR.BYTES)) : [];
  if (typeof found === "number") {
    post(sock, [packet(sock, request, NLMSG_ERROR, 0, errorPayload(found, request))]);
    return;
  }
  const multi = forKernel && (flags & NLM_F_DUMP) !== 0 ? NLM_F_MULTI : 0;
  const packets = found.map((one) => packet(sock, request, one.type, multi, one.payload));
  if (multi !== 0) packets.push(packet(sock, request, NLMSG_DONE, multi, new Uint8Array(4)));
  else if ((flags & NLM_F_ACK) !== 0)
    packets.push(packet(sock, request, NLMSG_ERROR, 0, errorPayload(0, request.subarray(0, NLMSGHDR.BYTES))));
  if (packets.length > 0) post(sock, packets);
}

/** struct nlmsgerr: int error (0: an acknowledgement), and the message it is about. */
function errorPayload(error: number, about: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + about.length);
  new DataView(bytes.buffer).setInt32(0, error, true);
  bytes.set(about, 4);
  return bytes;
}

/** A message in answer to a request, padded to 4. */
function packet(sock: S, request: Uint8Array, type: number, flags: number, payload: Uint8Array): Uint8Array {
  const asked = new DataView(request.buffer, request.byteOffset, request.length);
  const bytes = new Uint8Array((NLMSGHDR.BYTES + payload.length + 3) & ~3);
  const view = new DataView(bytes.buffer);
  view.setUint32(NLMSGHDR.LEN, NLMSGHDR.BYTES + payload.length, true);
  view.setUint16(NLMSGHDR.TYPE, type, true);
  view.setUint16(NLMSGHDR.FLAGS, flags, true);
  view.setUint32(NLMSGHDR.SEQ, asked.getUint32(NLMSGHDR.SEQ, true), true);
  view.setInt32(NLMSGHDR.PID, Sock.port.load(sock), true);
  bytes.set(payload, NLMSGHDR.BYTES);
  return bytes;
}

/** Puts the messages into the socket as one datagram; without room the next call says ENOBUFS, as netlink(7) has it. */
function post(sock: S, packets: readonly Uint8Array[]): void {
  const io = new UserIo();
  io.setKernel(Buffer.concat(packets));
  const result = sockPost(sock, io);
  if (result < 0) Sock.error.store(sock, result === -EAGAIN ? ENOBUFS : -result);
}
