/** Pipes, sockets, and waiting for files: pipe(2), unix(7), eventfd(2), epoll(7), poll(2). */
import { AF_UNIX, SOCK_STREAM, SOMAXCONN } from "../../../kernel/uapi/socket.ts";
import type { Steps } from "../program.ts";
import { SysError, timespecWords } from "./calls.ts";
import { FileCalls } from "./files.ts";

export interface EpollEvent {
  readonly events: number;
  readonly data: number;
}
export interface PollFd {
  readonly fd: number;
  readonly events: number;
}

export abstract class EventCalls extends FileCalls {
  /** [read end, write end]. Throws when there is no room for one: programs hardly ever handle that. */
  pipe(flags = 0): Steps<readonly [number, number]> {
    const self = this;
    return this.withScratch(function* (scratch): Steps<readonly [number, number]> {
      const pair = scratch.reserve(8);
      const n = yield* self.call("pipe2", pair, flags);
      if (n < 0) throw new SysError("pipe2", -n);
      const view = scratch.view(pair, 8);
      return [view.getInt32(0, true), view.getInt32(4, true)];
    });
  }

  // Sockets: AF_UNIX is the only family there is. A path that begins with NUL is an abstract name.

  socket(type = SOCK_STREAM): Steps<number> {
    return this.call("socket", AF_UNIX, type, 0);
  }
  /** Two connected sockets. Throws SysError when there is no room for them. */
  socketpair(type = SOCK_STREAM): Steps<readonly [number, number]> {
    const self = this;
    return this.withScratch(function* (scratch): Steps<readonly [number, number]> {
      const pair = scratch.reserve(8);
      const n = yield* self.call("socketpair", AF_UNIX, type, 0, pair);
      if (n < 0) throw new SysError("socketpair", -n);
      const view = scratch.view(pair, 8);
      return [view.getInt32(0, true), view.getInt32(4, true)];
    });
  }
  bind(fd: number, path: string): Steps<number> {
    return this.#withAddress("bind", fd, path);
  }
  connect(fd: number, path: string): Steps<number> {
    return this.#withAddress("connect", fd, path);
  }
  listen(fd: number, backlog = SOMAXCONN): Steps<number> {
    return this.call("listen", fd, backlog);
  }
  /** `flags`: SOCK_NONBLOCK, SOCK_CLOEXEC. */
  accept(fd: number, flags = 0): Steps<number> {
    return this.call("accept4", fd, 0, 0, flags);
  }
  /** `how`: SHUT_RD 0, SHUT_WR 1, SHUT_RDWR 2. */
  shutdown(fd: number, how: number): Steps<number> {
    return this.call("shutdown", fd, how);
  }
  #withAddress(name: string, fd: number, path: string): Steps<number> {
    const self = this;
    const text = Buffer.from(path);
    // struct sockaddr_un; an abstract name has no terminator, its length says where it ends.
    const address = Buffer.concat([Uint8Array.of(AF_UNIX, 0), text, new Uint8Array(text[0] === 0 ? 0 : 1)]);
    return this.withScratch(function* (scratch) {
      return yield* self.call(name, fd, scratch.put(address), address.length);
    });
  }

  // Waiting for files.

  eventfd(initial = 0, flags = 0): Steps<number> {
    return this.call("eventfd2", initial, flags);
  }
  epollCreate(flags = 0): Steps<number> {
    return this.call("epoll_create1", flags);
  }
  epollCtl(epfd: number, operation: number, fd: number, events = 0, data = fd): Steps<number> {
    const self = this;
    return this.withScratch(function* (scratch) {
      return yield* self.call("epoll_ctl", epfd, operation, fd, scratch.putWords([events >>> 0, data]));
    });
  }
  /** Milliseconds; -1 waits without end. */
  epollWait(epfd: number, max: number, timeout: number): Steps<EpollEvent[] | number> {
    const self = this;
    return this.withScratch(function* (scratch): Steps<EpollEvent[] | number> {
      const buffer = scratch.reserve(16 * max);
      const n = yield* self.call("epoll_pwait", epfd, buffer, max, timeout, 0, 8);
      if (n <= 0) return n < 0 ? n : [];
      const view = scratch.view(buffer, 16 * n);
      return Array.from({ length: n }, (_, i) => ({
        events: view.getUint32(16 * i, true),
        data: Number(view.getBigInt64(16 * i + 8, true)),
      }));
    });
  }
  /** The returned events of each descriptor, or -errno. */
  poll(fds: readonly PollFd[], timeout: number): Steps<number[] | number> {
    const self = this;
    return this.withScratch(function* (scratch): Steps<number[] | number> {
      const bytes = new DataView(new ArrayBuffer(fds.length * 8));
      fds.forEach(({ fd, events }, i) => {
        bytes.setInt32(8 * i, fd, true);
        bytes.setInt16(8 * i + 4, events, true);
      });
      const buffer = scratch.put(new Uint8Array(bytes.buffer));
      const limit = timeout < 0 ? 0 : scratch.putWords(timespecWords(timeout));
      const n = yield* self.call("ppoll", buffer, fds.length, limit, 0, 8);
      if (n < 0) return n;
      const view = scratch.view(buffer, fds.length * 8);
      return fds.map((_, i) => view.getUint16(8 * i + 6, true));
    });
  }
}
