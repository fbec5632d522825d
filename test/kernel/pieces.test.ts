/**
 * Calls whose length programs choose make room for others: however much there is to do, the longest piece is no longer than before. A new
 * call of this kind gets a line here, or in pieces-many.test.ts; one that keeps its CPU for all of it fails.
 */
import test from "ava";
import { mountFs } from "../../kernel/fs/vfs.ts";
import { Task } from "../../kernel/task/task.ts";
import { ENAMETOOLONG } from "../../kernel/uapi/errno.ts";
import { boot, putBytes, putWords } from "./ipc/machine.ts";
import { pieceTests } from "./pieces.ts";

const { task, memory } = boot();
const AT_FDCWD = -100;
const PAGE = 4096;
const PRIVATE = 0x22;
const RW = 3;
const FIXED_SHARED_POPULATED = 0x8011;
const putPath = (path: string): void => putBytes(memory, new TextEncoder().encode(`${path}\0`));

const { sys, flat } = pieceTests(task);

/** Areas of a page each, which cannot merge. */
function areas(count: number): number {
  const at = sys("mmap", 0, count * PAGE, 1, PRIVATE, -1, 0);
  for (let page = 0; page < count; page += 2) sys("mprotect", at + page * PAGE, PAGE, RW);
  return at;
}
let place = 0;
let bytes = 0;
const unmapped = (): void => void sys("munmap", place, bytes);
function onAreas(name: string, ...rest: number[]): (size: number) => [string, ...number[]] {
  return (size) => {
    bytes = size * PAGE;
    place = areas(size);
    return [name, place, bytes, ...rest];
  };
}
flat("mprotect of areas", 2500, onAreas("mprotect", 0), unmapped);
flat("mlock of areas", 2500, onAreas("munlock"), unmapped);
flat("madvise of areas", 2500, onAreas("madvise", 10), unmapped);
flat("MADV_DONTNEED of areas", 200, onAreas("madvise", 4), unmapped);
flat("munmap of areas", 2500, onAreas("munmap"));

/** Present pages of a file of 2048, which is mapped again and again. */
function pages(count: number): number {
  const PART = 2048;
  putPath("pages");
  const fd = sys("memfd_create", memory, 0);
  sys("fallocate", fd, 0, 0, PART * PAGE);
  const at = sys("mmap", 0, count * PAGE, 0, PRIVATE, -1, 0);
  for (let page = 0; page < count; page += PART)
    sys("mmap", at + page * PAGE, PART * PAGE, RW, FIXED_SHARED_POPULATED, fd, 0);
  sys("close", fd);
  return at;
}
function onPages(name: string, ...rest: number[]): (size: number) => [string, ...number[]] {
  return (size) => {
    bytes = size * PAGE;
    place = pages(size);
    return [name, place, bytes, ...rest];
  };
}
flat("mprotect of pages", 10 * 2048, onPages("mprotect", 0), unmapped);
flat(
  "mincore of pages",
  10 * 2048,
  (size) => {
    const [, at, length] = onPages("mincore")(size) as [string, number, number];
    return ["mincore", at, length, memory];
  },
  unmapped,
);
flat("a mapping over pages", 10 * 2048, onPages("mmap", 1, PRIVATE | 0x10, -1, 0), unmapped);
flat("munmap of pages", 10 * 2048, onPages("munmap"));

let fd = -1;
const closed = (): void => void sys("close", fd);
/** A memory file with so many pages. */
function file(size: number): number {
  putPath("file");
  fd = sys("memfd_create", memory, 0);
  sys("ftruncate", fd, size * PAGE);
  sys("fallocate", fd, 0, 0, size * PAGE);
  return fd;
}
flat(
  "a hole in a file that many areas show",
  1000,
  (size) => {
    file(size);
    bytes = 20 * size * PAGE;
    place = sys("mmap", 0, bytes, 0, PRIVATE, -1, 0);
    for (let n = 0; n < 20; n++) sys("mmap", place + n * size * PAGE, size * PAGE, RW, 0x11, fd, 0);
    return ["fallocate", fd, 3, 0, size * PAGE];
  },
  () => {
    unmapped();
    closed();
  },
);
flat("ftruncate", 2100, (size) => ["ftruncate", file(size), 0], closed);
flat(
  "fallocate",
  1000,
  (size) => {
    putPath("file");
    fd = sys("memfd_create", memory, 0);
    return ["fallocate", fd, 1, 0, size * PAGE];
  },
  closed,
);

function descriptors(count: number): void {
  putWords(memory, 100_000, 0, 100_000, 0);
  sys("prlimit64", 0, 7, memory, 0);
  const event = sys("eventfd2", 1, 0);
  for (let n = 0; n < count; n++) sys("dup", event);
}
flat("close_range", 800, (size) => {
  descriptors(size);
  return ["close_range", 0, 0xffff_ffff, 0];
});
flat(
  "epoll_pwait with all ready",
  2500,
  (size) => {
    const epoll = sys("epoll_create1", 0);
    putWords(memory, 1, 0, 0, 0);
    descriptors(size);
    for (let n = 0; n < size; n++) sys("epoll_ctl", epoll, 1, epoll + 2 + n, memory);
    const out = sys("mmap", 0, 16 * size, RW, PRIVATE, -1, 0);
    return ["epoll_pwait", epoll, out, size, 0, 0, 8];
  },
  () => void sys("close_range", 0, 0xffff_ffff, 0),
);
flat(
  "the close of an epoll instance",
  1500,
  (size) => {
    const epoll = sys("epoll_create1", 0);
    putWords(memory, 1, 0, 0, 0);
    descriptors(size);
    for (let n = 0; n < size; n++) sys("epoll_ctl", epoll, 1, epoll + 2 + n, memory);
    return ["close", epoll];
  },
  () => void sys("close_range", 0, 0xffff_ffff, 0),
);

flat("umount of a tmpfs", 2500, (size) => {
  mountFs("tmpfs", "wide", "/tmp");
  for (let n = 0; n < size; n++) {
    putPath(`/tmp/${n}`);
    sys("mknodat", AT_FDCWD, memory, 0o100644, 0);
  }
  putPath("/tmp");
  return ["umount2", memory, 0];
});
flat(
  "getcwd far down",
  1500,
  (size) => {
    mountFs("tmpfs", "deep", "/tmp");
    putPath("/tmp");
    sys("chdir", memory);
    putPath("dddddddddd");
    for (let n = 0; n < size; n++) {
      sys("mkdirat", AT_FDCWD, memory, 0o755);
      sys("chdir", memory);
    }
    return ["getcwd", memory, PAGE];
  },
  () => {
    putPath("/");
    sys("chdir", memory);
    putPath("/tmp");
    sys("umount2", memory, 0);
  },
  (result) => result === -ENAMETOOLONG,
);

// Last, since the children keep what they share.
flat(
  "fork of areas",
  2500,
  (size) => {
    bytes = size * PAGE;
    place = areas(size);
    return ["clone", 0, 0, 0, 0, 0];
  },
  unmapped,
);
flat(
  "fork of pages",
  10 * 2048,
  (size) => {
    onPages("")(size);
    return ["clone", 0, 0, 0, 0, 0];
  },
  unmapped,
);

test.after((t) => {
  t.is(Task.later.get(task), 0);
});
