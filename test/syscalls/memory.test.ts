/** Lengths and addresses that no address space has: an error each, and nothing of the kernel's changes. */
import test from "ava";
import { BLOCK } from "../../kernel/sched/block.ts";
import { EFAULT, EINVAL, ENOMEM, EOVERFLOW } from "../../kernel/uapi/errno.ts";
import { boot, call, getBytes, putBytes } from "../kernel/ipc/machine.ts";

const { task, memory } = boot();
const sys = (name: string, ...args: number[]): number => call(task, name, ...args);
const WILD = [2 ** 32, 2 ** 40, 2 ** 53, 2 ** 63, 2 ** 64 - 4096, 2 ** 64];

test("a wild length or address never reaches the page tables", (t) => {
  putBytes(memory, Uint8Array.of(1, 2, 3));
  for (const wild of WILD) {
    t.is(sys("mremap", memory, wild, 4096, 0, 0), -EINVAL, `mremap from ${wild}`);
    t.is(sys("mremap", memory, wild, 4096, 1, 0), -EINVAL);
    t.is(sys("mremap", memory, 4096, wild, 1, 0), -EINVAL, `mremap to ${wild}`);
    t.is(sys("mremap", wild, 4096, 4096, 1, 0), -EFAULT);
    t.is(sys("munmap", memory, wild), -EINVAL);
    t.is(sys("munmap", wild, 4096), -EINVAL);
    t.is(sys("mprotect", memory, wild, 0), -ENOMEM);
    t.is(sys("mprotect", wild, 4096, 0), -ENOMEM);
    t.true([-ENOMEM, -EINVAL].includes(sys("madvise", memory, wild, 4)));
    // Rounded up to whole pages it may be nothing.
    const nothing = wild > 2 ** 64 - 4096 ? 0 : -ENOMEM;
    t.is(sys("msync", memory, wild, 4), nothing);
    t.is(sys("mincore", memory, wild, memory), -ENOMEM);
    t.true([nothing, -EINVAL].includes(sys("mlock", memory, wild)));
    t.is(sys("mmap", 0, wild, 3, 0x22, -1, 0), -ENOMEM);
    t.is(sys("mmap", wild, 4096, 3, 0x32, -1, 0), -ENOMEM);
    t.true(sys("brk", wild) < 2 ** 32);
  }
  t.deepEqual([...getBytes(memory, 3)], [1, 2, 3]);
});

test("calls that take buffers answer EFAULT for wild ones, or wait, but never throw", (t) => {
  sys("pipe2", memory, 0o4000);
  const fd = new Int32Array(getBytes(memory, 4).buffer)[0]!;
  const names = ["read", "write", "readv", "writev", "fstat", "getdents64"];
  for (const wild of WILD) {
    for (const name of names) {
      const result = sys(name, fd, wild, 8);
      t.true(result < 0 && result > BLOCK, `${name} ${wild}: ${result}`);
    }
    t.is(sys("ppoll", wild, 1, 0, 0, 0), -EFAULT);
    t.is(sys("getcwd", wild, 8), -EFAULT);
    t.is(sys("uname", wild), -EFAULT);
  }
});

test("a page of a file beyond the largest file is mapped by nobody: its number has 31 bits", (t) => {
  const fd = sys("memfd_create", memory, 0);
  sys("ftruncate", fd, 8192);
  const at = (page: number, pages = 1): number => sys("mmap", 0, pages * 4096, 1, 1, fd, page * 4096);
  for (const page of [2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 40])
    t.is(at(page), -EOVERFLOW, `page ${page}`);
  t.is(at(2 ** 31 - 3, 3), -EOVERFLOW);
  const last = at(2 ** 31 - 2);
  t.true(last > 0);
  t.is(sys("mremap", last, 4096, 8192, 1, 0), -EINVAL, "nor by what grows");
  t.is(sys("munmap", last, 4096), 0);
});
