import test from "ava";
import fc from "fast-check";
import { closeFd, fget } from "../../../kernel/fs/fdtable.ts";
import { File } from "../../../kernel/fs/file.ts";
import { filePoll } from "../../../kernel/ipc/poll.ts";
import { Ring } from "../../../kernel/ipc/ring.ts";
import { Message, SOCK_BYTES, Sock } from "../../../kernel/ipc/sock.ts";
import { BLOCK } from "../../../kernel/sched/block.ts";
import { Task } from "../../../kernel/task/task.ts";
import {
  EADDRINUSE,
  EAFNOSUPPORT,
  EAGAIN,
  ECONNREFUSED,
  ECONNRESET,
  EINVAL,
  EISCONN,
  EMSGSIZE,
  ENOTCONN,
  ENOTSOCK,
  EOPNOTSUPP,
  EPIPE,
  EPROTONOSUPPORT,
  ESOCKTNOSUPPORT,
} from "../../../kernel/uapi/errno.ts";
import { O_NONBLOCK } from "../../../kernel/uapi/fcntl.ts";
import { POLLHUP, POLLIN, POLLOUT, POLLRDHUP } from "../../../kernel/uapi/poll.ts";
import {
  AF_NETLINK,
  AF_UNIX,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_OOB,
  MSG_PEEK,
  MSG_TRUNC,
  MSGHDR,
  SCM_CREDENTIALS,
  SCM_RIGHTS,
  SHUT_WR,
  SO_PASSCRED,
  SO_PEERCRED,
  SO_TYPE,
  SOCK_DGRAM,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  SOL_SOCKET,
} from "../../../kernel/uapi/socket.ts";
import { liveObjects, type Ref } from "../../../rcu/index.ts";
import {
  around,
  boot,
  call,
  getBytes,
  getWords,
  newTask,
  putBytes,
  putWords,
  read,
  readBytes,
  settle,
  woken,
  write,
} from "./machine.ts";

const { task, files, memory } = boot();
const other = newTask("other");
Task.files.init(other, files);
const [NAME, DATA, LENGTH] = [memory + 1024, memory + 8192, memory + 2048];
const close = (...fds: number[]): void => {
  for (const fd of fds) around(task, () => closeFd(files, fd));
};
const poll = (fd: number): number => filePoll(fget(files, fd) as Ref<"file">) & ~0x140;

function socketpair(type: number): [number, number] {
  const result = call(task, "socketpair", AF_UNIX, type, 0, memory);
  if (result < 0) throw new Error(`socketpair: ${result}`);
  return getWords(memory, 2) as [number, number];
}
/** Puts a struct sockaddr_un at NAME; its length. */
function sockaddr(name: string): number {
  const bytes = new TextEncoder().encode(name);
  putBytes(NAME, Uint8Array.from([AF_UNIX, 0, ...bytes, 0]));
  return 2 + bytes.length + (name.startsWith("\0") ? 0 : 1);
}
const onName = (what: string, fd: number, name: string, as = task): number =>
  call(as, what, fd, NAME, sockaddr(name));
const socket = (type: number): number => call(task, "socket", AF_UNIX, type, 0);
function text(fd: number, flags = 0, length = 4096): string | number {
  const count = call(task, "recvfrom", fd, DATA, length, flags, 0, 0);
  if (count < 0) return count;
  return String.fromCharCode(...getBytes(DATA, Math.min(count, length)));
}
function sendTo(fd: number, data: string, name: string): number {
  putBytes(DATA, new TextEncoder().encode(data));
  return call(task, "sendto", fd, DATA, data.length, 0, NAME, sockaddr(name));
}

test.serial("a stream pair carries bytes both ways, without boundaries", (t) => {
  const [a, b] = socketpair(SOCK_STREAM);
  t.is(write(task, a, "one"), 3);
  t.is(write(task, a, "two"), 3);
  t.is(read(task, b), "onetwo");
  t.is(read(task, b), BLOCK);
  t.is(write(other, a, "x"), 1);
  t.true(woken(task));
  t.is(read(task, b), "x");
  t.is(write(task, b, "back"), 4);
  t.is(text(a, MSG_PEEK), "back");
  t.is(text(a), "back");
  close(a, b);
});

test.serial("a stream passes everything on in order, whatever the sizes", (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(90_000)), { maxLength: 12 }), (steps) => {
      const [a, b] = socketpair(SOCK_STREAM | O_NONBLOCK);
      let sent = 0;
      let got = 0;
      for (const [writes, size] of steps) {
        if (writes) {
          const data = new Uint8Array(size).map((_, i) => (sent + i) % 253);
          const room = SOCK_BYTES - (sent - got);
          const expected = size === 0 ? 0 : room === 0 ? -EAGAIN : Math.min(size, room);
          t.is(write(task, a, data), expected);
          sent += Math.max(0, expected);
        } else {
          const bytes = readBytes(task, b, size);
          if (size > 0 && sent === got) t.is(bytes, -EAGAIN);
          else {
            t.is((bytes as Uint8Array).length, Math.min(size, sent - got));
            t.true((bytes as Uint8Array).every((byte, i) => byte === (got + i) % 253));
            got += (bytes as Uint8Array).length;
          }
        }
      }
      close(a, b);
    }),
    { numRuns: 25 },
  );
});

test.serial("datagrams and packets keep their boundaries; what does not fit is cut off", (t) => {
  for (const type of [SOCK_DGRAM, SOCK_SEQPACKET]) {
    const [a, b] = socketpair(type);
    write(task, a, "first");
    write(task, a, "second");
    t.is(text(b, MSG_PEEK, 3), "fir");
    t.is(call(task, "recvfrom", b, DATA, 3, MSG_TRUNC, 0, 0), 5);
    t.is(text(b), "second");
    t.is(write(task, a, new Uint8Array(SOCK_BYTES + 1)), -EMSGSIZE);
    close(a, b);
  }
});

test.serial("the end of a stream: EOF after the rest, EPIPE, ECONNRESET when data was thrown away", (t) => {
  const [a, b] = socketpair(SOCK_STREAM);
  write(task, a, "rest");
  close(a);
  t.is(poll(b), POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
  t.is(read(task, b), "rest");
  t.is(read(task, b), "");
  putBytes(DATA, Uint8Array.of(1));
  t.is(call(task, "sendto", b, DATA, 1, MSG_NOSIGNAL, 0, 0), -EPIPE);
  t.is(Task.pending.get(task, 0), 0);
  close(b);

  const [c, d] = socketpair(SOCK_STREAM);
  write(task, c, "unread");
  close(d);
  t.is(read(task, c), -ECONNRESET);
  t.is(read(task, c), "");
  close(c);
});

test.serial("shutdown ends one direction", (t) => {
  const [a, b] = socketpair(SOCK_STREAM);
  t.is(read(task, b), BLOCK);
  t.is(call(other, "shutdown", a, SHUT_WR), 0);
  t.true(woken(task));
  t.is(read(task, b), "");
  t.is(write(task, b, "still"), 5);
  t.is(read(task, a), "still");
  t.is(write(task, a, "x"), -EPIPE);
  Task.pending.set(task, 0, 0);
  t.is(poll(b) & POLLRDHUP, POLLRDHUP);
  close(a, b);
});

for (const name of ["/tmp/socket", "\0abstract"])
  test.serial(`bind, listen, connect and accept on ${JSON.stringify(name)}`, (t) => {
    const server = socket(SOCK_STREAM);
    const client = socket(SOCK_STREAM);
    t.is(onName("connect", client, `${name}-no`) < 0, true);
    t.is(onName("bind", server, name), 0);
    t.is(onName("bind", client, name), -EADDRINUSE);
    t.is(onName("connect", client, name), -ECONNREFUSED);
    t.is(call(task, "listen", server, 5), 0);
    t.is(call(task, "accept", server, 0, 0), BLOCK);
    t.is(poll(server), 0);
    t.is(onName("connect", client, name, other), 0);
    t.true(woken(task));
    t.is(poll(server), POLLIN);
    putWords(LENGTH, 110);
    const connection = call(task, "accept4", server, NAME, LENGTH, O_NONBLOCK);
    t.true(connection >= 0);
    t.deepEqual(getWords(LENGTH, 1), [2]);
    t.is(onName("connect", client, name), -EISCONN);
    write(task, client, "hello");
    t.is(read(task, connection), "hello");
    t.is(read(task, connection), -EAGAIN);

    putWords(LENGTH, 110);
    t.is(call(task, "getpeername", client, NAME, LENGTH), 0);
    const length = getWords(LENGTH, 1)[0]!;
    const shown = String.fromCharCode(...getBytes(NAME, length).subarray(2));
    t.is(shown, name.startsWith("\0") ? name : `${name}\0`);
    putWords(LENGTH, 12);
    t.is(call(task, "getsockopt", client, SOL_SOCKET, SO_PEERCRED, NAME, LENGTH), 0);
    t.deepEqual(getWords(NAME, 3), [Task.pid.get(task), 0, 0]);
    close(server, client, connection);
  });

test.serial("a full backlog makes connect wait, accept makes room, closing the listener refuses", (t) => {
  const server = socket(SOCK_STREAM);
  onName("bind", server, "\0busy");
  call(task, "listen", server, 0);
  const clients = [0, 1, 2].map(() => socket(SOCK_STREAM));
  t.is(onName("connect", clients[0]!, "\0busy"), 0);
  t.is(onName("connect", clients[1]!, "\0busy"), BLOCK);
  const connection = call(other, "accept", server, 0, 0);
  t.true(woken(task));
  t.is(onName("connect", clients[1]!, "\0busy"), 0);
  close(server);
  t.is(poll(clients[1]!) & POLLHUP, POLLHUP);
  t.is(onName("connect", clients[2]!, "\0busy"), -ECONNREFUSED);
  close(connection, ...clients);
});

test.serial("datagrams find their receiver by name, and carry the sender's", (t) => {
  const server = socket(SOCK_DGRAM);
  const client = socket(SOCK_DGRAM);
  onName("bind", server, "\0server");
  onName("bind", client, "\0client");
  t.is(sendTo(client, "question", "\0server"), 8);
  putWords(LENGTH, 110);
  t.is(call(task, "recvfrom", server, DATA, 100, 0, NAME, LENGTH), 8);
  t.is(String.fromCharCode(...getBytes(NAME, getWords(LENGTH, 1)[0]!).subarray(2)), "\0client");
  t.is(sendTo(client, "x", "\0nobody"), -ECONNREFUSED);
  t.is(onName("connect", client, "\0server"), 0);
  t.is(write(task, client, "again"), 5);
  t.is(read(task, server), "again");
  close(server);
  t.is(write(task, client, "x"), -ECONNREFUSED);
  close(client);
});

/** struct msghdr at `memory` with one byte of data at DATA and `control` bytes of control buffer. */
function message(control: number, controlLength: number): void {
  putBytes(DATA, Uint8Array.of(65));
  putBytes(memory + 512, new Uint8Array(new BigUint64Array([BigInt(DATA), 1n]).buffer));
  const words = [0, 0, memory + 512, 1, control, controlLength, 0];
  putBytes(memory, new Uint8Array(BigUint64Array.from(words, BigInt).buffer));
}

test.serial("SCM_RIGHTS passes open files, which stay open on the way", (t) => {
  const [a, b] = socketpair(SOCK_STREAM);
  call(task, "pipe2", memory, 0);
  const [r, w] = getWords(memory, 2) as [number, number];
  const control = memory + 600;
  putWords(control, 20, 0, SOL_SOCKET, SCM_RIGHTS, w);
  message(control, 20);
  t.is(call(task, "sendmsg", a, memory, 0), 1);
  close(w);
  t.is(read(task, r), BLOCK);
  message(control, 64);
  t.is(call(task, "recvmsg", b, memory, 0), 1);
  t.is(Number(getWords(memory + MSGHDR.CONTROLLEN, 1)[0]), 24);
  const [length, , level, type, passed] = getWords(control, 5);
  t.deepEqual([length, level, type], [20, SOL_SOCKET, SCM_RIGHTS]);
  t.is(write(task, passed!, "through"), 7);
  t.is(read(task, r), "through");
  close(passed!);
  t.is(read(task, r), "");
  close(a, b, r);
});

test.serial(
  "a read takes what stands before a message with descriptors and the message, and stops behind it",
  (t) => {
    const [a, b] = socketpair(SOCK_STREAM);
    const control = memory + 600;
    write(task, a, "ab");
    putWords(control, 20, 0, SOL_SOCKET, SCM_RIGHTS, b);
    message(control, 20);
    t.is(call(task, "sendmsg", a, memory, 0), 1);
    write(task, a, "cd");
    message(control, 64);
    putBytes(memory + 512, new Uint8Array(new BigUint64Array([BigInt(DATA), 100n]).buffer));
    t.is(call(task, "recvmsg", b, memory, 0), 3);
    t.is(String.fromCharCode(...getBytes(DATA, 3)), "abA");
    t.is(Number(getWords(memory + MSGHDR.CONTROLLEN, 1)[0]), 24);
    close(getWords(control, 5)[4]!);
    t.is(read(task, b), "cd");
    close(a, b);
  },
);

test.serial("SO_PASSCRED: a stream says who wrote", (t) => {
  const [a, b] = socketpair(SOCK_STREAM);
  const control = memory + 600;
  putWords(NAME, 1);
  t.is(call(task, "setsockopt", b, SOL_SOCKET, SO_PASSCRED, NAME, 4), 0);
  write(task, a, "x");
  message(control, 64);
  t.is(call(task, "recvmsg", b, memory, 0), 1);
  t.deepEqual(getWords(control, 7).slice(3), [SCM_CREDENTIALS, Task.tgid.get(task), 0, 0]);
  close(a, b);
});

test.serial("datagrams have no end: the peer may shut down and go, and others may still send", (t) => {
  const [a, b] = socketpair(SOCK_DGRAM);
  t.is(call(task, "sendto", a, DATA, 1, MSG_OOB, 0, 0), -EOPNOTSUPP);
  write(task, b, "never read");
  call(task, "shutdown", a, 1);
  t.is(text(b, MSG_DONTWAIT), -EAGAIN);
  close(a);
  t.is(text(b, MSG_DONTWAIT), -EAGAIN);
  t.is(poll(b), POLLOUT);
  t.is(write(task, b, "x"), -ECONNREFUSED);
  close(b);
  const [c, d] = socketpair(SOCK_SEQPACKET);
  close(c);
  t.is(write(task, d, "x"), -EPIPE);
  close(d);
});

test.serial("files in flight are closed when nobody receives them", (t) => {
  settle(task);
  const before = liveObjects(File);
  const [a, b] = socketpair(SOCK_STREAM);
  call(task, "pipe2", memory, 0);
  const [r, w] = getWords(memory, 2) as [number, number];
  const control = memory + 600;
  putWords(control, 20, 0, SOL_SOCKET, SCM_RIGHTS, w);
  message(control, 20);
  call(task, "sendmsg", a, memory, 0);
  close(w, a, b);
  t.is(read(task, r), "");
  close(r);
  settle(task);
  t.is(liveObjects(File), before);
  t.deepEqual([liveObjects(Sock), liveObjects(Message), liveObjects(Ring)], [0, 0, 1]);
});

test.serial("socket calls name their errors", (t) => {
  t.is(call(task, "socket", 4, SOCK_STREAM, 0), -EAFNOSUPPORT);
  t.is(call(task, "socket", AF_NETLINK, SOCK_STREAM, 0), -ESOCKTNOSUPPORT);
  t.is(call(task, "socket", AF_UNIX, SOCK_STREAM, 99), -EPROTONOSUPPORT);
  const fd = socket(SOCK_STREAM);
  t.is(call(task, "listen", fd, 5), -EINVAL);
  t.is(call(task, "accept", fd, 0, 0), -EINVAL);
  t.is(read(task, fd), -ENOTCONN);
  t.is(write(task, fd, "x"), -ENOTCONN);
  putWords(LENGTH, 4);
  t.is(call(task, "getsockopt", fd, SOL_SOCKET, SO_TYPE, NAME, LENGTH), 0);
  t.deepEqual(getWords(NAME, 1), [SOCK_STREAM]);
  call(task, "pipe2", memory, 0);
  const [r, w] = getWords(memory, 2) as [number, number];
  t.is(call(task, "listen", r, 5), -ENOTSOCK);
  close(fd, r, w);
});
