/**
 * Unix sockets, unix(7): the objects.
 *
 * A socket is counted by its file (or the accept queue it waits in), by its peer, and while it is bound to a name. What others sent
 * waits in its own ring, guarded by its own lock; a sender takes only the receiver's lock. A socket that was
 * closed stays until its peer drops it, marked DEAD. Lock order: table lock -> Sock.lock -> wait queue.
 */
import {
  alloc,
  arrayGet,
  arrayLength,
  atomic,
  fixed,
  free,
  freeArray,
  type Held,
  kfreeRcu,
  kfreeStringRcu,
  locked,
  lockedWide,
  owned,
  type Ref,
  spinlock,
  struct,
} from "../../rcu/index.ts";
import { fput } from "../fs/file.ts";
import { iput } from "../fs/inode.ts";
import { kernelGlobal } from "../global.ts";
import { current } from "../sched/current.ts";
import { destroyWaitQueue, waitqueue, wakeUp } from "../sched/waitqueue.ts";
import { credOf } from "../task/cred.ts";
import { Cred, Task } from "../task/task.ts";
import { ECONNRESET } from "../uapi/errno.ts";
import { ringCreate, ringFree } from "./ring.ts";

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

export const Sock = struct("unix_sock", {
  /** SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET. */
  type: fixed(),
  refcount: atomic(),
  state: atomic(),
  shutdown: atomic(),
  /** Pending error for SO_ERROR, a positive errno. */
  error: atomic(),
  /** SO_PASSCRED. */
  passCred: atomic(),
  /** SO_RCVTIMEO and SO_SNDTIMEO in ms, 0 for none. */
  receiveTimeout: atomic(),
  sendTimeout: atomic(),
  /** The other end; counted. Set by connect, accept, socketpair. */
  peer: atomic<Ref<"unix_sock"> | 0>(),
  /** Bound name: the bytes of sun_path; constant once set. */
  address: atomic<Ref<"string"> | 0>(),
  /** Accepted: the listener, whose name getsockname shows; counted. */
  shownAs: fixed<Ref<"unix_sock"> | 0>(),
  /** Inode of a name in the file system; counted. */
  inode: atomic<Ref<"inode"> | 0>(),
  /** Who made the socket, or listens, or connected: what SO_PEERCRED of the other end says. */
  pid: atomic(),
  uid: atomic(),
  gid: atomic(),

  lock: spinlock(),
  ring: fixed<Ref<"ring">>(),
  /** Messages in the ring, oldest first: every datagram; of a stream those that carry descriptors. */
  firstMessage: locked<"lock", Ref<"unix_message"> | 0>("lock"),
  lastMessage: locked<"lock", Ref<"unix_message"> | 0>("lock"),
  /** Bytes ever put into the ring, and taken out of it. */
  sent: lockedWide("lock"),
  received: lockedWide("lock"),
  /** Listening: connections that wait for accept, oldest first; how many, and how many may. */
  firstPending: locked<"lock", Ref<"unix_sock"> | 0>("lock"),
  lastPending: locked<"lock", Ref<"unix_sock"> | 0>("lock"),
  pending: locked("lock"),
  backlog: locked("lock"),
  /** Next in the listener's queue: the listener's lock. Next in the table of names: the table's lock. */
  nextPending: owned<Ref<"unix_sock"> | 0>(),
  nextBound: owned<Ref<"unix_sock"> | 0>(),

  wait: waitqueue(),
});
export type S = Ref<"unix_sock">;

export const Message = struct("unix_message", {
  /** Datagram: its length. */
  length: fixed(),
  /** Stream: value of Sock.sent at its first byte. */
  at: lockedWide("lock"),
  /** Counted files in flight, or 0. */
  files: fixed<Ref<"array"> | 0>(),
  /** Sender's name: counted through `sender`, which is a counted socket or 0. */
  sender: fixed<S | 0>(),
  pid: fixed(),
  uid: fixed(),
  gid: fixed(),
  next: owned<Ref<"unix_message"> | 0>(),
});

/** A socket with one count; 0 when memory is short. */
export function sockCreate(type: number): S | 0 {
  const ring = ringCreate(SOCK_BYTES);
  if (ring === 0) return 0;
  const sock = alloc(Sock);
  if (sock === 0) {
    ringFree(ring);
    return 0;
  }
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
  dropMessages(held, sock);
  Sock.lock.unlock(sock);
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

function dropMessages(held: Held<"lock">, sock: S): void {
  for (let message = Sock.firstMessage.get(held, sock); message !== 0; ) {
    const next = Message.next.get(message);
    freeMessage(message);
    message = next;
  }
  Sock.firstMessage.set(held, sock, 0);
  Sock.lastMessage.set(held, sock, 0);
}

/** Frees a message and the files that nobody received. */
export function freeMessage(message: Ref<"unix_message">): void {
  const files = Message.files.get(message);
  if (files !== 0) dropFiles(files);
  const sender = Message.sender.get(message);
  if (sender !== 0) sockPut(sender);
  free(Message, message);
}

export function dropFiles(files: Ref<"array">): void {
  for (let i = 0; i < arrayLength(files); i++) {
    const file = arrayGet(files, i) as Ref<"file"> | 0;
    if (file !== 0) fput(file);
  }
  freeArray(files);
}

// The names that sockets are bound to.

const Names = struct("unix_names", { lock: spinlock(), first: locked<"lock", S | 0>("lock") });
const names = kernelGlobal<Ref<"unix_names">>("unix names");

/** Once per machine, at boot. */
export function unixInit(): void {
  const ref = alloc(Names);
  if (ref === 0) throw new Error("no memory for the table of unix sockets");
  names.init(ref);
}

/** The bound socket that `test` accepts, with a count; 0 when there is none. */
export function findBound(test: (sock: S) => boolean): S | 0 {
  const table = names.get();
  const held = Names.lock.lock(table);
  let sock = Names.first.get(held, table);
  while (sock !== 0 && !test(sock)) sock = Sock.nextBound.get(sock);
  if (sock !== 0) sockGet(sock);
  Names.lock.unlock(table);
  return sock;
}

/** Enters the socket under its name, unless `taken` finds it in use; says whether it did. */
export function enterName(sock: S, taken: (other: S) => boolean): boolean {
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

/** The socket's file is closed, or nobody accepted it: the peer learns of it. Drops the file's count. */
export function sockRelease(sock: S): void {
  if (Sock.address.load(sock) !== 0) leaveName(sock);
  const inode = Sock.inode.exchange(sock, 0);
  if (inode !== 0) iput(inode);
  const held = Sock.lock.lock(sock);
  Sock.state.store(sock, SS_DEAD);
  Sock.shutdown.store(sock, RCV_SHUTDOWN | SEND_SHUTDOWN);
  const unread = Sock.sent.get(held, sock) !== Sock.received.get(held, sock);
  let pending = Sock.firstPending.get(held, sock);
  Sock.firstPending.set(held, sock, 0);
  Sock.lastPending.set(held, sock, 0);
  dropMessages(held, sock);
  Sock.lock.unlock(sock);
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
