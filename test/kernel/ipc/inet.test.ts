/** TCP and UDP on the loopback, tcp(7), udp(7), ip(7), ipv6(7). What real Linux answers was recorded with the same calls from Python. */
import test from "ava";
import fc from "fast-check";
import { closeFd, fget } from "../../../kernel/fs/fdtable.ts";
import { inetAutobind } from "../../../kernel/ipc/inet-name.ts";
import { filePoll } from "../../../kernel/ipc/poll.ts";
import { Ring } from "../../../kernel/ipc/ring.ts";
import { Message, Sock } from "../../../kernel/ipc/sock.ts";
import { sockOf } from "../../../kernel/ipc/sock-connect.ts";
import { BLOCK } from "../../../kernel/sched/block.ts";
import { Task } from "../../../kernel/task/task.ts";
import {
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAFNOSUPPORT,
  EAGAIN,
  ECONNREFUSED,
  ECONNRESET,
  EDESTADDRREQ,
  EINPROGRESS,
  EINVAL,
  EISCONN,
  EMSGSIZE,
  ENETUNREACH,
  ENOPROTOOPT,
  ENOTCONN,
  EOPNOTSUPP,
  EPIPE,
  EPROTONOSUPPORT,
  ESOCKTNOSUPPORT,
} from "../../../kernel/uapi/errno.ts";
import { O_NONBLOCK } from "../../../kernel/uapi/fcntl.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP } from "../../../kernel/uapi/poll.ts";
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  IPPROTO_IPV6,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPV6_V6ONLY,
  SHUT_RDWR,
  SHUT_WR,
  SO_DOMAIN,
  SO_ERROR,
  SO_PROTOCOL,
  SO_REUSEADDR,
  SOCK_DGRAM,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  SOL_SOCKET,
  TCP_NODELAY,
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
const closeAll = (): void => close(...Array.from({ length: 64 }, (_, fd) => fd));
const poll = (fd: number): number => filePoll(fget(files, fd) as Ref<"file">) & ~0x140;

/** `127.0.0.1:80`, `[::1]:80` as a struct sockaddr at NAME; its length. */
function sockaddr(name: string): number {
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(name)!;
  const six = host!.includes(":");
  const bytes = new Uint8Array(six ? 28 : 16);
  bytes.set([six ? AF_INET6 : AF_INET, 0, Number(port) >> 8, Number(port) & 255]);
  if (six) {
    const mapped = /^::ffff:(.*)$/.exec(host!);
    if (mapped !== null) bytes.set([0xff, 0xff, ...mapped[1]!.split(".").map(Number)], 18);
    else if (host === "::1") bytes[23] = 1;
    else if (host !== "::") bytes[8] = 0x20;
  } else bytes.set(host!.split(".").map(Number), 4);
  putBytes(NAME, bytes);
  return bytes.length;
}
/** The struct sockaddr at NAME, as text. */
function shown(): string {
  const length = getWords(LENGTH, 1)[0]!;
  if (length === 0) return "";
  const bytes = getBytes(NAME, length);
  const port = (bytes[2]! << 8) | bytes[3]!;
  if (bytes[0] === AF_INET) return `${bytes.subarray(4, 8).join(".")}:${port}`;
  if (bytes[18] === 0xff) return `[::ffff:${bytes.subarray(20, 24).join(".")}]:${port}`;
  return `[::${bytes[23] === 1 ? "1" : ""}]:${port}`;
}
const socket = (type: number, family = AF_INET): number => call(task, "socket", family, type, 0);
const onName = (what: string, fd: number, name: string, as = task): number =>
  call(as, what, fd, NAME, sockaddr(name));
function nameOf(what: string, fd: number): string | number {
  putWords(LENGTH, 28);
  const error = call(task, what, fd, NAME, LENGTH);
  return error < 0 ? error : shown();
}
function sendTo(fd: number, data: string, name: string): number {
  putBytes(DATA, new TextEncoder().encode(data));
  return call(task, "sendto", fd, DATA, data.length, 0, NAME, sockaddr(name));
}
/** What was received, and from whom. */
function receiveFrom(fd: number): [string, string] | number {
  putWords(LENGTH, 28);
  const count = call(task, "recvfrom", fd, DATA, 4096, 0, NAME, LENGTH);
  if (count < 0) return count;
  return [String.fromCharCode(...getBytes(DATA, count)), shown()];
}
function setOption(fd: number, level: number, option: number, value: number): number {
  putWords(NAME, value);
  return call(task, "setsockopt", fd, level, option, NAME, 4);
}
function getOption(fd: number, level: number, option: number): number {
  putWords(LENGTH, 4);
  const error = call(task, "getsockopt", fd, level, option, NAME, LENGTH);
  return error < 0 ? error : getWords(NAME, 1)[0]!;
}
/** A listener on `host` with a port of the kernel's choice, and the port. */
function listener(host = "127.0.0.1", flags = 0): [number, number] {
  const fd = socket(SOCK_STREAM | flags, host.includes(":") ? AF_INET6 : AF_INET);
  onName("bind", fd, `${host.includes(":") ? `[${host}]` : host}:0`);
  call(task, "listen", fd, 5);
  return [fd, Number(/:(\d+)$/.exec(String(nameOf("getsockname", fd)))![1])];
}
function connected(): [server: number, client: number, listener: number] {
  const [server, port] = listener();
  const client = socket(SOCK_STREAM);
  onName("connect", client, `127.0.0.1:${port}`);
  return [call(task, "accept", server, 0, 0), client, server];
}

test.serial("TCP: bind, listen, connect and accept; both ends know each other's names", (t) => {
  const server = socket(SOCK_STREAM);
  const client = socket(SOCK_STREAM);
  t.is(nameOf("getsockname", server), "0.0.0.0:0");
  t.is(onName("bind", server, "127.0.0.1:8080"), 0);
  t.is(onName("bind", server, "127.0.0.1:8081"), -EINVAL);
  t.is(onName("connect", client, "127.0.0.1:8080"), -ECONNREFUSED);
  t.is(call(task, "listen", server, 5), 0);
  t.is(call(task, "accept", server, 0, 0), BLOCK);
  t.is(nameOf("getpeername", client), -ENOTCONN);
  t.is(onName("connect", client, "0.0.0.0:8080", other), 0);
  t.true(woken(task));
  putWords(LENGTH, 28);
  const connection = call(task, "accept4", server, NAME, LENGTH, O_NONBLOCK);
  const accepted = shown();
  t.regex(accepted, /^127\.0\.0\.1:\d{5}$/);
  t.is(nameOf("getsockname", client), accepted);
  t.is(nameOf("getpeername", client), "127.0.0.1:8080");
  t.is(nameOf("getsockname", connection), "127.0.0.1:8080");
  t.is(nameOf("getpeername", connection), accepted);
  t.is(onName("connect", client, "127.0.0.1:8080"), -EISCONN);
  write(task, client, "hello");
  t.deepEqual(receiveFrom(connection), ["hello", ""]);
  t.is(read(task, connection), -EAGAIN);
  close(connection, client, server);
});

test.serial(
  "TCP: a connect that may not wait is in progress; poll, SO_ERROR and the next connect tell how it went",
  (t) => {
    const [server, port] = listener();
    const client = socket(SOCK_STREAM | O_NONBLOCK);
    t.is(onName("connect", client, `127.0.0.1:${port}`), -EINPROGRESS);
    t.is(poll(client), POLLOUT);
    t.is(getOption(client, SOL_SOCKET, SO_ERROR), 0);
    t.is(onName("connect", client, `127.0.0.1:${port}`), 0);
    t.is(onName("connect", client, `127.0.0.1:${port}`), -EISCONN);
    close(server);
    const [asked, again] = [socket(SOCK_STREAM | O_NONBLOCK), socket(SOCK_STREAM | O_NONBLOCK)];
    t.is(onName("connect", asked, `127.0.0.1:${port}`), -EINPROGRESS);
    t.is(poll(asked) & (POLLOUT | POLLERR | POLLHUP), POLLOUT | POLLERR | POLLHUP);
    t.is(getOption(asked, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    t.is(onName("connect", again, `127.0.0.1:${port}`), -EINPROGRESS);
    t.is(onName("connect", again, `127.0.0.1:${port}`), -ECONNREFUSED);
    closeAll();
  },
);

test.serial("TCP: each direction ends by itself, and thrown-away data resets the connection", (t) => {
  const [server, client, listening] = connected();
  t.is(poll(client), POLLOUT);
  call(task, "shutdown", client, SHUT_WR);
  t.is(poll(server), POLLIN | POLLOUT | POLLRDHUP);
  t.is(read(task, server), "");
  t.is(write(task, server, "still"), 5);
  t.is(read(task, client), "still");
  t.is(write(task, client, "x"), -EPIPE);
  Task.pending.set(task, 0, 0);
  call(task, "shutdown", server, SHUT_WR);
  t.is(poll(client) & (POLLHUP | POLLRDHUP), POLLHUP | POLLRDHUP);
  t.is(call(task, "shutdown", client, SHUT_RDWR), -ENOTCONN);
  close(server, client, listening);

  const [reset, left, again] = connected();
  write(task, left, "unread");
  close(reset);
  t.is(read(task, left), -ECONNRESET);
  close(left, again);
});

test.serial("ports: who may have one, and who is found", (t) => {
  const [a, port] = listener();
  const b = socket(SOCK_STREAM);
  t.is(onName("bind", b, `127.0.0.1:${port}`), -EADDRINUSE);
  t.is(onName("bind", b, `0.0.0.0:${port}`), -EADDRINUSE);
  t.is(onName("bind", b, `127.0.0.2:${port}`), 0);
  t.is(onName("bind", socket(SOCK_DGRAM), `127.0.0.1:${port}`), 0);
  t.is(onName("bind", socket(SOCK_STREAM), "10.1.2.3:0"), -EADDRNOTAVAIL);
  t.is(onName("connect", socket(SOCK_STREAM), `127.0.0.2:${port}`), -ECONNREFUSED);
  t.is(onName("connect", socket(SOCK_STREAM), "10.1.2.3:80"), -ENETUNREACH);
  close(a);
  t.is(onName("connect", socket(SOCK_STREAM), `127.0.0.1:${port}`), -ECONNREFUSED);
  t.is(onName("bind", socket(SOCK_STREAM), `127.0.0.1:${port}`), 0);
  closeAll();

  const [c, d] = [socket(SOCK_STREAM), socket(SOCK_STREAM)];
  for (const fd of [c, d]) t.is(setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1), 0);
  t.is(onName("bind", c, "127.0.0.1:9000"), 0);
  t.is(onName("bind", d, "0.0.0.0:9000"), 0);
  t.is(call(task, "listen", c, 1), 0);
  t.is(call(task, "listen", d, 1), -EADDRINUSE);
  close(c, d);
});

test.serial("a socket that two threads send from at once gets one port", (t) => {
  const fd = call(task, "socket", AF_INET, SOCK_DGRAM, 0);
  const sock = sockOf(fget(files, fd) as Ref<"file">);
  // Both have seen that it has none.
  t.is(inetAutobind(sock, 0), 0);
  const port = Sock.port.load(sock);
  for (let n = 0; n < 5; n++) t.is(inetAutobind(sock, 0), 0);
  t.is(Sock.port.load(sock), port);
  close(fd);
});

test.serial("IPv6 takes IPv4 connections unless it is told not to", (t) => {
  const [server, port] = listener("::");
  const [four, six] = [socket(SOCK_STREAM), socket(SOCK_STREAM, AF_INET6)];
  t.is(onName("connect", four, `127.0.0.1:${port}`), 0);
  t.is(onName("connect", six, `[::1]:${port}`), 0);
  const [x, y] = [call(task, "accept", server, 0, 0), call(task, "accept", server, 0, 0)];
  t.is(nameOf("getsockname", x), `[::ffff:127.0.0.1]:${port}`);
  t.is(nameOf("getpeername", four), `127.0.0.1:${port}`);
  t.is(nameOf("getsockname", y), `[::1]:${port}`);
  t.is(onName("bind", socket(SOCK_STREAM), `0.0.0.0:${port}`), -EADDRINUSE);
  const mapped = socket(SOCK_STREAM, AF_INET6);
  t.is(onName("connect", mapped, `[::ffff:127.0.0.1]:${port}`), 0);
  t.is(onName("connect", socket(SOCK_STREAM, AF_INET6), `127.0.0.1:${port}`), -EINVAL);
  t.is(onName("connect", socket(SOCK_STREAM), `[::1]:${port}`), -EAFNOSUPPORT);
  closeAll();

  const only = socket(SOCK_STREAM, AF_INET6);
  t.is(setOption(only, IPPROTO_IPV6, IPV6_V6ONLY, 1), 0);
  t.is(onName("bind", only, "[::]:9001"), 0);
  t.is(call(task, "listen", only, 1), 0);
  t.is(onName("connect", socket(SOCK_STREAM), "127.0.0.1:9001"), -ECONNREFUSED);
  t.is(onName("bind", socket(SOCK_STREAM), "0.0.0.0:9001"), 0);
  closeAll();
});

test.serial("UDP: datagrams carry their sender's name; a connected socket hears only its peer", (t) => {
  const [a, b, c] = [0, 0, 0].map(() => socket(SOCK_DGRAM | O_NONBLOCK)) as [number, number, number];
  t.is(onName("bind", a, "0.0.0.0:5353"), 0);
  t.is(write(task, b, "x"), -EDESTADDRREQ);
  t.is(sendTo(b, "question", "127.0.0.1:5353"), 8);
  const [text, from] = receiveFrom(a) as [string, string];
  t.is(text, "question");
  t.is(from, String(nameOf("getsockname", b)).replace("0.0.0.0", "127.0.0.1"));
  t.is(sendTo(b, "", "127.0.0.1:5353"), 0);
  t.deepEqual(receiveFrom(a), ["", from]);
  t.is(receiveFrom(a), -EAGAIN);

  t.is(onName("connect", b, "127.0.0.1:5353"), 0);
  t.is(nameOf("getpeername", b), "127.0.0.1:5353");
  t.is(sendTo(c, "stranger", from), 8);
  t.is(sendTo(a, "answer", from), 6);
  t.deepEqual(receiveFrom(b), ["answer", "127.0.0.1:5353"]);
  t.is(receiveFrom(b), -EAGAIN);
  t.is(write(task, b, new Uint8Array(65508)), -EMSGSIZE);

  close(a);
  t.is(write(task, b, "lost"), 4);
  t.is(write(task, b, "told"), -ECONNREFUSED);
  putBytes(NAME, Uint8Array.of(AF_UNSPEC, 0));
  t.is(call(task, "connect", b, NAME, 16), 0);
  t.is(nameOf("getpeername", b), -ENOTCONN);
  t.is(sendTo(c, "nobody hears", "127.0.0.1:5353"), 12);
  t.is(sendTo(c, "nor there", "10.0.0.1:5353"), -ENETUNREACH);
  close(b, c);
});

test.serial("UDP never waits: it keeps the oldest datagrams that fit, whole and in order", (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 60_000 }), { minLength: 1, maxLength: 12 }), (sizes) => {
      const [to, from] = [socket(SOCK_DGRAM | O_NONBLOCK), socket(SOCK_DGRAM)];
      onName("bind", to, "127.0.0.1:7000");
      onName("connect", from, "127.0.0.1:7000");
      const kept: number[] = [];
      let room = 212992;
      for (const size of sizes) {
        t.is(write(task, from, new Uint8Array(size)), size);
        if (size <= room) kept.push(size);
        if (size <= room) room -= size;
      }
      const got: number[] = [];
      for (let count = 0; count >= 0; ) {
        count = call(task, "recvfrom", to, DATA, 1, 0x20, 0, 0);
        if (count >= 0) got.push(count);
      }
      t.deepEqual(got, kept);
      close(to, from);
    }),
    { numRuns: 20 },
  );
});

test.serial("options are remembered; what is not there is named", (t) => {
  const [tcp, udp] = [socket(SOCK_STREAM), socket(SOCK_DGRAM, AF_INET6)];
  t.is(getOption(tcp, IPPROTO_TCP, TCP_NODELAY), 0);
  t.is(setOption(tcp, IPPROTO_TCP, TCP_NODELAY, 1), 0);
  t.is(getOption(tcp, IPPROTO_TCP, TCP_NODELAY), 1);
  t.is(getOption(tcp, IPPROTO_TCP, 99), -ENOPROTOOPT);
  t.is(getOption(udp, IPPROTO_TCP, TCP_NODELAY), -EOPNOTSUPP);
  t.is(getOption(udp, SOL_SOCKET, SO_DOMAIN), AF_INET6);
  t.is(getOption(udp, SOL_SOCKET, SO_PROTOCOL), IPPROTO_UDP);
  t.is(socket(SOCK_SEQPACKET), -ESOCKTNOSUPPORT);
  t.is(call(task, "socket", AF_INET, SOCK_STREAM, IPPROTO_UDP), -EPROTONOSUPPORT);
  t.is(call(task, "socketpair", AF_INET, SOCK_STREAM, 0, memory), -EOPNOTSUPP);
  t.is(call(task, "listen", udp, 1), -EOPNOTSUPP);
  close(tcp, udp);
});

test.serial("closed sockets leave nothing behind", (t) => {
  const pipes = liveObjects(Ring);
  const [server, client, listening] = connected();
  const waiting = socket(SOCK_STREAM);
  onName("connect", waiting, String(nameOf("getsockname", listening)));
  write(task, client, "in flight");
  const udp = socket(SOCK_DGRAM);
  onName("bind", udp, "127.0.0.1:7001");
  sendTo(udp, "to myself", "127.0.0.1:7001");
  close(listening, client, server, waiting, udp);
  settle(task);
  t.deepEqual([liveObjects(Sock), liveObjects(Message), liveObjects(Ring)], [0, 0, pipes]);
});
