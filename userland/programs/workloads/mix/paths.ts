/** Calls on names. */
import { EBADF, EEXIST, EINVAL, ENOENT } from "../../../../kernel/uapi/errno.ts";
import { AT_FDCWD, O_CREAT, O_RDWR } from "../../../../kernel/uapi/fcntl.ts";
import { type Args, type Failing, failing, type MixCall, plain, undone } from "./call.ts";
import { DATA_BYTES, type MixWorld } from "./world.ts";

const NR_OPEN_POOL = 64;
const AT_REMOVEDIR = 0x200;

const removed = (world: MixWorld) => world.also("unlinkat", AT_FDCWD, world.at.fresh, 0);
const onPath =
  (...rest: readonly number[]): Args =>
  (w) => [AT_FDCWD, w.at.file, ...rest];
const onNone = (...rest: readonly number[]): Failing => [ENOENT, (w) => [AT_FDCWD, w.at.none, ...rest]];
export const PATH_CALLS: readonly (readonly [string, MixCall])[] = [
  [
    "openat",
    {
      *run(world) {
        if (world.open.length === NR_OPEN_POOL) yield* world.also("close", world.open.shift()!);
        const fd = yield* world.sys.call("openat", AT_FDCWD, world.at.file, O_RDWR, 0);
        if (fd >= 0) world.open.push(fd);
        return fd;
      },
      failing: failing("openat", onNone(O_RDWR, 0)),
    },
  ],
  [
    "close",
    {
      *run(world) {
        const fd = world.open.pop() ?? (yield* world.also("openat", AT_FDCWD, world.at.file, O_RDWR, 0));
        return yield* world.sys.call("close", fd);
      },
      failing: failing("close", [EBADF, () => [-1]]),
    },
  ],
  plain("newfstatat", (w) => [AT_FDCWD, w.at.file, w.buffer, 0], [
    ENOENT,
    (w) => [AT_FDCWD, w.at.none, w.buffer, 0],
  ]),
  plain("statx", (w) => [AT_FDCWD, w.at.file, 0, 0x7ff, w.buffer], [
    ENOENT,
    (w) => [AT_FDCWD, w.at.none, 0, 0x7ff, w.buffer],
  ]),
  plain("faccessat", onPath(4), onNone(4)),
  plain("faccessat2", onPath(4, 0), onNone(4, 0)),
  plain("readlinkat", (w) => [AT_FDCWD, w.at.link, w.buffer, 256], [
    EINVAL,
    (w) => [AT_FDCWD, w.at.file, w.buffer, 256],
  ]),
  plain("statfs", (w) => [w.at.here, w.buffer], [ENOENT, (w) => [w.at.none, w.buffer]]),
  plain("getcwd", (w) => [w.buffer, 4096]),
  plain("chdir", (w) => [w.at.here], [ENOENT, (w) => [w.at.none]]),
  plain("fchdir", (w) => [w.folder]),
  plain("fchmodat", onPath(0o644), onNone(0o644)),
  plain("utimensat", onPath(0, 0), onNone(0, 0)),
  plain("truncate", (w) => [w.at.file, DATA_BYTES], [ENOENT, (w) => [w.at.none, 0]]),
  undone(
    "mkdirat",
    (w) => [AT_FDCWD, w.at.fresh, 0o755],
    (w) => w.also("unlinkat", AT_FDCWD, w.at.fresh, AT_REMOVEDIR),
    [EEXIST, (w) => [AT_FDCWD, w.at.here, 0o755]],
  ),
  undone("linkat", (w) => [AT_FDCWD, w.at.file, AT_FDCWD, w.at.fresh, 0], removed, [
    EEXIST,
    (w) => [AT_FDCWD, w.at.file, AT_FDCWD, w.at.link, 0],
  ]),
  undone("symlinkat", (w) => [w.at.file, AT_FDCWD, w.at.fresh], removed, [
    EEXIST,
    (w) => [w.at.file, AT_FDCWD, w.at.link],
  ]),
  [
    "unlinkat",
    {
      *run(world) {
        yield* world.also(
          "close",
          yield* world.also("openat", AT_FDCWD, world.at.fresh, O_RDWR | O_CREAT, 0o600),
        );
        return yield* world.sys.call("unlinkat", AT_FDCWD, world.at.fresh, 0);
      },
      failing: failing("unlinkat", onNone(0)),
    },
  ],
  [
    "renameat2",
    {
      *run(world) {
        const names = [world.at.a, world.at.b] as const;
        const from = names[world.flip]!;
        world.flip = 1 - world.flip;
        return yield* world.sys.call("renameat2", AT_FDCWD, from, AT_FDCWD, names[world.flip]!, 0);
      },
      failing: failing("renameat2", [ENOENT, (w) => [AT_FDCWD, w.at.none, AT_FDCWD, w.at.fresh, 0]]),
    },
  ],
];
