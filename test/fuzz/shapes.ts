/** Structures that calls are passed, mostly as they should be. Each function lays one out and returns its address. */
import * as socket from "../../kernel/uapi/socket.ts";
import type { Scene } from "./scene.ts";
import { STACKS, type Value } from "./script.ts";
import { hex, someSize } from "./values.ts";

export type Shape = (scene: Scene) => number;

const SECOND = 1_000_000_000;
const MS = 1_000_000;

/** Seconds and nanoseconds: a short time, or one that is on some border. */
function time(scene: Scene, unit = 1): (readonly [8, bigint | number])[] {
  const { random } = scene;
  if (random.chance(60))
    return [
      [8, 0],
      [8, Math.floor(random.below(3 * MS) / unit)],
    ];
  const seconds = random.pick([
    0n,
    1n,
    -1n,
    1n << 31n,
    1n << 53n,
    (1n << 63n) - 1n,
    -(1n << 63n),
    9223372036n,
    9223372037n,
  ]);
  return [
    [8, seconds],
    [8, random.pick([0, 1, SECOND / unit - 1, SECOND / unit, -1, 2 ** 31, 2 ** 53])],
  ];
}

const buffer: Shape = ({ memory, random }) => {
  const bytes = someSize(random);
  return random.chance(30) ? memory.put(random.bytes(Math.min(bytes, 256))) : memory.room(bytes);
};

const iovec: Shape = (scene) => {
  const { memory, random } = scene;
  const fields: (readonly [8, number | bigint])[] = [];
  for (let n = 1 + random.below(4); n > 0; n--) {
    fields.push([8, random.chance(90) ? buffer(scene) : BigInt(memory.odd())]);
    fields.push([8, random.chance(90) ? someSize(random) : BigInt(memory.odd())]);
  }
  return memory.struct(fields);
};

const sockaddr: Shape = ({ memory, random }) => {
  switch (random.below(6)) {
    case 0:
      return memory.put(Buffer.concat([family(socket.AF_UNIX), Buffer.from(`s${random.below(3)}\0`)]));
    case 1:
      return memory.put(Buffer.concat([family(socket.AF_UNIX), Buffer.from(`\0abstract${random.below(3)}`)]));
    case 2:
    case 3:
      return memory.put(
        Buffer.concat([
          family(socket.AF_INET),
          port(random.below(5)),
          Buffer.from([127, 0, 0, 1]),
          Buffer.alloc(8),
        ]),
      );
    case 4:
      return memory.put(
        Buffer.concat([
          family(socket.AF_INET6),
          port(random.below(5)),
          Buffer.alloc(19),
          Buffer.from([1]),
          Buffer.alloc(4),
        ]),
      );
    default:
      return memory.put(
        Buffer.concat([family(random.pick([0, 1, 2, 10, 16, 17, 65535])), random.bytes(random.below(126))]),
      );
  }
};

function family(number: number): Buffer {
  return Buffer.from([number & 255, number >> 8]);
}
const port = (number: number): Buffer => Buffer.from(number === 0 ? [0, 0] : [19, 136 + number]);

/** Control data: descriptors, credentials, rubbish. Its address and length. */
function control(scene: Scene): [number, number] {
  const { memory, random } = scene;
  const kind = random.below(10);
  if (kind < 4) return [0, 0];
  if (kind < 8) {
    const count = 1 + random.below(3);
    const fields: (readonly [4 | 8, Value | number])[] = [
      [8, 16 + 4 * count],
      [4, socket.SOL_SOCKET],
      [4, socket.SCM_RIGHTS],
    ];
    for (let n = 0; n < count; n++) fields.push([4, scene.fd()]);
    return [memory.struct(fields), 16 + 4 * count];
  }
  if (kind === 8)
    return [
      memory.struct([
        [8, 28],
        [4, socket.SOL_SOCKET],
        [4, socket.SCM_CREDENTIALS],
        [4, "pid"],
        [4, scene.uid],
        [4, scene.uid],
      ]),
      28,
    ];
  const length = random.below(64);
  return [
    memory.struct([
      [8, length],
      [4, 1],
      [4, random.below(4)],
      [8, memory.odd()],
      [8, memory.odd()],
    ]),
    length,
  ];
}

function messageFields(scene: Scene): (readonly [8, Value | number | bigint])[] {
  const { random } = scene;
  const [at, length] = control(scene);
  const named = random.chance(30);
  return [
    [8, named ? sockaddr(scene) : 0],
    [8, named ? random.pick([0, 2, 4, 16, 28, 110, 128]) : 0],
    [8, iovec(scene)],
    [8, random.chance(90) ? 1 : BigInt(scene.memory.odd())],
    [8, at],
    [8, length],
    [8, 0],
  ];
}

const sigset: Shape = ({ memory, random }) =>
  memory.struct([
    [8, random.pick([0n, 0x2000n, 0xffffffffffffffffn, 1n << 63n, 0x3fff_ffff_0000_0000n, random.big()])],
  ]);

const clone: Shape = (scene) => {
  const { memory, random } = scene;
  return memory.struct([
    [8, random.chance(70) ? random.pick([0, 0x100, 0x400, 0x1000, 0x4100, 0x200]) : BigInt(memory.odd())],
    [8, buffer(scene)],
    [8, buffer(scene)],
    [8, buffer(scene)],
    [8, random.pick([0, 17, 10, 64, 65, 96, 128, 255, 256])],
    [8, random.chance(80) ? 0 : STACKS],
    [8, random.chance(80) ? 0 : 16384],
    [8, 0],
    [8, random.chance(90) ? 0 : BigInt(memory.odd())],
    [8, random.chance(90) ? 0 : 1],
    [8, random.chance(90) ? 0 : BigInt(memory.odd())],
  ]);
};

const signal = (scene: Scene): number =>
  scene.random.pick([0, 1, 10, 12, 14, 17, 18, 20, 23, 32, 34, 63, 64, 65]);

export const SHAPES = {
  buffer,
  iovec,
  sockaddr,
  sigset,
  clone,
  path: (scene) => scene.memory.text(scene.path()),
  string: (scene) =>
    scene.memory.text(
      scene.random.pick([
        "",
        "user.x",
        "system.posix_acl_access",
        "tmpfs",
        "proc",
        "size=1m",
        "a".repeat(300),
      ]),
    ),
  strings: (scene) =>
    scene.memory.struct([
      [8, scene.memory.text("a")],
      [8, scene.memory.text("b".repeat(scene.random.below(200)))],
      [8, 0],
    ]),
  timespec: (scene) => scene.memory.struct(time(scene)),
  times: (scene) => scene.memory.struct([...time(scene), ...time(scene)]),
  timeval: (scene) => scene.memory.struct(time(scene, 1000)),
  itimerval: (scene) => scene.memory.struct([...time(scene, 1000), ...time(scene, 1000)]),
  message: (scene) => scene.memory.struct(messageFields(scene)),
  messages: (scene) =>
    scene.memory.struct([...messageFields(scene), [8, 0], ...messageFields(scene), [8, 0]]),
  epollEvent: (scene) =>
    scene.memory.struct([
      [8, scene.random.pick([1, 4, 5, 0x80000001, 0x40000005, 0x10000001, 0xffffffff])],
      [8, scene.random.big()],
    ]),
  pollfds: (scene) =>
    scene.memory.struct(
      Array.from(
        { length: 1 + scene.random.below(4) },
        () =>
          [
            [4, scene.fd()],
            [4, scene.random.pick([1, 4, 5, 0xffff])],
          ] as const,
      ).flat(),
    ),
  fdset: (scene) =>
    scene.memory.struct([
      [8, scene.random.pick([0xf8, 0xffff, scene.random.big()])],
      [8, scene.random.chance(80) ? 0 : -1],
    ]),
  sigaction: (scene) =>
    scene.memory.struct([
      // A handler that is no code ends the thread; most of the time a signal is ignored or does what it does.
      [8, scene.random.pick([0, 1, 1, 0, 0x21000000])],
      [8, scene.random.pick([0, 4, 0x10000000, 0x40000000, 0x80000000, 2, 1, 0x08000000])],
      [8, scene.random.pick([0n, -1n, scene.random.big()])],
    ]),
  siginfo: (scene) =>
    scene.memory.struct([
      [4, signal(scene)],
      [4, 0],
      [4, scene.random.pick([-1, 0, -6, -60, 1])],
      [4, 0],
      [4, "pid"],
      [4, scene.uid],
      [8, scene.random.big()],
      ...Array.from({ length: 12 }, () => [8, 0] as const),
    ]),
  sigevent: (scene) =>
    scene.memory.struct([
      [8, 0],
      [4, signal(scene)],
      [4, scene.random.pick([0, 1, 2, 3, 4])],
      [4, "tid"],
      [4, 0],
      [8, 0],
      [8, 0],
      [8, 0],
      [8, 0],
      [8, 0],
    ]),
  stack: (scene) =>
    scene.memory.struct([
      [8, scene.random.chance(80) ? STACKS : BigInt(scene.memory.odd())],
      [8, scene.random.pick([0, 2, 1, 0x80000000])],
      [8, scene.random.pick([16384, 2048, 0, -1])],
    ]),
  rlimit: (scene) =>
    scene.memory.struct([
      [8, limit(scene)],
      [8, limit(scene)],
    ]),
  openHow: (scene) =>
    scene.memory.struct([
      [8, scene.random.pick([0, 2, 0o102, 0o200000, 0o10000000, BigInt(scene.memory.odd())])],
      [8, scene.random.pick([0, 0o644, 0o7777])],
      [8, scene.random.pick([0, 1, 2, 4, 8, 16, 32])],
    ]),
  int: (scene) =>
    scene.memory.struct([
      [4, scene.random.chance(80) ? scene.random.below(5) : scene.memory.odd()],
      [4, 0],
    ]),
  offset: (scene) =>
    scene.memory.struct([
      [8, scene.random.chance(70) ? scene.random.below(70_000) : BigInt(scene.memory.odd())],
    ]),
  length: (scene) =>
    scene.memory.struct([
      [4, scene.random.pick([0, 1, 2, 16, 28, 110, 128, 4096, -1])],
      [4, 0],
    ]),
  capabilityHeader: (scene) =>
    scene.memory.struct([
      [4, scene.random.pick([0x20080522, 0x19980330, 0x20071026, 0])],
      [4, scene.random.pick([0, "pid", "tid"])],
    ]),
  capabilities: (scene) =>
    scene.memory.struct([
      [4, -1],
      [4, -1],
      [4, 0],
      [4, scene.random.word()],
      [4, scene.random.word()],
      [4, 0],
    ]),
  flock: (scene) =>
    scene.memory.struct([
      [2, scene.random.below(4)],
      [2, scene.random.below(4)],
      [4, 0],
      [8, scene.random.chance(70) ? scene.random.below(5000) : BigInt(scene.memory.odd())],
      [8, scene.random.chance(70) ? scene.random.below(100) : BigInt(scene.memory.odd())],
      [4, scene.random.pick([0, "pid"])],
      [4, 0],
    ]),
  maskPair: (scene) =>
    scene.memory.struct([
      [8, sigset(scene)],
      [8, 8],
    ]),
  robustList: (scene) =>
    scene.memory.struct([
      [8, scene.memory.shared()],
      [8, scene.random.pick([0, 8, -8, 16])],
      [8, scene.random.chance(50) ? 0 : scene.memory.shared()],
    ]),
  termios: (scene) => scene.memory.put(scene.random.bytes(60)),
  futexWord: (scene) => scene.memory.shared(),
  groups: (scene) =>
    scene.memory.struct([
      [4, 0],
      [4, 1000],
      [4, -1],
      [4, scene.random.word()],
    ]),
  probes: (scene) =>
    scene.memory.struct([
      [8, scene.random.below(12)],
      [8, 0],
      [8, scene.random.big()],
      [8, 0],
    ]),
} satisfies Record<string, Shape>;

function limit({ random }: Scene): number | bigint {
  return random.pick([0, 1, 16, 64, 1024, 65536, 1 << 20, 1n << 32n, 1n << 53n, -1]);
}

export type ShapeName = keyof typeof SHAPES;
/** For a pointer of which nothing is known. */
export const ANY = Object.keys(SHAPES) as ShapeName[];

/** A value as an argument. */
export const place = (address: number): Value => hex(address);
