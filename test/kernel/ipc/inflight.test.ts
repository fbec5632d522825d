/** Descriptors in flight: their limit, and the collector of sockets that only hold each other (unix-gc.ts). */
import test from "ava";
import fc from "fast-check";
import { fget } from "../../../kernel/fs/fdtable.ts";
import { File } from "../../../kernel/fs/file.ts";
import { GC_DECIDED, GC_IDLE, GC_RUNNING, Inflight, inflight } from "../../../kernel/ipc/inflight.ts";
import { Sock } from "../../../kernel/ipc/sock.ts";
import { sockOf } from "../../../kernel/ipc/sock-connect.ts";
import { unixGc } from "../../../kernel/ipc/unix-gc.ts";
import { newCred } from "../../../kernel/task/cred.ts";
import { setLimit } from "../../../kernel/task/rlimit.ts";
import { Task } from "../../../kernel/task/task.ts";
import { EAGAIN, EPIPE, ETOOMANYREFS } from "../../../kernel/uapi/errno.ts";
import { RLIMIT_NOFILE } from "../../../kernel/uapi/resource.ts";
import {
  AF_UNIX,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSGHDR,
  SCM_RIGHTS,
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
const FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL;

function socketpair(type: number, who = task): [number, number] {
  if (call(who, "socketpair", AF_UNIX, type, 0, memory) !== 0) throw new Error("socketpair");
  return getWords(memory, 2) as [number, number];
}

/** Fills the struct msghdr at `memory`: one byte of data, and the control buffer. */
function message(length: number): void {
  putBytes(memory + 512, new Uint8Array(new BigUint64Array([BigInt(DATA), 1n]).buffer));
  const words = [0, 0, memory + 512, 1, CONTROL, length, 0].map(BigInt);
  putBytes(memory, new Uint8Array(new BigUint64Array(words).buffer));
}

function sendFds(by: number, fds: readonly number[], who = task): number {
  putWords(CONTROL, 16 + 4 * fds.length, 0, SOL_SOCKET, SCM_RIGHTS, ...fds);
  message(16 + 4 * fds.length);
  return call(who, "sendmsg", by, memory, FLAGS);
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
