/** Calls on descriptors, and those that make some. */
import { EAGAIN, EBADF, ENOTTY, EPERM } from "../../../../kernel/uapi/errno.ts";
import { F_GETFL } from "../../../../kernel/uapi/fcntl.ts";
import type { Steps } from "../../program.ts";
import { type MixCall, opens, plain, undone } from "./call.ts";
import { CHUNK, DATA_BYTES, EPOLL_ADD, type MixWorld } from "./world.ts";

const FIONREAD = 0x541b;
const TCGETS = 0x5401;
const EPOLL_MOD = 3;

/** Descriptors that a call stored in the buffer: closed. */
const pairClosed = function* (world: MixWorld): Steps<void> {
  const bytes = new DataView(world.sys.memory.read(world.buffer, 8).buffer);
  yield* world.also("close", bytes.getInt32(0, true));
  yield* world.also("close", bytes.getInt32(4, true));
};
const rewound = function* (world: MixWorld, n: number): Steps<void> {
  if (n < CHUNK) yield* world.also("lseek", world.data, 0, 0);
};
export const DESCRIPTOR_CALLS: readonly (readonly [string, MixCall])[] = [
  undone("read", (w) => [w.data, w.buffer, CHUNK], rewound, [EAGAIN, (w) => [w.event, w.buffer, 8]]),
  undone("readv", (w) => [w.data, w.at.iov, 2], rewound, [EAGAIN, (w) => [w.event, w.at.iov, 2]]),
  plain("pread64", (w) => [w.data, w.buffer, CHUNK, 4096], [EBADF, (w) => [-1, w.buffer, CHUNK, 0]]),
  plain("preadv", (w) => [w.data, w.at.iov, 2, 4096, 0]),
  plain("write", (w) => [w.sink, w.buffer, CHUNK], [EBADF, (w) => [-1, w.buffer, CHUNK]]),
  plain("writev", (w) => [w.sink, w.at.iov, 2], [EBADF, (w) => [-1, w.at.iov, 2]]),
  plain("pwrite64", (w) => [w.data, w.buffer, CHUNK, 4096], [EBADF, (w) => [-1, w.buffer, CHUNK, 0]]),
  plain("pwritev", (w) => [w.data, w.at.iov, 2, 4096, 0]),
  plain("lseek", (w) => [w.data, 0, 0], [EBADF, () => [-1, 0, 0]]),
  plain("fstat", (w) => [w.data, w.buffer], [EBADF, (w) => [-1, w.buffer]]),
  plain("fstatfs", (w) => [w.data, w.buffer]),
  plain("fchmod", (w) => [w.data, 0o644]),
  plain("ftruncate", (w) => [w.data, DATA_BYTES], [EBADF, () => [-1, 0]]),
  plain("fallocate", (w) => [w.data, 0, 0, DATA_BYTES]),
  plain("fsync", (w) => [w.data]),
  plain("fdatasync", (w) => [w.data]),
  plain("fadvise64", (w) => [w.data, 0, 0, 0]),
  plain("flock", (w) => [w.data, 8]),
  plain("fcntl", (w) => [w.data, F_GETFL, 0], [EBADF, () => [-1, F_GETFL, 0]]),
  plain("ioctl", (w) => [w.pipe[0], FIONREAD, w.buffer], [ENOTTY, (w) => [w.data, TCGETS, w.buffer]]),
  undone(
    "getdents64",
    (w) => [w.folder, w.buffer, 4096],
    (w) => w.also("lseek", w.folder, 0, 0),
  ),
  opens("dup", (w) => [w.data]),
  opens("dup3", (w) => [w.data, 1000, 0]),
  opens("eventfd2", () => [0, 0]),
  opens("epoll_create1", () => [0]),
  opens("timerfd_create", () => [1, 0]),
  opens("memfd_create", (w) => [w.at.file, 0]),
  opens("pidfd_open", (w) => [w.pid, 0]),
  opens("socket", () => [1, 1, 0]),
  undone("pipe2", (w) => [w.buffer, 0], pairClosed),
  undone("socketpair", (w) => [1, 1, 0, w.buffer], pairClosed),

  // Sockets, and waiting for files without waiting.
  undone(
    "sendto",
    (w) => [w.sockets[0], w.buffer, 64, 0, 0, 0],
    (w) => w.also("recvfrom", w.sockets[1], w.buffer, 64, 0, 0, 0),
  ),
  undone(
    "sendmsg",
    (w) => [w.sockets[0], w.at.msg, 0],
    (w) => w.also("recvfrom", w.sockets[1], w.buffer, CHUNK, 0, 0, 0),
  ),
  ...(["recvfrom", "recvmsg"] as const).map((name): [string, MixCall] => [
    name,
    {
      *run(world) {
        yield* world.also("sendto", world.sockets[0], world.buffer, 64, 0, 0, 0);
        const rest = name === "recvmsg" ? [world.at.msg, 0] : [world.buffer, 64, 0, 0, 0];
        return yield* world.sys.call(name, world.sockets[1], ...rest);
      },
    },
  ]),
  plain("epoll_ctl", (w) => [w.ep, EPOLL_MOD, w.event, w.at.event], [
    EPERM,
    (w) => [w.ep, EPOLL_ADD, w.data, w.at.event],
  ]),
  plain("epoll_pwait", (w) => [w.ep, w.buffer, 8, 0, 0, 8]),
  plain("ppoll", (w) => [w.at.polls, 1, w.at.now, 0, 8]),
  plain("pselect6", (w) => [0, 0, 0, 0, w.at.now, 0]),
];
