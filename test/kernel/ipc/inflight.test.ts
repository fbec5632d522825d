/** Descriptors in flight: their limit, and the collector of sockets that only hold each other (unix-gc.ts). */
import test from "ava";
import fc from "fast-check";
import { fget } from "../../../kernel/fs/fdtable.ts";
import { File } from "../../../kernel/fs/file.ts";
import {
  GC_DECIDED,
  GC_IDLE,
  GC_RUNNING,
  Inflight,
  InflightUser,
  inflight,
} from "../../../kernel/ipc/inflight.ts";
import { Sock } from "../../../kernel/ipc/sock.ts";
import { sockOf } from "../../../kernel/ipc/sock-connect.ts";
import { unixGc } from "../../../kernel/ipc/unix-gc.ts";
import { newCred } from "../../../kernel/task/cred.ts";
import { setLimit } from "../../../kernel/task/rlimit.ts";
import { Task } from "../../../kernel/task/task.ts";
import { EAGAIN, EPIPE, ETOOMANYREFS } from "../../../kernel/uapi/errno.ts";
import { RLIMIT_NOFILE } from "../../../kernel/uapi/resource.ts";
import {
  AF_INET,
  AF_NETLINK,
  AF_UNIX,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_OOB,
  MSG_PEEK,
  MSGHDR,
  SCM_RIGHTS,
  SHUT_WR,
  SOCK_DGRAM,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  SOL_SOCKET,
} from "../../../kernel/uapi/socket.ts";
import { type Held, liveObjects, type Ref } from "../../../rcu/index.ts";
import { boot, call, getWords, newTask, putBytes, putWords, settle, write } from "./machine.ts";

const { task, memory } = boot();
const CONTROL = memory + 600;
const DATA = memory + 4096;
const NAME = memory + 8192;
/** No memory is mapped there. */
const BAD = 8;
const FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL;

function socketpair(type: number, who = task): [number, number] {
  if (call(who, "socketpair", AF_UNIX, type, 0, memory) !== 0) throw new Error("socketpair");
  return getWords(memory, 2) as [number, number];
}

/** Two ends of a TCP connection. */
function tcpPair(): [number, number] {
  const listening = call(task, "socket", AF_INET, SOCK_STREAM, 0);
  const connecting = call(task, "socket", AF_INET, SOCK_STREAM, 0);
  putBytes(NAME, new Uint8Array([AF_INET, 0, 0x30, 0x39, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]));
  const done = [
    call(task, "bind", listening, NAME, 16),
    call(task, "listen", listening, 1),
    call(task, "connect", connecting, NAME, 16),
  ];
  if (done.some((result) => result !== 0)) throw new Error(`TCP: ${done}`);
  return [connecting, call(task, "accept", listening, 0, 0)];
}

/** Fills the struct msghdr at `memory`: bytes of data, and the control buffer. */
function message(length: number, control = CONTROL, data = DATA, bytes = 1): void {
  putBytes(memory + 512, new Uint8Array(new BigUint64Array([BigInt(data), BigInt(bytes)]).buffer));
  const words = [0, 0, memory + 512, 1, control, length, 0].map(BigInt);
  putBytes(memory, new Uint8Array(new BigUint64Array(words).buffer));
}

function sendFds(by: number, fds: readonly number[], who = task): number {
  putWords(CONTROL, 16 + 4 * fds.length, 0, SOL_SOCKET, SCM_RIGHTS, ...fds);
  message(16 + 4 * fds.length);
  return call(who, "sendmsg", by, memory, FLAGS);
}

function recvmsg(by: number, flags: number, ...parts: Parameters<typeof message>): number {
  message(...parts);
  return call(task, "recvmsg", by, memory, flags);
}

/** Sends descriptor 0 of a pipe with so many bytes; it must not go. */
function sendNothing(by: number, bytes: number, data = DATA, flags = 0): void {
  if (by < 0) throw new Error(`no socket: ${by}`);
  call(task, "pipe2", memory, 0);
  const [r] = getWords(memory, 2) as [number, number];
  putWords(CONTROL, 20, 0, SOL_SOCKET, SCM_RIGHTS, r);
  message(20, CONTROL, data, bytes);
  const sent = call(task, "sendmsg", by, memory, FLAGS | flags);
  if (sent > 0) throw new Error(`${sent} bytes were sent`);
}

/** The descriptors that the next message brings, or -errno. */
function receiveFds(by: number): number[] | number {
  message(512);
  const count = call(task, "recvmsg", by, memory, FLAGS);
  if (count < 0) return count;
  const used = getWords(memory + MSGHDR.CONTROLLEN, 1)[0]!;
  return used === 0 ? [] : getWords(CONTROL, getWords(CONTROL, 1)[0]! / 4).slice(4);
}

const close = (...fds: number[]): void => {
  for (const fd of fds) call(task, "close", fd);
};
const closeAll = (): void => void call(task, "close_range", 0, 1023, 0);
const files = (): number => {
  settle(task);
  return liveObjects(File);
};
/** Everything that is garbage goes, however many collections it takes. */
const collect = (): number => {
  let sum = 0;
  for (let found = unixGc(); found > 0; found = unixGc()) {
    sum += found;
    settle(task);
  }
  return sum;
};

/** A socket that listens under an abstract name of that number. */
function listener(number: number): number {
  const fd = call(task, "socket", AF_UNIX, SOCK_STREAM, 0);
  putBytes(NAME, new Uint8Array([AF_UNIX, 0, 0, 103, number]));
  if (call(task, "bind", fd, NAME, 5) !== 0 || call(task, "listen", fd, 8) !== 0) throw new Error("listen");
  return fd;
}
function client(number: number): number {
  const fd = call(task, "socket", AF_UNIX, SOCK_STREAM, 0);
  putBytes(NAME, new Uint8Array([AF_UNIX, 0, 0, 103, number]));
  if (call(task, "connect", fd, NAME, 5) !== 0) throw new Error("connect");
  return fd;
}

for (const type of [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET])
  for (const length of [1, 2, 5, 100])
    test.serial(
      `a cycle of ${length} sockets of type ${type} is collected, with all that flies in it`,
      (t) => {
        const before = files();
        call(task, "pipe2", memory, 0);
        const [r, w] = getWords(memory, 2) as [number, number];
        const pairs = Array.from({ length }, () => socketpair(type));
        for (const [n, [end]] of pairs.entries()) {
          const next = pairs[(n + 1) % length]!;
          t.is(sendFds(end, n === 0 ? [next[1], w] : [next[1]]), 1);
        }
        t.is(unixGc(), 0, "they are open");
        close(w, ...pairs.flat());
        t.is(files(), before + length + 2);
        t.is(collect(), length);
        t.is(files(), before + 1);
        t.is(call(task, "read", r, DATA, 1), 0, "the pipe's other end is closed");
        close(r);
        t.is(files(), before);
      },
    );

test.serial(
  "a socket that is in its own queue twice, and once in a living one's, lives until that is closed",
  (t) => {
    const before = files();
    const [a, b] = socketpair(SOCK_DGRAM);
    const [c, d] = socketpair(SOCK_DGRAM);
    sendFds(a, [b, b]);
    sendFds(c, [b]);
    close(a, b);
    t.is(collect(), 0);
    const [again] = receiveFds(d) as number[];
    t.is((receiveFds(again!) as number[]).length, 2);
    t.is(receiveFds(again!), -EAGAIN);
    closeAll();
    collect();
    t.is(files(), before);
  },
);

test.serial("a listener in flight to its own connection that nobody accepted", (t) => {
  const before = files();
  const fd = listener(1);
  const fds = [client(1), client(1)];
  t.is(sendFds(fds[1]!, [fd, fds[0]!]), 1);
  close(fd);
  t.is(collect(), 1);
  t.is(write(task, fds[1]!, "x"), -EPIPE);
  close(...fds);
  collect();
  t.is(files(), before);
});

/** Each makes a send of a descriptor that no message takes along; the arguments are descriptors to send by. */
const LOST: readonly (readonly [string, () => void])[] = [
  ["a stream, no bytes", () => sendNothing(socketpair(SOCK_STREAM)[0], 0)],
  ["an internet stream, no bytes", () => sendNothing(tcpPair()[0], 0)],
  ["a stream, a bad buffer", () => sendNothing(socketpair(SOCK_STREAM)[0], 1, BAD)],
  ["a datagram, a bad buffer", () => sendNothing(socketpair(SOCK_DGRAM)[0], 1, BAD)],
  ["a datagram that is too long", () => sendNothing(socketpair(SOCK_DGRAM)[0], 1 << 19)],
  ["out of band", () => sendNothing(socketpair(SOCK_STREAM)[0], 1, DATA, MSG_OOB)],
  ["nobody to send to", () => sendNothing(call(task, "socket", AF_UNIX, SOCK_DGRAM, 0), 1)],
  ["not connected", () => sendNothing(call(task, "socket", AF_UNIX, SOCK_STREAM, 0), 1)],
  ["an internet datagram", () => sendNothing(call(task, "socket", AF_INET, SOCK_DGRAM, 0), 1)],
  ["netlink", () => sendNothing(call(task, "socket", AF_NETLINK, SOCK_DGRAM, 0), 1)],
  [
    "after shutdown",
    () => {
      const [a] = socketpair(SOCK_STREAM);
      call(task, "shutdown", a, SHUT_WR);
      sendNothing(a, 1);
    },
  ],
  [
    "a reader that is gone",
    () => {
      const [a, b] = socketpair(SOCK_SEQPACKET);
      close(b);
      sendNothing(a, 1);
    },
  ],
  [
    "a full queue",
    () => {
      const [a] = socketpair(SOCK_DGRAM);
      while (call(task, "sendto", a, DATA, 4096, FLAGS, 0, 0) > 0);
      sendNothing(a, 4096);
    },
  ],
];

for (const [how, lose] of LOST)
  test.serial(`a descriptor that no message takes along is closed: ${how}`, (t) => {
    const before = files();
    const users = liveObjects(InflightUser);
    lose();
    closeAll();
    collect();
    t.is(files(), before);
    t.is(liveObjects(InflightUser), users);
  });

for (const [how, receive] of [
  ["read", (by: number) => call(task, "read", by, DATA, 1)],
  ["readv", (by: number) => call(task, "readv", by, memory + 512, 1)],
  ["recvfrom", (by: number) => call(task, "recvfrom", by, DATA, 1, 0, 0, 0)],
  ["recvfrom, a bad name", (by: number) => call(task, "recvfrom", by, DATA, 1, 0, BAD, BAD)],
  ["recvmsg, no room for it", (by: number) => recvmsg(by, 0, 0)],
  ["recvmsg, a bad control buffer", (by: number) => recvmsg(by, 0, 64, BAD)],
  ["recvmsg, a bad buffer", (by: number) => recvmsg(by, 0, 64, CONTROL, BAD)],
  ["recvmsg, MSG_PEEK", (by: number) => recvmsg(by, MSG_PEEK, 64)],
] as const)
  for (const type of [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET])
    test.serial(`a descriptor that came and is not taken is closed: ${how}, type ${type}`, (t) => {
      const before = files();
      const users = liveObjects(InflightUser);
      const [a, b] = socketpair(type);
      t.is(sendFds(a, [b]), 1);
      receive(b);
      closeAll();
      collect();
      t.is(files(), before);
      t.is(liveObjects(InflightUser), users);
    });

test.serial("epoll, eventfd and pipes hold nothing", (t) => {
  const before = files();
  const [a, b] = socketpair(SOCK_STREAM);
  const ep = call(task, "epoll_create1", 0);
  const event = call(task, "eventfd2", 0, 0);
  putWords(DATA, 1, 0, 0, 0);
  t.is(call(task, "epoll_ctl", ep, 1, b, DATA), 0);
  t.is(sendFds(a, [b, ep, event]), 1);
  close(a, b, ep, event);
  t.is(collect(), 1);
  t.is(files(), before);
});

/** What the model knows: sockets by descriptor, whose queue a send goes to, what flies in each queue. */
test.serial("only what cannot be reached from an open descriptor is collected: random graphs", (t) => {
  const before = files();
  const socket = fc.nat(9);
  const plan = fc.record({
    pairs: fc.integer({ min: 1, max: 5 }),
    listeners: fc.nat(2),
    sends: fc.array(fc.tuple(socket, fc.array(socket, { minLength: 1, maxLength: 3 })), { maxLength: 16 }),
    closed: fc.array(fc.boolean(), { minLength: 16, maxLength: 16 }),
    receives: fc.array(socket, { maxLength: 4 }),
  });
  fc.assert(
    fc.property(plan, ({ pairs, listeners, sends, closed, receives }) => {
      closeAll();
      collect();
      // Vertices. A client's bytes go to the queue of an embryo, which is its listener's.
      const fds: number[] = [];
      const goesTo: number[] = [];
      for (let n = 0; n < pairs; n++) {
        fds.push(...socketpair(SOCK_DGRAM)); // No ECONNRESET for what a peer leaves unread.
        goesTo.push(2 * n + 1, 2 * n);
      }
      for (let n = 0; n < listeners; n++) {
        const at = fds.length;
        fds.push(listener(n), client(n), client(n));
        goesTo.push(-1, at, at);
      }
      const queues: number[][][] = fds.map(() => []);
      for (const [by, what] of sends) {
        const end = by % fds.length;
        if (goesTo[end] === -1) continue;
        const targets = what.map((n) => n % fds.length);
        if (
          sendFds(
            fds[end]!,
            targets.map((n) => fds[n]!),
          ) === 1
        )
          queues[goesTo[end]!]!.push(targets);
      }
      const open = fds.map((_, n) => !closed[n % closed.length]);
      for (const [n, fd] of fds.entries()) if (!open[n]) close(fd);
      const check = (extra: number): void => {
        const alive = new Set<number>();
        const todo = fds.flatMap((_, n) => (open[n] ? [n] : []));
        for (let n = todo.pop(); n !== undefined; n = todo.pop()) {
          if (alive.has(n)) continue;
          alive.add(n);
          todo.push(...queues[n]!.flat());
        }
        collect();
        if (files() !== before + alive.size + extra)
          throw new Error(`${files() - before - extra} files live, ${alive.size} can be reached`);
      };
      check(0);
      // What lives can be read, as it was sent.
      for (const n of receives.map((at) => at % fds.length)) {
        const isListener = n >= 2 * pairs && (n - 2 * pairs) % 3 === 0;
        if (!open[n] || isListener || queues[n]!.length === 0) continue;
        const sent = queues[n]!.shift()!;
        const got = receiveFds(fds[n]!) as number[];
        if (got.length !== sent.length) throw new Error(`received ${got.length} of ${sent.length}`);
        for (const [k, fd] of got.entries()) {
          if (!open[sent[k]!]) fds[sent[k]!] = fd; // Numbers are used again.
          open[sent[k]!] = true;
        }
      }
      check(0);
      closeAll();
      collect();
      return files() === before;
    }),
    { numRuns: 200 },
  );
  t.is(files(), before);
});

test.serial(
  "who takes something out of a queue while it is judged puts the decision off, or gets nothing",
  (t) => {
    const before = files();
    const [a, b] = socketpair(SOCK_DGRAM);
    const ref = inflight();
    const sock = sockOf(fget(Task.files.access(task) as Ref<"files">, b) as Ref<"file">);
    // A collection on another CPU has scanned the socket.
    for (const [state, gets] of [
      [GC_RUNNING, 1],
      [GC_DECIDED, 0],
      [GC_IDLE, 1],
    ] as const) {
      t.is(sendFds(a, [a]), 1);
      Inflight.run.store(ref, 77);
      Sock.gcRun.set(1 as Held<"lock">, sock, 77);
      Inflight.state.store(ref, state);
      const got = receiveFds(b) as number[];
      t.is(got.length, gets);
      t.is((getWords(memory + MSGHDR.FLAGS, 1)[0]! & MSG_CTRUNC) !== 0, gets === 0);
      t.is(Inflight.state.load(ref) === state, state !== GC_RUNNING);
      close(...got);
    }
    Inflight.state.store(ref, GC_IDLE);
    close(a, b);
    t.is(files(), before);
  },
);

test.serial(
  "a user has RLIMIT_NOFILE descriptors in flight, and one message more; ETOOMANYREFS then, but not for root",
  (t) => {
    const before = files();
    const user = newTask("user");
    Task.mm.assign(1 as Held, user, Task.mm.access(task) as Ref<"mm">);
    Task.cred.assign(1 as Held, user, newCred(1000, 1000) as Ref<"cred">);
    setLimit(Task.group.get(user), RLIMIT_NOFILE, 20, 20);
    const [a, b] = socketpair(SOCK_DGRAM, user);
    let sent = 0;
    while (sendFds(a, [b, b, b], user) === 1) sent++;
    t.is(sent, 7, "as Linux counts: before the call, not after it");
    t.is(sendFds(a, [b], user), -ETOOMANYREFS);
    const [c, d] = socketpair(SOCK_DGRAM);
    for (let n = 0; n < 30; n++) t.is(sendFds(c, [d]), 1, "another user's");
    close(c, d);
    // What is received, or lost, is not in flight.
    message(512);
    t.is(call(user, "recvmsg", b, memory, FLAGS), 1);
    t.is(sendFds(a, [b], user), 1);
    for (let fd = 0; fd < 20; fd++) call(user, "close", fd);
    collect();
    t.is(files(), before);
    const [e, f] = socketpair(SOCK_DGRAM, user);
    t.is(sendFds(e, [f], user), 1);
    for (const fd of [e, f]) call(user, "close", fd);
    collect();
    t.is(files(), before);
  },
);
