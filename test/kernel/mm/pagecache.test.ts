import test from "ava";
import { FAULT_BUS, resolvePage } from "../../../kernel/mm/fault.ts";
import { frameTotal, freeFrames } from "../../../kernel/mm/frame.ts";
import { madvise, mincore, msync } from "../../../kernel/mm/madvise.ts";
import {
  Mapping,
  type MappingOps,
  MOPS,
  mappingCreate,
  mappingPut,
  registerMappingOps,
} from "../../../kernel/mm/mapping.ts";
import { mmCreate, mmPut } from "../../../kernel/mm/mm.ts";
import { mapPages, munmap } from "../../../kernel/mm/mmap.ts";
import { mprotect } from "../../../kernel/mm/mprotect.ts";
import {
  cachedPages,
  dirtyPages,
  mappingDirty,
  mappingFind,
  mappingPage,
  mappingTruncate,
  mappingWriteback,
} from "../../../kernel/mm/pagecache.ts";
import { PAGE_SIZE, ram } from "../../../kernel/mm/ram.ts";
import { activateMm } from "../../../kernel/mm/tlb.ts";
import { copyFromUser, copyToUser, getUser8, putUser8 } from "../../../kernel/mm/uaccess.ts";
import { VM_MAYWRITE, VM_READ, VM_SHARED, VM_WRITE } from "../../../kernel/mm/vma.ts";
import { EINVAL, EIO } from "../../../kernel/uapi/errno.ts";
import { MADV_REMOVE, MS_SYNC } from "../../../kernel/uapi/mman.ts";
import { ACCESS } from "../../../kernel/usermode.ts";
import { type Ref, rcuBarrier } from "../../../rcu/index.ts";
import { bootMemory, settledFrames } from "./machine.ts";

/** A file of bytes on "disk": page n of it is filled with n + 1. */
class Disk implements MappingOps {
  bytes = 0;
  reads = 0;
  written: number[] = [];
  fail = false;
  readonly content = new Map<number, number>();
  readPage(_mapping: Ref<"mapping">, index: number, frame: number): number {
    if (this.fail) return -EIO;
    this.reads++;
    ram.u8.fill(this.content.get(index) ?? index + 1, frame, frame + PAGE_SIZE);
    const end = this.bytes - index * PAGE_SIZE;
    if (end < PAGE_SIZE) ram.u8.fill(0, frame + Math.max(0, end), frame + PAGE_SIZE);
    return 0;
  }
  writePage(_mapping: Ref<"mapping">, index: number, frame: number): number {
    if (this.fail) return -EIO;
    this.written.push(index);
    this.content.set(index, ram.u8[frame]!);
    return 0;
  }
  size(): number {
    return this.bytes;
  }
}

const DISK = MOPS.MODULE + 1;

function setup(bytes: number, ramBytes?: number): { disk: Disk; mapping: Ref<"mapping">; mm: Ref<"mm"> } {
  bootMemory(ramBytes);
  const disk = new Disk();
  disk.bytes = bytes;
  registerMappingOps(DISK, disk);
  const mapping = mappingCreate(DISK) as Ref<"mapping">;
  const mm = mmCreate() as Ref<"mm">;
  activateMm(mm);
  return { disk, mapping, mm };
}

const map = (mm: Ref<"mm">, mapping: Ref<"mapping">, pages: number, flags: number, pgoff = 0): number =>
  mapPages(mm, 0, pages, VM_MAYWRITE | flags, mapping, 0, pgoff, 0);

test.serial("pages are read once, shared by all mappings, and private writes stay private", (t) => {
  const { disk, mapping, mm } = setup(3 * PAGE_SIZE);
  const shared = map(mm, mapping, 3, VM_READ | VM_WRITE | VM_SHARED);
  const private1 = map(mm, mapping, 2, VM_READ | VM_WRITE, 1);
  t.is(getUser8(shared + PAGE_SIZE), 2);
  t.is(getUser8(private1), 2);
  t.is(disk.reads, 1);
  putUser8(private1 + 1, 99);
  t.is(getUser8(shared + PAGE_SIZE + 1), 2);
  putUser8(shared + PAGE_SIZE + 2, 55);
  t.is(ram.u8[mappingFind(mapping, 1) + 2], 55);
  t.is(getUser8(private1 + 1), 99);
  t.is(dirtyPages(), 1);
  mmPut(mm);
  mappingPut(mapping);
  t.is(cachedPages(), 1, "the vdso page");
  t.is(dirtyPages(), 0);
});

test.serial("stores through a shared mapping reach the file at msync, and again after another store", (t) => {
  const { disk, mapping, mm } = setup(4 * PAGE_SIZE);
  const at = map(mm, mapping, 4, VM_READ | VM_WRITE | VM_SHARED);
  putUser8(at + 2 * PAGE_SIZE, 70);
  t.is(msync(mm, at, PAGE_SIZE, MS_SYNC), 0);
  t.deepEqual(disk.written, []);
  t.is(msync(mm, at, 4 * PAGE_SIZE, MS_SYNC), 0);
  t.deepEqual(disk.written, [2]);
  // No fault tells of this store: the page counts as dirty while the mapping is writable.
  putUser8(at + 2 * PAGE_SIZE, 71);
  t.is(msync(mm, at, 4 * PAGE_SIZE, MS_SYNC), 0);
  t.is(disk.content.get(2), 71);
  t.is(munmap(mm, at, 4 * PAGE_SIZE), 0);
  t.is(mappingWriteback(mapping), 0);
  t.is(dirtyPages(), 0);
  disk.fail = true;
  mappingDirty(mapping, 2);
  t.is(mappingWriteback(mapping), -EIO);
  t.is(dirtyPages(), 1, "a page that could not be written stays dirty");
  mmPut(mm);
});

test.serial("beyond the end of a file is SIGBUS, also after truncation, for private copies too", (t) => {
  const { disk, mapping, mm } = setup(2 * PAGE_SIZE + 100);
  const at = map(mm, mapping, 4, VM_READ | VM_WRITE | VM_SHARED);
  const own = map(mm, mapping, 3, VM_READ | VM_WRITE);
  t.is(getUser8(at + 2 * PAGE_SIZE + 99), 3);
  t.is(getUser8(at + 2 * PAGE_SIZE + 100), 0);
  t.is(resolvePage(mm, at + 3 * PAGE_SIZE, ACCESS.READ), FAULT_BUS);
  putUser8(own + 2 * PAGE_SIZE, 9);
  putUser8(own, 9);
  disk.bytes = PAGE_SIZE + 10;
  mappingTruncate(mapping, disk.bytes);
  t.is(getUser8(at + PAGE_SIZE + 9), 2);
  t.is(getUser8(at + PAGE_SIZE + 10), 0, "the rest of the last page is zero");
  t.is(resolvePage(mm, at + 2 * PAGE_SIZE, ACCESS.READ), FAULT_BUS);
  t.is(resolvePage(mm, own + 2 * PAGE_SIZE, ACCESS.READ), FAULT_BUS);
  t.is(getUser8(own), 9);
  disk.fail = true;
  t.is(resolvePage(mm, map(mm, mapping, 1, VM_READ), ACCESS.READ) >= 0, true, "what is cached needs no disk");
  mmPut(mm);
});

test.serial("a write to a page that was mapped read-only is seen by those who map it shared", (t) => {
  const { mapping, mm } = setup(PAGE_SIZE);
  const at = map(mm, mapping, 1, VM_READ | VM_SHARED);
  t.is(getUser8(at), 1);
  t.not(resolvePage(mm, at, ACCESS.WRITE) >= 0, true);
  t.is(mprotect(mm, at, PAGE_SIZE, VM_READ | VM_WRITE), 0);
  t.is(copyToUser(at, new Uint8Array([42])), 0);
  t.is(ram.u8[mappingPage(mapping, 0, false)], 42);
  t.is(Mapping.writers.load(mapping), 1);
  mmPut(mm);
  t.is(Mapping.writers.load(mapping), 0);
});

test.serial("when memory runs short, clean pages of files give way; dirty and mapped ones stay", (t) => {
  const { disk, mapping, mm } = setup(4096 * PAGE_SIZE, 2 << 20);
  const pages = frameTotal();
  mappingPage(mapping, 0, true);
  mappingDirty(mapping, 0);
  const at = map(mm, mapping, 1, VM_READ | VM_SHARED, 1);
  t.is(getUser8(at), 2);
  // Three times as many pages as there are frames.
  for (let index = 2; index < 3 * pages; index++) {
    const frame = mappingPage(mapping, index, false);
    if (frame < 0) t.fail(`page ${index}: ${frame}`);
    t.is(ram.u8[frame], (index + 1) & 0xff);
    rcuBarrier();
  }
  t.true(freeFrames() >= 0);
  t.true(mappingFind(mapping, 0) > 0);
  t.is(ram.u8[mappingFind(mapping, 1)], 2);
  t.is(getUser8(at), 2);
  t.is(disk.written.length, 0);
  mmPut(mm);
  mappingPut(mapping);
  t.is(settledFrames(), frameTotal() - 1);
});

test.serial(
  "shared anonymous memory: mincore tells what is there, MADV_REMOVE makes holes that read as zero",
  (t) => {
    bootMemory();
    const mm = mmCreate() as Ref<"mm">;
    activateMm(mm);
    const shmem = mappingCreate(MOPS.SHMEM) as Ref<"mapping">;
    const at = map(mm, shmem, 4, VM_READ | VM_WRITE | VM_SHARED);
    mappingPut(shmem);
    putUser8(at + PAGE_SIZE, 5);
    const own = mapPages(mm, 0, 1, VM_READ | VM_WRITE | VM_MAYWRITE, 0, 0, 0, 0);
    t.is(mincore(mm, at, 4 * PAGE_SIZE, own), 0);
    t.deepEqual(copyFromUser(own, 4), new Uint8Array([0, 1, 0, 0]));
    t.is(madvise(mm, at, 2 * PAGE_SIZE, MADV_REMOVE), 0);
    t.deepEqual(copyFromUser(at + PAGE_SIZE, 2), new Uint8Array([0, 0]));
    t.is(madvise(mm, own, PAGE_SIZE, MADV_REMOVE), -EINVAL);
    mmPut(mm);
    t.is(settledFrames(), frameTotal() - 1);
  },
);
