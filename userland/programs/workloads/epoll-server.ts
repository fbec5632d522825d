/** A server that waits with epoll, and clients that send requests and check the echo: over unix sockets or pairs of pipes. */

import { EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN } from "../../../kernel/uapi/epoll.ts";
import { EAGAIN } from "../../../kernel/uapi/errno.ts";
import { SOCK_NONBLOCK, SOCK_STREAM } from "../../../kernel/uapi/socket.ts";
import { Crew, Worker } from "../crew.ts";
import { program, type Steps } from "../program.ts";
import { type Sys, SysError } from "../sys.ts";
import { choice, count, readOptions, report } from "../workload.ts";

const EVENTS = 64;

export default program(
  function* (sys, argv) {
    const options = yield* readOptions(sys, argv, {
      name: "epoll-server",
      about: "Clients send requests to one server, which sends them back. An iteration is a request.",
      options: {
        clients: count("client processes", 4, 1, 256),
        transport: choice("unix sockets, or two pipes for each client", ["unix", "pipe"]),
        size: count("bytes of a request", 64, 8, 4096),
      },
    });
    if (typeof options === "number") return options;
    const { clients, transport, size, iterations, seconds } = options;
    const crew = yield* Crew.create(sys, { workers: clients + 1, iterations, counters: 2 });
    // The server is on the first CPU; the clients take turns on the others, or share the only one.
    const others = crew.cpus.length > 1 ? crew.cpus.slice(1) : crew.cpus;
    const cpuOf = (client: number) => others[client % others.length]!;
    if (transport === "unix") {
      const name = `\0epoll-server.${yield* sys.getpid()}`;
      const listener = yield* sys.ok(sys.socket(SOCK_STREAM | SOCK_NONBLOCK));
      yield* sys.ok(sys.bind(listener, name));
      yield* sys.ok(sys.listen(listener));
      yield* crew.add("server", [clients, "unix", listener], crew.cpus[0]);
      // A NUL cannot stand in an argument.
      for (let i = 0; i < clients; i++) yield* crew.add("socketClient", [size, name.slice(1)], cpuOf(i));
    } else {
      const ends: number[] = [];
      for (let i = 0; i < clients; i++) {
        const [requests, send] = yield* sys.pipe();
        const [receive, replies] = yield* sys.pipe();
        yield* crew.add("pipeClient", [size, receive, send, requests, replies], cpuOf(i));
        yield* sys.close(send);
        yield* sys.close(receive);
        ends.push(requests, replies);
      }
      yield* crew.add("server", [clients, "pipe", ...ends], crew.cpus[0]);
      for (const fd of ends) yield* sys.close(fd);
    }
    const result = yield* crew.run(seconds);
    if (result === null) return 1;
    const [echoed, waits] = result.counters as [number, number];
    if (echoed !== size * result.operations) {
      yield* sys.writeAll(
        2,
        `epoll-server: ${echoed} bytes echoed for ${result.operations} requests of ${size}\n`,
      );
      return 1;
    }
    yield* report(sys, {
      workload: "epoll-server",
      unit: "requests",
      operations: result.operations,
      seconds: result.seconds,
      workers: clients + 1,
      cpus: crew.cpus.length,
      details: { transport, clients, size, waits, echoed },
    });
    return 0;
  },
  {
    *server(sys, argv) {
      const worker = new Worker(sys, argv);
      const [clients, transport, ...fds] = worker.args;
      const ends = fds.map(Number);
      const ep = yield* sys.ok(sys.epollCreate());
      /** Where the answers to what comes from a descriptor go. */
      const replies = new Map<number, number>();
      const listener = transport === "unix" ? ends[0]! : -1;
      const watch = (fd: number) => sys.ok(sys.epollCtl(ep, EPOLL_CTL_ADD, fd, EPOLLIN));
      if (listener >= 0) yield* watch(listener);
      else
        for (let i = 0; i < ends.length; i += 2) {
          replies.set(ends[i]!, ends[i + 1]!);
          yield* watch(ends[i]!);
        }
      const buffer = new Uint8Array(4096);
      let [echoed, waits, gone] = [0, 0, 0];
      yield* worker.begin();
      while (gone < Number(clients)) {
        const events = yield* sys.ok(sys.epollWait(ep, EVENTS, -1));
        waits++;
        for (const { data: fd } of events) {
          if (fd === listener) {
            for (;;) {
              const client = yield* sys.accept(listener);
              if (client === -EAGAIN) break;
              if (client < 0) throw new SysError("accept4", -client);
              replies.set(client, client);
              yield* watch(client);
            }
            continue;
          }
          const n = yield* sys.ok(sys.read(fd, buffer));
          if (n > 0) echoed += yield* sys.ok(sys.writeAll(replies.get(fd)!, buffer.subarray(0, n)));
          else {
            // End of file. A client that was forked later may hold a copy, so closing would not take it off the set.
            gone++;
            yield* sys.ok(sys.epollCtl(ep, EPOLL_CTL_DEL, fd));
            yield* sys.ok(sys.close(fd));
            if (replies.get(fd) !== fd) yield* sys.ok(sys.close(replies.get(fd)!));
          }
        }
      }
      return yield* worker.end(echoed, waits);
    },
    *socketClient(sys, argv) {
      const worker = new Worker(sys, argv);
      const fd = yield* sys.ok(sys.socket());
      yield* sys.ok(sys.connect(fd, `\0${worker.args[1]}`));
      return yield* ask(sys, worker, fd, fd);
    },
    *pipeClient(sys, argv) {
      const worker = new Worker(sys, argv);
      const [receive, send, ...servers] = worker.args.slice(1).map(Number) as [number, number, ...number[]];
      for (const fd of servers) yield* sys.ok(sys.close(fd));
      return yield* ask(sys, worker, receive, send);
    },
  },
);

/** Requests that carry their number, one after the other; closes the connection at the end. */
function* ask(sys: Sys, worker: Worker, receive: number, send: number): Steps<number> {
  const size = Number(worker.args[0]);
  const request = Buffer.alloc(size, worker.index);
  const reply = Buffer.alloc(size);
  yield* worker.begin();
  while (worker.goesOn()) {
    request.writeDoubleLE(worker.operations, 0);
    yield* sys.ok(sys.writeAll(send, request));
    for (let have = 0; have < size; ) {
      const n = yield* sys.ok(sys.read(receive, reply.subarray(have)));
      if (n === 0) throw new Error("the server closed the connection");
      have += n;
    }
    if (!reply.equals(request)) throw new Error(`the reply to request ${worker.operations} is another one's`);
    worker.operations++;
  }
  yield* sys.ok(sys.close(send));
  return yield* worker.end();
}
