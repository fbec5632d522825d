/**
 * Every call of the table, with arguments made at random, reads each byte of user memory at most once: what a handler has checked
 * is then what it uses, whatever another thread writes there meanwhile. A new call is tried from its first day. What a call that
 * blocked reads when it runs again is a new look, which it checks anew.
 *
 * uaccess.ts is loaded with a line of its own behind each place that reads a byte.
 */
import { registerHooks } from "node:module";
import test from "ava";

/** A text of uaccess.ts behind which bytes were read, and which: address, length. */
const READS: readonly (readonly [string, string])[] = [
  ["return at < 0 ? 0 : ram.u8[at]!;", "addr, 1"],
  ["return at < 0 ? 0 : ram.i32[at >>> 2]!;", "addr, 4"],
  ["move(ram.u8, from, dst, off + done, n);", "addr + done, n"],
  ["const byte = u8[at]!;", "addr + done + at - from, 1"],
  ["const length = end - from;", "addr + done, Math.min(length + 1, n)"],
];

type Fetched = (address: number, length: number) => void;
const hooks = globalThis as { fetched?: Fetched };
let instrumented = 0;
registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    if (!url.endsWith("/kernel/mm/uaccess.ts")) return loaded;
    let source = loaded.source!.toString();
    for (const [text, what] of READS) {
      const call = `globalThis.fetched?.(${what});`;
      const parts = source.split(text);
      if (parts.length !== 2) continue;
      instrumented++;
      source = parts.join(text.startsWith("return") ? `${call} ${text}` : `${text} ${call}`);
    }
    return { ...loaded, source };
  },
});

const { boot, call, putBytes } = await import("../kernel/ipc/machine.ts");
const { syscalls } = await import("../../syscalls/table.ts");
const args = await import("../../syscalls/args.ts");
const { Task } = await import("../../kernel/task/task.ts");
const { clearRestart } = await import("../../kernel/sched/restart.ts");
const { finishWait } = await import("../../kernel/sched/waitqueue.ts");
const { copyFromUser, getUser64, strncpyFromUser } = await import("../../kernel/mm/uaccess.ts");

const { task, memory } = boot();
const MEMORY = 1 << 20;
/** Pieces of memory that pointers lead to, one each, so that no two structures overlap. */
const SLOT = 4096;
const ROUNDS = 60;

/** These end or replace what the test runs in. */
const NEVER = new Set(
  "exit exit_group rt_sigreturn munmap mremap mprotect brk clone clone3 close close_range dup3 reboot".split(
    " ",
  ),
);
/** These take rights or room away: they come last. */
const LAST = /^(set|cap|prlimit|chroot|umount|pivot|mount|unshare|munlock|madvise|mlock)/;

/** Functions that look at an array anew on purpose, and why that is safe. */
const ANEW: Readonly<Record<string, string>> = {
  pollOnce: "the second look, behind joining the queues, uses nothing of the first",
};

/** Marsaglia's xorshift. */
let seed = 20261201;
function random(below: number): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % below;
}

let slots = 0;
const WORDS = [0, 0, 0, 1, 1, 2, 3, 4, 8, 16, 24, -1];
const path = new TextEncoder().encode("/tmp/file\0");

/** A piece of memory of small numbers, descriptors, and pointers to further pieces. */
function structure(depth: number): number {
  const at = memory + SLOT * slots++;
  if (SLOT * slots > MEMORY) throw new Error("more memory than there is");
  const words = new BigInt64Array(40);
  for (let n = 0; n < words.length; n++) {
    const kind = random(4);
    if (kind === 0 && depth < 3 && slots < 200) words[n] = BigInt(structure(depth + 1));
    else if (kind === 1) words[n] = BigInt(random(16)) | (BigInt(random(16)) << 32n);
    else words[n] = BigInt(WORDS[random(WORDS.length)]!);
  }
  putBytes(at, new Uint8Array(words.buffer));
  if (random(4) === 0) putBytes(at, path);
  return at;
}

function argument(kind: (typeof args)["int"]): number {
  if (kind === args.path || kind === args.str || kind === args.linkTarget) {
    const at = structure(3);
    putBytes(at, path);
    return at;
  }
  if (kind === args.size || kind === args.ulong) return [0, 1, 2, 4, 8, 16, 24, 32, 64, 88, 128][random(11)]!;
  if (kind.decode === args.DECODE.ULONG || kind.decode === args.DECODE.WORD)
    return random(6) === 0 ? 0 : structure(0);
  const number =
    random(3) === 0
      ? [-100, -1, 0, 1, 2, 0x1000, 1 << random(15)][random(7)]!
      : random(random(4) === 0 ? 64 : 16);
  return kind.decode === args.DECODE.UINT ? number >>> 0 : number;
}

/** Descriptors 0 to 15: one of each kind that calls tell apart. */
function openAll(): void {
  const at = structure(3);
  const pair = memory + MEMORY - SLOT;
  const open = (name: string, flags: number) => {
    putBytes(at, new TextEncoder().encode(`${name}\0`));
    return call(task, "openat", -100, at, flags, 0o644);
  };
  open("/tmp/file", 0o102);
  open("/tmp", 0);
  open("/dev/null", 2);
  open("/dev/ptmx", 2);
  call(task, "pipe2", pair, 0o4000);
  call(task, "socketpair", 1, 1 | 0o4000, 0, pair);
  call(task, "socketpair", 1, 2 | 0o4000, 0, pair);
  call(task, "socket", 2, 1 | 0o4000, 0);
  call(task, "socket", 2, 2 | 0o4000, 0);
  call(task, "epoll_create1", 0);
  call(task, "eventfd2", 1, 0o4000);
  call(task, "timerfd_create", 1, 0o4000);
  call(task, "inotify_init1", 0o4000);
}

/** Fetches of one run, each byte with where it was read. */
let seen = new Map<number, string>();
let twice: string[] = [];
function watch(work: () => number): number {
  seen = new Map();
  hooks.fetched = (address, length) => {
    const { stack = "" } = new Error();
    const where = stack.split("\n").slice(3, 6).join(" < ").replaceAll(/ +at /g, "");
    for (let n = 0; n < length; n++) {
      const before = seen.get(address + n);
      if (before !== undefined && !Object.keys(ANEW).some((name) => where.includes(`${name} (`))) {
        twice.push(`byte ${(address + n - memory) % SLOT} is read by ${before} and again by ${where}`);
        break;
      }
      seen.set(address + n, where);
    }
  };
  try {
    return work();
  } finally {
    delete hooks.fetched;
  }
}

test.serial("every place of uaccess.ts that reads a byte is watched", (t) => {
  t.is(instrumented, READS.length);
  const at = memory;
  putBytes(at, path);
  for (const read of [
    () => getUser64(at),
    () => getUser64(at + 1),
    () => copyFromUser(at, 8)!.length,
    () => (strncpyFromUser(at, 64) as Uint8Array).length,
  ]) {
    watch(read);
    t.true(seen.size >= 8, String(read));
  }
  twice = [];
  watch(() => getUser64(at) + getUser64(at + 4));
  t.regex(twice[0]!, /^byte 4 is read by .* and again by /);
});

const ordered = [...syscalls]
  .filter(({ name }) => !NEVER.has(name))
  .sort((a, b) => Number(LAST.test(a.name)) - Number(LAST.test(b.name)));

test.serial("no call reads a byte of user memory twice", (t) => {
  openAll();
  const faults = new Map<string, string>();
  const reading = new Set<string>();
  for (const { name, args: kinds } of ordered)
    for (let round = 0; round < ROUNDS; round++) {
      slots = 0;
      const values = kinds.map(argument);
      twice = [];
      const result = watch(() => call(task, name, ...values));
      if (Task.restarting.get(task) !== 0) {
        finishWait(task);
        clearRestart(task);
      }
      if (seen.size > 0) reading.add(name);
      if (twice.length > 0) faults.set(name, `${name}(${values.join(", ")}) = ${result}: ${twice[0]}`);
    }
  t.deepEqual([...faults.values()], []);
  t.log(`${reading.size} of ${ordered.length} calls read user memory`);
  t.true(reading.size > 75, [...reading].join(" "));
});
