/** Calls on memory. */
import { EAGAIN, EINVAL } from "../../../../kernel/uapi/errno.ts";
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../../../../kernel/uapi/mman.ts";
import { failing, type MixCall, plain } from "./call.ts";
import { MAP_BYTES } from "./world.ts";

const NR_MAP_POOL = 64;
const MADV_DONTNEED = 4;
const FUTEX_WAKE = 1;

export const MEMORY_CALLS: readonly (readonly [string, MixCall])[] = [
  [
    "mmap",
    {
      *run(world) {
        if (world.maps.length === NR_MAP_POOL) yield* world.also("munmap", world.maps.shift()!, MAP_BYTES);
        const address = yield* world.sys.mmap(
          0,
          MAP_BYTES,
          PROT_READ | PROT_WRITE,
          MAP_PRIVATE | MAP_ANONYMOUS,
          -1,
          0,
        );
        if (address > 0) world.maps.push(address);
        return address;
      },
      failing: failing("mmap", [EINVAL, () => [0, 0, 3, 0x22, -1, 0]]),
    },
  ],
  [
    "munmap",
    {
      *run(world) {
        const flags = MAP_PRIVATE | MAP_ANONYMOUS;
        const address =
          world.maps.pop() ?? (yield* world.also("mmap", 0, MAP_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0));
        return yield* world.sys.munmap(address, MAP_BYTES);
      },
    },
  ],
  [
    "mprotect",
    {
      *run(world) {
        const prot = (world.sys.memory.load(world.at.word) & 1) === 0 ? PROT_READ : PROT_READ | PROT_WRITE;
        world.sys.memory.add(world.at.word, 1);
        return yield* world.sys.mprotect(world.page, 4096, prot);
      },
    },
  ],
  plain("madvise", (w) => [w.page, 4096, MADV_DONTNEED]),
  plain("mincore", (w) => [w.page, 4096, w.buffer]),
  plain("msync", (w) => [w.page, 4096, 4]),
  plain("membarrier", () => [0, 0, 0]),
  plain("brk", () => [0]),
  plain(
    "futex",
    (w) => [w.at.soon, FUTEX_WAKE, 1, 0, 0, 0],
    // Waits while the word holds what it does not hold.
    [EAGAIN, (w) => [w.at.soon, 0, 0x7fffffff, 0, 0, 0]],
  ),
];
