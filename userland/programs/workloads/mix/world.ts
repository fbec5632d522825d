/** What a worker of the mix prepares for its calls, and takes away again. */
import { O_CREAT, O_DIRECTORY, O_NONBLOCK, O_RDWR } from "../../../../kernel/uapi/fcntl.ts";
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../../../../kernel/uapi/mman.ts";
import { SIGUSR1 } from "../../../../kernel/uapi/signal.ts";
import type { Steps } from "../../program.ts";
import type { Sys } from "../../sys.ts";

/** Bytes of a mapping that a worker makes. */
export const MAP_BYTES = 16 * 1024;
/** Of the data file; reads go round in it. */
export const DATA_BYTES = 64 * 1024;
/** Of one read or write. */
export const CHUNK = 512;
export const EPOLL_ADD = 1;

/** What a worker prepares: its folder, files, pipes, and the structures that calls point to. */
export class MixWorld {
  readonly sys: Sys;
  /** Calls that were needed beside the ones of the mix. */
  support = 0;
  readonly open: number[] = [];
  readonly maps: number[] = [];
  flip = 0;
  pid = 0;
  data = 0;
  folder = 0;
  sink = 0;
  event = 0;
  ep = 0;
  pipe: readonly [number, number] = [0, 0];
  sockets: readonly [number, number] = [0, 0];
  /** Addresses: a buffer of 16 KiB, a page for mprotect and madvise, strings and structures. */
  buffer = 0;
  page = 0;
  readonly at: Record<
    | "file"
    | "none"
    | "link"
    | "fresh"
    | "here"
    | "a"
    | "b"
    | "iov"
    | "soon"
    | "now"
    | "wrong"
    | "polls"
    | "word"
    | "event"
    | "msg",
    number
  > = {
    file: 0,
    none: 0,
    link: 0,
    fresh: 0,
    here: 0,
    a: 0,
    b: 0,
    iov: 0,
    soon: 0,
    now: 0,
    wrong: 0,
    polls: 0,
    word: 0,
    event: 0,
    msg: 0,
  };
  #next = 0;

  private constructor(sys: Sys) {
    this.sys = sys;
  }

  /** In a new folder `here`, which `remove` takes away again. */
  static *make(sys: Sys, here: string): Steps<MixWorld> {
    const world = new MixWorld(sys);
    yield* sys.ok(sys.mkdir(here));
    yield* sys.ok(sys.chdir(here));
    world.pid = yield* sys.getpid();
    world.data = yield* sys.ok(sys.open("file", O_RDWR | O_CREAT, 0o644));
    yield* sys.ok(sys.writeAll(world.data, new Uint8Array(DATA_BYTES)));
    yield* sys.ok(sys.lseek(world.data, 0, 0));
    yield* sys.ok(sys.symlink("file", "link"));
    yield* sys.ok(sys.close(yield* sys.ok(sys.open("a", O_RDWR | O_CREAT, 0o644))));
    world.sink = yield* sys.ok(sys.open("/dev/null", O_RDWR));
    world.folder = yield* sys.ok(sys.open(here, O_DIRECTORY));
    world.event = yield* sys.ok(sys.eventfd(0, O_NONBLOCK));
    world.ep = yield* sys.ok(sys.epollCreate());
    yield* sys.ok(sys.epollCtl(world.ep, EPOLL_ADD, world.event, 1));
    world.pipe = yield* sys.pipe();
    world.sockets = yield* sys.socketpair();
    yield* sys.ok(sys.sigaction(SIGUSR1, () => {}));
    yield* world.#layOut(here);
    return world;
  }

  *#layOut(here: string): Steps<void> {
    const { sys, at } = this;
    const memory = (bytes: number) =>
      sys.ok(sys.mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    this.buffer = yield* memory(MAP_BYTES);
    this.page = yield* memory(4096);
    this.#next = yield* memory(8192);
    for (const name of ["file", "none", "link", "fresh", "a", "b"] as const) at[name] = this.#string(name);
    at.here = this.#string(here);
    at.iov = this.#words(this.buffer, CHUNK / 2, this.buffer + CHUNK, CHUNK / 2);
    at.soon = this.#words(0, 1000);
    at.now = this.#words(0, 0);
    at.wrong = this.#words(0, 2e9);
    at.polls = this.#words(this.pipe[0] + 1 * 2 ** 32, 0);
    at.word = this.#words(0);
    at.event = this.#words(1, this.event);
    at.msg = this.#words(0, 0, this.#words(this.buffer, CHUNK), 1, 0, 0, 0);
  }

  #put(bytes: Uint8Array): number {
    const address = this.#next;
    this.sys.memory.write(address, bytes);
    this.#next = Math.ceil((address + bytes.length) / 16) * 16;
    return address;
  }
  #string(text: string): number {
    return this.#put(Buffer.from(`${text}\0`));
  }
  #words(...words: readonly number[]): number {
    return this.#put(new Uint8Array(BigUint64Array.from(words, BigInt).buffer));
  }

  /** A call that the mix did not ask for. */
  *also(name: string, ...args: readonly number[]): Steps<number> {
    this.support++;
    return yield* this.sys.ok(this.sys.call(name, ...args));
  }

  /** Leaves its folder and removes it. */
  *remove(here: string): Steps<void> {
    const { sys } = this;
    yield* sys.ok(sys.chdir("/"));
    for (const name of ["file", "link", this.flip === 0 ? "a" : "b"])
      yield* sys.ok(sys.unlink(`${here}/${name}`));
    yield* sys.ok(sys.rmdir(here));
  }
}
