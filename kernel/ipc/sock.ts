/**
 * Sockets: the objects, whatever their family. What names mean differs: unix-name.ts, inet-name.ts.
 *
 * A socket is counted by its file (or the accept queue it waits in), and by its peer. What others sent
 * waits in its own ring, guarded by its own lock; a sender takes only the receiver's lock. A socket that was
 * closed stays until its peer drops it, marked DEAD. Lock order: a family's table of names -> Sock.lock -> wait queue.
 */
import {
  atomic,
  fixed,
  free,
  type Held,
  kfreeRcu,
  kfreeStringRcu,
  locked,
  lockedWide,
  owned,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
} from "../../rcu/index.ts";
import { iput } from "../fs/inode.ts";
import { current } from "../sched/current.ts";
import { destroyWaitQueue, waitqueue, wakeUp } from "../sched/waitqueue.ts";
import { credOf } from "../task/cred.ts";
import { Cred, Task } from "../task/task.ts";
import { ECONNRESET } from "../uapi/errno.ts";
import { AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM } from "../uapi/socket.ts";
import { dropFiles } from "./inflight.ts";
import { ringCreate, ringFree, ringPages } from "./ring.ts";

/** Bytes that one socket holds for its reader; the largest datagram. */
export const SOCK_BYTES = 212992;

// Sock.state
export const SS_UNCONNECTED = 0;
export const SS_LISTENING = 1;
export const SS_CONNECTED = 2;
/** Its file is closed. */
export const SS_DEAD = 3;

// Sock.shutdown
export const RCV_SHUTDOWN = 1;
export const SEND_SHUTDOWN = 2;

// Sock.options: what setsockopt(2) switched on.
export const OPT_REUSEADDR = 1;
export const OPT_REUSEPORT = 2;
export const OPT_V6ONLY = 4;
/** Netlink: SO_TYPE says SOCK_RAW, which there is the same as SOCK_DGRAM. */
export const OPT_RAW = 8;
/** TCP: a connect that did not wait said EINPROGRESS, and the next one says 0. */
export const OPT_CONNECTING = 16;

export const Sock = struct("sock", {
  /** AF_UNIX, AF_INET, AF_INET6, AF_NETLINK. */
  family: fixed(),
  /** SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET. */
  type: fixed(),
  refcount: atomic(),
  state: atomic(),
  shutdown: atomic(),
  /** Pending error for SO_ERROR, a positive errno. */
  error: atomic(),
  /** OPT_* bits, and in the other bits options that are only remembered (socket-options.ts). */
  options: atomic(),
  /** SO_PASSCRED. */
  passCred: atomic(),
  /** SO_RCVTIMEO and SO_SNDTIMEO in ms, 0 for none. */
  receiveTimeout: atomic(),
  sendTimeout: atomic(),
  /** The other end; counted. Set by connect, accept, socketpair. */
  peer: atomic<Ref<"sock"> | 0>(),
  /** Unix, bound name: the bytes of sun_path; constant once set. */
  address: atomic<Ref<"string"> | 0>(),
  /** Internet, bound name: host (inet-name.ts) and port, 0 while it has none. Netlink: the port id. */
  host: atomic(),
  port: atomic(),
  /** Internet datagrams, where they go and come from after connect(2): host and port, 0 while there is none. */
  remoteHost: atomic(),
  remotePort: atomic(),
  /** Unix, accepted: the listener, whose name getsockname shows; counted. */
  shownAs: fixed<Ref<"sock"> | 0>(),
  /** Unix: inode of a name in the file system; counted. */
  inode: atomic<Ref<"inode"> | 0>(),
  /** Who made the socket, or listens, or connected: what SO_PEERCRED of the other end says. */
  pid: atomic(),
  uid: atomic(),
  gid: atomic(),

  lock: spinlock(40),
  ring: fixed<Ref<"ring">>(),
  /** Messages in the ring, oldest first: every datagram; of a stream those that carry descriptors. */
  firstMessage: locked<"lock", Ref<"sock_message"> | 0>("lock"),
  lastMessage: locked<"lock", Ref<"sock_message"> | 0>("lock"),
  messages: locked("lock"),
  /** Bytes ever put into the ring, and taken out of it. */
  sent: lockedWide("lock"),
  received: lockedWide("lock"),
  /** Listening: connections that wait for accept, oldest first; how many, and how many may. */
  firstPending: locked<"lock", Ref<"sock"> | 0>("lock"),
  lastPending: locked<"lock", Ref<"sock"> | 0>("lock"),
  pending: locked("lock"),
  backlog: locked("lock"),
  /** Next in the listener's queue: the listener's lock. Next in the family's table of names: its lock. */
  nextPending: owned<Ref<"sock"> | 0>(),
  nextBound: owned<Ref<"sock"> | 0>(),
  /** The last collection that scanned the queues (unix-gc.ts). */
  gcRun: locked("lock"),

  wait: waitqueue(),
});
export type S = Ref<"sock">;

/** Messages that one socket keeps: a record takes memory, however short the message is (net.unix.max_dgram_qlen). */
export const MAX_MESSAGES = 512;
/** Pages that its bytes and messages take, about, and those of connections that wait to be accepted. Racy. */
export function sockPages(sock: S): number {
  let pages = ownPages(sock);
  // Who has the lock may wait for memory, so it is only tried: the next look will count them.
  const held = Sock.pending.racy(sock) === 0 ? 0 : Sock.lock.tryLock(sock);
  if (held === 0) return pages;
  for (
    let waiting = Sock.firstPending.get(held, sock);
    waiting !== 0;
    waiting = Sock.nextPending.get(waiting)
  )
    pages += ownPages(waiting);
  Sock.lock.unlock(sock);
  return pages;
}
const ownPages = (sock: S): number => ringPages(Sock.ring.get(sock)) + (Sock.messages.racy(sock) * 80) / 4096;

export const Message = struct("sock_message", {
  /** Bytes: of the datagram, or of the piece of the stream that it came with. */
  length: fixed(),
  /** Stream: value of Sock.sent at its first byte. */
  at: lockedWide("lock"),
  /** Counted files in flight, or 0. */
  files: fixed<Ref<"array"> | 0>(),
  /** Whose name the receiver sees: a counted socket that has one, or 0. */
  sender: fixed<S | 0>(),
  pid: fixed(),
  uid: fixed(),
  gid: fixed(),
  next: owned<Ref<"sock_message"> | 0>(),
});

/** A socket with one count; 0 when memory is short. */
export function sockCreate(family: number, type: number): S | 0 {
  const ring = ringCreate(SOCK_BYTES);
  if (ring === 0) return 0;
  const sock = tryAlloc(Sock);
  if (sock === 0) {
    ringFree(ring);
    return 0;
  }
  Sock.family.init(sock, family);
  Sock.type.init(sock, type);
  Sock.refcount.init(sock, 1);
  Sock.ring.init(sock, ring);
  takeIdentity(sock);
  return sock;
}

/** The current process is what the peer will see as SO_PEERCRED. */
export function takeIdentity(sock: S): void {
  const task = current();
  Sock.pid.store(sock, Task.tgid.get(task));
  Sock.uid.store(sock, Cred.euid.get(credOf(task)));
  Sock.gid.store(sock, Cred.egid.get(credOf(task)));
}

export const sockGet = (sock: S): S => {
  Sock.refcount.add(sock, 1);
  return sock;
};

export function sockPut(sock: S): void {
  if (!Sock.refcount.decAndTest(sock)) return;
  const held = Sock.lock.lock(sock);
  const messages = takeMessages(held, sock);
  Sock.lock.unlock(sock);
  freeMessages(messages);
  destroyWaitQueue(Sock.wait.at(sock));
  ringFree(Sock.ring.get(sock));
  const address = Sock.address.load(sock);
  if (address !== 0) kfreeStringRcu(address);
  const shownAs = Sock.shownAs.get(sock);
  kfreeRcu(Sock, sock);
  if (shownAs !== 0) sockPut(shownAs);
}

/** The counted peer of a connected socket, for the caller's handler; 0 when there is none. */
export const peerOf = (sock: S): S | 0 => Sock.peer.load(sock);

/** Empties the queue; what was in it is freed without the lock, since descriptors come down (inflight.ts). */
function takeMessages(held: Held<"lock">, sock: S): Ref<"sock_message"> | 0 {
  const first = Sock.firstMessage.get(held, sock);
  Sock.firstMessage.set(held, sock, 0);
  Sock.lastMessage.set(held, sock, 0);
  Sock.messages.set(held, sock, 0);
  return first;
}

function freeMessages(first: Ref<"sock_message"> | 0): void {
  for (let message = first; message !== 0; ) {
    const next = Message.next.get(message);
    freeMessage(message);
    message = next;
  }
}

/** Frees a message and the files that nobody received. With a Sock.lock held only if it has none. */
export function freeMessage(message: Ref<"sock_message">): void {
  const files = Message.files.get(message);
  if (files !== 0) dropFiles(files);
  const sender = Message.sender.get(message);
  if (sender !== 0) sockPut(sender);
  free(Message, message);
}

/** AF_INET or AF_INET6. */
export function isInet(sock: S): boolean {
  const family = Sock.family.get(sock);
  return family === AF_INET || family === AF_INET6;
}

export const isTcp = (sock: S): boolean => isInet(sock) && Sock.type.get(sock) === SOCK_STREAM;

/** Has it been given a name, by bind(2) or by the kernel? */
export const isNamed = (sock: S): boolean => Sock.address.load(sock) !== 0 || Sock.port.load(sock) !== 0;

/** How each family takes a socket out of its table of names. */
const leaveNames = new Map<number, (sock: S) => void>();
/** For the families' modules, once per worker. */
export const onSockRelease = (family: number, leave: (sock: S) => void): void => {
  leaveNames.set(family, leave);
};

/** The socket's file is closed, or nobody accepted it: the peer learns of it. Drops the file's count. */
export function sockRelease(sock: S): void {
  if (isNamed(sock)) leaveNames.get(Sock.family.get(sock))!(sock);
  const inode = Sock.inode.exchange(sock, 0);
  if (inode !== 0) iput(inode);
  const held = Sock.lock.lock(sock);
  Sock.state.store(sock, SS_DEAD);
  Sock.shutdown.store(sock, RCV_SHUTDOWN | SEND_SHUTDOWN);
  // What the peer of a connection sent is lost, which it learns; a datagram was never promised.
  const connection = Sock.type.get(sock) !== SOCK_DGRAM;
  const unread = connection && Sock.sent.get(held, sock) !== Sock.received.get(held, sock);
  let pending = Sock.firstPending.get(held, sock);
  Sock.firstPending.set(held, sock, 0);
  Sock.lastPending.set(held, sock, 0);
  const messages = takeMessages(held, sock);
  Sock.lock.unlock(sock);
  freeMessages(messages);
  while (pending !== 0) {
    const next = Sock.nextPending.get(pending);
    sockRelease(pending);
    pending = next;
  }
  wakeUp(Sock.wait.at(sock), 0);
  const peer = Sock.peer.exchange(sock, 0);
  if (peer !== 0) {
    if (unread && Sock.peer.load(peer) === sock) Sock.error.store(peer, ECONNRESET);
    wakeUp(Sock.wait.at(peer), 0);
    sockPut(peer);
  }
  sockPut(sock);
}
