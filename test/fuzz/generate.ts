/** Makes a random script of a seed, from the decoding types of the system-call literals. */
import * as A from "../../syscalls/args.ts";
import { type Arg, DECODE } from "../../syscalls/args.ts";
import type { Syscall } from "../../syscalls/syscall.ts";
import { syscalls } from "../../syscalls/table.ts";
import { HINTS } from "./hints.ts";
import { Memory } from "./memory.ts";
import { opening } from "./opening.ts";
import { Random } from "./random.ts";
import { Scene } from "./scene.ts";
import { DATA, type Op, PROGRAMS, type Script, SLOTS, type Value } from "./script.ts";
import { ANY, SHAPES } from "./shapes.ts";
import { badAddress, boundary, hex, someSize } from "./values.ts";

const CLONE = 220;
const EXECVE = 221;
const FORK = 17; // SIGCHLD
const THREAD = 0x3d0f00 & ~0x80000 & ~0x200000 & ~0x100000;
const SHARING = 0x100 | 0x400;

/** Calls that end what a script does, or let it sleep for ever, and so hide what comes behind them. The number is a percentage. */
const SELDOM: Readonly<Record<string, number>> = {
  exit: 6,
  exit_group: 4,
  rt_sigreturn: 2,
  execve: 15,
  execveat: 15,
  rt_sigsuspend: 20,
  rt_sigtimedwait: 30,
  close_range: 10,
  munmap: 30,
  chroot: 20,
};
const SIGNALS = Array.from({ length: 65 }, (_, signo) => signo);
/** Signals that stop or end a process for good. */
const FINAL = new Set([9, 19, 20, 21, 22]);

class Generator {
  readonly random: Random;
  readonly memory: Memory;
  readonly scene: Scene;
  readonly uid: number;
  readonly programs: Op[][];
  /** The program that is being written. */
  ops: Op[];
  #slot = 0;

  constructor(seed: number, uid: number) {
    this.random = new Random(seed);
    this.programs = Array.from({ length: 1 + this.random.below(6) }, () => []);
    this.ops = this.programs[0]!;
    this.memory = new Memory(this.random);
    this.scene = new Scene(this.random, this.memory, uid);
    this.uid = uid;
  }

  /** Writes a call; the value that names its result. */
  emit(name: string, nr: number, args: Value[], child?: number): Value {
    const slot = this.#slot++ % SLOTS;
    this.ops.push(...this.memory.before, {
      op: "call",
      name,
      nr,
      args,
      slot,
      ...(child === undefined ? {} : { child }),
    });
    this.memory.before = [];
    return `r${slot}`;
  }

  /** A random call with arguments of its decoding types. */
  any(calls: readonly Syscall[], next: number): void {
    const { random } = this;
    let call = random.pick(calls);
    while (!random.chance(SELDOM[call.name] ?? 100)) call = random.pick(calls);
    this.memory.places = [];
    const args = call.args.map((_, n) => this.argument(call, n));
    // Registers beyond the arguments are nobody's business.
    const spawns = call.name === "clone" || call.name === "clone3";
    const result = this.emit(call.name, call.nr, args, spawns ? next : undefined);
    if (call.returns === A.fd) this.scene.fds.push(result);
    if (call.returns === A.pid && spawns) this.scene.pids.push(result);
    call.args.forEach((arg, n) => {
      if (arg !== A.outFdPair || !args[n]!.startsWith("0x")) return;
      this.scene.fds.push(`m${args[n]}`, `m${hex(BigInt(args[n]!) + 4n)}`);
    });
  }

  argument(call: Syscall, n: number): Value {
    const { random, scene, memory } = this;
    const arg = call.args[n]!;
    const hint = HINTS[call.name]?.[n] ?? "-";
    // Out of the ordinary, whatever it is.
    if (random.chance(4)) return random.chance(50) ? boundary(random, arg) : hex(random.big());
    if (hint === "count") return hex(random.chance(75) ? random.below(5) : BigInt(boundary(random, arg)));
    if (hint !== "-") {
      if (random.chance(7)) return badAddress(random);
      if (call.name === "fcntl" || call.name === "ioctl")
        return random.chance(50)
          ? hex(random.pick([0n, 1n, 2n, 3n, 4096n, 65536n, 1n << 31n, 1n << 32n, -1n, -65n, -5001n]))
          : hex(SHAPES[random.chance(50) ? hint : random.pick(ANY)](scene));
      return hex(SHAPES[hint](scene));
    }
    if (arg === A.fd) return scene.fd();
    if (arg === A.dirfd) return random.chance(75) ? hex(-100) : scene.fd();
    if (arg === A.pid) return scene.pid();
    if (arg === A.uid) return hex(random.pick([0, 1000, 1000, -1, 65534, 2 ** 31, 2 ** 31 - 1, 12345]));
    if (arg === A.mode)
      return hex(random.pick([0o644, 0o755, 0o777, 0, 0o7777, 0o20666, 0o10644, 0o140755, 0xffffffff]));
    if (arg.names !== undefined || arg === A.path || arg === A.linkTarget) {
      if (typeof arg.names?.address === "object" || arg.names?.address !== undefined)
        return hex(SHAPES.message(scene));
      return random.chance(5) ? badAddress(random) : hex(SHAPES.path(scene));
    }
    if (arg === A.str) return random.chance(5) ? badAddress(random) : hex(SHAPES.string(scene));
    if (arg === A.strings || arg === A.stringCount)
      return random.chance(10) ? badAddress(random) : hex(SHAPES.strings(scene));
    if (arg === A.timespec) return random.chance(20) ? hex(0) : hex(SHAPES.timespec(scene));
    if (
      arg === A.ptr &&
      [
        "mmap",
        "munmap",
        "mremap",
        "mprotect",
        "madvise",
        "msync",
        "mlock",
        "mlock2",
        "munlock",
        "mincore",
        "brk",
      ].includes(call.name)
    )
      return this.mapping(call.name, n);
    if (arg === A.signal) return this.choice(arg, SIGNALS, call.name);
    if (arg.values !== undefined) return this.choice(arg, arg.values, call.name);
    if (arg === A.size || arg === A.off)
      return random.chance(75) ? hex(this.length(call.name)) : boundary(random, arg);
    if (arg.decode === DECODE.ULONG && arg !== A.hexArg) {
      if (random.chance(8)) return badAddress(random);
      return hex(
        arg.out === true || arg === A.outBuffer
          ? memory.room(4096)
          : SHAPES[random.chance(60) ? "buffer" : random.pick(ANY)](scene),
      );
    }
    return random.chance(60) ? hex(random.below(5)) : boundary(random, arg);
  }

  length(name: string): number {
    return /^(mm?ap|m|brk)/.test(name) && this.random.chance(80)
      ? 4096 * (1 + this.random.below(8))
      : someSize(this.random);
  }

  /** Pages of the areas, or of what an earlier mmap may have made. */
  mapping(name: string, n: number): Value {
    const { random } = this;
    if (n > 0 && name !== "mremap") return hex(SHAPES.buffer(this.scene));
    if (name === "mmap" && random.chance(60)) return hex(0);
    if (random.chance(10)) return badAddress(random);
    if (random.chance(60) && this.#slot > 0) return `r${random.below(Math.min(this.#slot, SLOTS))}`;
    return hex(
      random.pick([DATA + 0x40000, 0x30000000, 0x30001000, 0x30010000, 0x22000000, 0x22008000]) +
        4096 * random.below(4),
    );
  }

  /** One of the known values, or some bits of a set of them. */
  choice(arg: Arg, values: readonly number[], name: string): Value {
    const { random } = this;
    const allowed = /kill|queueinfo|send_signal/.test(name)
      ? values.filter((value) => !FINAL.has(value) || random.chance(5))
      : values;
    if (random.chance(6)) return boundary(random, arg);
    if (name !== "clone" && random.chance(60)) return hex(random.pick(allowed));
    let bits = 0n;
    // The lowest byte of clone's flags is a signal.
    if (name === "clone" && random.chance(70))
      bits = BigInt(random.pick([17, 10, 0, 64, 65, 96, 128, 200, 255]));
    for (let n = random.below(4); n >= 0; n--) bits |= BigInt(random.pick(allowed));
    return hex(bits);
  }

  /** A child: a process, a thread, or something between; it runs program `child`. */
  spawn(child: number): void {
    const { random } = this;
    const flags = random.pick([FORK, FORK, THREAD, THREAD, THREAD, SHARING, SHARING | FORK, FORK | 0x400]);
    this.scene.pids.push(this.emit("clone", CLONE, [hex(flags), hex(0), hex(0), hex(0), hex(0)], child));
  }

  /** A process that runs a program. */
  execute(path: string): void {
    const { ops } = this;
    this.ops = [];
    const words = [hex(this.memory.text(path)), hex(SHAPES.strings(this.scene)), hex(0)];
    this.emit("execve", EXECVE, words);
    const child = this.programs.push(this.ops) - 1;
    this.ops = ops;
    this.emit("clone", CLONE, [hex(FORK), hex(0), hex(0), hex(0), hex(0)], child);
  }

  /** A thread that changes what the calls just made were passed. */
  flip(): Op {
    const { random, memory } = this;
    const at =
      (memory.places.length > 0 ? random.pick(memory.places) : memory.shared()) + 4 * random.below(6);
    const values: [Value, Value] = [random.chance(50) ? hex(someSize(random)) : memory.odd(), memory.odd()];
    return { op: "flip", at: hex(at), values, bytes: random.pick([1, 4, 8]), count: 2000 };
  }
}

/** `calls`: what to make scripts of. */
export function generate(seed: number, uid: number, calls: readonly Syscall[] = syscalls): Script {
  const generator = new Generator(seed, uid);
  const { random, programs } = generator;
  const chosen = choose(random, calls);
  const count = programs.length;
  opening(generator);
  for (let child = 1; child < count; child++) generator.spawn(child);
  for (const name of ["host/elf0", "host/elf1", "host/elf2"]) if (random.chance(25)) generator.execute(name);
  for (let program = 0; program < count; program++) {
    generator.ops = programs[program]!;
    const { ops } = generator;
    const race = random.chance(40);
    const flips: Op[] = [];
    for (let n = 10 + random.below(50); n > 0; n--) {
      const before = ops.length;
      generator.any(chosen, random.chance(80) ? PROGRAMS - 1 : Math.min(program + 1, PROGRAMS - 1));
      if (race && random.chance(30)) flips.push(generator.flip());
      if (!random.chance(race ? 40 : 15)) continue;
      const last = ops.at(-1)!;
      // Children in a loop would be too many.
      if (last.op === "call" && last.child === undefined)
        ops.splice(before, 0, {
          op: "repeat",
          length: ops.length - before,
          count: 2 + random.below(race ? 100 : 20),
        });
    }
    // The thread that flips starts first.
    if (flips.length > 0) ops.unshift(spawnThread(programs.push(flips) - 1));
  }
  return { seed, uid, programs, data: generator.memory.chunks };
}

/** Few calls, often, are likelier to meet than all of them, once each. Neighbours in the table work on the same things. */
function choose(random: Random, calls: readonly Syscall[]): readonly Syscall[] {
  if (random.chance(35)) return calls;
  const count = 4 + random.below(14);
  if (random.chance(40)) return random.shuffle([...calls]).slice(0, count);
  const at = random.below(calls.length);
  const neighbours = calls.slice(at, at + count);
  return [...neighbours, ...neighbours, ...random.shuffle([...calls]).slice(0, 3)];
}

const spawnThread = (child: number): Op => ({
  op: "call",
  name: "clone",
  nr: CLONE,
  args: [hex(THREAD), "0x0", "0x0", "0x0", "0x0"],
  slot: SLOTS - 1,
  child,
});

export type { Generator };
