/** Netlink, netlink(7), rtnetlink(7), and netdevice(7): how programs learn of the loopback. */
import test from "ava";
import { closeFd, fget } from "../../../kernel/fs/fdtable.ts";
import { FOPS, fileOpsOf } from "../../../kernel/fs/ops.ts";
import { filePoll } from "../../../kernel/ipc/poll.ts";
import { BLOCK } from "../../../kernel/sched/block.ts";
import { Task } from "../../../kernel/task/task.ts";
import {
  EADDRINUSE,
  ECONNREFUSED,
  EFAULT,
  EINVAL,
  ENODEV,
  ENOTTY,
  EOPNOTSUPP,
  EPROTONOSUPPORT,
} from "../../../kernel/uapi/errno.ts";
import { POLLIN } from "../../../kernel/uapi/poll.ts";
import {
  AF_INET,
  AF_NETLINK,
  AF_UNIX,
  SO_TYPE,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCK_STREAM,
  SOL_SOCKET,
} from "../../../kernel/uapi/socket.ts";
import type { Ref } from "../../../rcu/index.ts";
import { around, boot, call, getBytes, getWords, putBytes, putWords } from "./machine.ts";

const { task, files, memory } = boot();
const [NAME, DATA, LENGTH] = [memory + 1024, memory + 8192, memory + 2048];
const [GETLINK, GETADDR, GETROUTE, NEWLINK] = [18, 22, 26, 16];
const [REQUEST, ACK, DUMP] = [1, 4, 0x300];

const socket = (type = SOCK_RAW, protocol = 0): number => call(task, "socket", AF_NETLINK, type, protocol);
const close = (fd: number): number => around(task, () => closeFd(files, fd));
function name(pid: number): number {
  putBytes(NAME, new Uint8Array(Int32Array.of(AF_NETLINK, pid, 0).buffer));
  return 12;
}
const bind = (fd: number, pid: number): number => call(task, "bind", fd, NAME, name(pid));
function portId(fd: number): number {
  putWords(LENGTH, 12);
  call(task, "getsockname", fd, NAME, LENGTH);
  return getWords(NAME, 2)[1]!;
}
/** Sends one request, with the family (or struct) that follows the header. */
function request(fd: number, type: number, flags: number, payload: number[], to = 0): number {
  const bytes = new Uint8Array(16 + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, 77, true);
  bytes.set(payload, 16);
  putBytes(DATA, bytes);
  return call(task, "sendto", fd, DATA, bytes.length, 0, NAME, name(to));
}
/** The messages of the next datagram: type, flags and payload; all of them answer request 77. */
function answers(fd: number): { type: number; flags: number; payload: Uint8Array }[] {
  const count = call(task, "recvfrom", fd, DATA, 8192, 0, 0, 0);
  const bytes = getBytes(DATA, count).slice();
  const view = new DataView(bytes.buffer);
  const found = [];
  for (let at = 0; at < count; at += (view.getUint32(at, true) + 3) & ~3) {
    if (view.getUint32(at + 8, true) !== 77 || view.getInt32(at + 12, true) !== portId(fd))
      throw new Error("not ours");
    const payload = bytes.slice(at + 16, at + view.getUint32(at, true));
    found.push({ type: view.getUint16(at + 4, true), flags: view.getUint16(at + 6, true), payload });
  }
  return found;
}
/** Attributes behind a fixed part, by number. */
function attributes(payload: Uint8Array, fixed: number): Map<number, number[]> {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const found = new Map<number, number[]>();
  for (let at = fixed; at < payload.length; at += (view.getUint16(at, true) + 3) & ~3)
    found.set(view.getUint16(at + 2, true), [...payload.subarray(at + 4, at + view.getUint16(at, true))]);
  return found;
}
const errno = (payload: Uint8Array): number => new DataView(payload.buffer).getInt32(0, true);

test.serial("what getifaddrs asks: the links, then the addresses, each list ended by NLMSG_DONE", (t) => {
  const fd = socket();
  t.is(bind(fd, 0), 0);
  t.is(portId(fd), Task.tgid.get(task));
  t.is(request(fd, GETLINK, REQUEST | DUMP, [0]), 17);
  t.is(filePoll(fget(files, fd) as Ref<"file">) & POLLIN, POLLIN);
  const [link, done] = answers(fd);
  t.deepEqual([link!.type, link!.flags, done!.type, done!.flags], [NEWLINK, 2, 3, 2]);
  t.deepEqual(attributes(link!.payload, 16).get(3), [...Buffer.from("lo\0")]);
  t.is(request(fd, GETADDR, REQUEST | DUMP, [0]), 17);
  const addresses = answers(fd).slice(0, -1);
  t.deepEqual(
    addresses.map(({ payload }) => [payload[0], payload[1], attributes(payload, 8).get(1)]),
    [
      [2, 8, [127, 0, 0, 1]],
      [10, 128, [...new Array(15).fill(0), 1]],
    ],
  );
  t.is(request(fd, GETADDR, REQUEST | DUMP, [AF_INET]), 17);
  t.is(answers(fd).length, 2);
  t.is(request(fd, GETROUTE, REQUEST | DUMP, [AF_INET]), 17);
  t.is(answers(fd).length, 4);
  t.is(call(task, "recvfrom", fd, DATA, 100, 0, 0, 0), BLOCK);
  call(task, "recvfrom", fd, DATA, 100, 0x40, 0, 0);
  close(fd);
});

test.serial("errors come as messages, with the request; an acknowledgement is error 0", (t) => {
  const fd = socket();
  request(fd, GETLINK, REQUEST, [0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  const [missing] = answers(fd);
  t.deepEqual([missing!.type, errno(missing!.payload), missing!.payload.length], [2, -ENODEV, 4 + 32]);
  request(fd, GETLINK, REQUEST | ACK, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  t.deepEqual(
    answers(fd).map(({ type, payload }) => [type, type === 2 ? errno(payload) : 0]),
    [
      [NEWLINK, 0],
      [2, 0],
    ],
  );
  request(fd, NEWLINK, REQUEST | ACK, [0]);
  t.is(errno(answers(fd)[0]!.payload), -EOPNOTSUPP);
  close(fd);
});

test.serial("port ids: one socket each, the process's id first, and free again after close", (t) => {
  const [a, b] = [socket(), socket(SOCK_DGRAM)];
  t.is(bind(a, 4711), 0);
  t.is(bind(b, 4711), -EADDRINUSE);
  t.is(bind(a, 4712), -EINVAL);
  t.is(bind(b, 0), 0);
  const c = socket();
  t.is(bind(c, 0), 0);
  t.true(portId(c) < 0);
  close(a);
  const d = socket();
  t.is(bind(d, 4711), 0);
  t.is(request(d, GETLINK, REQUEST | DUMP, [0], 4711), -ECONNREFUSED);
  for (const fd of [b, c, d]) close(fd);
  t.is(socket(SOCK_RAW, 9), -EPROTONOSUPPORT);
  const raw = socket(SOCK_RAW);
  putWords(LENGTH, 4);
  call(task, "getsockopt", raw, SOL_SOCKET, SO_TYPE, NAME, LENGTH);
  t.is(getWords(NAME, 1)[0], SOCK_RAW);
  close(raw);
});

test.serial(
  "a datagram that was only partly read is gone, and a peek with MSG_TRUNC tells its length",
  (t) => {
    const fd = socket();
    request(fd, GETLINK, REQUEST | DUMP, [0]);
    const length = call(task, "recvfrom", fd, DATA, 1, 0x22, 0, 0);
    t.true(length > 32);
    t.is(call(task, "recvfrom", fd, DATA, 8, 0, 0, 0), 8);
    t.is(call(task, "recvfrom", fd, DATA, 8, 0x40, 0, 0), -11);
    close(fd);
  },
);

test.serial("ioctl names the interface by number and by name; addresses go to internet sockets", (t) => {
  const ioctl = (fd: number, command: number, address = NAME): number =>
    around(task, () => fileOpsOf(FOPS.SOCKET).ioctl!(fget(files, fd) as Ref<"file">, command, address));
  const ifreq = (text: string, value = 0): void => {
    const bytes = new Uint8Array(40);
    bytes.set(Buffer.from(text));
    bytes[16] = value;
    putBytes(NAME, bytes);
  };
  const inet = call(task, "socket", AF_INET, SOCK_DGRAM, 0);
  const unix = call(task, "socket", AF_UNIX, SOCK_DGRAM, 0);
  ifreq("lo");
  t.is(ioctl(unix, 0x8933), 0);
  t.is(getWords(NAME + 16, 1)[0], 1);
  ifreq("", 1);
  t.is(ioctl(unix, 0x8910), 0);
  t.is(String.fromCharCode(...getBytes(NAME, 3)), "lo\0");
  ifreq("", 2);
  t.is(ioctl(unix, 0x8910), -ENODEV);
  ifreq("eth0");
  t.is(ioctl(inet, 0x8913), -ENODEV);
  ifreq("lo");
  t.is(ioctl(unix, 0x8915), -ENOTTY);
  t.is(ioctl(inet, 0x8915), 0);
  t.deepEqual([...getBytes(NAME + 16, 8)], [2, 0, 0, 0, 127, 0, 0, 1]);
  putWords(NAME, 80, 0, NAME + 64, 0);
  t.is(ioctl(inet, 0x8912), 0);
  t.is(getWords(NAME, 1)[0], 40);
  t.is(String.fromCharCode(...getBytes(NAME + 64, 3)), "lo\0");
  t.is(ioctl(inet, 0x1234), -ENOTTY);
  t.is(ioctl(inet, 0x8905), -ENOTTY);
  const tcp = call(task, "socket", AF_INET, SOCK_STREAM, 0);
  putWords(NAME, -1);
  t.is(ioctl(tcp, 0x8905), 0, "SIOCATMARK");
  t.is(getWords(NAME, 1)[0], 0);
  t.is(ioctl(tcp, 0x8905, 1), -EFAULT);
  close(tcp);
  close(inet);
  close(unix);
});
