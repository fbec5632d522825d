import test from "ava";
import fc from "fast-check";
import { drainKlog, klogInit } from "../../../kernel/klog.ts";
import { brk } from "../../../kernel/mm/brk.ts";
import { handleFault, resolvePage, translateUser } from "../../../kernel/mm/fault.ts";
import { UserIo } from "../../../kernel/mm/iov.ts";
import { Mm, mmCreate, mmPut, STACK_TOP, TASK_SIZE } from "../../../kernel/mm/mm.ts";
import { mapPages, mmap, munmap } from "../../../kernel/mm/mmap.ts";
import { mprotect } from "../../../kernel/mm/mprotect.ts";
import { mremap } from "../../../kernel/mm/mremap.ts";
import {
  allocRegs,
  createRam,
  freeRegs,
  maxRamBytes,
  PAGE_SIZE,
  RamError,
  ram,
} from "../../../kernel/mm/ram.ts";
import { activateMm } from "../../../kernel/mm/tlb.ts";
import {
  copyFromUser,
  copyToUser,
  faultIn,
  getUser16,
  getUser32,
  getUser64,
  getUserU64,
  putUser16,
  putUser32,
  putUser64,
  strncpyFromUser,
} from "../../../kernel/mm/uaccess.ts";
import { VM_GROWSDOWN, VM_MAYWRITE, VM_READ, VM_WRITE } from "../../../kernel/mm/vma.ts";
import { Task } from "../../../kernel/task/task.ts";
import { EEXIST, EFAULT, EINVAL, ENAMETOOLONG, ENOMEM, EPERM } from "../../../kernel/uapi/errno.ts";
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MREMAP_MAYMOVE,
} from "../../../kernel/uapi/mman.ts";
import { SEGV_ACCERR, SEGV_MAPERR, SIGKILL, SIGSEGV } from "../../../kernel/uapi/signal.ts";
import { ACCESS } from "../../../kernel/usermode.ts";
import type { Ref } from "../../../rcu/index.ts";
import { bootMemory } from "./machine.ts";

const ANON = MAP_PRIVATE | MAP_ANONYMOUS;

function setup(bytes?: number): { task: Ref<"task">; mm: Ref<"mm"> } {
  const { task } = bootMemory(bytes);
  const mm = mmCreate() as Ref<"mm">;
  activateMm(mm);
  return { task, mm };
}

test.serial("numbers of all widths are kept, also across a page border", (t) => {
  const { mm } = setup();
  const at = mmap(mm, 0, 2 * PAGE_SIZE, 3, ANON, 0, 0);
  for (const address of [at, at + 1, at + PAGE_SIZE - 1, at + PAGE_SIZE - 3, at + PAGE_SIZE - 7]) {
    putUser16(address, 0xfedc);
    t.is(getUser16(address), 0xfedc);
    putUser32(address, -2);
    t.is(getUser32(address), -2);
    for (const value of [0, 1, -1, 2 ** 32 + 5, -(2 ** 40) - 3, 2 ** 53 - 1]) {
      putUser64(address, value);
      t.is(getUser64(address), value);
    }
    putUser64(address, 0xfedc_ba98_0000);
    t.is(getUserU64(address), 0xfedc_ba98_0000);
  }
  mmPut(mm);
});

test.serial("bad addresses are refused: unmapped, without rights, at the top, beyond 4 GiB", (t) => {
  const { mm } = setup();
  const at = mmap(mm, 0, 3 * PAGE_SIZE, 3, ANON, 0, 0);
  munmap(mm, at + 2 * PAGE_SIZE, PAGE_SIZE);
  t.is(faultIn(at, 2 * PAGE_SIZE, ACCESS.WRITE), 0);
  t.is(faultIn(at, 2 * PAGE_SIZE + 1, ACCESS.READ), -EFAULT);
  t.is(copyFromUser(at + PAGE_SIZE, PAGE_SIZE + 1), null);
  t.is(copyToUser(at + 2 * PAGE_SIZE - 1, new Uint8Array(2)), -EFAULT);
  t.is(mprotect(mm, at, PAGE_SIZE, 1), 0);
  t.is(faultIn(at, 1, ACCESS.READ), 0);
  t.is(copyToUser(at, new Uint8Array(1)), -EFAULT);
  for (const bad of [0, 4095, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + at, 2 ** 63, Number.NaN]) {
    t.is(copyToUser(bad, new Uint8Array(1)), -EFAULT);
    t.is(copyFromUser(bad, 1), null);
    t.is(strncpyFromUser(bad, 10), -EFAULT);
    t.is(faultIn(bad, 1, ACCESS.READ), -EFAULT);
  }
  t.is(faultIn(0, 0, ACCESS.READ), 0);
  mmPut(mm);
});

test.serial("strings end at their NUL, at a bad page or at the limit", (t) => {
  const { mm } = setup();
  const at = mmap(mm, 0, 2 * PAGE_SIZE, 3, ANON, 0, 0);
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  const across = at + PAGE_SIZE - 3;
  copyToUser(across, text("hello\0"));
  t.deepEqual(strncpyFromUser(across, 100), Uint8Array.from(text("hello")));
  t.deepEqual(strncpyFromUser(across, 6), Uint8Array.from(text("hello")));
  t.is(strncpyFromUser(across, 5), -ENAMETOOLONG);
  copyToUser(at + 2 * PAGE_SIZE - 2, text("xy"));
  t.is(strncpyFromUser(at + 2 * PAGE_SIZE - 2, 100), -EFAULT);
  t.deepEqual(strncpyFromUser(at + 100, 100), new Uint8Array(0));
  mmPut(mm);
});

test.serial("a vector moves the same bytes as its pieces one after the other", (t) => {
  const { mm } = setup();
  const at = mmap(mm, 0, 64 * PAGE_SIZE, 3, ANON, 0, 0);
  const vector = at;
  const area = at + 4 * PAGE_SIZE;
  const piece = fc.record({
    offset: fc.nat(40 * PAGE_SIZE),
    length: fc.oneof(fc.nat(60), fc.nat(3 * PAGE_SIZE)),
  });
  const io = new UserIo();
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 6 }),
      fc.array(fc.nat(2 * PAGE_SIZE), { maxLength: 12 }),
      (pieces, steps) => {
        pieces.forEach(({ offset, length }, n) => {
          putUser64(vector + 16 * n, area + offset);
          putUser64(vector + 16 * n + 8, length);
        });
        const total = pieces.reduce((sum, { length }) => sum + length, 0);
        const model = copyFromUser(area, 50 * PAGE_SIZE)!;
        const source = Uint8Array.from({ length: total }, (_, n) => (n * 7 + 13) & 0xff);
        if (io.setIovec(vector, pieces.length) !== 0 || io.remaining !== total) throw new Error("setIovec");
        let moved = 0;
        for (const step of [...steps, total])
          moved += io.copyTo(source, moved, Math.min(step, total - moved));
        let at = 0;
        for (const { offset, length } of pieces) {
          model.set(source.subarray(at, at + length), offset);
          at += length;
        }
        if (moved !== total) throw new Error(`moved ${moved} of ${total}`);
        if (Buffer.compare(model, copyFromUser(area, 50 * PAGE_SIZE)!) !== 0) throw new Error("differs");
        const back = new Uint8Array(total);
        io.setIovec(vector, pieces.length);
        if (io.copyFrom(back, 0, total) !== total) throw new Error("copyFrom");
        const want = pieces.flatMap(({ offset, length }) => [...model.subarray(offset, offset + length)]);
        return Buffer.compare(back, Uint8Array.from(want)) === 0;
      },
    ),
    { numRuns: 40 },
  );
  t.is(io.setIovec(at, 1025), -EINVAL);
  t.is(io.setIovec(0, 1), -EFAULT);
  t.is(io.setUser(2 ** 32, 1), -EFAULT);
  io.setUser(at + 64 * PAGE_SIZE - 10, 100);
  t.is(io.copyTo(new Uint8Array(100), 0, 100), 10, "a copy ends where the memory does");
  t.is(io.copyTo(new Uint8Array(100), 0, 90), -EFAULT);
  mmPut(mm);
});

test.serial("a refused access records signal, code and address", (t) => {
  const { task, mm } = setup();
  const at = mmap(mm, 0, PAGE_SIZE, 1, ANON, 0, 0);
  t.is(translateUser(at + 5, ACCESS.WRITE), -1);
  t.deepEqual(
    [Task.faultSignal.get(task), Task.faultCode.get(task), Task.faultAddress.get(task, 0) >>> 0],
    [SIGSEGV, SEGV_ACCERR, at + 5],
  );
  t.is(translateUser(0, ACCESS.READ), -1);
  t.deepEqual([Task.faultCode.get(task), Task.faultAddress.get(task, 0)], [SEGV_MAPERR, 0]);
  t.is(translateUser(at, ACCESS.EXEC), -1);
  t.is(Task.faultCode.get(task), SEGV_ACCERR);
  mmPut(mm);
});

test.serial(
  "a stack grows down to its limit, keeps away from what lies below, and nothing else grows",
  (t) => {
    const { mm } = setup();
    Mm.stackLimit.set(mm, 64 * PAGE_SIZE);
    const flags = VM_READ | VM_WRITE | VM_MAYWRITE;
    t.is(
      mapPages(mm, STACK_TOP - PAGE_SIZE, 1, flags | VM_GROWSDOWN, 0, 0, 0, MAP_FIXED),
      STACK_TOP - PAGE_SIZE,
    );
    t.true(resolvePage(mm, STACK_TOP - 20 * PAGE_SIZE, ACCESS.WRITE) >= 0);
    t.true(resolvePage(mm, STACK_TOP - 64 * PAGE_SIZE, ACCESS.WRITE) >= 0);
    t.true(resolvePage(mm, STACK_TOP - 65 * PAGE_SIZE, ACCESS.WRITE) < 0);
    Mm.stackLimit.set(mm, 4096 * PAGE_SIZE);
    mapPages(mm, STACK_TOP - 500 * PAGE_SIZE, 1, flags, 0, 0, 0, MAP_FIXED);
    t.true(resolvePage(mm, STACK_TOP - 243 * PAGE_SIZE, ACCESS.WRITE) >= 0);
    t.true(resolvePage(mm, STACK_TOP - 244 * PAGE_SIZE, ACCESS.WRITE) < 0);
    t.true(resolvePage(mm, STACK_TOP - 501 * PAGE_SIZE, ACCESS.WRITE) < 0);
    mmPut(mm);
  },
);

test.serial("addresses: hints, fixed places, reservations larger than RAM, what lies out of reach", (t) => {
  const { mm } = setup();
  const PAGES16 = 16 * PAGE_SIZE;
  t.is(mmap(mm, 0x5000_0000, PAGES16, 3, ANON, 0, 0), 0x5000_0000);
  t.not(mmap(mm, 0x5000_0000, PAGES16, 3, ANON, 0, 0), 0x5000_0000);
  t.true(mmap(mm, 2 ** 40, PAGES16, 3, ANON, 0, 0) < TASK_SIZE, "a hint beyond 4 GiB is no more than that");
  t.is(mmap(mm, 0x5000_8000, PAGES16, 3, ANON | MAP_FIXED_NOREPLACE, 0, 0), -EEXIST);
  t.is(mmap(mm, 0x5000_0001, PAGES16, 3, ANON | MAP_FIXED, 0, 0), -EINVAL);
  t.is(mmap(mm, 0, PAGES16, 3, ANON | MAP_FIXED, 0, 0), -EPERM);
  t.is(mmap(mm, TASK_SIZE - PAGE_SIZE, PAGES16, 3, ANON | MAP_FIXED, 0, 0), -ENOMEM);
  t.is(mmap(mm, 0, 2 ** 33, 0, ANON | MAP_NORESERVE, 0, 0), -ENOMEM);
  t.is(mmap(mm, 0, 0, 3, ANON, 0, 0), -EINVAL);
  for (let n = 0; n < 4; n++) t.true(mmap(mm, 0, 512 << 20, 0, ANON | MAP_NORESERVE, 0, 0) > 0);
  t.is(mmap(mm, 0, 64 << 20, 3, ANON, 0, 0), -ENOMEM, "writable memory that RAM can never hold");
  t.is(munmap(mm, 1, PAGE_SIZE), -EINVAL);
  t.is(munmap(mm, 0x7000_0000, PAGE_SIZE), 0, "nothing there is no error");
  mmPut(mm);
});

test.serial("brk grows, shrinks and stays where it is when something is in the way", (t) => {
  const { mm } = setup();
  Mm.brkStart.set(mm, 0x10_0000);
  Mm.brk.set(mm, 0x10_0000);
  t.is(brk(mm, 0), 0x10_0000);
  t.is(brk(mm, 0x10_2001), 0x10_2001);
  putUser32(0x10_2000, 7);
  t.is(brk(mm, 0x10_1000), 0x10_1000);
  t.is(faultIn(0x10_2000, 1, ACCESS.READ), -EFAULT);
  t.is(brk(mm, 0x10_3000), 0x10_3000);
  t.is(getUser32(0x10_2000), 0, "memory that comes back is zero");
  mmap(mm, 0x10_4000, PAGE_SIZE, 3, ANON | MAP_FIXED, 0, 0);
  t.is(brk(mm, 0x10_6000), 0x10_3000);
  mmPut(mm);
});

test.serial("mremap keeps contents when it grows in place and when it moves", (t) => {
  const { mm } = setup();
  const at = mmap(mm, 0x5000_0000, 4 * PAGE_SIZE, 3, ANON, 0, 0);
  putUser32(at + 3 * PAGE_SIZE, 33);
  t.is(mremap(mm, at, 4 * PAGE_SIZE, 8 * PAGE_SIZE, 0, 0), at);
  t.is(getUser32(at + 7 * PAGE_SIZE), 0);
  mmap(mm, at + 8 * PAGE_SIZE, PAGE_SIZE, 3, ANON | MAP_FIXED, 0, 0);
  mprotect(mm, at + 8 * PAGE_SIZE, PAGE_SIZE, 1);
  t.is(mremap(mm, at, 8 * PAGE_SIZE, 16 * PAGE_SIZE, 0, 0), -ENOMEM);
  const moved = mremap(mm, at, 8 * PAGE_SIZE, 16 * PAGE_SIZE, MREMAP_MAYMOVE, 0);
  t.not(moved, at);
  t.is(getUser32(moved + 3 * PAGE_SIZE), 33);
  t.is(faultIn(at, 1, ACCESS.READ), -EFAULT);
  t.is(mremap(mm, moved, 16 * PAGE_SIZE, PAGE_SIZE, 0, 0), moved);
  t.is(faultIn(moved + PAGE_SIZE, 1, ACCESS.READ), -EFAULT);
  t.is(mremap(mm, 0x7000_0000, PAGE_SIZE, PAGE_SIZE, 0, 0), -EFAULT);
  mmPut(mm);
});

test.serial("a process that uses up all memory is killed after a while, with a line that names it", (t) => {
  const { task, mm } = setup(1 << 20);
  for (const [n, byte] of [..."hog"].entries()) Task.comm.set(task, n, byte.charCodeAt(0));
  klogInit();
  const at = mmap(mm, 0, 2 << 20, 3, ANON | MAP_NORESERVE, 0, 0);
  let signal = -1;
  let tries = 0;
  for (let page = 0; page < 512 && signal !== SIGKILL; ) {
    if (handleFault(mm, at + page * PAGE_SIZE, ACCESS.WRITE) >= 0) page++;
    else {
      signal = Task.faultSignal.get(task);
      tries++;
    }
  }
  t.is(signal, SIGKILL);
  t.true(tries > 1, "first the fault is tried again: memory may be on its way back");
  t.regex(
    drainKlog()
      .map((line) => line.text)
      .join("\n"),
    /Out of memory.*hog/,
  );
  // The kernel has a few frames of its own, and then none.
  t.is(copyToUser(at + (1 << 20), new Uint8Array(256 << 10)), -EFAULT);
  mmPut(mm);
});

test.serial(
  "RAM that does not fit is refused with the sizes; register slots are zeroed and used again",
  (t) => {
    bootMemory();
    t.throws(() => createRam(3 * 1024 ** 3, 16), { instanceOf: RamError, message: /16 CPUs/ });
    t.throws(() => createRam(1000, 1), { instanceOf: RamError });
    t.true(maxRamBytes(8) > 2 ** 31);
    const first = allocRegs();
    ram.i32[first >>> 2] = 5;
    freeRegs(first);
    const again = allocRegs();
    t.is(again, first);
    t.is(ram.i32[again >>> 2], 0);
    t.not(allocRegs(), first);
  },
);
